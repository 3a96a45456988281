"""Data parallel training: several processes on one machine share each batch, and d numbers."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, distributed

from said_lightning.runs.signals import Preempted
from said_lightning.subspace.subspace import Subspace
from said_lightning.training import server

# Set in a process that is one of several (torchrun's name for it), whoever starts it.
RANK = "LOCAL_RANK"
PATIENCE = 60.0  # seconds that the other processes have to end by themselves
# Where a process that is not the first says that it is about to join the others.
_ready: list[Connection] = []


class SubspaceStrategy(DDPStrategy):
    """Average the gradient of a subspace's d numbers (and of a head outside) over the processes.

    One all_reduce of them in float32 follows the last backward pass of each optimizer step: before
    fp16 gradients are unscaled, so that all processes skip a step that overflows in one of them,
    and before clipping. The model is not wrapped, and its D weights are never sent: each process
    loads them and writes the same ones, as theta is the same. A module without a subspace, full
    fine-tuning, is wrapped in DistributedDataParallel as usual.
    """

    def __init__(self, **options: Any) -> None:
        # One task of a cluster's job may start several processes: not its environment counts.
        options.setdefault("cluster_environment", LightningEnvironment())
        super().__init__(**options)
        self._accumulating = False

    @property
    def subspace(self) -> Subspace | None:
        """Return the subspace that a SubspaceCallback gave the module."""
        return getattr(self.lightning_module, "subspace", None)

    def configure_ddp(self) -> None:
        """Wrap the model for full fine-tuning alone."""
        if self.subspace is None:
            super().configure_ddp()

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Mark the backward passes after which no step follows yet."""
        self._accumulating = True
        try:
            with super().block_backward_sync():
                yield
        finally:
            self._accumulating = False

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average what the backward passes of one step left in the d numbers' gradients."""
        super().post_backward(closure_loss)
        if self.subspace is None or self._accumulating:
            return
        (optimizer,) = self.optimizers
        numbers = [number for group in optimizer.param_groups for number in group["params"]]
        grads = [number.grad for number in numbers if number.grad is not None]
        flat = torch.cat([grad.float().view(-1) for grad in grads])
        distributed.all_reduce(flat)
        flat /= self.world_size
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))


def is_first() -> bool:
    """Return whether this process is alone or the first of several, before they are joined."""
    return os.environ.get(RANK, "0") == "0"


def validate_devices(devices: int) -> list[str]:
    """Return a message where the machine has fewer devices; a CPU runs any number of processes."""
    if 0 < (found := torch.accelerator.device_count()) < devices:
        return [f"trainer.devices={devices}: this machine has {found}"]
    return []


def validate_strategy(trainer: Trainer) -> list[str]:
    """Return a message where a Trainer's strategy does not suit a subspace."""
    if isinstance(trainer.strategy, SingleDeviceStrategy | SubspaceStrategy):
        return []
    return [
        f"strategy={type(trainer.strategy).__name__}: a subspace trains on one device, or data "
        "parallel with SubspaceStrategy(); sharded weights (FSDP, DeepSpeed) are not supported"
    ]


@contextmanager
def processes(count: int, work: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Make this process the first of `count` and run `work(*arguments)` in the others meanwhile.

    `work` gets where the caller is, inside a `processes` of its own, which starts no more of them.
    The others are ended where the caller fails. Afterwards this process is one alone again.

    Raise RuntimeError where another ends before it came to that `processes`: torch would wait for
    it for half an hour.
    """
    if count == 1 or RANK in os.environ:
        for writer in _ready:
            writer.send(None)
        yield
        return
    before, threads = dict(os.environ), torch.get_num_threads()
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    others: list[BaseProcess] = []
    readers = []
    try:
        for rank in range(1, count):
            other, reader = start(before | address | {RANK: str(rank)}, work, *arguments)
            others.append(other)
            readers.append(reader)
        os.environ |= address | {RANK: "0"}
        for rank, reader in enumerate(readers, 1):
            try:
                reader.recv()
            except EOFError:
                raise RuntimeError(f"process {rank} of {count} ended before training") from None
        yield
        leave()
        for other in others:
            other.join(PATIENCE)
    finally:
        for other in others:
            other.kill()
            other.join()
        leave()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ |= before
        torch.set_num_threads(threads)


def start(
    environment: dict[str, str], work: Callable[..., object], *arguments: object
) -> tuple[BaseProcess, Connection]:
    """Start a process beside this one; the connection has a word when it is ready, or has ended."""
    reader, writer = Pipe(duplex=False)
    # Forked from the jobs' server, since neither threads nor a GPU of this process survive a fork.
    other = server.process(beside, writer, work, *arguments, environment=environment)
    other.start()
    writer.close()
    return other, reader


def beside(ready: Connection, work: Callable[..., object], *arguments: object) -> None:
    """Run the work of a process that is not the first."""
    _ready.append(ready)
    # Each process gets the signal; the first one reports it.
    with suppress(Preempted):
        work(*arguments)


def leave() -> None:
    """Leave the group of processes, if this is in one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
