"""`measure`, the protocol as one function, on toys in place of training."""

import doctest
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from said_lightning import measure
from said_lightning.errors import UserError
from said_lightning.search.jobs import Job

RANGE: dict[str, Any] = {"low": 50, "high": 20_000, "trivial": 0.5}
TOY = """
import math, sys, time
from said_lightning import measure

def train(job):
    learned = 1 / (1 + (100 / (job.d or 1e9)) ** 1.5)
    lost = 0.02 * math.log(job.rate / 2) ** 2
    return 0.5 + 0.35 * learned - lost + 0.004 * math.sin(7 * job.seed + (job.d or 0))

start = time.perf_counter()
answer = measure(train, low=50, high=20_000, trivial=0.5)
seconds = time.perf_counter() - start
"""


def train(job: Job) -> float:
    """Train on a curve whose d90 is about 213."""
    learned = 1 / (1 + (100 / (job.d or 1e9)) ** 1.5)
    lost = 0.02 * math.log(job.rate / 2) ** 2
    return 0.5 + 0.35 * learned - lost + 0.004 * math.sin(7 * job.seed + (job.d or 0))


def rows(job: Job) -> Any:
    """Return a score of 0 or 1 for each of 500 rows, with about the same mean."""
    hard = np.random.default_rng(0).random(500)
    return (hard < train(job)).astype(float)


def test_a_toy_of_ten_lines_is_measured_in_under_a_second_and_without_torch() -> None:
    program = TOY + (
        "slow = {'torch', 'lightning', 'hydra', 'omegaconf', 'transformers'} & set(sys.modules)\n"
        "print(answer.verdict, len(answer.runs), round(answer.d90), seconds, *slow)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stderr == ""
    verdict, runs, d90, seconds, *slow = process.stdout.split()
    assert (verdict, slow) == ("found", [])
    assert int(runs) >= 60
    assert 150 < int(d90) < 300
    assert float(seconds) < 1


@pytest.mark.parametrize("objective", [train, rows])
def test_scores_may_be_numbers_or_rows(objective: Any) -> None:
    answer = measure(objective, **RANGE)
    assert answer.verdict == "found"
    assert answer.d90 is not None
    assert 150 < answer.d90 < 300
    assert all(isinstance(metric, float) for metric in answer.runs.values())


def test_the_examples_of_the_function_and_of_its_page_give_what_they_show() -> None:
    page = Path(__file__).parents[2] / "docs" / "guides" / "measure.md"
    ran = doctest.testfile(str(page), module_relative=False)
    assert (ran.failed, ran.attempted > 0) == (0, True)
    ran = doctest.testmod(sys.modules["said_lightning.search.measure"])
    assert (ran.failed, ran.attempted > 0) == (0, True)


def test_an_answer_prints_what_it_rests_on() -> None:
    answer = measure(train, **RANGE)
    text = str(answer)
    low, high = answer.interval
    assert text.startswith(f"d90 {answer.d90:,} [{low:,}, {high:,}]  found\n")
    assert f"full {answer.full:.4f}" in text
    assert f"{len(answer.runs)} runs in all" in text
    assert "d85" in text


def test_the_same_training_gives_the_same_answer() -> None:
    assert str(measure(train, **RANGE)) == str(measure(train, **RANGE))


class KilledError(Exception):
    """The process ends."""


@pytest.mark.parametrize("after", [1, 20, 55])
def test_a_measurement_that_was_killed_goes_on_without_repeating_a_run(
    after: int, tmp_path: Path
) -> None:
    log, made = tmp_path / "runs.jsonl", list[Job]()

    def once(job: Job) -> Any:
        if len(made) == after:
            raise KilledError
        made.append(job)
        return None if len(made) == 3 else rows(job)

    with pytest.raises(KilledError):
        measure(once, log=log, **RANGE)
    with log.open("a") as file:
        file.write('{"stage": "rat')  # cut off while it was written
    after = 10**6
    answer = measure(once, log=log, **RANGE)
    assert len(made) == len(set(made)) == len(answer.runs)
    assert str(measure(lambda job: pytest.fail("a run was repeated"), log=log, **RANGE)) == str(
        answer
    )
    whole = list[Job]()

    def again(job: Job) -> Any:
        whole.append(job)
        return None if len(whole) == 3 else rows(job)

    assert str(measure(again, **RANGE)) == str(answer)


def noisy(job: Job) -> float:
    """Train on the same curve; runs scatter by a point and a half."""
    return train(job) + 0.02 * math.sin(17 * job.seed + 11 * (job.d or 1) + 5 * job.rate)


def test_the_interval_allows_for_rates_that_are_not_quite_the_best() -> None:
    answer, given = measure(noisy, **RANGE), measure(noisy, rates=(2.0,), **RANGE)
    assert answer.estimate is not None
    assert given.estimate is not None
    low, high = answer.interval
    assert (low or 0) < round(answer.estimate.low or 1)
    assert (high or 1e9) > round(answer.estimate.high or 1)
    assert given.interval == (round(given.estimate.low or 0), round(given.estimate.high or 0))


def test_a_width_that_is_asked_for_is_paid_for_in_runs_with_further_seeds() -> None:
    usual, narrow = (measure(noisy, budget=1000, width=width, **RANGE) for width in (None, 1.4))
    further = set(narrow.runs) - set(usual.runs)
    assert set(usual.runs) < set(narrow.runs)
    assert all(job.stage == "confirm" and job.seed >= 5 for job in further)
    assert usual.estimate is not None
    assert narrow.estimate is not None
    assert narrow.estimate.width < usual.estimate.width


def test_a_log_goes_on_with_a_larger_budget_and_a_narrower_width(tmp_path: Path) -> None:
    log, made = tmp_path / "runs.jsonl", list[Job]()

    def counted(job: Job) -> float:
        made.append(job)
        return train(job) + 0.01 * math.sin(31 * job.seed + (job.d or 0) + 3 * job.rate)

    short = measure(counted, log=log, budget=30, **RANGE)
    assert short.verdict == "incomplete"
    usual = measure(counted, log=log, **RANGE)
    narrow = measure(counted, log=log, budget=500, width=1.2, **RANGE)
    assert set(usual.runs) <= set(narrow.runs)
    assert len(usual.runs) < len(narrow.runs)
    assert len(made) == len(set(made))


@pytest.mark.parametrize("line", ["{", "[1]", '{"stage": "rates"}', '{"scores": 1, "x": 2}'])
def test_a_log_of_something_else_is_refused_by_its_line(line: str, tmp_path: Path) -> None:
    log = tmp_path / "runs.jsonl"
    measure(train, log=log, **RANGE)
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(UserError, match=r"runs.jsonl, line 2: expected a run") as error:
        measure(train, log=log, **RANGE)
    assert len(error.value.messages) == 1


def test_the_log_has_a_line_for_each_run(tmp_path: Path) -> None:
    log = tmp_path / "runs.jsonl"
    answer = measure(rows, log=log, **RANGE)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == len(answer.runs)
    assert {line["stage"] for line in lines} == {"rates", "locate", "confirm"}
    assert all(len(line["scores"]) == 500 for line in lines)


def test_every_wrong_argument_is_reported_at_once_before_any_run() -> None:
    wrong: dict[str, Any] = {
        "low": 10,
        "high": 5,
        "rates": (1.0, -1.0),
        "lengths": (),
        "seeds": 1,
        "width": 1.0,
    }
    with pytest.raises(UserError) as error:
        measure(lambda job: pytest.fail("a run was made"), budget=0, corrected=True, **wrong)
    for key in (*wrong, "budget", "corrected"):
        assert any(f"{key}=" in message for message in error.value.messages)


@pytest.mark.parametrize("score", ["good", [[0.1]], [], {}])
def test_what_is_no_score_is_refused_with_its_job(score: Any) -> None:
    with pytest.raises(UserError, match=r"Job\(stage='rates', .*expected a number, an array"):
        measure(lambda job: score, **RANGE)
