"""A study as a run at W&B: d90 of every series of the runs below a folder, with table and plot."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.table import label, title, to_json
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError, needs, validate_installed
from said_lightning.runs.files import read_whole, write_whole
from said_lightning.runs.index import find
from said_lightning.runs.record import Record

TABLE, PLOT = "study/table", "study/plot"
KNOWN = "wandb/study.json"  # of each project: the study's id, and the answer that it holds
FACTS = (
    *("model", "task", "method", "projection", "space", "d90", "low", "high", "level", "verdict"),
    *("threshold", "metric", "full", "trivial", "grid", "lr", "epochs", "seeds", "done", "planned"),
)
SUMMARY = ("d90", "low", "high", "verdict", "threshold", "full")

Project = tuple[str | None, str]  # an entity, or W&B's default, and the name


def log_studies(path: Path) -> list[str]:
    """Make the study below `path` a run of each W&B project that its runs are in, kept offline.

    A study whose answer has not changed since is left as it is; one whose answer has stays the
    same run at W&B. Return warnings. Raise UserError where wandb is not installed.
    """
    try:
        records, unread = find(path)
    except UserError:  # what W&B's client logged, with no run of ours
        return []
    projects = sorted(projects_of(records), key=str)
    rows = estimate(records) if projects else []
    if not rows:
        return []
    wandb = needs("wandb", "wandb", "said sync")
    answer = sha256(to_json(rows).encode()).hexdigest()
    known = read_known(path / KNOWN)
    lacking = validate_installed("matplotlib", "report", "the plot of the study")
    for entity, project in projects:
        key = f"{entity or ''}/{project}"
        before = known.get(key, {})
        if before.get("answer") == answer:
            continue
        run_id = before.get("id", f"study{uuid4().hex[:8]}")
        try:
            log_study(path, rows, (entity, project), run_id, plotted=not lacking)
        except (OSError, wandb.Error) as error:
            raise UserError(f"{path}: the study cannot be logged: {error}") from None
        known[key] = {"id": run_id, "answer": answer}
        write_whole(path / KNOWN, json.dumps(known).encode())
    return [*unread, *lacking]


def projects_of(records: Iterable[Record]) -> set[Project]:
    """Return the projects at W&B that runs were logged to, by what their folders hold."""
    found: set[Project] = set()
    for record in records:
        if record.folder is None or not (record.folder / "wandb").is_dir():
            continue
        try:
            logger = read_config(record.folder).logger
        except UserError:  # its record says as much as the study needs
            continue
        if logger.name == "wandb":
            found.add((logger.options.get("entity"), logger.project))
    return found


def read_known(path: Path) -> dict[str, dict[str, str]]:
    """Return what is known of the studies below a folder; nothing where the file is not whole."""
    try:
        known: dict[str, dict[str, str]] = json.loads(read_whole(path))
    except (OSError, ValueError):
        return {}
    return known


def log_study(
    path: Path, rows: Sequence[Row], project: Project, run_id: str, plotted: bool
) -> None:
    """Make one run of a study: its summary is d90 of each series, beside a table and a plot."""
    wandb = needs("wandb", "wandb", "said sync")
    name = path.resolve().name
    with TemporaryDirectory() as beside:
        run = wandb.init(
            entity=project[0],
            project=project[1],
            id=run_id,
            name=f"{name} d90",
            group=name,
            job_type="study",
            tags=["study"],
            mode="offline",
            dir=path,
            settings=wandb.Settings(console="off", silent=True),
        )
        data = [list(facts(row).values()) for row in rows]
        logged = {TABLE: wandb.Table(columns=list(FACTS), data=data, allow_mixed_types=True)}
        if plotted:
            from said_lightning.analysis.plots.curves import draw

            logged[PLOT] = wandb.Image(str(draw(rows, Path(beside))[0]))
        run.log(logged)
        run.summary.update(summary(rows))
        run.finish()


def facts(row: Row) -> dict[str, Any]:
    """Return what the study's table says of a series, by its columns."""
    low, high = row.interval
    ends = {"low": low, "high": high}
    return {name: ends[name] if name in ends else getattr(row, name) for name in FACTS}


def summary(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Return the summary: `d90` and the like of a study's one series, or `d90/SERIES` of each."""
    found: dict[str, Any] = {}
    for row in rows:
        about = facts(row)
        end = "" if len(rows) == 1 else f"/{title(row)} {label(row)}"
        found |= {f"{name}{end}": about[name] for name in SUMMARY}
    return found
