"""Files are whole or not there; what a killed run left is swept away, and nothing else."""

from pathlib import Path

import pytest

from said_lightning.runs.files import sweep, write_beside, write_whole


def test_a_half_written_file_or_model_is_removed_and_what_is_whole_stays(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    model = checkpoint / "abc.tmp"
    model.mkdir(parents=True)
    for half in (tmp_path / "result.tmp", model / "model.safetensors", model / "deeper.tmp"):
        half.write_text("half")
    for whole in (tmp_path / "result.json", checkpoint / "state.safetensors"):
        whole.write_text("whole")
    sweep(tmp_path)
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["checkpoint", "result.json", "state.safetensors"]


def test_what_is_written_beside_is_nobody_elses_file_and_swept_away(tmp_path: Path) -> None:
    (tmp_path / "notes.tmp").write_text("keep")
    write_whole(tmp_path / "notes.safetensors", b"new")
    assert (tmp_path / "notes.tmp").read_text() == "keep"
    (tmp_path / "run").mkdir()
    write_beside(tmp_path / "run" / "result.json", b"half")
    sweep(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_is_not_written_over_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (folder, Path(), Path("/")):
        with pytest.raises(IsADirectoryError):
            write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [folder]
