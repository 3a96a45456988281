"""Every table in the README and of section 5 is what the committed result files say."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.table import bracket, estimate_of, show
from said_lightning.certify.verdict import verdict
from said_lightning.runs import certificate
from said_lightning.runs.index import find

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = (ROOT / "docs" / "section5.md").read_text(encoding="utf-8")
SECTION_5 = ROOT / "results" / "section5"


def lines(text: str) -> list[str]:
    """The lines that say something, without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("study", "block"), re.findall(r"```\n\$ said d90 (\S+)\n(.*?)```", README, re.S)
)
def test_a_d90_table_is_that_of_its_results(study: str, block: str) -> None:
    records, problems = find(ROOT / study.replace("multirun_outputs", "results"))
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(show(estimate(records)))
    assert not problems
    assert lines(block) == lines(capture.get())


def test_six_studies_are_quoted() -> None:
    assert re.findall(r"\$ said d90 \S+/(\S+)", README) == [
        "demo",
        "glue-small",
        "glue-grid",
        "sst2",
        "mrpc",
        "nested",
    ]


def test_the_search_and_its_grid_are_told_as_they_were_run() -> None:
    for name, study in (("search", "glue-small"), ("grid", "glue-grid")):
        records, _ = find(ROOT / "results" / study)
        lane = [one for one in records if (one.task, one.method) == ("sst2", "said")]
        hours = sum(one.wall_s or 0 for one in lane) / 3600
        (row,) = (one for one in estimate(records) if (one.task, one.method) == ("sst2", "said"))
        told = f"| {name} | {len(lane)} | {hours:.2f} | {bracket(row)} | {estimate_of(row)} |"
        assert told in lines(README)


def test_the_search_on_a_cpu_is_told_as_it_was_read() -> None:
    records, _ = find(ROOT / "results" / "glue-cpu")
    did, said = estimate(records)
    assert f"SAID {estimate_of(said)} and DID {estimate_of(did)}" in " ".join(README.split())


def test_the_rate_table_is_that_of_its_results() -> None:
    told = {
        (int(d.replace(",", "")), float(rate)): float(accuracy)
        for d, rate, accuracy in re.findall(
            r"^\| ([\d,]+) \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \|$", README, re.M
        )
    }
    found = {}
    for path in (ROOT / "results" / "rate").rglob("result.json"):
        record = json.loads(path.read_text())
        found[record["d"], float(f"{record['lr']:.2g}")] = round(record["metric"]["value"], 3)
    assert told == found


def test_the_cost_tables_are_those_of_their_measurement() -> None:
    found = json.loads((ROOT / "results" / "bench" / "cpu.json").read_text())
    rows = [
        f"| {name} | {step:.2f} | {step / found['step_s']['full']:.2f} "
        f"| {found['peak_bytes'][name] / 1e6:,.0f} |"
        for name, step in found["step_s"].items()
    ]
    for model, times in found["projection_s"].items():
        both = [
            f"{(times[f'project {d}'] + times[f'pull back {d}']) * 1e3:.0f}"
            for d in (100, 1000, 10_000, 100_000)
        ]
        rows.append(f"| {model} | {times['copy'] * 1e3:.1f} | {' | '.join(both)} |")
    assert [row for row in rows if row not in lines(README)] == []


def test_the_certificates_are_those_of_their_results() -> None:
    quoted = re.findall(r"```\n(error <= .*?)```", README, re.S)
    found = [
        lines(verdict(certificate.read(path)))
        for path in sorted((ROOT / "results").rglob(certificate.CERTIFICATE))
    ]
    assert len(quoted) == len(found)
    for block in quoted:
        assert any(set(lines(block)) <= set(told) for told in found)


def test_the_simulated_figures_are_those_of_the_results() -> None:
    folder = ROOT / "results" / "simulated"
    designs = json.loads((folder / "coverage.json").read_text())
    found = json.loads((folder / "search.json").read_text())
    held = [design["held"] for design in designs]
    kinks = min(design["held_by_family"]["kinks"] for design in designs)
    noisy = json.loads((folder / "search-noisy.json").read_text())
    told = (
        *(
            study["within_one_grid_step"][pair]
            for pair in ("search, grid", "grid, grid again", "search, truth", "grid, truth")
            for study in (found, noisy)
        ),
        *(min(held), max(held), found["search_interval_holds_truth"], kinks),
    )
    section = README[README.index("On 1,000 simulated") : README.index("## Weights")]
    shares = [float(share) / 100 for share in re.findall(r"([\d.]+) %", section) if "." in share]
    assert shares == pytest.approx([round(share, 3) for share in told])


def test_the_tables_of_section_5_are_those_of_its_results() -> None:
    records, _ = find(SECTION_5)
    sections = build(estimate(records), records, SECTION_5)
    found = [row for section in sections for table in section.tables for row in table.rows]
    told = re.findall(r"^\| (.*(?:pretrained-|minilm).*) \|$", DOCS, re.M)
    assert len(told) == 6 + 6 + 14 + 2 + 4 + 5 + 4
    for line in told:
        cells = tuple(line.split(" | "))
        assert cells in [row[: len(cells)] for row in found]


def test_the_rates_of_the_spaces_are_those_of_their_results() -> None:
    records, _ = find(ROOT / "results" / "rate-spaces")
    runs = sorted((one for one in records if one.rule), key=lambda one: one.rule or 0)
    spaces = sorted({one.space for one in runs})
    found = {
        space: [f"{one.metric.value:.3f}" for one in runs if one.space == space] for space in spaces
    }
    told = dict(re.findall(r"^\| (bias|head|lora) \| ([\d. |]+) \|$", DOCS, re.M))
    assert {space: cells.split(" | ") for space, cells in told.items()} == found
