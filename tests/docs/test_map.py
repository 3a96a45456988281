"""The map of the house in CONTRIBUTING.md says of each room what its docstring says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "said_lightning"
MAP = re.search(
    r"^    said_lightning/\n((?:^      .*\n)+)", (ROOT / "CONTRIBUTING.md").read_text(), re.M
)


def first_sentence(source: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.:])\s*\n|\.\s", docstring + "\n")[0].strip().rstrip(".")


def test_the_map_is_that_of_the_docstrings() -> None:
    rooms = {f"{file.parent.name}/": file for file in PACKAGE.glob("*/__init__.py")}
    rooms |= {file.name: file for file in PACKAGE.glob("*.py")}
    expected = {f"      {name:<16}{first_sentence(file)}" for name, file in rooms.items()}
    assert MAP is not None
    found = set(MAP[1].splitlines())
    missing = "\n".join(sorted(expected - found))
    assert found == expected, f"CONTRIBUTING.md lacks:\n{missing}"
