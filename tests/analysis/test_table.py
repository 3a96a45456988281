import json
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

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


def printed(rows: Sequence[Row]) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(table.show(rows))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def seeded(run: MakeRun, method: str = "did", shift: float = 1.0, **facts: Any) -> list[Record]:
    """Return runs of two seeds that cross the threshold between 300 and 1,000, over `shift`."""
    return [
        run(method, value + seed / 100, d=round(d / shift), seed=seed, **facts)
        for d, value in ((100, 0.62), (300, 0.68), (1000, 0.75), (3000, 0.79))
        for seed in (0, 1)
    ]


def full(run: MakeRun, **facts: Any) -> list[Record]:
    return [run("full", 0.79 + seed / 100, lr=5e-5, seed=seed, **facts) for seed in range(3)]


def test_the_table_says_what_d90_is_and_what_it_rests_on(run: MakeRun) -> None:
    lines = [line.strip() for line in printed(estimate(study(run))).splitlines()]
    assert lines[0] == "minilm · sst2"
    assert lines[1] == (
        "accuracy: full 0.8000 (1 seed, lr 5e-05), 90 % of it 0.7200, trivial 0.5000"
    )
    assert lines[3].split() == ["did", "fastfood", "931", "found", "0.1", "1", "2/2"]
    assert lines[4].split() == ["said", "fastfood", "<=", "700", "below-grid", "0.1", "1", "1/2"]
    assert lines[5] == (
        "did fastfood: the paper's reading 1,000 (700, 1,000]; corrected for chance > 1,000"
    )
    assert (
        "said fastfood: runs not done: d = 5,000, lr = 0.1, seed 0 (failed: loss is NaN)" in lines
    )


def test_the_headline_of_a_series_with_seeds_is_the_fit_with_its_interval(run: MakeRun) -> None:
    (row,) = estimate([*full(run, epochs=3), *seeded(run, epochs=6)])
    low, high = row.interval
    lines = printed([row]).splitlines()
    assert lines[1].strip().startswith("accuracy: full 0.8000 (3 seeds, lr 5e-05, 3 epochs), ")
    assert lines[3].split() == (
        f"did fastfood {row.d90:,} [{low:,}, {high:,}] found 0.1 6 2 8/8".split()
    )
    text = " ".join(printed([row]).split())
    assert f"x{table.width(row):.2f} wide; x{row.parts['seeds']:.2f} by seeds alone, " in text
    assert "by the gaps between d alone" in text
    assert f"d90 {row.sensitivity[0.9]:,.0f}, " in text
    assert f"full -+ 1 point: {row.full_less:,.0f} to {row.full_more:,.0f}" in text


def test_the_widest_numbers_fit_on_one_line_of_100_columns(run: MakeRun) -> None:
    runs = [
        run("said", value + seed / 2e3, d=d, projection="kronecker", lr=0.00123, seed=seed)
        for d, value in {1_000_000: 0.6, 2_000_000: 0.7}.items()
        for seed in range(100)
    ]
    (row,) = estimate([run("full", 0.75), *runs])
    (line,) = [line for line in printed([row]).splitlines() if "found" in line]
    answer = f"{table.estimate_of(row)} found 0.00123 100 200/200"
    assert line.split() == ["said", "kronecker", *answer.split()]
    assert row.level == 0.9


def test_a_chance_corrected_answer_is_shown_where_the_papers_is_trivial(run: MakeRun) -> None:
    curve = [run("did", value, d=d) for d, value in ((10, 0.7), (100, 0.745))]
    text = printed(estimate([run("full", 0.75, trivial=0.69), *curve]))
    assert "trivial" in text
    assert "corrected for chance 95" in text


def test_comparisons_are_shown_with_what_both_series_are(run: MakeRun) -> None:
    runs = [
        one
        for projection in ("fastfood", "dense")
        for method, shift in (("did", 1.0), ("said", 6.0))
        for one in seeded(run, method, shift, projection=projection)
    ]
    text = " ".join(printed(estimate([*full(run), *runs])).split())
    for projection in ("fastfood", "dense"):
        assert f"{projection}: SAID needs 0.1" in text
    for method in ("did", "said"):
        assert f"{method}: no difference can be shown between dense and fastfood" in text


def test_models_are_compared_below_all_tables(run: MakeRun) -> None:
    runs = [
        one
        for model, size, shift in (("small", 10**6, 1.0), ("large", 10**7, 8.0))
        for one in (
            *full(run, model=model, D=size),
            *seeded(run, "said", shift, model=model, D=size),
        )
    ]
    text = printed(estimate(runs))
    after = " ".join(text[text.index("Comparisons") :].split())
    assert after.startswith("Comparisons sst2 said fastfood: large needs 0.1")
    assert text.index("Comparisons") > max(text.index("large ·"), text.index("small ·"))


def test_an_interval_open_at_both_ends_shows_no_bound(run: MakeRun) -> None:
    wild = [run("did", value, d=100, seed=s) for s, value in enumerate((0.55, 0.75, 0.95))]
    (row,) = estimate([run("full", 0.8), *wild])
    assert (row.verdict, row.interval, row.bracket) == ("below-grid", (None, None), (None, 100))
    assert table.estimate_of(row) == "below-grid"


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
    assert (did["verdict"], did["d90"], did["interval"]) == ("found", 931, [None, None])
    assert (did["grid"], did["bracket"], did["level"]) == (1000, [700, 1000], None)
    assert (did["corrected"]["threshold"], did["corrected"]["verdict"]) == (0.77, "above-grid")
    assert (did["done"], did["planned"], did["lr"], did["seeds"]) == (2, 2, 0.1, 1)
    point = {"d": 10**6, "mean": 0.8, "lr": 5e-5, "values": [0.8], "epochs": 0}
    assert did["baseline"] == point
    assert did["curve"][0] == {"d": 700, "mean": 0.6, "lr": 0.1, "values": [0.6], "epochs": 0}
    assert (said["verdict"], said["d90"], said["interval"]) == ("below-grid", None, [None, 700])
    assert "series" not in did


def test_json_without_a_baseline_has_nulls(run: MakeRun) -> None:
    (did, _) = json.loads(table.to_json(estimate(study(run)[1:])))
    assert (did["full"], did["baseline"], did["threshold"]) == (None, None, None)


def test_json_holds_what_the_interval_comes_from_and_the_comparisons(run: MakeRun) -> None:
    rows = estimate([*full(run), *seeded(run), *seeded(run, "said", 6.0)])
    did, said = json.loads(table.to_json(rows))
    assert did["interval"] == list(rows[0].interval)
    assert set(did["parts"]) == {"seeds", "rows", "between"}
    assert set(did["sensitivity"]) >= {"0.85", "0.9"}
    assert did["comparisons"] == []
    (one,) = said["comparisons"]
    assert (one["over"], one["of"], one["to"], one["level"]) == ("method", "SAID", "DID", 0.9)
    low, high = one["interval"]
    assert low < one["ratio"] < high < 1
    assert one["sentence"].startswith("SAID needs 0.1")
