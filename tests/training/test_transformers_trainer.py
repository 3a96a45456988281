"""transformers' Trainer trains in a subspace with all that it does besides, and a model is left."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    TrainerCallback,
)

from said_lightning import Subspace, SubspaceTrainerCallback
from said_lightning.errors import UserError
from said_lightning.subspace.lr_rule import LAMBDA_LR

pytest.importorskip("accelerate")
from accelerate.state import AcceleratorState, GradientState
from transformers import Trainer, TrainingArguments

d, LR, RATIO, ROWS, BATCH = 24, 1e-3, 20.0, 16, 4
STEPS = ROWS // BATCH
KEYWORDS: dict[str, Any] = {"projection": "dense", "seed": 1}


@pytest.fixture(autouse=True)
def without_accelerate() -> Iterator[None]:
    """Leave nothing to the next test that accelerate holds for all of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def bert(seed: int = 0, dropout: float = 0.1) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.3,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def rows() -> Any:
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 20, (ROWS, 8), generator=draw)
    return [{"input_ids": row, "labels": row[0] % 2} for row in ids]


def said(**options: Any) -> SubspaceTrainerCallback:
    return SubspaceTrainerCallback(**{"d": d, "step_ratio": RATIO, **KEYWORDS, **options})


def arguments(folder: Path, **options: Any) -> TrainingArguments:
    usual: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 2,
        "learning_rate": LR,
        "logging_steps": 1,
        "warmup_steps": 2,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TrainingArguments(**{**usual, **options})


def fit(
    folder: Path,
    callback: SubspaceTrainerCallback,
    *more: TrainerCallback,
    model: Any = None,
    resume: Path | None = None,
    optimizers: Any = (None, None),
    **options: Any,
) -> Any:
    """Train and return the Trainer."""
    trainer = Trainer(
        model=model or bert(),
        args=arguments(folder, **options),
        train_dataset=rows(),
        eval_dataset=rows(),
        callbacks=[callback, *more],
        optimizers=optimizers,
    )
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer


def numbers(callback: SubspaceTrainerCallback) -> torch.Tensor:
    assert callback.subspace is not None
    return torch.cat([number.detach() for number in callback.subspace.numbers()])


def is_ordinary(model: nn.Module) -> bool:
    """Whether a backward pass leaves its gradients in the weights."""
    model.zero_grad()
    model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
    grads = [weight.grad is not None for weight in model.parameters()]
    model.zero_grad()
    return all(grads)


class Watch(TrainerCallback):
    """Calls a function at an event."""

    def __init__(self, event: str, look: Callable[..., None]) -> None:
        def at_event(args: Any, state: Any, control: Any, **now: Any) -> None:
            look(state=state, **now)

        setattr(self, event, at_event)


def test_the_weights_follow_theta_after_each_step_and_gradients_are_cleared(tmp_path: Path) -> None:
    callback, model = said(method="did"), bert()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    seen: list[torch.Tensor] = []

    def look(model: Any, **_: Any) -> None:
        space: Any = callback.subspace
        assert space.theta.grad is None
        for name, weight in model.named_parameters():
            delta = space.projection.project(space.theta.detach(), name).view_as(weight)
            torch.testing.assert_close(weight, start[name] + delta)
            assert weight.grad is None
        seen.append(space.theta.detach().clone())

    fit(tmp_path, callback, Watch("on_step_end", look), model=model)
    assert len(seen) == 2 * STEPS
    assert all(not torch.equal(one, other) for one, other in pairwise(seen))
    assert is_ordinary(model)


def test_rates_rise_and_fall_as_for_full_training(tmp_path: Path) -> None:
    rates: list[tuple[float, ...]] = []

    def look(optimizer: Any, **_: Any) -> None:
        def note(inner: Any, *_: Any) -> None:
            held = [group for group in inner.param_groups if group["params"]]
            rates.append(tuple(group["lr"] for group in held))
            assert {group["weight_decay"] for group in held} == {0.0}

        optimizer.optimizer.register_step_pre_hook(note)

    callback = said(lambda_lr=0.3)
    # Its own hook comes first.
    trainer = fit(tmp_path, callback, Watch("on_train_begin", look), weight_decay=0.5)
    usual = [log["learning_rate"] for log in trainer.state.log_history[:-1]]
    assert usual[2] == LR
    factor = callback.subspace.lr(1.0, RATIO)  # type: ignore[union-attr]
    assert rates == [pytest.approx((rate * factor, 0.3 * rate / LR)) for rate in usual]
    groups = trainer.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    held = {id(weight) for group in groups for weight in group["params"]}
    assert held == {id(weight) for weight in trainer.model.parameters()}


def test_a_head_outside_has_its_own_rate_in_an_optimizer_of_its_groups(tmp_path: Path) -> None:
    model = bert()
    space = Subspace(model, d=d, head="outside", **KEYWORDS)
    callback = SubspaceTrainerCallback(make=lambda _: space)
    with pytest.raises(UserError, match="expected a group of their own"):  # of Trainer's own
        fit(tmp_path, callback, model=model)
    optimizer = torch.optim.AdamW(space.parameter_groups(full_lr=LR), weight_decay=0.0)
    rates: list[list[float]] = []
    optimizer.register_step_pre_hook(lambda o, *_: rates.append([g["lr"] for g in o.param_groups]))
    before = [tensor.detach().clone() for tensor in space.trainable_parameters()]
    fit(tmp_path, callback, model=model, optimizers=(optimizer, None), warmup_steps=0)
    assert not any(map(torch.equal, before, space.trainable_parameters()))
    assert rates[0] == [space.lr(LR), LAMBDA_LR, LR]
    assert is_ordinary(model)


def test_the_norm_that_is_logged_is_that_of_the_numbers(tmp_path: Path) -> None:
    norms: list[float] = []
    callback = said()

    def look(**_: Any) -> None:
        space: Any = callback.subspace
        grads = torch.cat([number.grad for number in space.numbers()])
        norms.append(float(grads.norm()))

    first = Watch("on_pre_optimizer_step", look)
    trainer = Trainer(
        bert(), arguments(tmp_path, max_grad_norm=0), train_dataset=rows(), callbacks=[callback]
    )
    trainer.add_callback(first)
    trainer.train()
    logged = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log]
    assert logged == pytest.approx(norms)
    assert min(norms) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("step", [2, STEPS + 1])
def test_training_goes_on_from_a_checkpoint_to_the_bit(
    step: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    whole = said()
    trained = fit(tmp_path, whole, model=bert().to(dtype), save_strategy="steps", save_steps=1)
    resumed = said()
    at = tmp_path / f"checkpoint-{step}"
    again = fit(tmp_path / "on", resumed, model=bert().to(dtype), resume=at)
    assert torch.equal(numbers(resumed), numbers(whole))
    assert all(map(torch.equal, again.model.parameters(), trained.model.parameters()))


def test_training_goes_on_whatever_the_model_began_with(tmp_path: Path) -> None:
    whole, resumed = said(), said()
    trained = fit(tmp_path, whole, save_strategy="epoch")
    at = tmp_path / f"checkpoint-{STEPS}"
    again = fit(tmp_path / "on", resumed, model=bert(seed=5), resume=at)
    torch.testing.assert_close(numbers(resumed), numbers(whole))
    for mine, right in zip(again.model.parameters(), trained.model.parameters(), strict=True):
        torch.testing.assert_close(mine, right)


def test_a_callback_that_trainer_makes_anew_goes_on_too(tmp_path: Path) -> None:
    fit(tmp_path, whole := said(), save_strategy="epoch")
    again = fit(
        tmp_path / "on",
        said(),
        resume=tmp_path / f"checkpoint-{STEPS}",
        restore_callback_states_from_checkpoint=True,
    )
    (found,) = (
        one for one in again.callback_handler.callbacks if isinstance(one, SubspaceTrainerCallback)
    )
    torch.testing.assert_close(numbers(found), numbers(whole))


@pytest.mark.parametrize("projection", ["dense", "kronecker"])
@pytest.mark.parametrize("origin", ["copy", "none"])
def test_ordinary_weights_are_saved_in_between_and_in_the_end(
    origin: str, projection: str, tmp_path: Path
) -> None:
    callback = said(projection=projection, origin=origin)
    losses: list[float] = []
    look = Watch("on_evaluate", lambda metrics, **_: losses.append(metrics["eval_loss"]))
    every: dict[str, Any] = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    trainer = fit(tmp_path, callback, look, **every)
    trainer.save_model(str(tmp_path / "end"))
    for folder, loss in zip([f"checkpoint-{STEPS}", "end"], losses, strict=True):
        model = BertForSequenceClassification.from_pretrained(tmp_path / folder)
        plain = Trainer(model, arguments(tmp_path / "plain"), eval_dataset=rows())
        assert plain.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("projection", ["dense", "kronecker"])
@pytest.mark.parametrize("origin", ["copy", "none"])
def test_the_best_model_and_its_numbers_are_left(
    origin: str, projection: str, tmp_path: Path
) -> None:
    seen: dict[int, torch.Tensor] = {}
    callback, model = said(projection=projection, origin=origin), bert()

    def look(state: Any, metrics: Any, **_: Any) -> None:
        seen[state.global_step] = numbers(callback).clone()
        # The first is best, whatever the model has learned.
        metrics["eval_score"] = -state.global_step

    trainer = Trainer(
        model,
        arguments(
            tmp_path,
            num_train_epochs=5,
            save_strategy="epoch",
            eval_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="score",
            greater_is_better=True,
        ),
        train_dataset=rows(),
        eval_dataset=rows(),
        callbacks=[callback, Watch("on_evaluate", look), EarlyStoppingCallback(2)],
    )
    trainer.train()
    assert list(seen) == [STEPS, 2 * STEPS, 3 * STEPS]
    assert torch.equal(first := numbers(callback).clone(), seen[STEPS])
    best = BertForSequenceClassification.from_pretrained(tmp_path / f"checkpoint-{STEPS}")
    for mine, right in zip(model.parameters(), best.parameters(), strict=True):
        assert torch.equal(mine, right)
    assert is_ordinary(model)
    trainer.args.num_train_epochs = 1
    trainer.train()
    assert not torch.equal(numbers(callback), first)
