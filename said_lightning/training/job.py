"""A job: one run in a supervised worker, a process of its own.

Whatever becomes of that process, a run that ends leaves a record: a job that raises writes it, one
that exits, is killed or hangs is recorded by its supervisor. A lease keeps any two launchers from
running the same job: the second waits, and takes over what a first that died has left.
"""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from said_lightning.config.compose import conf_folder
from said_lightning.config.identity import RunSpec
from said_lightning.config.stored import plan, waiting
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint as generations
from said_lightning.runs import record as records
from said_lightning.runs.index import LOG, STOPPED
from said_lightning.runs.lease import acquire, lease
from said_lightning.runs.record import Record
from said_lightning.runs.secrets import guard_logs
from said_lightning.runs.signals import Asked, listening
from said_lightning.training import server

log = logging.getLogger(__name__)


def run(spec: RunSpec) -> Record:
    """Run a job in a supervised worker and return its record; a run that is done is not repeated.

    Raises what a signal that asked to stop would have raised, once the state is saved.
    """
    folder = spec.folder
    if (found := records.finished(folder)) is not None:
        log.info("done before: %s", folder)
        generations.remove(folder / generations.FOLDER)
        return found
    stop = spec.config.on_error == "stop"
    if stop and (spec.out / STOPPED).exists():
        log.info("not run, since another run failed (on_error=stop): %s", folder)
        return waiting(spec)
    plan(spec)
    with listening() as asked:
        result = leased(spec, asked)
    asked.pass_on()
    if result.status == "failed" and stop:
        (spec.out / STOPPED).touch()
    return result


def leased(spec: RunSpec, asked: Asked) -> Record:
    """Run a job while no other launcher does; wait for one that does, and for its result."""
    lost = threading.Event()
    own = lease(spec.folder, on_lost=lambda _: lost.set())
    noted = False
    while asked.look() is None:
        if (taken := acquire(own)) is not None:
            with taken:
                return records.finished(spec.folder) or supervised(spec, asked, lost)
        if not noted:
            log.info("another launcher (pid %s) runs it, waiting: %s", own.pid, spec.folder)
        noted = True
    return waiting(spec)


def supervised(spec: RunSpec, asked: Asked, lost: threading.Event) -> Record:
    """Run a job in a worker and wait for its end, a signal, or the end of its time."""
    started = records.now()
    clock = time.monotonic()
    records.write(waiting(spec), spec.folder)
    process = server.process(work, spec, job_log(spec.folder))
    process.start()
    passed_on: int | None = None
    reason: str | None = None
    timeout = spec.config.timeout
    while not wait([process.sentinel], timeout=0.2):
        signum = asked.look()
        if signum is not None and signum != passed_on and process.pid is not None:
            passed_on = signum
            with suppress(ProcessLookupError):
                os.kill(process.pid, passed_on)
        if timeout is not None and time.monotonic() - clock > timeout:
            reason = f"it took longer than timeout={timeout:g} seconds"
            process.kill()
        if lost.is_set():
            reason = "another launcher took it over, since this one was not heard of"
            process.kill()
    process.join()
    if (result := ended(spec.folder)) is not None:
        return result
    facts: dict[str, Any] = {"status": "failed", "reason": reason or ending(process)}
    if asked.signum is not None:
        facts = {"status": "preempted", "reason": signal.Signals(asked.signum).name}
    wall_s = round(time.monotonic() - clock, 3)
    facts |= {"started": started, "ended": records.now(), "wall_s": wall_s}
    result = Record(**spec.labels, **facts)
    if not lost.is_set():
        records.write(result, spec.folder)
    return result


def ended(folder: Path) -> Record | None:
    """Return the record that a worker wrote; None where it did not live to write one."""
    try:
        found = records.read(folder / records.RESULT)
    except UserError:
        return None
    return None if found.status == "waiting" else found


def ending(process: BaseProcess) -> str:
    """Return how a process that left no record ended."""
    code = process.exitcode or 0
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + ("; perhaps out of memory" if name == "SIGKILL" else "")


def job_log(folder: Path) -> dict[str, Any]:
    """Return how a job logs: Hydra's job_logging, or its default outside of Hydra's jobs."""
    # A command that was composed alone has a config of Hydra too, but no folder in it.
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is not None and not OmegaConf.is_missing(hydra.runtime, "output_dir"):
        logging_ = OmegaConf.to_container(hydra.job_logging, resolve=True)
        return {"log_config": logging_, "verbose_config": hydra.verbose}
    default = OmegaConf.load(conf_folder() / "hydra" / "job_logging" / "said.yaml")
    default.handlers.file.filename = str(folder / LOG)
    return {"log_config": OmegaConf.to_container(default), "verbose_config": False}


def work(spec: RunSpec, log_as: dict[str, Any]) -> None:
    """Train one run in this process, and leave its record."""
    configure_log(DictConfig(log_as["log_config"]), log_as["verbose_config"])
    guard_logs()
    from said_lightning.training.run import run as train

    try:
        train(spec)
    except UserError as error:
        # It is in the record, unless this machine cannot even begin with the config.
        if ended(spec.folder) is None:
            facts: dict[str, Any] = {"status": "failed", "reason": str(error), "mistake": True}
            records.write(Record(**spec.labels, **facts), spec.folder)
    except Exception:
        log.exception("the run failed")
        sys.exit(1)
