"""The map of the house in CONTRIBUTING.md says of each room what its docstring says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "said_lightning"


def first_sentence(source: Path) -> str:
    """Return the first sentence of a module's docstring, on one line and without its full stop."""
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)", " ".join(docstring.split()))[0]


def expected() -> str:
    """Return the lines of the map: files first, then rooms."""
    rooms = {file.name: file for file in sorted(PACKAGE.glob("*.py"))}
    rooms |= {f"{file.parent.name}/": file for file in sorted(PACKAGE.glob("*/__init__.py"))}
    return "".join(f"      {name:<16}{first_sentence(file)}\n" for name, file in rooms.items())


def test_the_map_is_that_of_the_docstrings() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(r"^    said_lightning/\n((?:      .*\n)+)", contributing, re.M)
    assert found is not None
    assert found[1] == expected(), f"CONTRIBUTING.md needs these lines:\n{expected()}"
