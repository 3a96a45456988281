import os
from pathlib import Path

import pytest

from said_lightning.errors import UserError
from said_lightning.runs.index import find
from said_lightning.runs.record import Record, write

CONFIG = """
model: {name: minilm, path: null}
task: {name: sst2}
method: {name: said, groups: layer}
projection: {name: fastfood, block: null}
d: 500
seed: 0
lr: 1.0e-01
trainer: {max_epochs: 3}
"""


def put(folder: Path, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(Record(status="done", model="m", task="t", method="did", d=10, seed=seed), folder)


def test_runs_are_found_at_any_depth_in_the_order_of_their_folders(tmp_path: Path) -> None:
    for seed, name in enumerate(["b", "a/deep/down", "a/b"]):
        put(tmp_path / name, seed)
    records, problems = find(tmp_path)
    assert [record.seed for record in records] == [2, 1, 0]
    assert not problems


def test_a_path_that_is_itself_a_run_is_one_run(tmp_path: Path) -> None:
    put(tmp_path)
    assert len(find(tmp_path)[0]) == 1


def test_a_folder_with_a_config_and_no_record_is_a_run_to_come(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(CONFIG)
    ((record,), _) = find(tmp_path)
    assert record == Record(
        status="waiting",
        model="minilm",
        task="sst2",
        method="said",
        projection="fastfood",
        d=500,
        seed=0,
        lr=0.1,
    )
    assert record.folder == tmp_path / "run"


def test_a_run_to_come_is_named_as_its_record_will_be(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model: {name: bert-20k, step: 20k, layers: 4}\ntask: sst2\n"
        "method: {name: said, space: lora}\nprojection: {name: released, gradient: exact}\n"
        "d: 500\nseed: 0\n"
    )
    ((record,), _) = find(tmp_path)
    assert (record.model, record.step) == ("bert-20k-4-layers", "20k")
    assert (record.projection, record.space) == ("released-exact", "lora")


def test_a_baseline_under_way_has_no_d_or_projection_whatever_its_config_holds(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.replace("said", "full"))
    ((record,), _) = find(tmp_path)
    assert (record.method, record.d, record.projection) == ("full", None, None)


def test_a_run_under_way_goes_by_the_labels_of_its_record(tmp_path: Path) -> None:
    text = CONFIG.replace("path: null", "layers: 2").replace("max_epochs: 3", "grow_from: 10")
    (tmp_path / "config.yaml").write_text(text)
    ((record,), _) = find(tmp_path)
    assert (record.model, record.projection) == ("minilm-2-layers", "fastfood-nested")


@pytest.mark.parametrize(
    ("method", "lr", "told"),
    [("said", "null", (None, 3e-4)), ("said", "0.1", (0.1, None)), ("full", "null", (1e-4, None))],
)
def test_a_run_under_way_tells_its_rate_or_what_the_rule_makes_it_of(
    tmp_path: Path, method: str, lr: str, told: tuple[float | None, float | None]
) -> None:
    trainer = "trainer: {full_lr: 1.0e-4, step_ratio: 3}"
    text = f"model: {{name: a}}\ntask: {{name: b}}\nmethod: {{name: {method}}}\nseed: 0\nd: 5"
    (tmp_path / "config.yaml").write_text(f"{text}\nlr: {lr}\n{trainer}\n")
    ((record,), _) = find(tmp_path)
    assert (record.lr, record.rule) == pytest.approx(told)


def test_a_record_counts_and_not_the_config_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(CONFIG)
    assert [record.status for record in find(tmp_path)[0]] == ["done"]


@pytest.mark.parametrize("inner", [".hydra", "wandb/offline-run/files", "checkpoint"])
def test_configs_inside_a_run_are_no_runs(tmp_path: Path, inner: str) -> None:
    put(tmp_path / "run")
    (tmp_path / "run" / inner).mkdir(parents=True)
    (tmp_path / "run" / inner / "config.yaml").write_text(CONFIG)
    assert len(find(tmp_path)[0]) == 1


def test_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "run")
    put(tmp_path / ".trash")
    assert len(find(tmp_path)[0]) == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("result.json", "{", "no JSON, perhaps torn"),
        ("config.yaml", "a: [1, ", "no YAML, perhaps torn"),
        ("config.yaml", "a: 2020-99-99", "no YAML, perhaps torn"),
        ("config.yaml", "just text", "expected keys such as model and task"),
        ("config.yaml", "defaults: [_self_]", "model: Field required"),
        ("config.yaml", CONFIG.replace("500", "hundred"), "d: Input should be a valid integer"),
        ("config.yaml", CONFIG.replace("1.0e-01", ".nan"), "lr: Input should be a valid number"),
    ],
)
def test_a_run_that_cannot_be_read_is_told_and_the_others_are_read(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    put(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / name).write_text(text)
    records, (problem,) = find(tmp_path)
    assert len(records) == 1
    assert problem.startswith(f"{tmp_path / 'bad' / name}: ")
    assert told in problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_entered_is_told(tmp_path: Path) -> None:
    put(tmp_path / "good")
    (tmp_path / "shut").mkdir(mode=0)
    assert "Permission denied" in find(tmp_path)[1][0]


def test_a_missing_path_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "multirun").mkdir()
    with pytest.raises(UserError, match=r"no such folder; did you mean .*/multirun\?"):
        find(tmp_path / "multrun")


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="a file; expected a folder"):
        find(tmp_path / "result.json")


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run below it; a run's folder holds a result\.json"):
        find(tmp_path)


def test_where_no_run_can_be_read_every_reason_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{")
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert len(caught.value.messages) == 3
