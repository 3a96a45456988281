"""Simulated series with a known d90: does the interval hold it, and the ratio's its ratio?

    python -m benchmarks.simulate results/simulated [SERIES]

writes `grids.json`, `ratios.json` and `prices.json`: the coverage of the 90 % interval on grids,
with row scores and with plain metrics; that of the ratio of two series, and how often no difference
is found where there is none; and the width reached by the runs that a price named. All are of
families that tuned nothing; `grids-tuned.json` is of those that did.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulate.coverage import Case, tally
from benchmarks.simulate.families import HELD_OUT, TUNED, Family
from benchmarks.simulate.grids import FEW, Design, Study, study
from benchmarks.simulate.series import Simulated, beside, draw
from said_lightning.analysis.d90 import Estimate, estimate
from said_lightning.analysis.price import POINTS, price
from said_lightning.analysis.ratio import ratio

GRIDS = (
    Design(6, 3.0, 3),
    Design(8, 2.0, 3),
    Design(10, 1.5, 3),
    Design(8, 2.0, 5),
    Design(10, 1.25, 5),
    Design(8, 1.25, 8),
    Design(10, 1.12, 10),
)
PAIRS = (Design(10, 2.0, 3), Design(10, 2.0, 5), Design(12, 1.35, 8))
PRICED = (Design(6, 3.0, 3), Design(8, 2.0, 3), Design(8, 2.0, 5))
SERIES = 300  # of each design
DRAWS = 6000  # of each interval; an end's standard error is far below the interval's width
# Series of their own for each use, and for the development of the estimator others than for this.
TUNED_KEY, GRID_KEY, PAIR_KEY, PRICE_KEY = 10_000, 1_000_000, 2_000_000, 3_000_000


def metrics(runs: Mapping[int, Any]) -> dict[int, float]:
    """Return the metric of each run."""
    return {seed: float(scores.mean()) for seed, scores in runs.items()}


def read(series: Simulated, found: Study, plain: bool = False) -> Estimate:
    """Estimate d90 from a grid, from row scores or from plain metrics and the number of rows."""
    trivial = series.measured_trivial()
    if not plain:
        return estimate(found.points, found.full, trivial=trivial, draws=DRAWS)
    points = {d: metrics(runs) for d, runs in found.points.items()}
    full, rows = metrics(found.full), series.rows
    return estimate(points, full, trivial=trivial, rows=rows, draws=DRAWS)


def case(series: Simulated, found: Study, one: Estimate) -> Case:
    """Return an interval beside its truth."""
    return Case(
        low=one.low or 0.0,
        high=one.high or math.inf,
        truth=series.d90,
        chosen=series.d90_at(found.rate, found.full_rate),
        span=(min(found.points), max(found.points)),
        family=series.family,
        tails=series.tails,
        stuck=series.stuck > 0,
    )


def grids(number: int, families: Mapping[str, Family], key: int) -> dict[str, Any]:
    """Return the coverage of grids, by design and in all, with row scores and without.

    Hasty rates are chosen by FEW seeds alone, as no protocol should.
    """
    found: dict[str, Any] = {"designs": []}
    every: dict[str, list[Case]] = {"rows": [], "metrics": [], "rows_with_hasty_rates": []}
    for design in GRIDS:
        both: dict[str, list[Case]] = {"rows": [], "metrics": []}
        for index in range(number):
            series = draw(key + index, families)
            made = study(series, design)
            for kind, cases in both.items():
                cases.append(case(series, made, read(series, made, plain=kind == "metrics")))
            hasty = study(series, design, many=FEW)
            every["rows_with_hasty_rates"].append(case(series, hasty, read(series, hasty)))
        found["designs"].append(
            {**design._asdict(), **{kind: tally(cases) for kind, cases in both.items()}}
        )
        for kind, cases in both.items():
            every[kind] += cases
    return {**{kind: tally(cases) for kind, cases in every.items()}, **found}


def ratios(number: int) -> dict[str, Any]:
    """Return the coverage of ratios; every other pair has the same d90."""
    found: list[dict[str, Any]] = []
    every: list[Case] = []
    for design in PAIRS:
        cases = [_pair(PAIR_KEY + index, design, index % 2 == 0) for index in range(number)]
        every += cases
        found.append({**design._asdict(), **_compared(cases)})
    return {**_compared(every), "designs": found}


def _pair(key: int, design: Design, equal: bool) -> Case:
    rng = np.random.default_rng([key, 10])
    factor = 1.0 if equal else float(np.exp(rng.uniform(-1, 1) * np.log(5)))
    one = draw(key, HELD_OUT)
    other = beside(one, key + 500_000, HELD_OUT, 1 / factor)
    first, second = study(one, design), study(other, design)
    between = ratio(
        (first.points, first.full),
        (second.points, second.full),
        trivial=one.measured_trivial(),
        draws=DRAWS,
    )
    chosen = [s.d90_at(m.rate, m.full_rate) for s, m in ((one, first), (other, second))]
    return Case(
        low=between.low or 0.0,
        high=between.high or math.inf,
        truth=factor,
        chosen=chosen[0] / chosen[1] if math.isfinite(chosen[1]) else math.inf,
        span=(min(first.points) / max(second.points), max(first.points) / min(second.points)),
        family=f"{one.family}, {other.family}",
        tails=one.tails,
        stuck=one.stuck > 0,
    )


def _compared(cases: list[Case]) -> dict[str, Any]:
    """Return the coverage, and how often a difference was found where there was one or none."""
    equal = [one for one in cases if one.truth == 1.0]
    apart = [one for one in cases if max(one.truth, 1 / one.truth) > 2]
    return {
        "no_difference_where_none": round(sum(_includes_1(one) for one in equal) / len(equal), 4),
        "difference_found_beyond_2": round(
            sum(not _includes_1(one) for one in apart) / len(apart), 4
        ),
        **tally(cases),
    }


def _includes_1(one: Case) -> bool:
    return one.low <= 1 <= one.high


def prices(number: int) -> dict[str, Any]:
    """Return the width that the runs of a price reached, against the width that was priced."""
    return {"designs": [{**one._asdict(), **_priced(number, one)} for one in PRICED]}


def _priced(number: int, design: Design) -> dict[str, Any]:
    reached, runs, closed, beyond, still_open = [], [], 0, 0, 0
    for index in range(number):
        series = draw(PRICE_KEY + index, HELD_OUT)
        made = study(series, design)
        now = read(series, made)
        if not math.isfinite(now.width):
            continue
        closed += 1
        asked = now.width**0.7
        cost = price(now, asked)
        if cost.seeds is None or cost.runs is None:
            beyond += 1
            continue
        after = read(series, _more(series, design, made, now, cost.seeds)).width
        runs.append(cost.runs)
        if math.isfinite(after):
            reached.append(math.log(after) / math.log(asked))
        else:
            still_open += 1
    parts = (0.1, 0.25, 0.5, 0.75, 0.9)
    return {
        "series": number,
        "with_closed_interval": closed,
        "out_of_reach": beyond,
        "open_afterwards": still_open,
        "runs": dict(zip(parts, np.quantile(runs, parts).tolist(), strict=True)),
        "log_width_over_priced": dict(
            zip(parts, np.quantile(reached, parts).round(3).tolist(), strict=True)
        ),
    }


def _more(series: Simulated, design: Design, made: Study, now: Estimate, seeds: int) -> Study:
    """Add the stage that was priced: d evenly over the interval, new seeds."""
    assert now.low is not None
    assert now.high is not None
    points, full = {d: dict(runs) for d, runs in made.points.items()}, dict(made.full)
    for seed in range(design.seeds, design.seeds + seeds):
        full[seed] = series.run(None, made.full_rate, seed, "confirm")
        for x in np.linspace(np.log(now.low), np.log(now.high), POINTS):
            d = round(float(np.exp(x)))
            points.setdefault(d, {})[seed] = series.run(d, made.rate, seed, "confirm")
    return made._replace(points=points, full=full)


def main(folder: Path, number: int = SERIES) -> None:
    """Write the files."""
    command = f"python -m benchmarks.simulate {folder}" + (f" {number}" if number != SERIES else "")
    folder.mkdir(parents=True, exist_ok=True)
    studies: dict[str, Callable[[], dict[str, Any]]] = {
        "grids": lambda: grids(number, HELD_OUT, GRID_KEY),
        "grids-tuned": lambda: grids(number, TUNED, TUNED_KEY),
        "ratios": lambda: ratios(number),
        "prices": lambda: prices(number // 2),
    }
    for name, made in studies.items():
        text = json.dumps({"command": command, **made()}, indent=1)
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
