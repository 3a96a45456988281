"""A job: one run in a process of its own, which this one watches.

Whatever becomes of that process, a run that ends leaves a row: a job that raises records it itself,
one that exits, is killed or hangs is recorded here. A lease keeps any two launchers from running
the same job: the second waits, and takes over what a first that died has left.
"""

import logging
import multiprocessing
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

from filelock import Timeout
from omegaconf import DictConfig, OmegaConf

from said_lightning.config.schema import folder_of, identity
from said_lightning.config.stored import foreign, with_schema
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint as generations
from said_lightning.runs import record as records
from said_lightning.runs.index import LOG, STOPPED
from said_lightning.runs.lease import lease
from said_lightning.runs.record import Record
from said_lightning.runs.secrets import Scrub
from said_lightning.runs.signals import ASKING, Asked, end_with_parent, listening

log = logging.getLogger(__name__)

# What imports torch does so once, in a server from which each job is forked.
SERVER = multiprocessing.get_context("forkserver")
# A worker of joblib tells its jobs to start processes by a method that this registers; where it is
# not installed, the server passes it over.
PRELOADED = ["said_lightning.training.preload", "joblib.externals.loky.backend.context"]


def run(cfg: DictConfig) -> Record:
    """Runs one config in a process of its own and gives its record; a run done is not repeated.

    Raises what a signal that asked to stop would have raised, once the state is saved.
    """
    folder = folder_of(cfg)
    if (found := records.finished(folder)) is not None:
        log.info("done before: %s", folder)
        generations.remove(folder / generations.FOLDER)
        return found
    if wrong := foreign(cfg, folder):
        # Not written, since the folder is another run's.
        return mistaken(cfg, UserError(*wrong))
    if cfg.on_error == "stop" and (Path(cfg.out) / STOPPED).exists():
        log.info("not run, since another run failed (on_error=stop): %s", folder)
        return Record(**identity(cfg), status="waiting")
    folder.mkdir(parents=True, exist_ok=True)
    with listening() as asked:
        result = leased(cfg, folder, asked)
    asked.pass_on()
    if result.status == "failed" and cfg.on_error == "stop":
        (Path(cfg.out) / STOPPED).touch()
    return result


def leased(cfg: DictConfig, folder: Path, asked: Asked) -> Record:
    """Runs a config while no other launcher does; waits for one that does, and for its result."""
    lost = threading.Event()
    own = lease(folder, on_lost=lambda _: lost.set())
    told = False
    while asked.look() is None:
        try:
            with own.acquire(timeout=1):
                return records.finished(folder) or watched(cfg, folder, asked, lost)
        except Timeout:
            if not told:
                log.info("another launcher (pid %s) runs it, waiting: %s", own.pid, folder)
            told = True
    return Record(**identity(cfg), status="waiting")


def watched(cfg: DictConfig, folder: Path, asked: Asked, lost: threading.Event) -> Record:
    """Runs a config in a process and waits for its end, a signal, or the end of its time."""
    started = records.now()
    clock = time.monotonic()
    (folder / records.RESULT).unlink(missing_ok=True)
    SERVER.set_forkserver_preload(PRELOADED)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    process = SERVER.Process(target=work, args=(plain, str(folder), dict(os.environ)))
    process.start()
    passed_on: int | None = None
    reason: str | None = None
    while not wait([process.sentinel], timeout=0.2):
        signum = asked.look()
        if signum is not None and signum != passed_on and process.pid is not None:
            passed_on = signum
            with suppress(ProcessLookupError):
                os.kill(process.pid, passed_on)
        if cfg.timeout is not None and time.monotonic() - clock > cfg.timeout:
            reason = f"it took longer than timeout={cfg.timeout:g} seconds"
            process.kill()
        if lost.is_set():
            reason = "another launcher took it over, since this one was not heard of"
            process.kill()
    process.join()
    try:
        result = records.read(folder / records.RESULT)
    except UserError:
        # The job is silent: it did not live to write its record.
        facts: dict[str, Any] = {"status": "failed", "reason": reason or ending(process)}
        if asked.signum is not None:
            facts = {"status": "preempted", "reason": signal.Signals(asked.signum).name}
        wall_s = round(time.monotonic() - clock, 3)
        facts |= {"started": started, "ended": records.now(), "wall_s": wall_s}
        result = Record(**identity(cfg), **facts)
        if not lost.is_set():
            records.write(result, folder)
    return result


def mistaken(cfg: DictConfig, error: UserError) -> Record:
    """Gives the record of a run that was refused."""
    return Record(**identity(cfg), status="failed", reason=str(error), mistake=True)


def ending(process: BaseProcess) -> str:
    """Tells how a process without a last word ended."""
    code = process.exitcode or 0
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + ("; perhaps out of memory" if name == "SIGKILL" else "")


def work(plain: dict[str, Any], folder: str, environment: dict[str, str]) -> None:
    """Trains one config in this process, which ends when the one that watches it does."""
    end_with_parent()
    os.environ.update(environment)
    # Until training listens itself, being asked to stop is to end at once.
    for signum in ASKING:
        signal.signal(signum, signal.SIG_DFL)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(Path(folder) / LOG),
    ]
    for handler in handlers:
        handler.setFormatter(Scrub("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    from said_lightning.training.run import run as train

    cfg = with_schema(plain)
    try:
        train(cfg)
    except UserError as error:
        # It is in the record, unless this machine cannot even begin with the config.
        if not (Path(folder) / records.RESULT).exists():
            records.write(mistaken(cfg, error), Path(folder))
    except Exception:
        log.exception("the run failed")
        sys.exit(1)
