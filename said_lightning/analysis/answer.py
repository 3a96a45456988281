"""The answer for each task in one sentence, as far as the runs give one."""

from collections.abc import Iterable, Sequence

from said_lightning.analysis.comparison import Comparison
from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.ratio import digits
from said_lightning.analysis.table import bracket, title

_SHARE = f"{SHARE * 100:g} %"
_NAMED = 4  # series that a sentence names
_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))


def answers(panels: Iterable[Sequence[Row]]) -> list[str]:
    """Return the sentence on each panel, the series of one model, task and setting.

    Such as `minilm · sst2: SAID needs 356 [298, 440] of 22.7M numbers, DID 1,075 [700, 1,900];
    SAID / DID 0.33 [0.2, 0.55].` Few projections are held against each other too. An open end is
    called so. Of many series it names the two ends.
    Panels of which the same is to be said share a sentence.
    """
    titles: dict[str, list[str]] = {}
    for rows in panels:
        titles.setdefault(_answer(rows), []).append(title(rows[0]))
    return [f"{listed(names)}: {said}." for said, names in titles.items()]


def _answer(rows: Sequence[Row]) -> str:
    rows = sorted(rows, key=lambda row: row.method != "said")
    known = [row for row in rows if not missing(row)]
    several = len({row.projection for row in rows if row.projection}) > 1
    parts = [_known(known, several)] if known else []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if why := missing(row):
            reasons.setdefault(why, []).append(method(row, several))
    parts += [f"no d90 of {listed(who)}: {why}" for why, who in reasons.items()]
    between = [(row, found) for row in rows for found in row.comparisons]
    methods, projections = (
        [(row, found) for row, found in between if found.over == over]
        for over in ("method", "projection")
    )
    parts += [_ratio(found, "" if row.map == "fastfood" else row.map) for row, found in methods]
    if len(projections) < _NAMED:
        alone = len({row.method for row in rows}) == 1
        parts += [_ratio(found, "" if alone else row.method.upper()) for row, found in projections]
    return "; ".join(parts)


def _known(rows: Sequence[Row], several: bool) -> str:
    """Return what the series need, of how many numbers."""
    of = f" of {short(D)} numbers" if (D := rows[0].D) else ""
    if len(rows) > _NAMED:
        order = sorted((row for row in rows if row.d90 is not None), key=lambda row: row.d90 or 0)
        if len(order) > 1:
            low, high = (
                f"{method(row, several)}'s {_needed(row)}" for row in (order[0], order[-1])
            )
            rest = len(rows) - len(order)
            more = f"; {rest} more {'have' if rest > 1 else 'has'} a bound" if rest else ""
            return f"{len(order)} series need from {low} to {high}{of}{more}"
    first, *others = rows
    clauses = [f"{method(first, several)} needs {_needed(first, of)}"]
    return ", ".join(clauses + [f"{method(row, several)} {_needed(row)}" for row in others])


def _needed(row: Row, of: str = "") -> str:
    """Return a series' d90 with its interval, or its bound, and what limits either."""
    low, high = row.interval
    if row.d90 is not None:
        found = f"{row.d90:,}{'' if row.level is None else f' [{_end(low)}, {_end(high)}]'}"
    else:
        found = f"at most {high:,}" if low is None else f"more than {low:,}"
    limits = [
        "one seed, no interval" if row.level is None and row.d90 is not None else "",
        "runs whose d grew" if row.verdict == "nested" else "",
        "best rate at the edge of those tried" if row.verdict == "edge" else "",
    ]
    said = "; ".join(limit for limit in limits if limit)
    return f"{found}{of} ({said})" if said else f"{found}{of}"


def _end(end: int | None) -> str:
    return "open" if end is None else f"{end:,}"


def _ratio(found: Comparison, of: str) -> str:
    """Return the ratio of two series' d90, its interval, and what that leaves out."""
    through = f" ({of})" if of else ""
    low, high = (None if end is None else digits(end) for end in found.interval)
    if found.ratio is not None:
        span = f" [{low or 'open'}, {high or 'open'}]" if found.level else ", without an interval"
        said = f"{digits(found.ratio)}{span}"
    elif low and high:
        said = f"between {low} and {high}"
    else:
        said = f"above {low}" if low else f"below {high}" if high else "not known"
    doubt = f" ({found.doubt})" if found.doubt else ""
    return f"{found.of} / {found.to}{through} {said}{doubt}"


def missing(row: Row) -> str:
    """Return why nothing can be said of a series' d90; empty where something can."""
    if row.d90 is not None or row.interval != (None, None):
        return ""
    if row.verdict == "trivial":
        learned = row.full is not None and row.trivial is not None and row.full > row.trivial
        share = f"{_SHARE} of " if learned else ""
        return f"{share}full fine-tuning's metric is no better than a constant answer's"
    if row.verdict == "no-baseline":
        return "no full fine-tuning was run in its setting"
    if row.verdict == "incomplete":
        so_far = f"; so far the paper's reading is {bracket(row)}" if any(row.bracket) else ""
        if row.done < row.planned:
            return f"{row.done} of {row.planned} runs are done{so_far}"
        if row.threshold is None:
            return "full fine-tuning is to come"
        return f"runs that could change it are to come or ended before their time{so_far}"
    return "its seeds differ too much for a bound within the d that were run"


def why_not_drawn(row: Row) -> str:
    """Return why a series has no d90, though it may have a bound."""
    bounds = {
        "below-grid": "every d that was run reaches the threshold",
        "above-grid": "no d that was run reaches the threshold",
        "nested": "runs whose d grew give an upper bound alone",
        "edge": "the best rate is at the edge of those tried, and the curve does not cross",
    }
    return missing(row) or bounds[row.verdict]


def method(row: Row, projection: bool = False) -> str:
    """Return the method as the paper writes it.

    Its projection is named where it is not the paper's, or as asked.
    """
    inside = None if row.space == "all" else row.space
    other = row.projection if projection or row.projection != "fastfood" else None
    added = ", ".join(part for part in (other, inside, row.variant) if part)
    return row.method.upper() + (f" ({added})" if added else "")


def short(number: int) -> str:
    """Return a large number to three digits: `22.7M`."""
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return f"{number:,}"


def listed(names: Sequence[str]) -> str:
    """Return names as they are said: `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
