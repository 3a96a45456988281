"""In every loop theta and lambda become what autograd makes of them, accumulated and clipped.

The loops are a plain one, Lightning's, accelerate's, transformers' Trainer and TRL's SFTTrainer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning import Trainer as LightningTrainer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from said_lightning import Subspace, SubspaceCallback, SubspaceTrainerCallback

d, LR, RATIO, LAMBDA_LR = 14, 0.02, 3.0, 0.05
ACCUMULATED, ROWS, BATCH, LENGTH, WORDS = 2, 16, 2, 6, 16
CLIP, NO_CLIP = 0.02, 1e6
KEYWORDS: dict[str, Any] = {"d": d, "projection": "dense", "seed": 3}
RATES: dict[str, Any] = {"step_ratio": RATIO, "lambda_lr": LAMBDA_LR}

Batches = list[dict[str, Tensor]]
Loop = Callable[[nn.Module, float, Path], tuple[Subspace, Batches]]


def make_model() -> Any:
    """Return a decoder that begins with the same weights each time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        initializer_range=0.5,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def make_rows() -> list[dict[str, Any]]:
    """Return rows of equal length, so that a mean over rows is one over tokens."""
    draw = torch.Generator().manual_seed(0)
    return [{"input_ids": torch.randint(3, WORDS, (LENGTH,), generator=draw)} for _ in range(ROWS)]


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    ids = torch.stack([torch.as_tensor(row["input_ids"]) for row in rows])
    return {"input_ids": ids, "labels": ids.clone()}


def make_batches() -> Batches:
    rows = make_rows()
    return [collate(rows[start : start + BATCH]) for start in range(0, ROWS, BATCH)]


def by_autograd(batches: Batches, clip: float) -> tuple[Tensor, Tensor]:
    """Return theta and lambda with a graph through theta_0 + lambda P theta, nothing hooked."""
    model = make_model()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    space = Subspace(make_model(), **KEYWORDS)  # of which P and the groups are taken
    project, unit = space.projection.project, torch.eye(d - space.m)
    P = {name: torch.stack([project(one, name) for one in unit], dim=1) for name in start}
    theta = torch.zeros(d - space.m, requires_grad=True)
    lambdas = torch.ones(space.m, requires_grad=True)
    rate = RATIO * LR * (space.D / d) ** 0.5
    groups = [{"params": [theta], "lr": rate}, {"params": [lambdas], "lr": LAMBDA_LR}]
    optimizer = torch.optim.SGD(groups)
    for first in range(0, len(batches), ACCUMULATED):
        for batch in batches[first : first + ACCUMULATED]:
            weights = {
                name: start[name] + scale * (P[name] @ theta).view_as(start[name])
                for scale, names in zip(lambdas, space.groups.values(), strict=True)
                for name in names
            }
            loss = functional_call(model, weights, kwargs=batch).loss
            (loss / ACCUMULATED).backward()
        torch.nn.utils.clip_grad_norm_([theta, lambdas], clip)
        optimizer.step()
        optimizer.zero_grad()
    return theta.detach(), lambdas.detach()


def plain(model: nn.Module, clip: float, folder: Path) -> tuple[Subspace, Batches]:
    space = Subspace(model, **KEYWORDS)
    optimizer = torch.optim.SGD(space.parameter_groups(full_lr=LR, **RATES))
    with space.training(optimizer):
        for index, batch in enumerate(make_batches(), 1):
            (model(**batch).loss / ACCUMULATED).backward()
            if index % ACCUMULATED == 0:
                torch.nn.utils.clip_grad_norm_(space.trainable_parameters(), clip)
                optimizer.step()
    return space, make_batches()


def with_accelerate(model: nn.Module, clip: float, folder: Path) -> tuple[Subspace, Batches]:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    space = Subspace(model, **KEYWORDS)
    optimizer = torch.optim.SGD(space.parameter_groups(full_lr=LR, **RATES))
    model, optimizer = accelerator.prepare(model, optimizer)
    with space.training(optimizer):
        for batch in make_batches():
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch).loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(space.trainable_parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return space, make_batches()


class Language(LightningModule):
    """A module of a user, which knows of no subspace."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        loss: Tensor = self.model(**batch).loss
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=LR)


def with_lightning(model: nn.Module, clip: float, folder: Path) -> tuple[Subspace, Batches]:
    trainer = LightningTrainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[callback := SubspaceCallback(of="model", **KEYWORDS, **RATES)],
        accumulate_grad_batches=ACCUMULATED,
        gradient_clip_val=clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Language(model), DataLoader(make_batches(), batch_size=None))  # type: ignore[arg-type]
    assert callback.subspace is not None
    return callback.subspace, make_batches()


def arguments(clip: float, folder: Path) -> dict[str, Any]:
    """Return TrainingArguments of one epoch by plain descent."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATED,
        "max_grad_norm": clip,
        "optim": "sgd",
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": False,  # which TRL turns on
        "use_cpu": True,
        "disable_tqdm": True,
    }


class Recorder:
    """Keeps what a collator makes of rows."""

    def __init__(self, collator: Callable[[Any], Any]) -> None:
        self.collator = collator
        self.batches: Batches = []

    def __call__(self, rows: Any) -> Any:
        batch = self.collator(rows)
        self.batches.append({name: tensor.clone() for name, tensor in batch.items()})
        return batch


def with_trainer(model: nn.Module, clip: float, folder: Path) -> tuple[Subspace, Batches]:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    trainer = Trainer(
        model,
        TrainingArguments(**arguments(clip, folder)),
        data_collator=(recorder := Recorder(collate)),
        train_dataset=make_rows(),
        callbacks=[callback := SubspaceTrainerCallback(**KEYWORDS, **RATES)],
    )
    trainer.train()
    assert callback.subspace is not None
    return callback.subspace, recorder.batches


def with_trl(model: nn.Module, clip: float, folder: Path) -> tuple[Subspace, Batches]:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    words = {f"w{index}": index for index in range(WORDS)}
    backend = Tokenizer(models.WordLevel(words, "w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="w0", bos_token="w1", eos_token="w2"
    )
    trainer = trl.SFTTrainer(
        model,
        trl.SFTConfig(**arguments(clip, folder)),
        train_dataset=datasets.Dataset.from_list(
            [{"input_ids": row["input_ids"].tolist()} for row in make_rows()]
        ),
        processing_class=tokenizer,
        callbacks=[callback := SubspaceTrainerCallback(**KEYWORDS, **RATES)],
    )
    trainer.data_collator = recorder = Recorder(trainer.data_collator)
    trainer.train()
    assert callback.subspace is not None
    return callback.subspace, recorder.batches


LOOPS: list[Loop] = [plain, with_lightning, with_accelerate, with_trainer, with_trl]


@pytest.fixture(autouse=True)
def without_accelerate() -> None:
    """Let no loop find what one before has set for all of a process."""
    state = pytest.importorskip("accelerate.state")
    state.AcceleratorState._reset_state(reset_partial_state=True)
    state.GradientState._reset_state()


@pytest.mark.parametrize("clip", [CLIP, NO_CLIP])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_trains_the_numbers_as_autograd_does(
    loop: Loop, clip: float, tmp_path: Path
) -> None:
    space, batches = loop(model := make_model(), clip, tmp_path)
    assert len(batches) == ROWS // BATCH
    theta, lambdas = by_autograd(batches, clip)
    assert theta.abs().max() > 1e-3
    torch.testing.assert_close(space.theta.detach(), theta, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(space.lambdas.detach(), lambdas, rtol=1e-4, atol=1e-6)
    assert space.theta.grad is None
    assert all(weight.grad is None for weight in model.parameters())


def test_clipping_makes_a_difference_to_theta() -> None:
    clipped, free = (by_autograd(make_batches(), clip)[0] for clip in (CLIP, NO_CLIP))
    assert (clipped - free).norm() > 0.5 * free.norm()
