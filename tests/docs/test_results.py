"""Every table of the README and of docs/ is what the committed result files say."""

import json
import re
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.table import show
from said_lightning.runs.index import find
from said_lightning.runs.record import CHOOSING, Part
from said_lightning.subspace.lr_rule import FULL_LR, STEP_RATIO
from said_lightning.tools.bench.table import cells_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
STUDIES = {
    "README.md": ["demo"],
    "docs/index.md": ["demo"],
    "docs/results/peft.md": ["peft", "peft-constant"],
    "docs/results/projections.md": ["projections"],
}


def lines(text: str) -> list[str]:
    """Return the lines that say something, without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def page(name: str) -> str:
    """Return the text of a page of docs/results."""
    return (ROOT / "docs" / "results" / f"{name}.md").read_text(encoding="utf-8")


def quoted(text: str) -> list[tuple[str, str]]:
    """Each study whose d90 a page quotes, and the quoted block."""
    return re.findall(r"```\n\$ said d90 multirun_outputs/(\S+)\n(.*?)```", text, re.S)


@cache
def estimated(study: str) -> list[Row]:
    """Return the series of a study, in whose folders nothing is wrong."""
    records, problems = find(RESULTS / study)
    assert not problems
    return estimate(records)


@pytest.mark.parametrize("study", sorted({name for names in STUDIES.values() for name in names}))
def test_a_d90_table_is_that_of_its_results(study: str, pages: dict[str, str]) -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(show(estimated(study)))
    blocks = [block for text in pages.values() for name, block in quoted(text) if name == study]
    assert blocks
    for block in blocks:
        assert lines(block) == lines(capture.get())


def test_each_study_is_quoted_on_its_page(pages: dict[str, str]) -> None:
    found = {name: [study for study, _ in quoted(text)] for name, text in pages.items()}
    assert {name: studies for name, studies in found.items() if studies} == STUDIES


@pytest.mark.parametrize("name", ["cpu", "cpu-base"])
def test_the_cost_tables_are_those_of_their_measurement(name: str) -> None:
    found = json.loads((RESULTS / "bench" / f"{name}.json").read_text())
    rows = []
    for model, steps in found["steps"].items():
        (full,) = (row["step_s"] for row in steps if row["contender"] == "full")
        rows += [f"| {model} | {' | '.join(cells_of(row, full))} |" for row in steps]
    for model, times in found["projection_s"].items():
        both = [
            f"{(times[f'project {d}'] + times[f'pull back {d}']) * 1e3:.0f}"
            for d in (100, 1000, 10_000, 100_000)
        ]
        rows.append(f"| {model} | {times['copy'] * 1e3:.1f} | {' | '.join(both)} |")
    assert [row for row in rows if row not in lines(page("steps"))] == []


def test_the_simulated_figures_are_those_of_the_results() -> None:
    grids, ratios = (
        json.loads((RESULTS / "simulated" / f"{name}.json").read_text())
        for name in ("grids", "ratios")
    )
    text = page("simulated")
    for one in (grids["rows"], grids["metrics"], ratios):
        narrow = one["narrower_than_1.25"]
        shown = f"{_percent(narrow['held'])} of {narrow['series']}" if narrow["series"] else "none"
        thirds = ", ".join(_percent(third["held"]) for third in one["thirds_by_width"])
        assert f"| {one['series']:,} | {_percent(one['held'])} | {shown} | {thirds} |" in text
    for key in ("no_difference_where_none", "difference_found_beyond_2"):
        assert f"in {_percent(ratios[key])}" in text
    real = json.loads((RESULTS / "simulated" / "residuals.json").read_text())
    high, middle = (f"by {100 * real['standard_deviation'][p]:.1f}" for p in ("high", "middle"))
    for one in (f"as {sum(real['runs'].values())} committed real runs", f"{high} points", middle):
        assert one in text


def test_the_ratios_of_projections_are_those_of_their_runs() -> None:
    text = lines(page("projections"))
    found = [
        f"| {row.task} | {one.of} / {one.to} | {one.ratio:.2f} "
        f"| {one.interval[0]:.2f} to {one.interval[1]:.2f} |"
        for row in estimated("projections")
        for one in row.comparisons
    ]
    assert len(found) == 6
    assert [row for row in found if row not in text] == []


CONSTANT = (0.001665, 0.005, 0.015, 0.045, 0.135, 0.405)


def test_the_rates_of_uni_lora_are_those_of_the_runs_that_chose_them() -> None:
    """The best one falls as 1/sqrt(d), as conf/method/unilora.yaml has it."""
    records, _ = find(RESULTS / "peft-constant")
    chose: dict[int, dict[float, list[float]]] = {}
    for one in records:
        if one.method == "unilora" and CHOOSING <= one.seed < 2 * CHOOSING:
            assert one.d is not None
            assert one.lr is not None
            chose.setdefault(one.d, {}).setdefault(one.lr, []).append(_value(one.select))
    text = lines(page("peft"))
    best = {}
    for d, cell in chose.items():
        means = {lr: fmean(cell[lr]) for lr in CONSTANT if lr in cell}
        shown = " | ".join(f"{means[lr]:.3f}" if lr in means else "" for lr in CONSTANT)
        best[d] = max(means, key=means.__getitem__) * d**0.5
        assert f"| {d:,} | {shown} | {best[d]:.1f} |" in text
    assert len(best) == 2
    unilora = OmegaConf.load(ROOT / "conf" / "method" / "unilora.yaml").peft
    assert list(best.values()) == pytest.approx([unilora.lr * unilora.lr_at**0.5] * 2, rel=0.05)


RATIOS = (4.33, 13, 39, 117)


def test_the_rates_are_those_of_the_runs_and_the_default_is_near_the_best_of_each() -> None:
    records, _ = find(RESULTS / "rates")
    scores: dict[tuple[str, str, int], dict[float, list[tuple[float, float]]]] = {}
    for one in records:
        assert one.rule is not None
        assert one.d is not None
        cell = scores.setdefault((one.task, one.method, one.d), {})
        both = _value(one.select), _value(one.report)
        cell.setdefault(round(one.rule / FULL_LR, 2), []).append(both)
    assert len(scores) == 12
    text = lines(page("rates"))
    for (task, method, d), cell in scores.items():
        select, report = (
            [fmean(pair[part] for pair in cell[ratio]) for ratio in RATIOS] for part in (0, 1)
        )
        (seeds,) = {len(pairs) for pairs in cell.values()}
        ours = report[RATIOS.index(STEP_RATIO)]
        shown = " | ".join(f"{mean:.3f}" for mean in report)
        lost = (max(report) - ours) * 100
        assert f"| {task} | {method.upper()} | {d:,} | {seeds} | {shown} | {lost:.1f} |" in text
        assert lost <= 1
        assert report[select.index(max(select))] - ours <= 0.01


def _value(part: Part | None) -> float:
    assert part is not None
    assert part.value is not None
    return part.value


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
