"""`said sync` and `said workspace` with W&B's real client, against a stand-in of its server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from said_lightning import cli
from said_lightning.errors import UserError
from said_lightning.tools.wandb.sync import offline_runs, sync
from said_lightning.tools.wandb.workspace import save

LOG = """
import sys, wandb
for seed in (0, 1):
    folder = f"{sys.argv[1]}/run{seed}"
    __import__("os").makedirs(folder)
    run = wandb.init(project="p", name=f"minilm-sst2-said-d20-seed{seed}", id=f"run{seed}",
                     group="study", tags=["said"], mode="offline", dir=folder,
                     config={"d": 20, "seed": seed})
    run.log({"eval/accuracy": 0.8 + seed / 100})
    run.finish()
"""


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """Two runs logged offline by the client itself, each in its run's folder."""
    subprocess.run(
        [sys.executable, "-c", LOG, str(tmp_path)], check=True, capture_output=True, timeout=120
    )
    return tmp_path


def test_runs_logged_offline_reach_the_server_once(server: Any, logged: Path) -> None:
    assert len(offline_runs(logged)) == 2
    assert sync(logged) == (2, [])
    # The client sends each run several times, more of it each time.
    names = {content["displayName"] for content in server.upserts if content.get("displayName")}
    assert names == {f"minilm-sst2-said-d20-seed{seed}" for seed in (0, 1)}
    assert {content["groupName"] for content in server.upserts if content.get("groupName")} == {
        "study"
    }
    assert any("eval/accuracy" in body for body in server.streamed)
    sent = len(server.upserts)
    assert (sync(logged), offline_runs(logged)) == ((0, []), [])
    assert len(server.upserts) == sent


def test_a_server_that_refuses_is_reported_and_the_runs_stay_to_be_pushed(
    logged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="not pushed"):
        sync(logged)
    assert len(offline_runs(logged)) == 2


def test_a_folder_without_offline_runs_needs_no_server(tmp_path: Path) -> None:
    assert sync(tmp_path) == (0, [])


def test_a_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["said", "sync", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2


def test_a_project_gets_a_workspace_with_its_panels(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["said", "workspace", "me/p", "--metric", "matthews"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert f"{server.url}/me/p?nw=" in capsys.readouterr().out
    (view,) = server.views
    assert (view["entityName"], view["projectName"]) == ("me", "p")
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    first, runs = (one for one in sections if one["panels"])
    assert [one["name"] for one in (first, runs)] == ["d90", "runs"]
    plot, table = first["panels"]
    assert plot["config"]["mediaKeys"] == ["study/plot"]
    assert "study/table" in json.dumps(table["config"])
    scatter, line, parallel = (panel["config"] for panel in runs["panels"])
    assert (scatter["xAxis"], scatter["xAxisLogScale"]) == ("config:d.value", True)
    assert scatter["yAxis"] == "summary:metric.value"
    assert (line["xAxis"], line["metrics"]) == ("trainer/global_step", ["select/matthews"])
    assert [column["accessor"] for column in parallel["columns"]] == [
        *(f"config:{name}.value" for name in ("method", "d", "lr", "seed")),
        "summary:metric.value",
    ]


def test_a_server_that_takes_no_workspace_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="me/p: no workspace saved at W&B"):
        save("me/p", "accuracy")


@pytest.mark.parametrize("project", ["p", "me/", "me/p/x"])
def test_a_project_without_its_entity_is_reported(
    project: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["said", "workspace", project])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "expected ENTITY/PROJECT" in capsys.readouterr().err
