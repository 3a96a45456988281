"""An artifact on the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from said_lightning.artifact.card import card
from said_lightning.artifact.file import FILE, read
from said_lightning.errors import UserError
from said_lightning.runs.secrets import scrub


def push(file: Path, repository: str) -> str:
    """Uploads an artifact's file and its card in one commit and gives the repository's address.

    The repository is made where there is none; a file or a card of an earlier push is replaced.
    Raises UserError where the file is no artifact, or the hub refuses or is out of reach.
    """
    described = card(read(file), FILE).encode()
    files = [CommitOperationAdd(FILE, file), CommitOperationAdd("README.md", described)]
    api = HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.create_commit(repository, files, commit_message=f"{FILE} and its card")
    except Exception as error:  # the client lets those of its HTTP library through, of any base
        reason = scrub(str(error).strip()) or type(error).__name__
        raise UserError(f"{repository}: not pushed: {reason}") from None
    return str(address)
