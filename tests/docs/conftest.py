"""The pages: the README and everything in docs/."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The text of every page by its path in the repository."""
    return {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
