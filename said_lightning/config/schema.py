"""The configuration as typed schemas; ranges, choices and meanings stand at the fields."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from said_lightning.data.fields import (
    Count,
    Described,
    Finite,
    Natural,
    NotNegative,
    Positive,
    Share,
    one_of,
)
from said_lightning.data.task import TaskConfig
from said_lightning.subspace.lr_rule import FULL_LR, LAMBDA_LR, STEP_RATIO


@dataclass
class ModelConfig(Described):
    """An encoder or a decoder, and how much of it is taken.

    A family's yaml puts its size, or its step of pre-training and run, into the path.
    """

    name: str = MISSING
    """The model's name in folders and tables, which follows from a path that is given."""
    path: str = MISSING
    """A hub id, a local folder, or package:NAME/FOLDER inside a pip package."""
    revision: str | None = None
    """The branch, tag or commit on the hub; null is the newest."""
    layers: Count | None = None
    """How many layers are kept, from the first on; null is all."""
    head: Annotated[str, one_of("new", "keep")] = "new"
    """The head is `new`, drawn from the seed, or `keep`, the checkpoint's own, by its labels."""
    size: str | None = None
    """The member of a family whose models differ in size."""
    sizes: list[str] = field(default_factory=list)
    """The values that `model.size` may have."""
    step: str | None = None
    """The checkpoint of a family that is one pre-training, by its step."""
    steps: list[str] = field(default_factory=list)
    """The values that `model.step` may have."""
    run: str | None = None
    """The member of a family of pre-trainings that differ in their seed."""
    runs: list[str] = field(default_factory=list)
    """The values that `model.run` may have."""


@dataclass
class AdapterConfig(Described):
    """A method of PEFT, whose size follows from d by one keyword, its knob."""

    type: str | None = None
    """The type as PEFT names it, such as LORA, VERA or FOURIERFT."""
    knob: str | None = None
    """The keyword of PEFT's config that d chooses the value of; null is one size."""
    head: Annotated[str, one_of("trained", "frozen")] = "trained"
    """The head is `trained` by itself and counted in d, or `frozen` as the seed draws it."""
    lr: Positive = 1e-3
    """AdamW's rate where `lr` is null."""
    lr_at: Count | None = None
    """The d at which `method.peft.lr` holds: it falls as 1/sqrt(d); null is the same at every d."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keywords of PEFT's config, such as +method.peft.options.lora_alpha=16."""


@dataclass
class MethodConfig(Described):
    """How to train: fully, in a subspace without (did) or with (said) lambda, or by PEFT (peft)."""

    name: Annotated[str, one_of("full", "did", "said", "peft")] = MISSING
    """Train all weights (`full`), d numbers (`did`), d with lambdas (`said`), or by `peft`."""
    groups: Annotated[str, one_of("layer", "tensor")] = "layer"
    """What shares a lambda: each `layer`, or each `tensor` has its own."""
    head: Annotated[str, one_of("inside", "outside")] = "inside"
    """The head lies `inside` the subspace, or is trained `outside` of it, beside the d numbers."""
    origin: Annotated[str, one_of("copy", "none")] = "copy"
    """A `copy` of theta_0 keeps weights exact; `none` saves its D numbers, and drifts."""
    space: Annotated[str, one_of("all", "lora", "bias", "head")] = "all"
    """What theta moves: `all` weights, or the `head` alone, with `lora` factors, or each `bias`."""
    r: Count = 8
    """The rank of the factors with `method.space=lora`, on queries and values."""
    quantize: Annotated[str, one_of("nf4", "int8")] | None = None
    """How linear layers hold their weights meanwhile; null is as they are."""
    peft: AdapterConfig = field(default_factory=AdapterConfig)
    """What a method of PEFT is made of; it takes no other key of the method."""

    @property
    def label(self) -> str:
        """The method's name in folders and tables: PEFT's type in small letters, such as lora."""
        return str(self.peft.type).lower() if self.name == "peft" else self.name


@dataclass
class ProjectionConfig(Described):
    """The random map from theta to the weights, and the options that some maps take.

    Null is an option that the named projection does not take; `projections` of a field names those
    that do.
    """

    name: str = MISSING
    """The name of a map, such as fastfood."""
    gradient: Annotated[str, one_of("exact", "released")] | None = field(
        default=None, metadata={"projections": ("released",)}
    )
    """With `projection=released`: the `exact` gradient, or the one of the `released` code."""
    basis: Annotated[str, one_of("random", "svd")] | None = field(
        default=None, metadata={"projections": ("kronecker",)}
    )
    """With `projection=kronecker`: `random` factors, or in each weight's `svd` basis."""
    keep: bool | None = field(default=None, metadata={"projections": ("kronecker",)})
    """With `projection=kronecker`: whether its factors are kept, or drawn anew at each step."""

    @property
    def options(self) -> dict[str, Any]:
        """The options that are set, by name."""
        return {
            key: value for key, value in vars(self).items() if key != "name" and value is not None
        }


@dataclass
class TrainerConfig(Described):
    """Everything about the optimisation but d, seed and lr."""

    epochs: Count = 3
    """Passes over the training rows."""
    batch_size: Count = 32
    """Rows of a step on each device."""
    eval_batch_size: Count = 128
    """Rows of a step of evaluation."""
    full_lr: Positive = FULL_LR
    """AdamW's rate for full fine-tuning."""
    step_ratio: Positive = STEP_RATIO
    """Theta's step moves the weights this many times as far as `trainer.full_lr` does."""
    lambda_lr: Positive = LAMBDA_LR
    """Lambda's rate, at every d."""
    weight_decay: NotNegative = 0.0
    """AdamW's decay of weights, adapters and a head outside; theta never decays."""
    warmup: Share = 0.06
    """The share of the steps in which the rate rises; it falls linearly to 0 in the rest."""
    clip: NotNegative = 1.0
    """The largest norm of the gradient, of theta's in a subspace; 0 is any."""
    accumulate: Count = 1
    """Batches whose gradients make one step."""
    precision: Annotated[str, one_of("32-true", "bf16-mixed", "16-mixed", "bf16-true")] = "32-true"
    """The numbers that weights and activations are held in, as Lightning names them."""
    devices: Count = 1
    """Devices of this machine, which share each batch, data parallel."""
    workers: Natural = 0
    """Processes that make the batches; 0 makes them where it trains."""
    save_every: NotNegative = 30.0
    """Seconds from one saved state of a subspace run to the next; 0 saves after every step."""
    stop_at: Finite | None = None
    """The run ends after the first epoch whose metric reaches this; null is never."""
    grow_from: Count | None = None
    """The d of the first epoch, from where it grows to `d` in the last; null is all at once."""
    activation_checkpointing: bool = False
    """Layers keep their input alone: a third more time for far less memory of a batch."""


@dataclass
class LoggerConfig(Described):
    """A logger of Lightning's."""

    name: Annotated[str, one_of("none", "csv", "tensorboard", "mlflow", "wandb", "custom")] = (
        MISSING
    )
    """The logger of Lightning's with this name."""
    log_every_n_steps: Count = 50
    """Steps from one row of a step's numbers to the next."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keywords of the logger's class, those of wandb.init for W&B."""
    path: str | None = None
    """With `logger=custom`: the class, such as pytorch_lightning.loggers.CometLogger."""
    project: str = "said_lightning"
    """With `logger=wandb`: the project at W&B."""
    mode: Annotated[str, one_of("offline", "online")] = "offline"
    """With `logger=wandb`: whether runs are logged at once; said sync pushes `offline` runs."""


@dataclass
class Config(Described):
    """One run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """An encoder or a decoder."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """A data set, what is asked about its rows, and the metric."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """What is trained: all weights, d numbers in their place, or an adapter."""
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    """The random map from d numbers to the weights."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """The optimisation."""
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    """Where a run's numbers go besides its folder."""
    d: Count = 1000
    """Trained numbers in all, lambda inside; a method of PEFT takes the nearest that it can."""
    seed: Natural = 0
    """The seed of the projection, the head and the order of the rows."""
    lr: Positive | None = None
    """The learning rate, of theta in a subspace; null follows the rule, which is recorded."""
    protocol: Annotated[str, one_of("splits", "dev")] = "splits"
    """Report on rows that chose nothing (`splits`), or choose the epoch and report on `dev`."""
    out: str = "multirun_outputs"
    """The folder of all runs; a run's own is MODEL/TASK/RUN in it."""
    timeout: Positive | None = None
    """Seconds after which a run is taken to hang; null is never."""
    on_error: Annotated[str, one_of("continue", "stop")] = "continue"
    """Whether a sweep goes on after a run that failed."""

    @property
    def given_lr(self) -> float | None:
        """The rate that is given, by the run or by a method of PEFT; None for the rule's."""
        if self.lr is not None or self.method.name != "peft":
            return self.lr
        # AdamW moves each number by lr a step, so all by lr * sqrt(d), which a random map hands on.
        peft = self.method.peft
        return peft.lr if peft.lr_at is None else peft.lr * (peft.lr_at / self.d) ** 0.5

    @property
    def rule(self) -> float | None:
        """What the rate is computed from where it depends on d; None where it does not."""
        if self.lr is not None or self.method.name == "full":
            return None
        if self.method.name == "peft":
            peft = self.method.peft
            return None if peft.lr_at is None else peft.lr * peft.lr_at**0.5
        return self.trainer.step_ratio * self.trainer.full_lr

    @property
    def own_rate(self) -> tuple[str, float]:
        """The key that holds a series' rate, on which a search tries factors, and its value."""
        if self.lr is not None:
            return "lr", self.lr
        if self.method.name == "peft":
            return "method.peft.lr", self.method.peft.lr
        return "trainer.step_ratio", self.trainer.step_ratio

    @property
    def split_task(self) -> TaskConfig:
        """The task as its data are read: dev selects and reports where the protocol is dev."""
        if self.protocol == "splits":
            return self.task
        return replace(self.task, select="dev", report="dev")

    @property
    def every_d(self) -> list[int]:
        """The d of the run; of one that grows, the first and the last."""
        first = self.trainer.grow_from
        return [self.d] if first is None else [first, self.d]


# On import, since a launcher's worker imports this module and calls nothing before it composes.
ConfigStore.instance().store(name="schema", node=Config)
