"""The one exception for a user's mistake, and what many messages have in common."""

import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType


class UserError(Exception):
    """A mistake in the input, reported without a traceback; the programs exit with code 2.

    `messages` holds every mistake found, one string each, so that all are reported at once.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


def suggestion(value: str, valid: Iterable[str]) -> str:
    """Return the end of a message: the valid value nearest to `value`, or the first few."""
    names = {name.casefold(): name for name in valid}
    near = difflib.get_close_matches(value.casefold(), names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {names[near[0]]!r}?"
    few = ", ".join(repr(name) for name in list(names.values())[:8])
    return f"; expected {few}{', ...' if len(names) > 8 else ''}" if few else ""


def needs(package: str, extra: str, what: str) -> ModuleType:
    """Import a package, or a module of one, that an extra of said_lightning installs.

    Raise UserError where it is not installed: `what` needs it, and how it is had.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        raise UserError(*_lacking(package, extra, what)) from None


def validate_installed(package: str, extra: str, what: str) -> list[str]:
    """Return the message that `needs` raises; none where the package is there. Imports nothing."""
    return [] if importlib.util.find_spec(package) else _lacking(package, extra, what)


def _lacking(package: str, extra: str, what: str) -> list[str]:
    name = package.partition(".")[0]
    return [f"{what} needs {name}: pip install 'said_lightning[{extra}]'"]
