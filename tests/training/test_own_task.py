"""The example of the guide on data: a user's own CSV of two columns and a yaml of ten lines."""

import re
from pathlib import Path

from said_lightning.config.compose import read_command
from said_lightning.training.run import run

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "data.md").read_text(encoding="utf-8")


def test_the_guides_example_trains_on_a_csv_of_two_columns(tiny: list[str], tmp_path: Path) -> None:
    (yaml,) = re.findall(r"`mine/task/mine.yaml`.*?```yaml\n(.*?)```", GUIDE, re.S)
    assert len(yaml.splitlines()) == 10
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "mine.yaml").write_text(
        yaml.replace("path/to/folder", str(tmp_path))
    )
    for name, count in (("train.csv", 24), ("dev.csv", 10)):
        kinds = [("good", "ham"), ("bad", "spam")] * count
        rows = [f'"a {word}, fine film",{kind}' for word, kind in kinds[:count]]
        (tmp_path / name).write_text("\n".join(["message,kind", *rows]) + "\n")
    other = [override for override in tiny if "data_dir" not in override]
    own = ["--config-dir", str(tmp_path / "mine"), "task=mine"]
    command = read_command([*own, *other, f"out={tmp_path / 'out'}"])
    assert command.errors == ()
    (spec,) = command.specs
    record = run(spec)
    assert record.status == "done", record.reason
    assert set(record.metrics) == {"accuracy", "f1"}
    assert record.metric.trivial == 0.5
