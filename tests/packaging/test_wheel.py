"""The wheel and the sdist hold what they should, wherever they are built from."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from readme_renderer import markdown

ROOT = Path(__file__).parents[2]
CONF = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}


def build(target: str, source: Path, out: Path) -> Path:
    """Build the wheel or the sdist of a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the wheel by their names."""
    with zipfile.ZipFile(build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an unpacked sdist."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def test_conf_travels_inside_the_package(wheel: dict[str, bytes]) -> None:
    inside = "said_lightning/"
    carried = {name for name in wheel if name.startswith(f"{inside}conf/")}
    assert carried == {f"{inside}{name}" for name in CONF}
    for name in CONF:
        assert wheel[f"{inside}{name}"] == (ROOT / name).read_bytes()


def test_the_wheel_has_the_code_and_what_it_reads_and_nothing_else(
    wheel: dict[str, bytes],
) -> None:
    files = {name for name in wheel if ".dist-info/" not in name}
    assert {Path(name).parts[0] for name in files} == {"said_lightning", "hydra_plugins"}
    code = (ROOT / "said_lightning").rglob("*.py"), (ROOT / "hydra_plugins").rglob("*.py")
    assert {str(path.relative_to(ROOT)) for folder in code for path in folder} <= files
    page = {
        f"said_lightning/analysis/report/{one}" for one in ("page.css", "page.html", "board.js")
    }
    assert {"said_lightning/py.typed", *page} <= files
    suffixes = {".py", ".yaml", ".css", ".html", ".js", ".typed"}
    assert {Path(name).suffix for name in files} == suffixes


def test_the_sdist_has_tests_and_docs_but_no_results_and_runs(sdist: Path) -> None:
    names = {path.name for path in sdist.iterdir()}
    assert {"conf", "docs", "tests", "train.py", "Makefile", "pyproject.toml"} <= names
    assert not {"results", "multirun_outputs", "wandb", ".venv", ".git"} & names


def test_the_sdist_is_small_and_has_no_picture(sdist: Path) -> None:
    files = [path for path in sdist.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".png", ".svg", ".jpg", ".gif", ".pdf"}]
    assert max(path.stat().st_size for path in files) < 250_000
    assert sum(path.stat().st_size for path in files) < 5_000_000


def test_an_index_can_show_the_readme_and_no_link_in_it_leads_nowhere(
    wheel: dict[str, bytes],
) -> None:
    (metadata,) = (text for name, text in wheel.items() if name.endswith("/METADATA"))
    head, _, text = metadata.decode().partition("\n\n")
    assert "Description-Content-Type: text/markdown" in head.splitlines()
    page = markdown.render(text)
    assert page is not None
    assert ">said_lightning<" in page
    assert "<table>" in page
    targets = re.findall(r"""(?:href|src)=["']([^"']*)""", page)
    assert "https://arxiv.org/abs/2012.13255" in targets
    assert [one for one in targets if not one.startswith(("https://", "#"))] == []
    assert re.findall(r"!?\]\((?!https?:)[^)]*\)", text) == []
    # What the README says is all there: only targets are left out.
    for line in (ROOT / "README.md").read_text().splitlines():
        if "](" not in line and "[" not in line:
            assert line in text


def test_the_distributions_meet_what_an_index_asks(tmp_path: Path) -> None:
    built = [str(build(target, ROOT, tmp_path / target)) for target in ("wheel", "sdist")]
    command = [sys.executable, "-m", "twine", "check", "--strict", *built]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_sdist_builds_the_same_wheel(
    sdist: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    with zipfile.ZipFile(build("wheel", sdist, tmp_path)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == wheel
