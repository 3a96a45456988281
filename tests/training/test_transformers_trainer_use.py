"""Trainer's flags and one's own optimizers train in a subspace; mistakes are a line each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)

from said_lightning import Subspace, SubspaceTrainerCallback
from said_lightning.errors import UserError

pytest.importorskip("accelerate")
from accelerate.state import AcceleratorState, GradientState
from transformers import Trainer, TrainingArguments
from transformers.training_args import ParallelMode

d, LR, RATIO, ROWS, BATCH = 12, 1e-2, 2.0, 16, 4


@pytest.fixture(autouse=True)
def without_accelerate() -> Iterator[None]:
    """Leave nothing to the next test that accelerate holds for all of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Toy(nn.Module):
    """A user's module with a loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))

    def forward(self, x: Tensor, factor: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.net(x) * factor[:, None]).square().mean()}


def rows() -> Any:
    draw = torch.Generator().manual_seed(0)
    return [{"x": row, "factor": torch.tensor(1.0)} for row in torch.randn(ROWS, 8, generator=draw)]


def said(**options: Any) -> SubspaceTrainerCallback:
    usual: dict[str, Any] = {"d": d, "step_ratio": RATIO, "projection": "dense"}
    return SubspaceTrainerCallback(**usual | options)


def trainer(folder: Path, model: nn.Module, *callbacks: TrainerCallback, **options: Any) -> Any:
    """Return a Trainer of one epoch in the rows' order."""
    more = {key: options.pop(key) for key in ("optimizers", "model_init") if key in options}
    usual: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    arguments = TrainingArguments(**{**usual, **options})
    data: Any = rows()
    return Trainer(
        None if "model_init" in more else model,
        arguments,
        train_dataset=data,
        callbacks=list(callbacks),
        **more,
    )


def fit(folder: Path, callback: SubspaceTrainerCallback, **options: Any) -> Tensor:
    """Return theta and lambda after an epoch."""
    trainer(folder, options.pop("model", None) or Toy(), callback, **options).train()
    return numbers(callback.subspace)


def numbers(space: Any) -> Tensor:
    return torch.cat([number.detach() for number in space.numbers()])


def by_hand(**options: Any) -> Tensor:
    """Return theta and lambda after an epoch of an ordinary loop."""
    model = Toy()
    space = Subspace(model, d, projection="dense")
    optimizer = torch.optim.Adam(space.parameter_groups(full_lr=LR, step_ratio=RATIO))
    with space.training(optimizer):
        for x in torch.stack([row["x"] for row in rows()]).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(options)):
                loss = model(x, torch.ones(BATCH))["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(space.numbers(), 1.0)
            optimizer.step()
    return numbers(space)


def trains_as_usual(model: Toy) -> bool:
    """Whether a backward pass leaves its gradients in the weights."""
    model(torch.ones(1, 8), torch.ones(1))["loss"].backward()
    return all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("options", [{}, {"bf16": True}], ids=["float32", "bf16"])
def test_trainer_trains_a_module_of_ones_own_as_a_loop_does(
    options: dict[str, Any], tmp_path: Path
) -> None:
    torch.testing.assert_close(fit(tmp_path, said(), **options), by_hand(**options))


def test_an_optimizer_and_a_scheduler_of_ones_own_are_used(tmp_path: Path) -> None:
    def of(parameters: Any) -> Any:
        optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.3)
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)

    model = Toy()
    found = fit(tmp_path, said(), model=model, optimizers=of(model.parameters()))
    torch.testing.assert_close(found, by_hand())

    space = Subspace(model := Toy(), d, projection="dense")
    own = of(space.parameter_groups(full_lr=LR, step_ratio=RATIO))
    callback = SubspaceTrainerCallback(make=lambda _: space)
    torch.testing.assert_close(fit(tmp_path, callback, model=model, optimizers=own), by_hand())


@pytest.mark.parametrize("late", [False, True])
def test_a_callback_may_be_added_and_a_model_made_late(late: bool, tmp_path: Path) -> None:
    callback = said()
    if late:
        one = trainer(tmp_path, Toy())
        one.add_callback(callback)
    else:
        one = trainer(tmp_path, Toy(), callback, model_init=Toy)
    one.train()
    torch.testing.assert_close(numbers(callback.subspace), by_hand())


def test_a_second_training_goes_on_with_the_same_numbers_and_moments(tmp_path: Path) -> None:
    one = trainer(tmp_path, Toy(), callback := said())
    one.train()
    first = numbers(callback.subspace).clone()
    assert not one.optimizer.state
    steps: list[float] = []

    class Look(TrainerCallback):
        def on_optimizer_step(self, *_: Any, **now: Any) -> None:
            assert callback.subspace is not None
            steps.append(float(now["optimizer"].state[callback.subspace.theta]["step"]))

    one.add_callback(Look())
    one.train()
    assert steps == [5, 6, 7, 8]
    assert not torch.equal(numbers(callback.subspace), first)


def test_a_step_that_fp16_skips_leaves_no_gradient_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path, Toy(), callback := said(), optim="adamw_torch")
    # On a GPU fp16=True does this.
    one.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    monkeypatch.setattr(type(one.accelerator), "mixed_precision", "fp16")
    one.accelerator.native_amp = True
    one.train_dataset[0]["factor"] = torch.tensor(float("inf"))
    steps: list[float] = []

    class Look(TrainerCallback):
        def on_step_end(self, *_: Any, **now: Any) -> None:
            assert callback.subspace is not None
            assert callback.subspace.theta.grad is None
            steps.append(float(callback.subspace.theta.detach().norm()))

    one.add_callback(Look())
    one.train()
    assert [norm > 0 for norm in steps] == [False, True, True, True]


@pytest.mark.parametrize("reentrant", [True, False])
def test_activations_may_be_computed_twice(reentrant: bool, tmp_path: Path) -> None:
    def decoder(**options: Any) -> Tensor:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=16,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            initializer_range=0.5,
        )
        ids = torch.randint(0, 16, (ROWS, 6), generator=torch.Generator().manual_seed(0))
        one = trainer(tmp_path, LlamaForCausalLM(config), callback := said(d=20), **options)
        one.train_dataset = [{"input_ids": row, "labels": row} for row in ids]
        one.train()
        return numbers(callback.subspace)

    how = {"use_reentrant": reentrant}
    twice = decoder(activation_checkpointing=True, activation_checkpointing_kwargs=how)
    torch.testing.assert_close(twice, decoder())


def test_two_callbacks_are_refused_and_an_ordinary_model_is_left(tmp_path: Path) -> None:
    one = trainer(tmp_path, model := Toy(), said(), said())
    with pytest.raises(UserError, match="more than one SubspaceTrainerCallback: expected one"):
        one.train()
    assert trains_as_usual(model)


def test_a_training_that_failed_is_let_go_of_by_the_next_and_by_close(tmp_path: Path) -> None:
    class Fail(TrainerCallback):
        def on_step_end(self, *_: Any, **now: Any) -> None:
            raise RuntimeError("the disk is full")

    model = Toy()
    for callback in (said(), said()):
        with pytest.raises(RuntimeError, match="the disk is full"):
            trainer(tmp_path, model, callback, Fail()).train()
        assert not trains_as_usual(model)
    callback.close()
    assert trains_as_usual(model)


def several_rates(model: Toy) -> Any:
    first, last = (list(model.net[index].parameters()) for index in (0, 2))
    groups: list[dict[str, Any]] = [{"params": first, "lr": 1.0}, {"params": last}]
    return torch.optim.Adam(groups), None


REFUSED: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "frozen": (
        "no trainable weights: all are frozen",
        said,
        {"model": Toy().requires_grad_(False)},
    ),
    "d": ("d=10000: the model has only D=51", lambda: said(d=10_000), {}),
    "several rates": ("gives the weights several rates", said, {"optimizers": several_rates}),
    "a part": (
        "leaves out 2 of the model's 4 trainable",
        said,
        {"optimizers": lambda toy: (torch.optim.Adam(toy.net[0].parameters()), None)},
    ),
    "neither": ("expected d and Subspace's keywords, or make", lambda: said(d=None), {}),
    "made anew": (
        "makes the callback anew, which `make` rules out",
        lambda: SubspaceTrainerCallback(make=lambda model: Subspace(model, d)),
        {"restore_callback_states_from_checkpoint": True},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_theta_cannot_be_trained_with_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    expected, callback, options = REFUSED[case]
    model = options.get("model") or Toy()
    more = {key: value for key, value in options.items() if key != "model"}
    if "optimizers" in more:
        more["optimizers"] = more["optimizers"](model)
    with pytest.raises(UserError, match=expected):
        trainer(tmp_path, model, callback(), **more).train()
    if case != "frozen":
        assert trains_as_usual(model)


@pytest.mark.parametrize("flag", ["_n_gpu", "deepspeed", "fsdp", "DISTRIBUTED"])
def test_several_devices_are_refused_when_trainer_is_made(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    if flag == "DISTRIBUTED":
        monkeypatch.setattr(TrainingArguments, "parallel_mode", ParallelMode.DISTRIBUTED)
    else:
        setattr(arguments, flag, 2)
    with pytest.raises(UserError, match="expected one process and one device"):
        said().on_init_end(arguments, TrainerState(), TrainerControl(), model=Toy())


@pytest.mark.parametrize("callback", [None, said(seed=1), said(method="did"), said(d=13)])
def test_a_checkpoint_of_another_training_is_refused(
    callback: SubspaceTrainerCallback | None, tmp_path: Path
) -> None:
    saved = [callback] if callback else []
    trainer(tmp_path, Toy(), *saved, save_strategy="epoch").train()
    one = trainer(tmp_path, Toy(), said())
    expected = "the checkpoint: [sP]" if callback else "without SubspaceTrainerCallback: it has no"
    with pytest.raises(UserError, match=expected):
        one.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert trains_as_usual(one.model)
