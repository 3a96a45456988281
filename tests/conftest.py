"""Holds for all tests: annotations are checked, the network is not asked, draws repeat.

Besides, what most tests of runs need: a tiny encoder and planted GLUE files on disk, and configs
composed as train.py composes them.
"""

import os
import signal
import tempfile

from hypothesis import settings
from jaxtyping import install_import_hook

# Every call into the package is checked against its annotations, tensor shapes included; users
# don't pay for that. A numba kernel, which cannot be wrapped, says @typing.no_type_check.
install_import_hook("said_lightning", "beartype.beartype")

# What a shell runs in the background ignores Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, and no deadline where others share the cores.
settings.load_profile("ci")

# Before the first import of the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

# What tests tokenise stays out of the user's cache.
os.environ["SAID_CACHE"] = tempfile.mkdtemp(prefix="said-cache-")

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from said_lightning.cli.train import start as train_main
from said_lightning.config.compose import read_command
from said_lightning.config.identity import RunSpec

ROOT = Path(__file__).parents[1]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
GOOD, BAD = ["good", "fine", "great"], ["bad", "dull", "poor"]
WORDS = [*SPECIAL, "a", "the", "film", "plot", *GOOD, *BAD]

Compose = Callable[..., RunSpec]


class Ended(NamedTuple):
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random BERT of two layers with dropout, D = 5,554 with a head, and a tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=32, **special)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 as original files: 24 sentences to train on and 10 to evaluate."""
    folder = tmp_path_factory.mktemp("glue")
    (folder / "SST-2").mkdir()
    for name, rows in (("train.tsv", 24), ("dev.tsv", 10)):
        lines = [f"the film a {(BAD, GOOD)[i % 2][i % 3]} plot\t{i % 2}" for i in range(rows)]
        (folder / "SST-2" / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny(encoder: Path, glue: Path) -> list[str]:
    """Return the overrides of a run that takes a moment: two epochs of three steps."""
    return [
        "model.name=tiny",
        f"model.path={encoder}",
        f"task.data_dir={glue}",
        "task.rows.train=null",
        "task.rows.eval=null",
        "task.max_length=16",
        "trainer.epochs=2",
        "trainer.batch_size=8",
        "d=20",
    ]


@pytest.fixture(scope="session")
def compose(tiny: list[str]) -> Compose:
    """Return the spec of one tiny run that lands in `out`."""

    def one(out: Path, *overrides: str) -> RunSpec:
        command = read_command([*tiny, f"out={out}", *overrides])
        assert command.errors == ()
        (spec,) = command.specs
        return spec

    return one


@pytest.fixture
def main(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run the program in this process for tiny jobs that land in `out` below tmp_path."""
    handlers, level = logging.root.handlers[:], logging.root.level

    def command(*arguments: str) -> Ended:
        jobs = [*tiny, f"out={tmp_path / 'out'}", *arguments]
        # Hydra takes flags before overrides alone.
        jobs.sort(key=lambda argument: not argument.startswith("-"))
        return Ended(train_main(jobs), *capsys.readouterr())

    yield command
    # Hydra puts its own in their place.
    logging.root.handlers[:], logging.root.level = handlers, level
