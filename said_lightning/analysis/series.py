"""Which runs make a series, and which full fine-tuning it is held against.

A series is the runs that differ in d, seed, rate and epochs alone. Runs on other data, of another
model or in another setting are another series, however alike their names are.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from said_lightning.runs.record import Record

NAMES = ("model", "task")
# In what a series and its full fine-tuning agree besides; a run that has not begun knows few.
SHARED = ("model_sha256", "data_sha256", "metric", "protocol", "setting_hash")
OWN = ("D", "m", "outside", "lambda_lr", "method_hash")

Facts = tuple[Hashable, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """The runs of a series, and those of full fine-tuning in the same setting.

    `variant` says in what the series differs from others of the same names, `panel` in what its
    full fine-tuning does; both are empty where no other has the names.
    """

    names: tuple[str, str, str, str, str]
    facts: Facts
    runs: Sequence[Record]
    full: Sequence[Record]
    panel: str = ""
    variant: str = ""

    def fact(self, name: str) -> Hashable:
        """Return a fact of SHARED or OWN, in which the runs of the series agree."""
        return self.facts[(*SHARED, *OWN).index(name)]

    @property
    def every(self) -> list[Record]:
        """All runs of the series and of its full fine-tuning."""
        return [*self.runs, *self.full]


def series_of(records: Iterable[Record]) -> list[Series]:
    """Return all series, sorted by their names; the order of the records makes no difference."""
    panels: dict[Facts, list[Record]] = defaultdict(list)
    for record in records:
        panels[tuple(getattr(record, name) for name in NAMES)].append(record)
    found: list[Series] = []
    for runs in panels.values():
        parts = split(runs, SHARED)
        titles = differences(list(parts), SHARED)
        for (facts, part), title in zip(parts.items(), titles, strict=True):
            found += _inside(facts, part, title)
    return sorted(found, key=_place)


def _place(one: Series) -> tuple[Hashable, ...]:
    """Return a key that sorts series by model and task, and those of one panel next to each other.

    Names sort by the numbers in them.
    """
    model, task, *own = (natural(name) for name in one.names)
    return (model, task, one.panel, *own, one.variant)


def _inside(facts: Facts, runs: Sequence[Record], panel: str) -> list[Series]:
    """Return the series that share a full fine-tuning."""
    full = [run for run in runs if run.method == "full"]
    named: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for run in runs:
        if run.method != "full":
            named[run.method, run.projection or "", run.space].append(run)
    found = []
    for names, mine in sorted(named.items()):
        parts = split(mine, OWN)
        variants = differences(list(parts), OWN)
        for (own, part), variant in zip(parts.items(), variants, strict=True):
            every = (mine[0].model, mine[0].task, *names)
            found.append(Series(every, (*facts, *own), part, full, panel, variant))
    return found


def split(records: Sequence[Record], names: Sequence[str]) -> dict[Facts, list[Record]]:
    """Separate records that differ in a fact.

    One that does not know all of its facts is in each part that agrees in those it knows.
    """
    alike: dict[Facts, list[Record]] = defaultdict(list)
    for record in records:
        alike[tuple(_fact(record, name) for name in names)].append(record)
    whole = [one for one in sorted(alike, key=str) if not _fits_another(one, alike)]
    return {
        part: [record for one, found in alike.items() if _agree(one, part) for record in found]
        for part in whole
    }


def _fact(record: Record, name: str) -> Hashable:
    """Return what a record says of itself; of its metric, the name."""
    return record.metric.name if name == "metric" else getattr(record, name)


def _fits_another(one: Facts, facts: Iterable[Facts]) -> bool:
    """Return whether other facts agree with these and know more."""
    return any(_agree(one, other) and _known(other) > _known(one) for other in facts)


def _agree(one: Facts, other: Facts) -> bool:
    """Return whether the second facts have all that is known of the first."""
    return all(mine in (None, its) for mine, its in zip(one, other, strict=True))


def _known(facts: Facts) -> int:
    return sum(fact is not None for fact in facts)


def differences(every: Sequence[Facts], names: Sequence[str]) -> list[str]:
    """Return for each of several facts in what they differ from the others: `data 3f2a, m 8`."""
    shown = {
        "model_sha256": "weights",
        "data_sha256": "data",
        "setting_hash": "setting",
        "method_hash": "method",
    }
    found = []
    for facts in every:
        parts = []
        for place, name in enumerate(names):
            if len({other[place] for other in every}) > 1:
                value = "unknown" if facts[place] is None else f"{facts[place]!s:.8}"
                parts.append(f"{shown.get(name, name)} {value}")
        found.append(", ".join(parts))
    return found


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts step 300 before step 10000."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), part) if part.isdecimal() else (-1, part) for part in parts)
