"""`hydra/sweeper=d90` on the tiny encoder, with Hydra's own launcher."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from said_lightning.runs.record import CHOOSING, RESULT, read
from said_lightning.training.run import run

SEARCH = [
    "-m",
    "hydra/sweeper=d90",
    "hydra.sweeper.low=10",
    "hydra.sweeper.high=2000",
    "hydra.sweeper.seeds=2",
    "hydra.sweeper.rates=[1]",
    "hydra.sweeper.budget=14",
    "hydra.sweeper.batch=2",
    "trainer.epochs=3",
    "trainer.batch_size=4",
    "trainer.full_lr=3e-3",
    "trainer.step_ratio=3",
    "method=said,did",
]


@pytest.fixture
def search(main: Any, tiny: list[str]) -> Any:
    """Run the search; the tiny jobs' own d is the search's to choose."""
    tiny_d = next(one for one in tiny if one.startswith("d="))

    def start(*arguments: str) -> Any:
        tiny.remove(tiny_d)
        try:
            return main(*SEARCH, *arguments)
        finally:
            tiny.append(tiny_d)

    return start


def results(out: Path) -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text()) for path in sorted(out.rglob(RESULT))}


def test_a_search_prints_d90_of_each_series_and_a_second_call_does_no_training(
    search: Any, tmp_path: Path
) -> None:
    code, out, err = search()
    assert code == 0, out + err
    made = results(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in made}
    table = out[out.index("tiny · sst2") :]
    assert re.search(r"^ did +fastfood", table, re.M)
    assert re.search(r"^ said +fastfood", table, re.M)
    stages = Counter(
        (found["method"] == "full", found["seed"] >= CHOOSING) for found in made.values()
    )
    assert (stages[True, True], stages[True, False]) == (2, 2)  # one serves both series
    assert stages[False, False] > 0
    again = search()
    assert again.code == 0
    assert again.out[again.out.index("tiny · sst2") :] == table
    assert {path: path.stat().st_mtime_ns for path in results(tmp_path / "out")} == times


def test_a_method_of_peft_is_searched_in_the_sizes_that_it_has(search: Any, tmp_path: Path) -> None:
    own = ["method=lora", "method.peft.head=frozen", "method.peft.lr=0.02"]
    enough = ["protocol=dev", "trainer.epochs=8", "hydra.sweeper.budget=18"]
    code, out, err = search(*own, *enough, "projection=fastfood,partition")
    assert code == 0, out + err
    made = [one for one in results(tmp_path / "out").values() if one["method"] == "lora"]
    assert {one["d"] % 128 for one in made} == {0}
    assert {one["lr"] for one in made} == {0.02}
    assert len(re.findall(r"^ lora ", out, re.M)) == 1  # which reads no projection


def test_a_nested_search_bounds_d90_with_one_run_for_each_series_and_seed(
    search: Any, tmp_path: Path
) -> None:
    nested = ["search=nested", "hydra.sweeper.nested=12", "method=said", "protocol=dev"]
    code, out, err = search(*nested, "trainer.step_ratio=1", "trainer.epochs=8")
    assert code == 0, out + err
    made = results(tmp_path / "out")
    full = [found for found in made.values() if found["method"] == "full"]
    assert {(found["epochs"], len(found["stages"])) for found in full} == {(8, 0)}
    assert Counter(found["seed"] >= CHOOSING for found in full) == {True: 2, False: 2}
    grown = {path: found for path, found in made.items() if found["method"] == "said"}
    assert sorted(found["seed"] for found in grown.values()) == [0, 1]
    for path, found in grown.items():
        stages = found["stages"]
        assert [stages[0]["d"], stages[-1]["d"], len(stages)] == [10, 2000, 12]
        stop_at = OmegaConf.load(path.parent / "config.yaml").trainer.stop_at
        reached = [stage for stage in stages if stage["value"] is not None]
        met = [stage["d"] for stage in reached if stage["value"] >= stop_at]
        # It ends where it meets the threshold, or at the last size.
        assert reached[-1]["d"] == (met[0] if met else 2000)
    assert re.search(r"^ said +fastfood-nested ", out, re.M)


def test_a_failed_run_is_data_and_named_at_the_end(search: Any, tmp_path: Path) -> None:
    code, out, _ = search("hydra.sweeper.rates=[1e30,1]", "method=did")
    statuses = [found["status"] for found in results(tmp_path / "out").values()]
    assert "failed" in statuses
    assert "the training loss is nan" in out
    assert code == 1


def test_a_search_that_was_stopped_by_a_failure_goes_on_when_called_again(
    search: Any, tmp_path: Path
) -> None:
    few = ["hydra.sweeper.budget=2", "method=did", "trainer.epochs=1"]
    search(*few, "on_error=stop", "trainer.full_lr=1e30")
    assert {found["status"] for found in results(tmp_path / "out").values()} == {
        "failed",
        "waiting",
    }
    search(*few, "on_error=stop")
    statuses = [found["status"] for found in results(tmp_path / "out").values()]
    assert statuses.count("done") >= 1


def test_a_search_repeats_what_failed_once_in_each_call(search: Any, tmp_path: Path) -> None:
    once = ["hydra.sweeper.rates=[1e30]", "method=did"]

    def failed() -> dict[Path, str]:
        found = results(tmp_path / "out").items()
        return {path: str(row["started"]) for path, row in found if row["status"] == "failed"}

    search(*once)
    first = failed()
    for path in first:
        path.write_text(path.read_text().replace(first[path], "2000-01-01T00:00:00Z"))
    search(*once)
    assert first
    assert failed().keys() == first.keys()
    assert "2000-01-01T00:00:00Z" not in failed().values()


@pytest.mark.parametrize("override", ["d=100", "seed=1"])
def test_what_the_search_chooses_cannot_be_given(search: Any, override: str) -> None:
    code, _, err = search(override)
    assert code == 2
    assert f"{override}: hydra/sweeper=d90 chooses" in err


def test_a_search_without_m_is_reported(main: Any) -> None:
    code, _, err = main("hydra/sweeper=d90")
    assert code == 2
    assert "hydra/sweeper=d90: several values; add -m to sweep" in err


def test_a_range_beyond_the_model_is_reported_before_any_run(search: Any, tmp_path: Path) -> None:
    code, _, err = search("hydra.sweeper.low=2", "hydra.sweeper.high=10000")
    assert code == 2
    assert "d=2: expected at least" in err
    assert "d=10000: the model has only D=" in err
    assert not (tmp_path / "out").exists()


def test_a_run_ends_after_the_epoch_that_reaches_stop_at(compose: Any, tmp_path: Path) -> None:
    to_the_end = compose(tmp_path)
    reached = run(to_the_end)
    spec = compose(tmp_path, "trainer.stop_at=0.01")
    record = run(spec)
    assert record.last is not None
    assert reached.last is not None
    assert (record.last.epoch, record.epochs) == (1, 2)
    assert reached.last.epoch == 2
    assert record.config_hash != reached.config_hash
    assert record.folder is None or read(record.folder / RESULT) == record
