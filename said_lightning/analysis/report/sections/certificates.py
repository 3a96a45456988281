"""The section on certificates: bytes, bits, and the certified against the observed error."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.facts import Points
from said_lightning.analysis.plots.facts import lines as plot_of
from said_lightning.analysis.report.layout import Section, Table
from said_lightning.analysis.report.sources import Source, Sources, cite
from said_lightning.config.selection import count, unpaid
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, Certificate, read

TEXT = (
    "A certified run is a message of that many bits, and its error on new rows is at most the "
    "certified one with the given probability, where rows are drawn independently as the training "
    "rows were; observed is the error on the dev rows. A certificate is vacuous where it is no "
    "better than always giving the training rows' majority class. The lowest certified error need "
    "not be at d90: a longer message lowers the train error and raises the price. Choosing "
    "a run by its certificate is paid for, since every run of the sweep is. One that was made when "
    "there were fewer runs than are reported here does not pay for them, and is never the lowest."
)
UNPAID = "paid for fewer runs than there are: certify again"

# A certified run, its certificate, and whether that pays for the choice among all runs here.
Found = tuple[Source, Certificate, bool]


def errors(_: Sequence[Row], sources: Sources) -> Section | None:
    """Return the section on certified runs; None where no run is certified."""
    series: dict[str, list[Found]] = defaultdict(list)
    broken: list[tuple[str, str]] = []

    @cache
    def counts(task: str) -> dict[str, int] | None:
        try:
            return count((source.record for source in sources), task)
        except UserError as error:
            broken.extend((f"all of {task}", message) for message in error.messages)
            return None

    for source in sources:
        path = source.record.folder and source.record.folder / CERTIFICATE
        if path is None or not path.exists():
            continue
        try:
            one = read(path)
        except UserError as error:
            broken += [(cite([source]), message.split(": ", 1)[-1]) for message in error.messages]
            continue
        label = f"{one.model} · {one.task} · {one.method.upper()} {one.projection}"
        if source.record.space != "all":
            label += f" in {source.record.space}"
        there = counts(one.task)
        series[label].append((source, one, there is not None and not unpaid(one.searched, there)))
    tables, drawn = [], []
    for label, found in sorted(series.items()):
        found.sort(key=lambda pair: (pair[1].d, pair[0].number))
        tables.append(table(label, found))
        runs = cite(source for source, _, _ in found)
        axes = ("d, trained numbers (log scale)", "error")
        drawn.append(plot_of(label, axes, lines(found), runs, over_d=True))
    if broken:
        tables.append(Table("Certificates that cannot be read", ("run", "reason"), broken))
    return Section("Certified error", TEXT, tables, drawn) if tables else None


def lowest(found: list[Found]) -> Certificate | None:
    """Return the certificate of the lowest error, of those that pay for the choice."""
    return min((one for _, one, paid in found if paid), key=lambda one: one.bound, default=None)


def table(label: str, found: list[Found]) -> Table:
    """Return a series' certificates in the order of d; the lowest certified error is marked."""
    best = lowest(found)
    rows = [
        (
            *(f"{one.d:,}", f"{one.artifact_bytes:,}", f"{one.message_bits:,}"),
            *(f"{one.message_bits / one.d:.2f}", f"{one.search_bits:.1f}"),
            *(f"{one.train_error:.4f}", f"{one.bound:.4f}", f"{one.confidence:.0%}"),
            *(f"{one.dev_error:.4f}", f"{one.majority_error:.4f}", f"{one.rate:.3f}"),
            verdict(one, paid, one is best),
            cite([source]),
        )
        for source, one, paid in found
    ]
    heads = (
        *("d", "bytes of the file", "bits of message", "bits for each number", "bits of search"),
        *("train error", "certified error", "with probability", "observed error"),
        *("majority's error", "sqrt(d / m)", "verdict", "run"),
    )
    return Table(label, heads, rows)


def verdict(one: Certificate, paid: bool, best: bool) -> str:
    """Return in a word or two what a certificate is worth."""
    words = ["vacuous"] * one.vacuous + [UNPAID] * (not paid) + ["lowest"] * best
    return ", ".join(words) or "-"


def lines(found: list[Found]) -> Mapping[str, Points]:
    """Return the lines of a series' plot: of several runs at one d, the lowest certified one."""
    at = {one.d: one for _, one, _ in sorted(found, key=lambda each: -each[1].bound)}
    chosen = [at[d] for d in sorted(at)]
    best = lowest(found)
    mark = {} if best is None else {f"lowest certified, d = {best.d:,}": [(best.d, best.bound)]}
    return {
        "certified": [(one.d, one.bound) for one in chosen],
        "observed, dev": [(one.d, one.dev_error) for one in chosen],
        "train": [(one.d, one.train_error) for one in chosen],
        "majority class": [(one.d, one.majority_error) for one in chosen],
    } | mark
