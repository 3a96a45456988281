"""TensorBoard, MLflow and any logger of Lightning's get what metrics.jsonl and result.json hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from pytorch_lightning.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from said_lightning.config.identity import RunSpec
from said_lightning.config.validate import validate_config
from said_lightning.training.loggers import MLFLOW_ID, validate_options
from said_lightning.training.run import run

Curves = dict[str, dict[int, float]]


class Kept(Logger):
    """Keeps what it is sent; may be asked to fail at one of its methods."""

    fails = ""
    sent: list[dict[str, Any]] = []  # noqa: RUF012

    def __init__(self, title: str, save_dir: str = ".") -> None:
        self.title, self.folder = title, save_dir
        self._reach("__init__")

    @property
    def name(self) -> str:
        return self.title

    @property
    def version(self) -> str:
        return ""

    def _reach(self, place: str) -> None:
        if Kept.fails == place:
            raise ConnectionError("the server is down")

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self._reach("log_hyperparams")
        Kept.sent.append(dict(params))

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._reach("log_metrics")
        Kept.sent.append({**metrics, "step": step})

    def save(self) -> None:
        self._reach("save")

    def finalize(self, status: str) -> None:
        self._reach("finalize")
        Kept.sent.append({"status": status})


CUSTOM = ("logger=custom", f"logger.path={__name__}.Kept", "+logger.options.title=mine")


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let MLflow write files, which its small client does without a database."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlflow'}")
    monkeypatch.setattr(Kept, "sent", [])
    monkeypatch.setattr(Kept, "fails", "")


def expected(folder: Path) -> Curves:
    """Return the curves of metrics.jsonl."""
    found: Curves = {}
    for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        for name, value in row.items():
            if name != "step" and not isinstance(value, str):
                found.setdefault(name, {})[row["step"]] = value
    return found


def tensorboard(folder: Path) -> Curves:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: {one.step: one.value for one in events.Scalars(name)} for name in names}


def mlflow(folder: Path) -> Curves:
    client, run_id = MlflowClient(), (folder / MLFLOW_ID).read_text()
    assert client.get_run(run_id).info.status == "FINISHED"
    names = client.get_run(run_id).data.metrics
    histories = {name: client.get_metric_history(run_id, name) for name in names}
    return {name: {one.step: one.value for one in of} for name, of in histories.items()}


def custom(_: Path) -> Curves:
    found: Curves = {}
    for row in (one for one in Kept.sent if "step" in one):
        for name in row.keys() - {"step"}:
            found.setdefault(name, {})[row["step"]] = row[name]
    return found


CHOICES: dict[str, Any] = {"tensorboard": tensorboard, "mlflow": mlflow, "custom": custom}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("method", ["said", "full"])
def test_a_logger_gets_the_rows_of_the_runs_own_files(
    compose: Any, tmp_path: Path, name: str, method: str
) -> None:
    overrides = CUSTOM if name == "custom" else (f"logger={name}",)
    spec = compose(tmp_path / "out", *overrides, f"method={method}")
    record = run(spec)
    assert (record.status, record.notes) == ("done", [])
    found = CHOICES[name](spec.folder)
    for key, curve in expected(spec.folder).items():
        assert found[key] == pytest.approx(curve, rel=1e-6), key
    (reported,) = found["result/accuracy"].values()
    assert reported == pytest.approx(record.metric.value, rel=1e-6)


@pytest.mark.parametrize("name", ["mlflow", "custom"])
def test_a_logger_is_given_what_a_run_is_with_d_equal_to_big_d_for_the_baseline(
    compose: Any, tmp_path: Path, name: str
) -> None:
    overrides = CUSTOM if name == "custom" else (f"logger={name}",)
    spec = compose(tmp_path / "out", *overrides, "method=full", "trainer.epochs=1")
    record = run(spec)
    if name == "custom":
        params: dict[str, Any] = Kept.sent[0]
    else:
        params = MlflowClient().get_run((spec.folder / MLFLOW_ID).read_text()).data.params
    assert {str(params[key]) for key in ("d", "D")} == {str(record.D)}
    assert float(params["lr"]) == record.lr
    assert (params["task"], params["config_hash"]) == ("sst2", record.config_hash)


def test_a_run_that_is_resumed_stays_one_run_at_mlflow(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path / "out", "logger=mlflow", "trainer.epochs=1")
    ids = []
    for _ in range(2):
        (spec.folder / "result.json").unlink(missing_ok=True)
        assert run(spec).notes == []
        ids.append((spec.folder / MLFLOW_ID).read_text())
    assert ids[0] == ids[1]


PLACES = ["__init__", "log_hyperparams", "log_metrics", "save", "finalize"]


@pytest.mark.parametrize("place", PLACES)
def test_trouble_with_any_logger_ends_nothing_and_is_said_once(
    compose: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    monkeypatch.setattr(Kept, "fails", place)
    record = run(compose(tmp_path, *CUSTOM))
    assert record.status == "done"
    assert caplog.messages.count("Kept is not available: the server is down") == 1
    # What closes it comes after the record.
    noted = [] if place == "finalize" else ["Kept was not available: no curves from then on"]
    assert record.notes == noted


def test_a_run_that_fails_is_closed_as_failed(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.training.run.validate_end", lambda _: 1 / 0)
    assert run(compose(tmp_path, *CUSTOM)).status == "failed"
    assert Kept.sent[-1] == {"status": "failed"}


def test_no_logger_and_no_option_of_one_is_part_of_what_a_run_is(
    compose: Any, tmp_path: Path
) -> None:
    specs: list[RunSpec] = [
        compose(tmp_path, *overrides)
        for overrides in (
            (),
            ("logger=tensorboard", "+logger.options.flush_secs=1"),
            ("logger=mlflow", "logger.log_every_n_steps=1"),
            ("logger=wandb", "+logger.options.entity=me"),
            CUSTOM,
        )
    ]
    assert len({spec.name for spec in specs}) == 1


WRONG = {
    ("logger=custom",): "logger.path=None: expected the class of a Lightning logger, package.Class,"
    " with logger=custom",
    ("logger=csv", "logger.path=a.B"): "logger.path=a.B: expected null with logger=csv",
    ("+logger.options.x=1",): "logger.options={'x': 1}: logger=none takes none",
    ("logger=wandb", "+logger.options.project=p"): "logger.options.project: logger.project says it",
    ("logger=wandb", "+logger.options.id=p"): "logger.options.id: follows from the run; leave it "
    "out",
    ("logger=wandb", "+logger.options.tags=p"): "logger.options.tags=p: expected a list such as "
    "[one,two]",
    ("logger=wandb", "+logger.options.entity=1"): "logger.options.entity=1: expected text",
}


@pytest.mark.parametrize("overrides", WRONG)
def test_what_no_logger_takes_is_one_message(
    compose: Any, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    assert validate_config(compose(tmp_path, *overrides).config) == [WRONG[overrides]]


UNFIT = {
    ("logger=custom", "logger.path=not_there.Logger"): "logger.path=not_there.Logger: cannot "
    "import not_there: No module named 'not_there'",
    ("logger=custom", "logger.path=Logger"): "logger.path=Logger: cannot import Logger: ",
    ("logger=custom", "logger.path=pytorch_lightning.loggers.CometLoger"): "logger.path="
    "pytorch_lightning.loggers.CometLoger: no CometLoger in pytorch_lightning.loggers; did you "
    "mean 'CometLogger'?",
    ("logger=custom", "logger.path=pathlib.Path"): "logger.path=pathlib.Path: expected a class that"
    " inherits from pytorch_lightning.loggers.Logger",
    ("logger=custom", f"logger.path={__name__}.Kept"): "logger.options.title: Kept needs it",
    (*CUSTOM, "+logger.options.titel=x"): "logger.options.titel: Kept has no such keyword; did you "
    "mean 'title'?",
    (
        "logger=csv",
        "+logger.options.flush_logs=1",
    ): "logger.options.flush_logs: CSVLogger has no such "
    "keyword; did you mean 'flush_logs_every_n_steps'?",
    (
        "logger=tensorboard",
        "+logger.options.max_que=1",
    ): "logger.options.max_que: TensorBoardLogger has no such keyword; did you mean 'max_queue'?",
    (
        "logger=tensorboard",
        "+logger.options.log_dir=x",
    ): "logger.options.log_dir: TensorBoardLogger has no such keyword",
    ("logger=mlflow", "+logger.options.tracking=1"): "logger.options.tracking: MLFlowLogger has no "
    "such keyword; did you mean 'tracking_uri'?",
    ("logger=wandb", "+logger.options.entiti=me"): "logger.options.entiti: wandb.init has no such "
    "keyword; did you mean 'entity'?",
}


@pytest.mark.parametrize("overrides", UNFIT)
def test_a_class_or_keyword_that_is_none_is_one_message(
    compose: Any, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    (line,) = validate_options(compose(tmp_path, *overrides).config.logger)
    assert line.startswith(UNFIT[overrides])


def test_a_wrong_keyword_is_refused_with_every_other_mistake_before_anything_is_written(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = main("logger=wandb", "+logger.options.entiti=me", "trainer.epochs=0")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 2
    assert "logger.options.entiti" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["api_key", "token", "PASSWORD", "my_secret", "auth.api_key"])
def test_a_secret_in_an_option_is_known_by_its_name(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = main("logger=wandb", f"+logger.options.{key}=a1b2c3d4e5")
    assert ended.code == 2
    assert " a secret, which run folders, logs and W&B would keep" in ended.err
    assert "a1b2c3d4e5" not in ended.err
    assert list(tmp_path.iterdir()) == []
