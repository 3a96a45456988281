"""The schemas of Hydra's own parts: the search's sweeper and the Slurm launcher.

Their defaults stand in conf/hydra, from which Hydra composes them.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from omegaconf import MISSING
from pydantic import Field, WithJsonSchema

from said_lightning.data.fields import Count, Described, Natural, Positive, different

# An account may be named 1234.
Text = Annotated[str | int, WithJsonSchema({"type": "string"})]


@dataclass
class SearchConfig(Described):
    """What hydra/sweeper=d90 is asked for: the d90 of each series, searched in rounds."""

    low: Count = MISSING
    """The lower end of the range of d, which is searched too."""
    high: Count = MISSING
    """The upper end of the range of d, which is searched too."""
    rates: Annotated[list[Positive], Field(min_length=1), different] = MISSING
    """Factors on the config's own learning rates; the list grows until the best lies inside it."""
    lengths: Annotated[list[Positive], Field(min_length=1), different] = MISSING
    """Factors on `trainer.epochs`, compared as rates are."""
    seeds: Annotated[int, Field(ge=2)] = MISSING
    """Seeds of each d, and of full fine-tuning, from which d90 is read."""
    width: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = MISSING
    """More seeds run until the 90 % interval's ends are within this factor; null runs no more."""
    budget: Count = MISSING
    """The most runs for each series, those of full fine-tuning counted."""
    batch: Count = MISSING
    """Runs that are asked for at once in each series while it looks for d90."""
    corrected: bool = MISSING
    """Whether the threshold is corrected for chance, as easy and small tasks need it."""
    nested: Annotated[int, Field(ge=2)] | None = MISSING
    """Epochs of a run whose d grows from low to high, which takes the search's place."""


@dataclass
class SlurmConfig(Described):
    """What hydra/launcher=slurm takes: all that submitit asks of Slurm, and how to wait for it."""

    detach: bool
    """Whether to submit and return at once; said status reports the rest."""
    poll_s: Positive
    """Seconds from one look at the jobs to the next."""
    submitit_folder: str
    """The folder of submitit's files, in which %j is the job's number."""
    name: Text
    """The name of the jobs."""
    timeout_min: Count
    """Minutes that a job may take before it is queued again."""
    signal_delay_s: Natural
    """Seconds before the time is up at which a job saves its state and is queued again."""
    max_num_timeout: Natural
    """How often a job may run out of time."""
    array_parallelism: Count
    """The most jobs that run at once."""
    partition: Text | None
    """The partition that jobs are sent to."""
    account: Text | None
    """The account that pays for them."""
    qos: Text | None
    """The quality of service that is asked for."""
    constraint: Text | None
    """Features that a node must have, such as a100|h100."""
    nodelist: Text | None
    """Nodes that a job must get."""
    exclude: Text | None
    """Nodes that a job must not get."""
    exclusive: bool | str | None
    """Whether a job has its nodes alone: true, or user to share them with one's own jobs."""
    dependency: Text | None
    """Jobs that must have ended before, as sbatch writes them."""
    nodes: Count
    """Nodes of a job."""
    tasks_per_node: Count
    """Processes that Slurm starts on each node."""
    cpus_per_task: Count | None
    """Cores of each process."""
    cpus_per_gpu: Count | None
    """Cores for each GPU."""
    gpus_per_node: Natural | None
    """GPUs of each node."""
    gpus_per_task: Natural | None
    """GPUs of each process."""
    gres: Text | None
    """Generic resources, such as gpu:a100:1."""
    mem_gb: Positive | None
    """Memory of a node in gigabytes."""
    mem_per_cpu: Text | None
    """Memory for each core, such as 4G."""
    mem_per_gpu: Text | None
    """Memory for each GPU, such as 40G."""
    setup: list[str] | None
    """Shell lines before srun, such as [module load cuda]."""
    teardown: list[str] | None
    """Shell lines after srun."""
    srun_args: list[str] | None
    """Options of srun, such as [--container-image=nvcr.io/nvidia/pytorch:25.06-py3]."""
    python: str | None
    """The command that starts Python, such as apptainer exec --nv image.sif python."""
    use_srun: bool
    """Whether a job's processes are started by srun."""
    stderr_to_stdout: bool
    """Whether both outputs of a job share one file."""
    comment: Text | None
    """A comment on the jobs."""
    wckey: Text | None
    """The workload characterisation key of the jobs."""
    mail_type: Text | None
    """The events that a mail is sent for, such as END."""
    mail_user: Text | None
    """Who gets these mails."""
    additional_parameters: dict[str, Any]
    """Whatever else sbatch takes."""
