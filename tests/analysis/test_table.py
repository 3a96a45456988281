import json
from collections.abc import Callable, Iterable
from io import StringIO

from rich.console import Console

from said_lightning.analysis import table
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Record

MakeRun = Callable[..., Record]


def study(run: MakeRun, **facts: str) -> list[Record]:
    """Return DID found at 1,000, SAID at most 700, and a run of SAID that failed above that."""
    return [
        run("full", 0.8, lr=5e-5, **facts),
        run("did", 0.6, d=700, **facts),
        run("did", 0.75, d=1000, **facts),
        run("said", 0.75, d=700, **facts),
        run("said", None, d=5000, status="failed", reason="loss is NaN", **facts),
    ]


def printed(rows: Iterable[Row]) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(table.show(rows))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_table_says_what_d90_is_and_what_it_rests_on(run: MakeRun) -> None:
    lines = [line.strip() for line in printed(estimate(study(run))).splitlines()]
    assert lines[0] == "minilm · sst2"
    assert lines[1] == (
        "accuracy: full 0.8000 (1 seed, lr 5e-05), 90 % of it 0.7200, trivial 0.5000"
    )
    assert lines[3].split() == (
        ["did", "fastfood", "1,000", "(700,", "1,000]", "found", "0.1", "1", "2/2"]
    )
    assert lines[4].split() == ["said", "fastfood", "<=", "700", "below-grid", "1", "1/2"]
    assert lines[5] == (
        "did fastfood: fitted 931, chance-corrected > 1,000; one seed: no seed variance in these"
    )
    assert lines[7] == (
        "said fastfood: runs not done: d = 5,000, lr = 0.1, seed 0 (failed: loss is NaN)"
    )


def test_the_widest_numbers_fit_on_one_line_of_100_columns(run: MakeRun) -> None:
    low, high = 1_000_000, 2_000_000
    runs = [
        run("said", value, d=d, projection="kronecker", lr=0.000123, seed=seed)
        for d, value in {low: 0.6, high: 0.75}.items()
        for seed in range(500)
    ]
    (line,) = [
        line
        for line in printed(estimate([run("full", 0.8), *runs])).splitlines()
        if "found" in line
    ]
    answer = f"{high:,} ({low:,}, {high:,}] found 0.000123 500 1000/1000"
    assert line.split() == ["said", "kronecker", *answer.split()]


def test_a_chance_corrected_answer_is_shown_where_the_papers_is_trivial(run: MakeRun) -> None:
    curve = [run("did", value, d=d) for d, value in ((10, 0.7), (100, 0.745))]
    text = printed(estimate([run("full", 0.75, trivial=0.69), *curve]))
    assert "trivial" in text
    assert "chance-corrected 95" in text


def test_a_note_about_every_row_is_shown_once_and_without_names(run: MakeRun) -> None:
    runs = [*study(run)[:4], run("full", None, status="running", seed=1, lr=5e-5)]
    text = printed(estimate(runs))
    assert text.count("full fine-tuning not done: lr = 5e-05, seed 1 (running)") == 1
    assert "did fastfood: full fine-tuning" not in text


def test_a_reason_with_brackets_is_shown_as_it_is(run: MakeRun) -> None:
    lost = run("did", None, d=800, status="failed", reason="[bold]index [0] out of range")
    assert "[bold]index [0] out of range" in printed(estimate([*study(run), lost]))


def test_without_full_fine_tuning_the_table_says_so(run: MakeRun) -> None:
    assert "accuracy: no full fine-tuning, trivial 0.5000" in printed(estimate(study(run)[1:]))


def test_json_is_a_list_of_objects_with_plain_numbers(run: MakeRun) -> None:
    did, said = json.loads(table.to_json(estimate(study(run))))
    assert {key: did[key] for key in ("model", "task", "method", "projection", "metric")} == {
        "model": "minilm",
        "task": "sst2",
        "method": "did",
        "projection": "fastfood",
        "metric": "accuracy",
    }
    assert (did["full"], did["threshold"], did["trivial"]) == (0.8, 0.72, 0.5)
    assert (did["verdict"], did["d90"], did["interval"]) == ("found", 1000, [700, 1000])
    assert (did["fitted"], did["bracket"], did["level"]) == (931, [700, 1000], None)
    assert (did["corrected"]["threshold"], did["corrected"]["verdict"]) == (0.77, "above-grid")
    assert (did["done"], did["planned"], did["lr"], did["seeds"]) == (2, 2, 0.1, 1)
    assert did["baseline"] == {"d": 10**6, "mean": 0.8, "lr": 5e-5, "values": [0.8]}
    assert did["curve"][0] == {"d": 700, "mean": 0.6, "lr": 0.1, "values": [0.6]}
    assert (said["verdict"], said["d90"], said["interval"]) == ("below-grid", None, [None, 700])


def test_json_without_a_baseline_has_nulls(run: MakeRun) -> None:
    (did, _) = json.loads(table.to_json(estimate(study(run)[1:])))
    assert (did["full"], did["baseline"], did["threshold"]) == (None, None, None)


def test_with_seeds_the_fit_is_shown_with_its_interval(run: MakeRun) -> None:
    runs = [
        run(method, value + seed / 100, seed=seed, **facts)
        for method, value, facts in (
            ("full", 0.8, {}),
            ("did", 0.6, {"d": 100}),
            ("did", 0.78, {"d": 1000}),
        )
        for seed in (0, 1)
    ]
    (row,) = estimate(runs)
    low, high = row.interval
    line = table.fitted(row)
    assert line.startswith(f"did fastfood: fitted {row.fitted:,} [{low:,}, ")
    assert line.endswith("; 90 % intervals")
    assert high is None or high <= 1000
