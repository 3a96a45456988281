"""The studies of section 5 of arXiv 2012.13255 as sections, where there are runs for them.

Each is made of the series that are there, whatever sweep they came from: d90 over pre-training and
over the model's size, and series that differ in projection, gradient or space alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from said_lightning.analysis.comparison import family, updates
from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.canvas import Plot, look
from said_lightning.analysis.plots.spans import OPEN, over
from said_lightning.analysis.report.layout import Section, Table
from said_lightning.analysis.report.sections.generalisation import generalisation
from said_lightning.analysis.report.series_view import (
    COLUMNS,
    NO_VALUE,
    Key,
    drawn,
    grouped,
    line,
)
from said_lightning.analysis.report.sources import Sources, behind, cite
from said_lightning.analysis.table import label
from said_lightning.runs.labels import NESTED

RELEASED = "released-"
ARMS = f"A point's arms span its 90 % interval. {OPEN}"


def pretraining(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return section 5.1: d90 over the steps of one pre-training run, where two were measured."""

    def key(row: Row) -> Key | None:
        return None if _step(row) is None else (family(row), row.task, label(row))

    text = (
        "d90 of one model at several steps of its pre-training, each against its own full "
        f'fine-tuning. "{NO_VALUE}": full fine-tuning did not beat the majority class. Step 0 is '
        "drawn at 1."
    )
    placed = [(step, row) for row in rows if (step := _step(row)) is not None]
    return _over("d90 over pre-training", text, "step", placed, key, sources)


def _step(row: Row) -> int | None:
    """Return a row's step of pre-training; None for a model that has none."""
    return None if row.step is None else updates(row.step)


def size(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return section 5.2: d90 over the number of weights, where two sizes were measured."""
    text = "d90 over D, the number of the model's weights, each against its own full fine-tuning."
    # A checkpoint is no size of its own, but any two other models may be compared.
    placed = [(row.D, row) for row in rows if row.D and _step(row) is None]
    return _over(
        "d90 over size", text, "D", placed, lambda row: ("", row.task, label(row)), sources
    )


def _over(
    title: str,
    text: str,
    axis: str,
    placed: list[tuple[int, Row]],
    key: Callable[[Row], Key | None],
    sources: Sources,
) -> Section | None:
    """Return d90 over a number that each row has, for rows of one key; None where none are."""
    numbers = {id(row): number for number, row in placed}
    tables: list[Table] = []
    plotted: dict[str, list[tuple[str, list[tuple[int, Row]]]]] = defaultdict(list)
    for (group, task, who), found in grouped([row for _, row in placed], key).items():
        ordered = sorted(((numbers[id(row)], row) for row in found), key=lambda one: one[0])
        if ordered[0][0] == ordered[-1][0]:
            continue
        plotted[task].append((f"{group} {who}".strip(), ordered))
        tables.append(
            Table(
                " · ".join(part for part in (group, task, who) if part),
                (axis, *COLUMNS),
                [(f"{number:,}", *line(row, sources)) for number, row in ordered],
            )
        )
    plots = [
        _plot(f"{title} · {task}", axis, series, sources)
        for task, series in sorted(plotted.items())
        if any(drawn(row) for _, ordered in series for _, row in ordered)
    ]
    return Section(title, f"{text} {ARMS}", tables, plots) if tables else None


def _plot(
    title: str, axis: str, series: list[tuple[str, list[tuple[int, Row]]]], sources: Sources
) -> Plot:
    """Return d90 with its interval over a number, a line for each series that has a d90."""
    known: dict[str, list[tuple[int | str, Row]]] = {
        who: [(number, row) for number, row in ordered if drawn(row)] for who, ordered in series
    }
    known = {who: points for who, points in known.items() if points}
    runs = cite(behind(sources, [row for points in known.values() for _, row in points]))
    return over(title, axis, known, [look(index) for index in range(len(known))], runs)


@dataclass(frozen=True)
class Comparison:
    """A study of series alike in `fixed` that differ in `what`; None there has no part in it."""

    title: str
    text: str
    column: str
    what: Callable[[Row], str | None]
    fixed: Callable[[Row], str]


def _projection(row: Row) -> str | None:
    map_ = row.projection or ""
    # A run whose d grew has the same projection, but another kind of d90.
    return None if map_.startswith(RELEASED) or map_.endswith(f"-{NESTED}") else map_


def _gradient(row: Row) -> str | None:
    map_ = row.projection or ""
    return map_.removeprefix(RELEASED) if map_.startswith(RELEASED) else None


COMPARED = (
    Comparison(
        "The wrong gradient",
        "The projection of the code that circulates, with the exact gradient and with its own, "
        f"held to the same threshold, {SHARE * 100:g} % of the same full fine-tuning.",
        "gradient",
        _gradient,
        lambda row: row.space,
    ),
    Comparison(
        "Projections",
        "The same model, task and method through different projections.",
        "projection",
        _projection,
        lambda row: row.space,
    ),
    Comparison(
        "Spaces",
        "The same projection into all weights, LoRA's factors, the biases or the head alone, each "
        "held to full fine-tuning of all weights.",
        "space",
        lambda row: row.space,
        lambda row: row.projection or "",
    ),
)


def compared(study: Comparison, rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return a section that compares series, where there are two to compare."""

    def key(row: Row) -> Key | None:
        same = (row.model, row.task, row.method, study.fixed(row))
        return None if study.what(row) is None else same

    tables, plots = [], []
    for same, found in grouped(rows, key).items():
        title = " · ".join(part for part in same if part != "all")
        lines = [(study.what(row) or "", *line(row, sources)) for row in found]
        tables.append(Table(title, (study.column, *COLUMNS), lines))
        if known := [(study.what(row) or "", row) for row in found if drawn(row)]:
            runs = cite(behind(sources, [row for _, row in known]))
            plots.append(
                over(f"{study.title} · {title}", study.column, {"": known}, [look(0)], runs)
            )
    return Section(study.title, f"{study.text} {ARMS}", tables, plots) if tables else None


Study = Callable[[Sequence[Row], Sources], Section | None]
STUDIES: tuple[Study, ...] = (
    *(pretraining, size, generalisation),
    *(partial(compared, one) for one in COMPARED),
)
