"""Exact resume: what a run under way saves, and how it goes on from there to the same bits.

Randomness is a function of (seed, epoch, batch), so a state is the trained numbers, the optimizer's
moments and counters. Of a subspace run that is a few times d numbers, saved every few seconds; of
full fine-tuning three times D, saved after every epoch. Nothing is pickled.
"""

import logging
import time
import warnings
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer
from torchmetrics import Metric

from said_lightning.errors import UserError
from said_lightning.runs import checkpoint as generations
from said_lightning.runs.signals import Asked, listening
from said_lightning.training.packing import pack, unpack

log = logging.getLogger(__name__)


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints as sealed safetensors files; a path's folder holds two generations.

    A state that cannot be saved is reported once: training goes on, the generations before stand.
    """

    def __init__(self) -> None:
        self._reported = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save the next generation in the folder of `path`."""
        try:
            generations.save(Path(path).parent, *pack(checkpoint))
        except OSError as error:
            if not self._reported:
                log.warning("the state cannot be saved, training goes on without: %s", error)
            self._reported = True

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load one generation, on the CPU; raises UserError where it is broken."""
        return unpack(generations.read(Path(path)))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove both generations from the folder of `path`."""
        generations.remove(Path(path).parent)


class Saver(Callback):
    """Saves a run's state every few seconds and at each epoch's end, and stops it when asked.

    `every` counts seconds from one save to the next, 0 is after every step. The step before an
    epoch's last one is saved too: to stop in the evaluation that follows loses no more than the
    last step. A run of full fine-tuning, or whose weights are not a function of theta alone
    (origin=none), has D numbers to save: it is saved after each epoch, and when asked to stop.
    `inputs` are the checksums of what the run reads: a state of a run that read something else is
    refused. `notes` gains a line where a state comes from other threads, torch or device, with
    which the bits may differ. `seconds` is the time that earlier legs took.
    """

    def __init__(self, folder: Path, every: float, inputs: dict[str, str]) -> None:
        self.path = folder / generations.STATE
        self.every = every
        self.inputs = inputs
        self.notes: list[str] = []
        self.asked = Asked()
        self._listening = ExitStack()
        self._resumed = False
        self.seconds = 0.0
        self._clock = self._saved = time.monotonic()
        # A state inside an epoch is at a batch; Lightning doubts every loader that it resumes.
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")

    def state_dict(self) -> dict[str, Any]:
        """Return what the state holds of the run so far."""
        return {"seconds": self.seconds + time.monotonic() - self._clock, "notes": self.notes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the time and the notes of the legs before."""
        self.seconds = state_dict["seconds"]
        self.notes[:0] = [note for note in state_dict["notes"] if note not in self.notes]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave in a state what is trained, and add what its bits depend on."""
        state = checkpoint["state_dict"]
        kept = set(state) if whole(pl_module) else trained(pl_module)
        checkpoint["state_dict"] = {name: state[name] for name in state if name in kept}
        checkpoint["inputs"] = self.inputs
        checkpoint["circumstances"] = circumstances(trainer)
        checkpoint["progress"] = [trainer.global_step, trainer.estimated_stepping_batches]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the data begin where the state was saved, and note other circumstances.

        Raises UserError where the state is of other data or of another model.
        """
        if wrong := self.validate_inputs(checkpoint["inputs"]):
            raise UserError(*wrong)
        self._resumed = True
        loop = checkpoint["loops"]["fit_loop"]
        epoch = loop["epoch_progress"]["current"]["processed"]
        batch = loop["epoch_loop.batch_progress"]["current"]["ready"] if inside(loop) else 0
        trainer.datamodule.start = (epoch, batch)  # type: ignore[attr-defined]
        now = circumstances(trainer)
        for name, before in checkpoint["circumstances"].items():
            if before != now[name]:
                self.notes.append(f"resumed, not bit-exact: {name} {before}, then {now[name]}")
                log.warning(self.notes[-1])

    def validate_inputs(self, inputs: dict[str, str]) -> list[str]:
        """Return in what a run with these inputs is another than this one."""
        return [
            f"{self.path.parent}: {name}={inputs[name]:.12}...: expected {now:.12}...; this state "
            "is of a run that read something else, and cannot be resumed: move it away"
            for name, now in self.inputs.items()
            if inputs[name] != now
        ]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a new epoch of a resumed run begin with empty metrics."""
        # Not earlier, since Lightning sets handlers of its own, which stop between any two steps.
        self.asked = self._listening.enter_context(listening())
        self._saved = time.monotonic()
        if not self._resumed:
            return
        if not trainer.fit_loop.restarted_mid_epoch:
            for metric in pl_module.modules():
                if isinstance(metric, Metric):
                    metric.reset()
        log.info("resumed after step %d", trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a step; but an epoch's last one is saved with the evaluation that follows."""
        if trainer.fit_loop._should_accumulate():
            return
        if trainer.is_last_batch and whole(pl_module):
            return
        due = self.agree(trainer, due=not whole(pl_module) and self.due(trainer, batch_idx))
        if (due or self.asked.signum) and not trainer.is_last_batch:
            # What is trained alone is saved of a subspace run: its weights need not be written.
            subspace: Any = getattr(pl_module, "subspace", None)
            with nullcontext() if whole(pl_module) or not subspace else subspace.held():
                self.save(trainer)
        self.asked.check()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Stop if asked, where the state before the epoch's last step stands."""
        if not whole(pl_module):
            self.agree(trainer)
            self.asked.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state as it will be when the next epoch begins."""
        progress = trainer.fit_loop.epoch_progress
        progress.increment_completed()
        self.save(trainer)
        progress.total.completed -= 1
        progress.current.completed -= 1
        self.agree(trainer)
        self.asked.check()

    def save(self, trainer: Trainer) -> None:
        """Save the state, from when on the seconds count."""
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = time.monotonic()

    def due(self, trainer: Trainer, batch_idx: int) -> bool:
        """Return whether the time has come to save, or the epoch's last step comes next."""
        coming = trainer.num_training_batches - 1 - batch_idx
        last_is_next = coming <= trainer.accumulate_grad_batches
        return last_is_next or time.monotonic() - self._saved >= self.every

    def agree(self, trainer: Trainer, due: bool = False) -> bool:
        """Let every process know of a signal to any; return whether saving is due in the first.

        So they save and stop together, or none does.
        """
        if trainer.world_size == 1:
            return due
        own = [self.asked.signum or 0, int(due and trainer.is_global_zero)]
        asked = torch.tensor(own, device=trainer.strategy.root_device)
        signum, saves = trainer.strategy.reduce(asked, reduce_op="max").tolist()
        self.asked.signum = signum or None
        return bool(saves)

    def on_train_end(self, *_: Any) -> None:
        """Leave signals to whom they were before."""
        self._listening.close()

    def on_exception(self, *_: Any) -> None:
        """Leave signals to whom they were before."""
        self._listening.close()


def whole(module: LightningModule) -> bool:
    """Return whether a run's state holds all the model's weights."""
    subspace = getattr(module, "subspace", None)
    if subspace is None:
        return getattr(module, "rung", None) is None
    return not subspace.exact


def trained(module: LightningModule) -> set[str]:
    """Name what the state of a run holds that does not train all weights: what it trains.

    That is theta, lambda and a head outside, or an adapter's weights, and the running metrics.
    """
    subspace: Any = getattr(module, "subspace", None)
    kept = subspace.head().values() if subspace else module.parameters()
    kept = {id(weight) for weight in kept if weight.requires_grad}
    names = {name for name in module.state_dict() if not name.startswith("model.")}
    return names | {name for name, weight in module.named_parameters() if id(weight) in kept}


def inside(loop: dict[str, Any]) -> bool:
    """Return whether the state of Lightning's fit loop is one inside an epoch."""
    current = loop["epoch_progress"]["current"]
    return bool(current["ready"] > current["processed"])


def circumstances(trainer: Trainer) -> dict[str, Any]:
    """Return what a run's bits depend on besides its config."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": trainer.strategy.root_device.type,
    }
