"""The pages: the README, everything in docs/, and the tutorial's notebook as a page."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = "docs/tutorial.ipynb"


def cell(one: dict[str, Any]) -> str:
    """Return a cell of a notebook as Markdown, without its outputs."""
    text = "".join(one["source"])
    if one["cell_type"] == "markdown":
        return text
    if text.startswith("%%bash"):
        return f"```bash\n{text.partition(chr(10))[2]}\n```"
    return f"```python\n{text}\n```"


NOTEBOOK = json.loads((ROOT / TUTORIAL).read_text(encoding="utf-8"))
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
} | {TUTORIAL: "\n\n".join(map(cell, NOTEBOOK["cells"]))}


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """Return the text of every page by its path in the repository."""
    return PAGES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `page` once for each page with a shell block.

    The tutorial's are run, by a test of its own.
    """
    if "page" in metafunc.fixturenames:
        shell = [page for page, text in PAGES.items() if "```bash" in text]
        metafunc.parametrize("page", [page for page in shell if page != TUTORIAL])
