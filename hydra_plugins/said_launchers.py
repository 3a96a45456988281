"""Launchers of its own: Slurm arrays that can be left alone, one job for each local GPU, Ray."""

import itertools
import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from said_lightning.errors import UserError, validate_installed


class Absent(Launcher):
    """Stands for a launcher that is not installed: what is derived from it refuses to start."""

    def setup(self, **_: Any) -> None:
        """Never called."""

    def launch(self, *_: Any) -> Sequence[JobReturn]:
        """Never called."""
        return []


try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
except ImportError:
    BaseSubmititLauncher = Absent
try:
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
except ImportError:
    JoblibLauncher = Absent

log = logging.getLogger(__name__)


def require(package: str, what: str, extra: str) -> None:
    """Raise UserError where a package that a launcher needs is not installed."""
    if missing := validate_installed(package, extra, what):
        raise UserError(*missing)


class SlurmLauncher(BaseSubmititLauncher):  # type: ignore[misc]
    """Submits jobs as Slurm arrays, as long as the cluster allows, and waits for them or not.

    `detach`: return at once; `said status` reports the rest from the runs' folders. A job that was
    killed is a job without a result, and takes no other's with it.
    """

    _EXECUTOR = "slurm"

    def __init__(self, detach: bool = False, poll_s: float = 5, **params: Any) -> None:
        require("submitit", "hydra/launcher=slurm", "slurm")
        super().__init__(**params)
        self.detach = detach
        self.poll_s = poll_s

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs, in arrays of at most MaxArraySize, and return what they returned."""
        import submitit

        params = {key: value for key, value in self.params.items() if value is not None}
        if params.get("exclusive") is False:
            del params["exclusive"]  # sbatch would take it for true
        executor = submitit.AutoExecutor(
            cluster="slurm",
            folder=params.pop("submitit_folder"),
            slurm_max_num_timeout=params.pop("max_num_timeout"),
            slurm_python=params.pop("python", None),
        )
        shared = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb"}
        shared |= {"nodes", "name", "stderr_to_stdout"}
        executor.update_parameters(
            **{key if key in shared else f"slurm_{key}": value for key, value in params.items()}
        )
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        numbered = enumerate(job_overrides, initial_job_idx)
        calls = [
            (list(overrides), "hydra.sweep.dir", number, f"job_{number}", Singleton.get_state())
            for number, overrides in numbered
        ]
        jobs: list[Any] = []
        for chunk in chunks(calls):
            jobs += executor.map_array(self, *zip(*chunk, strict=True))
        arrays = sorted({job.job_id.partition("_")[0] for job in jobs})
        log.info("submitted %d jobs: %s", len(jobs), ", ".join(arrays))
        if self.detach:
            log.info("how they stand: said status %s", self.config.hydra.sweep.dir)
            raise SystemExit(0)
        while queued(arrays):
            time.sleep(self.poll_s)
        return [returned(job) for job in jobs]


def chunks(calls: list[Any]) -> list[list[Any]]:
    """Cut calls into arrays that the cluster takes."""
    size = max_array_size()
    return [calls[start : start + size] for start in range(0, len(calls), size)]


def max_array_size() -> int:
    """Ask the cluster how many jobs an array may hold."""
    answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", answer.stdout)
    # The limit counts from 0.
    return max(int(found[1]) - 1, 1) if found else 1000


def queued(arrays: Sequence[str]) -> bool:
    """Return whether any of the jobs is waiting or running; true where the cluster is silent."""
    command = ["squeue", "--noheader", "--format=%i", "--jobs", ",".join(arrays)]
    answer = subprocess.run(command, capture_output=True, text=True)
    unknown = "Invalid job id" in answer.stderr
    return bool(answer.stdout.strip()) or (answer.returncode != 0 and not unknown)


def returned(job: Any) -> JobReturn:
    """Return what a job returned, or a failure where it ended without a result."""
    if job.paths.result_pickle.exists():
        try:
            found: JobReturn = job.results()[0]
        except Exception as error:
            return failed(error)
        return found
    return failed(RuntimeError(f"job {job.job_id} left no result"))


def failed(error: Exception) -> JobReturn:
    """Return what stands for a job that returned nothing."""
    return JobReturn(status=JobStatus.FAILED, _return_value=error)


class GpuLauncher(JoblibLauncher):  # type: ignore[misc]
    """Runs as many jobs at once as this machine has GPUs, each seeing one of its own."""

    def __init__(self, **params: Any) -> None:
        require("hydra_plugins.hydra_joblib_launcher", "hydra/launcher=gpus", "joblib")
        super().__init__(n_jobs=len(gpus()), **params)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Let every job take a GPU first."""
        pinned = Pinned(task_function, gpus())
        super().setup(hydra_context=hydra_context, task_function=pinned, config=config)


class Pinned:
    """A task that sees one GPU, which no other job of this machine sees meanwhile."""

    def __init__(self, task: Any, devices: list[str]) -> None:
        self.task = task
        self.devices = devices

    def __call__(self, cfg: DictConfig) -> Any:
        """Wait for a free GPU and run the task on it."""
        for device in itertools.cycle(self.devices):
            lock = FileLock(Path(tempfile.gettempdir()) / f"said_lightning-gpu-{device}.lock")
            try:
                with lock.acquire(timeout=0.2):
                    os.environ["CUDA_VISIBLE_DEVICES"] = device
                    return self.task(cfg)
            except Timeout:
                continue
        return None


def gpus() -> list[str]:
    """Name this machine's GPUs, those of CUDA_VISIBLE_DEVICES where it is set."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    except FileNotFoundError:
        found = []
    return found or ["0"]


class RayLauncher(Launcher):
    """Runs each job as a task on a Ray cluster; where none is named, one on this machine.

    `init` is what ray.init takes, `remote` what ray.remote does. A job whose worker dies is tried
    again, as often as `remote.max_retries` allows, and resumes.
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        require("ray", "hydra/launcher=ray", "ray")
        self.init: Any = OmegaConf.to_container(init, resolve=True)
        self.remote: Any = OmegaConf.to_container(remote, resolve=True)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over, and reach the cluster before anything is written."""
        import ray

        self.context = hydra_context
        self.task = task_function
        self.config = config
        ray.init(**self.init, ignore_reinit_error=True)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hand out the jobs and return what they returned."""
        import ray

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        on_ray = ray.remote(**self.remote)(run_alone)
        jobs = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
            jobs.append(on_ray.remote(self.context, config, self.task, Singleton.get_state()))
        ended: list[JobReturn] = []
        for job in jobs:
            try:
                ended.append(ray.get(job))
            except Exception as error:  # its worker was lost
                ended.append(failed(error))
        return ended


def run_alone(
    context: HydraContext, config: DictConfig, task: TaskFunction, singletons: Any
) -> JobReturn:
    """Run one job of a sweep in a process that knows nothing of Hydra yet."""
    setup_globals()
    Singleton.set_state(singletons)
    HydraConfig.instance().set_config(config)
    return run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=context)
