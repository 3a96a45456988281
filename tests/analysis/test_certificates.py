"""The report shows certificates, and where the lowest certified error is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from said_lightning.analysis.report.sections.certificates import UNPAID, errors
from said_lightning.analysis.report.sources import Sources, number
from said_lightning.runs.certificate import CERTIFICATE, Certificate, write
from said_lightning.runs.index import CONFIG
from said_lightning.runs.record import Record
from tests.analysis.drawing import drawn, lines

MakeRun = Callable[..., Record]
COMMITTED = next((Path(__file__).parents[2] / "results" / "demo").rglob(f"said-*/{CONFIG}"))
PARTS = (
    "model",
    "task",
    "method",
    "projection",
    "trainer",
    "d",
    "seed",
    "lr",
    "protocol",
    "levels",
)
ONE = Certificate(
    model="minilm",
    task="sst2",
    method="said",
    projection="fastfood",
    d=200,
    seed=0,
    artifact="quantised.safetensors",
    artifact_bytes=900,
    artifact_sha256="0",
    model_sha256="0",
    data_sha256="0",
    rows=60_000,
    errors=12_000,
    train_error=0.2,
    majority_error=0.44,
    dev_rows=800,
    dev_errors=168,
    dev_error=0.21,
    dev_majority_error=0.49,
    levels=5,
    message_bits=600,
    searched={part: 3 if part == "d" else 1 for part in PARTS},
    search_bits=1.6,
    confidence=0.95,
    catoni=0.26,
    kl_inverse=0.25,
    bound=0.25,
    rate=0.06,
    vacuous=False,
)


def sources(run: MakeRun, root: Path, found: list[Certificate]) -> Sources:
    """Return runs in folders, each with its certificate."""
    records = []
    for index, one in enumerate(found):
        folder = root / f"run{index}"
        folder.mkdir()
        write(one, folder)
        config = yaml.safe_load(COMMITTED.read_text()) | {"d": one.d, "seed": one.seed}
        (folder / CONFIG).write_text(yaml.safe_dump(config))
        records.append(replace(run("said", 0.8, d=one.d), folder=folder))
    return number(records, root)


def test_the_lowest_certified_error_is_marked(run: MakeRun, tmp_path: Path) -> None:
    bounds = {100: 0.3, 200: 0.25, 500: 0.5}
    found = [replace(ONE, d=d, bound=bound, vacuous=bound > 0.44) for d, bound in bounds.items()]
    section = errors([], sources(run, tmp_path, found))
    assert section is not None
    (table,) = section.tables
    verdicts = {row[0]: row[table.columns.index("verdict")] for row in table.rows}
    assert verdicts == {"100": "-", "200": "lowest", "500": "vacuous"}
    (plot,) = section.plots
    drawing = lines(drawn(plot))
    assert dict(drawing["certified"]) == bounds
    assert drawing["lowest certified, d = 200"] == [(200, 0.25)]


def test_what_pays_for_fewer_runs_than_there_are_is_never_the_lowest(
    run: MakeRun, tmp_path: Path
) -> None:
    paid = ONE.searched | {"seed": 3}
    found = [
        replace(ONE, seed=0, bound=0.2),  # made before there was a second seed
        replace(ONE, seed=1, bound=0.3, searched=paid),
        replace(ONE, seed=2, bound=0.4, searched=paid),
    ]
    section = errors([], sources(run, tmp_path, found))
    assert section is not None
    (table,) = section.tables
    assert [row[table.columns.index("verdict")] for row in table.rows] == [UNPAID, "lowest", "-"]
    assert lines(drawn(section.plots[0]))["lowest certified, d = 200"] == [(200, 0.3)]


def test_where_the_runs_cannot_be_counted_no_certificate_is_the_lowest(
    run: MakeRun, tmp_path: Path
) -> None:
    found = sources(run, tmp_path, [ONE, replace(ONE, d=100)])
    (tmp_path / "run1" / CONFIG).unlink()
    section = errors([], found)
    assert section is not None
    table, broken = section.tables
    assert "lowest" not in {row[table.columns.index("verdict")] for row in table.rows}
    assert broken.rows[0][0] == "all of sst2"


def test_a_row_shows_bytes_bits_and_both_errors(run: MakeRun, tmp_path: Path) -> None:
    section = errors([], sources(run, tmp_path, [ONE]))
    assert section is not None
    (row,) = section.tables[0].rows
    cells = dict(zip(section.tables[0].columns, row, strict=True))
    assert cells["bytes of the file"] == "900"
    assert cells["bits for each number"] == "3.00"
    assert (cells["certified error"], cells["observed error"]) == ("0.2500", "0.2100")
    assert cells["run"] == "1"


def test_a_broken_certificate_is_listed(run: MakeRun, tmp_path: Path) -> None:
    found = sources(run, tmp_path, [ONE])
    (tmp_path / "run0" / CERTIFICATE).write_text('{"format": 1, "bound": 0.01}')
    section = errors([], found)
    assert section is not None
    assert section.tables[0].caption == "Certificates that cannot be read"


def test_without_a_certificate_there_is_no_section(run: MakeRun, tmp_path: Path) -> None:
    assert errors([], number([replace(run("said", 0.8), folder=tmp_path)], tmp_path)) is None
