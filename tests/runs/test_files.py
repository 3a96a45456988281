"""What a killed run left half-written is swept away, and nothing else."""

from pathlib import Path

from said_lightning.runs.files import sweep


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
