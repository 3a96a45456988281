"""A W&B workspace from which a project of runs is read at a glance, as code."""

from typing import Any, cast

from said_lightning.errors import UserError, needs
from said_lightning.tools.wandb.study import PLOT, TABLE

REPORTED = "metric.value"  # of the summary, which is what result.json holds
FACTS = ("model", "task", "method", "projection", "d", "seed", "lr")


def build(entity: str, project: str, metric: str) -> Any:
    """Build the workspace of a project, without W&B's server; `metric` is the tasks' headline.

    The first section shows d90: the plot and the table of the studies that `said sync` makes. Then
    come the runs: the metric that each reports, over d (the baseline's is D) and against method, d,
    learning rate and seed, and on the select rows over the step. The table of runs shows what a run
    is, grouped by task.

    Raise UserError where wandb-workspaces is not installed.
    """
    ws = needs("wandb_workspaces.workspaces", "wandb", "a W&B workspace")
    return ws.Workspace(
        entity=entity,
        project=project,
        name="said_lightning",
        sections=[
            ws.Section(name="d90", panels=_answers(), is_open=True, pinned=True),
            ws.Section(name="runs", panels=_panels(metric), is_open=True),
        ],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config("task")],
            pinned_columns=[f"summary:{REPORTED}", *(f"config:{fact}" for fact in FACTS)],
        ),
    )


def _answers() -> list[Any]:
    wr = needs("wandb_workspaces.reports.v2", "wandb", "a W&B workspace")
    return [
        wr.MediaBrowser(media_keys=[PLOT], layout=wr.Layout(w=12, h=10)),
        wr.WeavePanelSummaryTable(table_name=TABLE, layout=wr.Layout(x=12, w=12, h=10)),
    ]


def _panels(metric: str) -> list[Any]:
    wr = needs("wandb_workspaces.reports.v2", "wandb", "a W&B workspace")
    axes = [wr.Config("method"), wr.Config("d"), wr.Config("lr"), wr.Config("seed")]
    columns = [
        wr.ParallelCoordinatesPlotColumn(axis, log=axis.name in ("d", "lr")) for axis in axes
    ]
    return [
        wr.ScatterPlot(
            title=f"{metric} over d",
            x=wr.Config("d"),
            y=wr.SummaryMetric(REPORTED),
            log_x=True,
            layout=wr.Layout(w=12, h=8),
        ),
        wr.LinePlot(
            title=f"{metric} while training, by method",
            x="trainer/global_step",
            y=[f"select/{metric}"],
            title_x="step",
            title_y=metric,
            groupby=wr.Config("method"),
            layout=wr.Layout(x=12, w=12, h=8),
        ),
        wr.ParallelCoordinatesPlot(
            title="What the metric depends on",
            columns=[*columns, wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(REPORTED))],
            layout=wr.Layout(y=8, w=24, h=8),
        ),
    ]


def save(project: str, metric: str) -> str:
    """Save the workspace as a new view of the project ENTITY/PROJECT and return its address.

    The client finds server and key as ever. Raise UserError where the project is none or the
    server refuses.
    """
    match project.split("/"):
        case [entity, name] if entity and name:
            view = build(entity, name, metric)
        case _:
            raise UserError(f"{project}: expected ENTITY/PROJECT, such as me/said_lightning")
    try:
        return cast(str, view.save().url)
    except Exception as error:  # of many kinds, by what is wrong with server, key and project
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{project}: no workspace saved at W&B: {reason}") from None
