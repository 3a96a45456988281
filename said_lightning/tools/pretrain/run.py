"""From a command to checkpoints, ordinary Hugging Face folders: step-0, step-100, ..."""

import hashlib
import logging
import sys
import time
from pathlib import Path
from shutil import rmtree
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader
from transformers import BertForMaskedLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from said_lightning.config.stored import read_yaml
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint as generations
from said_lightning.runs.files import write_whole
from said_lightning.runs.signals import Asked, listening
from said_lightning.tools.pretrain.mlm import Batches, MaskedLM, new_bert
from said_lightning.tools.pretrain.settings import PretrainConfig
from said_lightning.tools.pretrain.text import blocks, paragraphs, train_tokenizer
from said_lightning.training.packing import pack, unpack
from said_lightning.training.trainer import quiet

log = logging.getLogger(__name__)

SETTINGS = "pretrain.yaml"
TOKENIZER = "tokenizer"
# How the names of folders begin that are under way.
UNFINISHED = ".unfinished-"


def pretrain(config: PretrainConfig) -> Path:
    """Pre-train, or resume where a run of the same settings was cut off; return its folder.

    Raise UserError where the text is too short, the folder holds anything else or a run of other
    settings, or cannot be written; Preempted once asked to stop, with the state saved.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    out = Path(config.out)
    texts = paragraphs(config.text)
    own = decisive(config, texts)
    if found := validate_folder(own, out):
        raise UserError(*found)
    if (out / f"step-{config.steps[-1]}").exists():
        log.info("done before: %s", out)
        return out
    tokenizer = own_tokenizer(config, texts, out)
    rows = blocks(tokenizer, texts, config.length)
    if len(rows) < config.batch_size:
        raise UserError(
            f"text: {len(rows)} rows of {config.length} tokens; expected at least "
            f"batch_size={config.batch_size} of them"
        )
    model = new_bert(config, tokenizer)
    take_over(own, tokenizer, out)
    state = newest(out)
    if state:
        model.load_state_dict(state["model"], strict=False)  # tied weights are in it once
    module = MaskedLM(model, config, state)
    log.info("%d weights, %d rows of %d tokens", model.num_parameters(), *rows.shape)
    keep(module, tokenizer, out)
    batches = Batches(rows, tokenizer, config.batch_size, config.seed)
    steps = range(module.start, config.steps[-1])
    with listening() as asked:
        trainer = make_trainer(Keeper(tokenizer, out, asked))
        trainer.fit(module, DataLoader(batches, batch_size=None, sampler=steps))
    generations.remove(out / generations.FOLDER)
    return out


def decisive(config: PretrainConfig, texts: list[str]) -> dict[str, Any]:
    """Return the settings that the bits of a run depend on; the text goes by its hash."""
    own: Any = OmegaConf.to_container(OmegaConf.structured(config))
    for key in ("out", "save_every", "text"):
        own.pop(key)
    return own | {"text_sha256": hashlib.sha256("\n\n".join(texts).encode()).hexdigest()}


def validate_folder(own: dict[str, Any], out: Path) -> list[str]:
    """Return what is wrong with a folder that holds anything but a run of the same settings."""
    path = out / SETTINGS
    try:
        if not path.exists():
            if out.exists() and not all(one.name.startswith(".") for one in out.iterdir()):
                return [
                    f"out={out}: holds no {SETTINGS}; expected a new folder, an empty one, or that "
                    "of a run to go on with"
                ]
            return []
        found = read_yaml(path, _settings, "settings of a run")
        differs = [key for key in own if own[key] != found.get(key)]
    except OSError as error:
        return [f"out={out}: no folder for a run: {error}"]
    except UserError as error:
        return list(error.messages)
    if not differs:
        return []
    return [
        *(f"{path}: {key}={found.get(key)}: expected {own[key]}" for key in differs),
        f"out={out}: holds a run of other settings; choose another folder",
    ]


def _settings(node: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(node)
    if not isinstance(found, dict):
        raise ValueError(f"expected keys and values, found {found!r:.60}")
    return {str(key): value for key, value in found.items()}


def take_over(own: dict[str, Any], tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write settings and tokenizer into a folder that was checked; remove what is half."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for stray in out.glob(f"{UNFINISHED}*"):
            rmtree(stray)
        write_whole(out / SETTINGS, OmegaConf.to_yaml(OmegaConf.create(own)).encode())
        if not (out / TOKENIZER).exists():
            leave(out / TOKENIZER, tokenizer)
    except OSError as error:
        raise UserError(f"out={out}: cannot be written: {error.strerror}") from None


def leave(folder: Path, *parts: BertForMaskedLM | PreTrainedTokenizerFast) -> None:
    """Save parts of a model as a folder, whole or not at all."""
    with TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as beside:
        for part in parts:
            part.save_pretrained(Path(beside) / "whole")
        (Path(beside) / "whole").rename(folder)


def own_tokenizer(config: PretrainConfig, texts: list[str], out: Path) -> PreTrainedTokenizerFast:
    """Return the run's tokenizer: the one in its folder, or a new one."""
    if not (out / TOKENIZER).exists():
        return train_tokenizer(texts, config.vocabulary, config.length)
    found: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(out / TOKENIZER)
    return found


def newest(out: Path) -> dict[str, Any] | None:
    """Return the newest state that is whole; None where there is none."""
    path = generations.latest(out / generations.FOLDER)
    return unpack(generations.read(path)) if path else None


def keep(module: MaskedLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Leave a checkpoint of a step that is to be kept, whole, unless it is there."""
    folder = out / f"step-{module.step}"
    if module.step not in module.config.steps or folder.exists():
        return
    leave(folder, module.model, tokenizer)
    recent = module.losses[-100:]
    log.info("step %d: loss %s", module.step, f"{fmean(recent):.3f}" if recent else "not known")


class Keeper(Callback):
    """Leaves checkpoints and states as steps go by, and stops the run when asked."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, out: Path, asked: Asked) -> None:
        self.tokenizer = tokenizer
        self.out = out
        self.asked = asked
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep what is due."""
        assert isinstance(pl_module, MaskedLM)
        config = pl_module.config
        keep(pl_module, self.tokenizer, self.out)
        due = time.monotonic() - self._saved >= config.save_every or pl_module.step in config.steps
        if due or self.asked.signum:
            generations.save(self.out / generations.FOLDER, *pack(pl_module.state_to_keep()))
            self._saved = time.monotonic()
        self.asked.check()


def make_trainer(keeper: Keeper) -> Trainer:
    """Make the Lightning Trainer of one pass over the steps that are left."""
    quiet()
    return Trainer(
        max_epochs=1,
        devices=1,
        gradient_clip_val=1.0,
        callbacks=[keeper],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        use_distributed_sampler=False,
    )
