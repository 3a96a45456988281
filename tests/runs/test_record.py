import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.errors import UserError
from said_lightning.runs.record import (
    Epoch,
    Group,
    Metric,
    Record,
    TrainMetric,
    now,
    read,
    write,
    write_metrics,
)

FIELDS = (
    "format status reason mistake model task method projection space step d D m outside groups "
    "seed lr rule lambda_lr metric best last protocol train_rows select report scores epochs "
    "stages metrics train_metric config_hash setting_hash method_hash fingerprint data_sha256 "
    "model_sha256 versions device threads wall_s peak_memory_bytes started ended notes"
)

finite = st.floats(-1e39, 1e39)
rates = st.floats(0, exclude_min=True, allow_infinity=False)
counts = st.integers(0, 2**63 - 1)
sizes = st.integers(1, 2**63 - 1)
words = st.text()
records = st.builds(
    Record,
    status=st.sampled_from(["done", "failed", "running", "preempted", "waiting"]),
    reason=st.none() | words,
    mistake=st.booleans(),
    model=words,
    task=words,
    method=st.sampled_from(["full", "did", "said"]),
    projection=st.none() | words,
    d=st.none() | sizes,
    D=st.none() | sizes,
    groups=st.dictionaries(words, st.builds(Group, D=counts, scale=st.none() | finite)),
    seed=counts,
    lr=st.none() | rates,
    metric=st.builds(Metric, name=st.none() | words, value=st.none() | finite),
    best=st.none() | st.builds(Epoch, epoch=counts, value=st.none() | finite),
    metrics=st.dictionaries(words, st.none() | finite),
    train_metric=st.none() | st.builds(TrainMetric, name=words, value=finite),
    versions=st.dictionaries(words, words),
    wall_s=st.none() | st.floats(0, 1e10),
)


def a_record(**facts: Any) -> Record:
    return Record(
        **{"status": "done", "model": "m", "task": "t", "method": "did", "seed": 0, **facts}
    )


def written(folder: Path, **changes: Any) -> Path:
    """Write a good result.json with some of its keys changed, and return its path."""
    write(a_record(), folder)
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@given(record=records)
def test_a_record_read_back_is_the_record_written(
    record: Record, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write(record, folder)
    assert read(folder / "result.json") == record


def test_the_file_holds_the_fields_of_the_contract_in_their_order(tmp_path: Path) -> None:
    write(a_record(groups={"head": Group(D=5, scale=1.5)}), tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())
    assert " ".join(found) == FIELDS
    assert found["groups"] == {"head": {"D": 5, "lambda": 1.5}}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_that_no_float32_holds_is_written_as_null(tmp_path: Path, number: float) -> None:
    write(a_record(metric=Metric(name="f1", value=number), metrics={"f1": number}), tmp_path)
    again = read(tmp_path / "result.json")
    assert (again.metric.value, again.metrics) == (None, {"f1": None})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_written_as_null(tmp_path: Path, number: float) -> None:
    write_metrics(tmp_path, [{"step": 1, "train/loss": number}])
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step":1,"train/loss":null}\n'


def test_a_record_knows_the_folder_it_was_read_from(tmp_path: Path) -> None:
    write(a_record(), tmp_path)
    assert read(tmp_path / "result.json").folder == tmp_path


def test_writing_again_replaces_the_record_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(a_record(status="failed"), tmp_path)
    write(a_record(status="done"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert read(tmp_path / "result.json").status == "done"


def test_a_write_that_fails_leaves_the_former_record_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    write(a_record(status="failed"), tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(a_record(status="done"), tmp_path)
    assert read(tmp_path / "result.json").status == "failed"


def test_a_record_cut_anywhere_is_refused_in_one_message(tmp_path: Path) -> None:
    write(a_record(), tmp_path)
    path = tmp_path / "result.json"
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError) as caught:
            read(path)
        (message,) = caught.value.messages
        assert message.startswith(f"{path}: no JSON, perhaps torn")


@given(text=st.binary())
def test_bytes_that_are_no_record_never_give_a_traceback(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "result.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"result\.json: no (JSON|record)"):
        read(path)


def test_every_wrong_key_is_named_with_what_was_found(tmp_path: Path) -> None:
    path = written(tmp_path, seed="zero", status="finished", metric={"value": "high"})
    with pytest.raises(UserError) as caught:
        read(path)
    (message,) = caught.value.messages
    for part in ("seed: ", "'zero'", "'done'", "'finished'", "metric.value: ", "'high'"):
        assert part in message


def test_a_record_without_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"format": 1, "status": "done"}')
    with pytest.raises(UserError, match="model: Field required"):
        read(path)


def test_a_record_of_a_newer_format_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format 2 comes from a newer said_lightning"):
        read(written(tmp_path, format=2, status="of a kind unknown yet"))


def test_keys_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    assert read(written(tmp_path, carbon_kg=0.1)) == a_record()


def test_a_record_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/result\.json: cannot be read: No such file"):
        read(tmp_path / "nowhere" / "result.json")


def test_metrics_are_one_object_a_line(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "eval/accuracy": 0.5}, {"epoch": 2, "eval/accuracy": 0.75}]
    write_metrics(tmp_path, rows[:1])
    write_metrics(tmp_path, rows)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["eval/accuracy"] for line in lines] == [0.5, 0.75]


def test_times_are_utc_to_the_second() -> None:
    assert now().endswith("Z")
    assert len(now()) == len("2026-01-31T12:00:00Z")
