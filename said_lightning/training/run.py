"""From a spec to a finished run."""

import logging
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from safetensors.torch import save as serialise

from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import Config
from said_lightning.config.stored import plan, validate_stored, waiting
from said_lightning.config.validate import validate_config
from said_lightning.data.datamodule import TextDataModule
from said_lightning.errors import UserError
from said_lightning.models.adapter import adapt, describe
from said_lightning.models.build import checkpoint_activations
from said_lightning.models.encoder import load
from said_lightning.models.head import head_label
from said_lightning.runs import checkpoint as generations
from said_lightning.runs import record as records
from said_lightning.runs.files import sweep, write_whole
from said_lightning.runs.record import Group, Metric, Part, Record, TrainMetric
from said_lightning.runs.scores import write_scores
from said_lightning.runs.secrets import scrub
from said_lightning.runs.signals import Preempted
from said_lightning.runs.watch import forget_progress
from said_lightning.training.callbacks import StopAt, in_subspace
from said_lightning.training.checkpointing import Saver
from said_lightning.training.curves import Curves
from said_lightning.training.ddp import is_first, processes, validate_devices
from said_lightning.training.evaluation import Report
from said_lightning.training.growing import stages
from said_lightning.training.half import half_products
from said_lightning.training.journal import Journal, Pulse
from said_lightning.training.loggers import Sink
from said_lightning.training.module import Classifier
from said_lightning.training.trainer import make_trainer, setting
from said_lightning.training.zero_shot import Scores, zero_shot

log = logging.getLogger(__name__)


def run(spec: RunSpec) -> Record:
    """Train one run and leave its folder; a run that is done already is not repeated.

    A run that was cut off or asked to stop goes on where its state was saved. A run that fails is
    recorded and logged with its reason, and raises nothing, so that a sweep goes on; but UserError,
    recorded too, where the config or the data are wrong.
    """
    folder = spec.folder
    if (found := records.finished(folder)) is not None:
        log.info("done before: %s", folder)
        return found
    config = spec.located()
    devices = validate_devices(config.trainer.devices)
    if wrong := [*validate_config(config), *devices, *validate_stored(spec)]:
        raise UserError(*wrong)
    plan(spec)
    sweep(folder)
    records.write(waiting(spec), folder)
    known: dict[str, Any] = {**spec.labels, **setting(), "started": records.now()}
    clock = time.monotonic()
    mistake, sink = None, Sink()
    try:
        known |= {"status": "done", **train(spec, sink)}
    except Preempted as signal:
        known |= {"status": "preempted", "reason": str(signal)}
    except UserError as error:
        mistake = error
        known |= {"status": "failed", "reason": str(error), "mistake": True}
    except Exception as error:
        log.exception("the run failed")
        known |= {"status": "failed", "reason": scrub(f"{type(error).__name__}: {error}")}
    wall_s = round(time.monotonic() - clock + known.pop("earlier_s", 0), 3)
    known |= {"ended": records.now(), "wall_s": wall_s}
    result = Record(**known, peak_memory_bytes=peak_memory())
    records.write(result, folder)
    forget_progress(folder)
    sink.close(folder)
    # A mistake, once mended, costs no steps that were trained before it.
    if result.status != "preempted" and mistake is None:
        generations.remove(folder / generations.FOLDER)
    if mistake is not None:
        raise mistake
    return result


def train(spec: RunSpec, sink: Sink) -> dict[str, Any]:
    """Train a run and return what its record says of the outcome; `sink` gets its numbers."""
    config, folder = spec.located(), spec.folder
    task, settings = config.split_task, config.trainer
    model, tokenizer, model_sha256, new = load(config.model, task, config.seed)
    sizes = (settings.batch_size, settings.eval_batch_size)
    data = TextDataModule(task, tokenizer, *sizes, config.seed, settings.workers)
    data.setup()
    log.info("rows: %s", data.data.rows)
    if settings.activation_checkpointing:
        checkpoint_activations(model)
    zero = zero_shot(model, data, model_sha256, settings.precision)
    log.info("head: %s", head_label(config.model, config.task, config.seed))
    module = Classifier(model, task, settings, config.given_lr, config.seed)
    if config.method.name == "peft":
        put_adapter(module, config, new)
    journal = Journal(folder, task.metric, data.data.parts, sink)
    stop = StopAt(task.metric, settings.stop_at)
    callbacks = [journal, Pulse(folder), stop, *in_subspace(config)]
    if config.logger.name != "none":
        callbacks.append(Curves(sink, config.logger.log_every_n_steps))
    inputs = {"data_sha256": data.data.sha256, "model_sha256": model_sha256}
    saver = Saver(folder / generations.FOLDER, settings.save_every, inputs)
    report = Report(data, journal, saver, settings.grow_from is not None)
    with processes(settings.devices, train, spec, Sink()):
        if is_first():
            sink.open(spec, saver.notes)
        trainer = fit(spec, module, data, [*callbacks, report, saver])
    validate_end(module)
    save(module, folder)
    found = outcome(module)
    return {
        **found,
        **judged(data, zero, journal, report, folder if trainer.is_global_zero else None),
        "epochs": settings.epochs,
        "stages": stages(callbacks, journal.values, module.rate, found["outside"]),
        **inputs,
        "device": str(trainer.strategy.root_device),
        "earlier_s": saver.seconds,
        "notes": saver.notes,
    }


def put_adapter(module: Classifier, config: Config, new: frozenset[str]) -> None:
    """Put PEFT's adapter on a module's model."""
    peft = config.method.peft
    module.model, module.rung = adapt(module.model, peft, config.d, config.seed, new)
    module.size = describe(peft, module.rung)


def judged(
    data: TextDataModule, zero: Scores, journal: Journal, report: Report, folder: Path | None
) -> dict[str, Any]:
    """Return what a run's record says of its metric; keep the report rows' scores in its folder.

    What a language model scores at theta = 0 is trivial too, where it is more than a constant
    answer does.
    """
    parts, last = data.data.parts, journal.last
    metrics, row_scores = journal.metrics, report.row_scores
    select, reported = data.select_sets[0], data.report_sets[0]
    ended = journal.values[-1] if journal.values else None
    trivial = {
        "select": max(data.trivial(select), zero.get("select", 0.0)),
        "report": max(data.trivial(reported), zero.get("report", 0.0)),
    }
    return {
        "metric": Metric(
            name=journal.metric,
            value=metrics.get(journal.metric),
            trivial=trivial["report"],
        ),
        "best": journal.best,
        "last": last,
        "train_rows": len(data.train_set),
        "select": Part(
            split=parts.select,
            rows=len(select),
            value=last.value if last else None,
            trivial=trivial["select"],
            zero_shot=zero.get("select"),
        ),
        "report": Part(
            split=parts.report,
            rows=len(reported),
            value=ended,
            trivial=trivial["report"],
            zero_shot=zero.get("report"),
        ),
        "scores": write_scores(folder, row_scores) if folder and row_scores is not None else None,
        "metrics": metrics,
        "train_metric": TrainMetric(name=journal.metric, value=journal.train_value),
    }


def fit(
    spec: RunSpec,
    module: Classifier,
    data: TextDataModule,
    callbacks: list[Callback],
) -> Trainer:
    """Train from the newest state that is whole, or from the start.

    Raise Preempted where a signal asked to stop, once the state is saved.
    """
    trainer = make_trainer(spec.config, spec.folder, callbacks)
    newest = generations.latest(spec.folder / generations.FOLDER)
    with half_products(spec.config.trainer.precision):
        trainer.fit(module, datamodule=data, ckpt_path=newest)
    return trainer


def validate_end(module: Classifier) -> None:
    """Raise FloatingPointError where a trained number, or what it writes, is not finite.

    The rows that were evaluated may not have read it, such as the embedding of another word.
    """
    for name, weight in module.named_parameters():
        if not weight.isfinite().all():
            raise FloatingPointError(f"{name} is not finite after the last step")


def outcome(module: Classifier) -> dict[str, Any]:
    """Return what a trained module adds to its run's record."""
    if (subspace := module.subspace) is None:
        return module.trained()
    scales = subspace.lambdas.tolist() if subspace.m else [None]
    return {
        **module.trained(),
        "groups": {
            name: Group(D=size, scale=scale)
            for (name, size), scale in zip(subspace.sizes().items(), scales, strict=True)
        },
        "fingerprint": subspace.projection.fingerprint(),
    }


def save(module: Classifier, folder: Path) -> None:
    """Save what was trained: the subspace's numbers, PEFT's adapter, or all weights.

    Of several processes, the first does.
    """
    if module.global_rank:
        return
    checkpoint = folder / generations.FOLDER
    checkpoint.mkdir(exist_ok=True)
    if (subspace := module.subspace) is None:
        with TemporaryDirectory(suffix=".tmp", dir=checkpoint) as beside:
            module.model.save_pretrained(beside)
            for file in Path(beside).iterdir():
                file.replace(checkpoint / file.name)
        return
    numbers = {"theta": subspace.theta, "scale": subspace.lambdas}
    head = {f"head.{name}": weight for name, weight in subspace.head().items()}
    write_whole(checkpoint / generations.NUMBERS, serialise({**numbers, **head}))


def peak_memory() -> int:
    """Return the peak memory in bytes: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
