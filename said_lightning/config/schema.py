"""The configuration as typed schemas; ranges and choices stand at the fields."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING
from pydantic import Field

from said_lightning.data.fields import (
    Count,
    Finite,
    Natural,
    NotNegative,
    Positive,
    Share,
    different,
    one_of,
)
from said_lightning.data.task import TaskConfig
from said_lightning.subspace.lr_rule import FULL_LR, LAMBDA_LR, STEP_RATIO


@dataclass
class ModelConfig:
    """An encoder: a hub id, a local folder, or `package:NAME/FOLDER` inside a pip package.

    layers: the number of layers kept, from the first on; null is all. head: `new`, drawn from the
    seed, or `keep`, the checkpoint's own, its labels by their names. A family's yaml puts its
    `size`, or its `step` of pre-training and `run`, into the path, and lists what there is in
    `sizes`, `steps`, `runs`.
    """

    name: str = MISSING
    path: str = MISSING
    revision: str | None = None
    layers: Count | None = None
    head: Annotated[str, one_of("new", "keep")] = "new"
    size: str | None = None
    sizes: list[str] = field(default_factory=list)
    step: str | None = None
    steps: list[str] = field(default_factory=list)
    run: str | None = None
    runs: list[str] = field(default_factory=list)


@dataclass
class AdapterConfig:
    """A method of PEFT: its `type`, as PEFT names it (LORA), and the `knob` that sets its size.

    The knob is the keyword of PEFT's config from which its numbers follow (LoRA's r), null where it
    has one size; a run's d chooses its value. head: `trained` by itself, its numbers counted in d,
    or `frozen` as it starts. lr: AdamW's rate where the run names none. options: further keywords
    of PEFT's config.
    """

    type: str | None = None
    knob: str | None = None
    head: Annotated[str, one_of("trained", "frozen")] = "trained"
    lr: Positive = 1e-3
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class MethodConfig:
    """How to train: fully, in a subspace without (did) or with (said) lambda, or by PEFT (peft).

    groups: what shares a lambda, `layer` or `tensor`. head: `inside` the subspace or `outside`.
    origin: `copy` keeps theta_0 and writes exactly, `none` saves its D numbers and drifts. space:
    what the subspace lies in, `all` weights, or the head with `lora` factors of rank r on queries
    and values, with every `bias`, or alone (`head`); full fine-tuning always trains all. quantize:
    linear layers hold their weights in `nf4` or `int8` meanwhile (models/quantize.py). peft: what
    the method `peft` is made of, which takes none of the others.
    """

    name: Annotated[str, one_of("full", "did", "said", "peft")] = MISSING
    groups: Annotated[str, one_of("layer", "tensor")] = "layer"
    head: Annotated[str, one_of("inside", "outside")] = "inside"
    origin: Annotated[str, one_of("copy", "none")] = "copy"
    space: Annotated[str, one_of("all", "lora", "bias", "head")] = "all"
    r: Count = 8
    quantize: Annotated[str, one_of("nf4", "int8")] | None = None
    peft: AdapterConfig = field(default_factory=AdapterConfig)

    @property
    def label(self) -> str:
        """The method's name in folders and tables: PEFT's type in small letters, such as lora."""
        return str(self.peft.type).lower() if self.name == "peft" else self.name


@dataclass
class ProjectionConfig:
    """The random map from theta to the weights: its `name`, and the options that some maps take.

    Null is an option that the named projection does not take; `projections` of a field names those
    that do. gradient: see projections/released.py. basis, keep: see projections/kronecker.py.
    """

    name: str = MISSING
    gradient: Annotated[str, one_of("exact", "released")] | None = field(
        default=None, metadata={"projections": ("released",)}
    )
    basis: Annotated[str, one_of("random", "svd")] | None = field(
        default=None, metadata={"projections": ("kronecker",)}
    )
    keep: bool | None = field(default=None, metadata={"projections": ("kronecker",)})

    @property
    def options(self) -> dict[str, Any]:
        """The options that are set, by name."""
        return {
            key: value for key, value in vars(self).items() if key != "name" and value is not None
        }


@dataclass
class TrainerConfig:
    """Everything about the optimisation but d, seed and lr.

    full_lr: the rate of full fine-tuning (AdamW). step_ratio: of theta's rate. lambda_lr: lambda's
    rate (subspace/lr_rule.py for both). warmup: the share of the steps in which the rate rises; it
    falls to 0 in the rest. clip: norm of the gradient, of theta's in a subspace; 0 is none.
    batch_size: rows of a step on each of the devices, which share each batch;
    a step has accumulate times as many. save_every: seconds from one saved state of a subspace run
    to the next, 0 is after every step (full fine-tuning's is saved after each epoch). stop_at: the
    run ends after the first epoch whose metric reaches it; null is never. grow_from: d in the first
    epoch, from where it grows to d in the last (training/growing.py); null is all d at once.
    activation_checkpointing: layers keep their input alone and are computed again backwards.
    """

    epochs: Count = 3
    batch_size: Count = 32
    eval_batch_size: Count = 128
    full_lr: Positive = FULL_LR
    step_ratio: Positive = STEP_RATIO
    lambda_lr: Positive = LAMBDA_LR
    weight_decay: NotNegative = 0.0
    warmup: Share = 0.06
    clip: NotNegative = 1.0
    accumulate: Count = 1
    precision: Annotated[str, one_of("32-true", "bf16-mixed", "16-mixed", "bf16-true")] = "32-true"
    devices: Count = 1
    workers: Natural = 0
    save_every: NotNegative = 30.0
    stop_at: Finite | None = None
    grow_from: Count | None = None
    activation_checkpointing: bool = False


@dataclass
class LoggerConfig:
    """Where a run's numbers go besides its folder: to the logger of Lightning's with this name.

    log_every_n_steps: steps from one row of a step's numbers to the next. options: keywords of the
    logger's class, of `wandb.init` for `wandb`. path: the class of `custom`, `package.Class`.
    project, mode: of `wandb`, which is offline by default.
    """

    name: Annotated[str, one_of("none", "csv", "tensorboard", "mlflow", "wandb", "custom")] = (
        MISSING
    )
    log_every_n_steps: Count = 50
    options: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    project: str = "said_lightning"
    mode: Annotated[str, one_of("offline", "online")] = "offline"


@dataclass
class Config:
    """One run. d counts all trained numbers, lambda inside; lr null follows the rule.

    Of a method of PEFT, d is the size that the method can have nearest to the d that is asked for.

    protocol: `splits` reports on rows on which nothing was chosen, after the last epoch; `dev`
    chooses and reports on dev, the best epoch counts. timeout: seconds after which a run is taken
    to hang. on_error: whether a sweep goes on after a run that failed, `continue` or `stop`.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    d: Count = 1000
    seed: Natural = 0
    lr: Positive | None = None
    protocol: Annotated[str, one_of("splits", "dev")] = "splits"
    out: str = "multirun_outputs"
    timeout: Positive | None = None
    on_error: Annotated[str, one_of("continue", "stop")] = "continue"

    @property
    def step_ratio(self) -> float | None:
        """The ratio that makes theta's rate by the rule; None where there is no theta."""
        return self.trainer.step_ratio if self.method.name in ("did", "said") else None

    @property
    def given_lr(self) -> float | None:
        """The rate that is given, by the run or by a method of PEFT; None for the rule's."""
        return self.method.peft.lr if self.lr is None and self.method.name == "peft" else self.lr

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


@dataclass
class SearchConfig:
    """What hydra/sweeper=d90 is asked for; conf/hydra/sweeper/d90.yaml says what each key means."""

    low: Count = MISSING
    high: Count = MISSING
    rates: Annotated[list[Positive], Field(min_length=1), different] = MISSING
    lengths: Annotated[list[Positive], Field(min_length=1), different] = MISSING
    seeds: Annotated[int, Field(ge=2)] = MISSING
    width: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = MISSING
    budget: Count = MISSING
    batch: Count = MISSING
    corrected: bool = MISSING
    nested: Annotated[int, Field(ge=2)] | None = MISSING


Text = str | int  # an account may be named 1234


@dataclass
class SlurmConfig:
    """What hydra/launcher=slurm takes: all that submitit asks of Slurm, and how to wait for it.

    conf/hydra/launcher/slurm.yaml says what each key means.
    """

    submitit_folder: str
    detach: bool
    poll_s: Positive
    name: Text
    timeout_min: Count
    signal_delay_s: Natural
    max_num_timeout: Natural
    array_parallelism: Count
    nodes: Count
    tasks_per_node: Count
    use_srun: bool
    stderr_to_stdout: bool
    additional_parameters: dict[str, Any]
    partition: Text | None
    account: Text | None
    qos: Text | None
    constraint: Text | None
    gres: Text | None
    nodelist: Text | None
    exclude: Text | None
    exclusive: bool | str | None
    dependency: Text | None
    comment: Text | None
    wckey: Text | None
    mail_type: Text | None
    mail_user: Text | None
    cpus_per_task: Count | None
    cpus_per_gpu: Count | None
    gpus_per_node: Natural | None
    gpus_per_task: Natural | None
    mem_gb: Positive | None
    mem_per_cpu: Text | None
    mem_per_gpu: Text | None
    setup: list[str] | None
    teardown: list[str] | None
    srun_args: list[str] | None
    python: str | None


# On import, since a launcher's worker imports this module and calls nothing before it composes.
ConfigStore.instance().store(name="schema", node=Config)
