"""The pages: the README and everything in docs/."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """Return the text of every page by its path in the repository."""
    return PAGES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `page` once for each page with a shell block."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", [page for page, text in PAGES.items() if "```bash" in text])
