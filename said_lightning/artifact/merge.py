"""From an artifact to a folder that transformers loads by itself."""

from pathlib import Path
from tempfile import TemporaryDirectory

from said_lightning.artifact.file import read
from said_lightning.artifact.hub import card
from said_lightning.artifact.load import restored
from said_lightning.errors import UserError
from said_lightning.models.t5 import T5EncoderClassifier
from said_lightning.subspace.spaces import merge_factors


def merge(file: Path, folder: Path, base: str | None = None) -> None:
    """Write model, tokenizer and card of an artifact's file into a new folder, whole or not.

    The tokenizer's longest text is the task's, so that a pipeline that truncates cuts as the run
    did. Raise UserError as `load` does, and where the folder holds anything or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists; expected a new folder, or an empty one")
    model, tokenizer, _, _ = restored(file, base)
    if isinstance(model, T5EncoderClassifier):
        raise UserError(
            f"{file}: transformers has no classifier of T5's encoder alone to merge into; "
            "said_lightning.load(FILE) loads it"
        )
    artifact = read(file)
    if bits := artifact.about.run.method.quantize:
        raise UserError(
            f"{file}: its base model's weights are {bits}, which theta cannot be written into; "
            "said_lightning.load(FILE) loads it"
        )
    tokenizer.model_max_length = artifact.about.run.task.max_length
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".merge-") as beside:
            whole = Path(beside) / "whole"
            merge_factors(model)
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            (whole / "README.md").write_text(card(artifact, None), encoding="utf-8")
            whole.replace(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error}") from None
