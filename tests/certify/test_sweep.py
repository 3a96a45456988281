"""A certificate pays for every run of the sweep that its own was chosen from."""

import shutil
from pathlib import Path

import pytest

from said_lightning.certify.certify import certify
from said_lightning.certify.verify import verify
from said_lightning.config.selection import around, searched
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE

PLANNED = {"d": 50, "seed": 0}


@pytest.fixture
def sweep(certified: Path, tmp_path: Path) -> Path:
    """Return a copy of the certified run as it lies in a sweep."""
    return shutil.copytree(certified, tmp_path / Path(*certified.parts[-3:]))


def grow(folder: Path, **values: int) -> None:
    """Put another run beside one, with other values."""
    other = shutil.copytree(folder, folder.with_name("-".join(values)))
    config = (other / "config.yaml").read_text()
    for key, value in values.items():
        config = config.replace(f"\n{key}: {PLANNED[key]}\n", f"\n{key}: {value}\n")
    (other / "config.yaml").write_text(config)


def test_what_was_searched_is_counted_and_paid_for(sweep: Path, tmp_path: Path) -> None:
    before = searched(sweep, tmp_path)
    assert set(before.values()) == {1}
    grow(sweep, d=30)
    grow(sweep, d=40, seed=3)
    assert searched(sweep, tmp_path) == before | {"d": 3, "seed": 2}


def test_a_certificate_is_refused_once_its_sweep_has_more_runs(sweep: Path, tmp_path: Path) -> None:
    assert verify(sweep / CERTIFICATE, sweep=tmp_path)
    grow(sweep, seed=1)
    for folder in (tmp_path, None):  # named, or found as certify finds it
        with pytest.raises(UserError, match="searched seed is 1; found 2: certify again"):
            verify(sweep / CERTIFICATE, sweep=folder)
    again = certify(sweep, [3], 0)
    assert again.searched["seed"] == 2
    assert verify(sweep / CERTIFICATE) == again


def test_a_sweep_is_sought_where_the_folders_are_a_sweeps(
    sweep: Path, copied: Path, tmp_path: Path
) -> None:
    assert around(sweep) == tmp_path
    assert around(copied) is None
    with pytest.raises(UserError, match="expected --sweep FOLDER"):
        certify(copied, [3], 0)
    assert verify(copied / CERTIFICATE)


def test_a_sweep_without_the_run_is_refused(copied: Path, certified: Path) -> None:
    with pytest.raises(UserError, match="not below it"):
        searched(copied, certified.parents[2])
