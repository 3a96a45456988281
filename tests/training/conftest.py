"""What the tests of training share."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide GPUs, of which there may be one where two are asked for; not from a test of GPUs."""
    if request.node.get_closest_marker("gpu"):
        return
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


class Interrupt:
    """Asks the run to stop with a signal, in the n-th call of one of its functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(
        self, place: tuple[Any, str], call: int, signum: int, go: Callable[[], Any]
    ) -> Any:
        owner, name = place
        original, calls = getattr(owner, name), iter(range(1, 10**6))

        def asked(*arguments: Any, **options: Any) -> Any:
            if next(calls) == call:
                os.kill(os.getpid(), signum)
            return original(*arguments, **options)

        with self.monkeypatch.context() as patch:
            patch.setattr(owner, name, asked)
            return go()


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    return Interrupt(monkeypatch)
