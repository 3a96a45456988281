"""Half precision where the processor has none: products of float32, rounded, in float32's time."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from said_lightning.training import run as training
from said_lightning.training.half import InFloat32, half_products
from said_lightning.training.run import run

HALF = (torch.bfloat16, torch.float16)
sizes = st.integers(1, 40)
Product = Callable[..., Tensor]
PRODUCTS: dict[str, tuple[Product, list[str]]] = {
    "mm": (torch.mm, ["nk", "km"]),
    "addmm": (torch.addmm, ["m", "nk", "km"]),
    "bmm": (torch.bmm, ["bnk", "bkm"]),
    "baddbmm": (torch.baddbmm, ["bnm", "bnk", "bkm"]),
    "linear": (nn.functional.linear, ["bnk", "mk", "m"]),
    "matmul": (torch.matmul, ["bnk", "km"]),
}


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", PRODUCTS)
@given(n=sizes, k=sizes, m=sizes, b=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_a_product_and_its_gradients_are_those_of_float32_rounded_once(
    name: str, dtype: torch.dtype, n: int, k: int, m: int, b: int, seed: int
) -> None:
    product, shapes = PRODUCTS[name]
    generator = torch.Generator().manual_seed(seed)
    size = {"n": n, "k": k, "m": m, "b": b}
    drawn = [torch.randn([size[one] for one in shape], generator=generator) for shape in shapes]
    halves = [one.to(dtype).requires_grad_() for one in drawn]
    exact = [one.detach().float().requires_grad_() for one in halves]
    for values, context in ((halves, InFloat32()), (exact, nullcontext())):
        with context:
            product(*values).sum().backward()
    with InFloat32():
        made = product(*halves)
    for mine, whole in zip(
        (made, *(one.grad for one in halves)),
        (product(*exact), *(one.grad for one in exact)),
        strict=True,
    ):
        assert mine is not None
        assert whole is not None
        assert mine.dtype == dtype
        assert torch.equal(mine, whole.to(dtype))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_layer_is_made_of_such_products_where_no_gradient_is_asked(mode: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten(), nn.Linear(64, 5)).bfloat16()
    rows = torch.randn(6, 4, 10, dtype=torch.bfloat16)
    exact = nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten(), nn.Linear(64, 5))
    exact.load_state_dict({name: one.float() for name, one in model.state_dict().items()})
    with mode():
        with InFloat32():
            found = model(rows)
        between = exact[0](rows.float()).bfloat16().float()
        assert torch.equal(found, exact[1:](between).bfloat16())


def test_float32_is_left_as_it_is() -> None:
    a, b = torch.randn(5, 7), torch.randn(7, 3)
    with InFloat32():
        assert torch.equal(a @ b, torch.mm(a, b))
    assert isinstance(half_products("32-true"), nullcontext)


@pytest.mark.parametrize(
    ("precision", "kind"), [("bf16-mixed", "bf16"), ("bf16-true", "bf16"), ("16-mixed", "fp16")]
)
@pytest.mark.parametrize("native", [True, False])
def test_a_processor_with_instructions_of_its_own_uses_them(
    monkeypatch: pytest.MonkeyPatch, precision: str, kind: str, native: bool
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{kind}_supported", lambda: native)
    assert isinstance(half_products(precision), nullcontext if native else InFloat32)


def test_a_pytorch_that_was_built_without_such_instructions_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert isinstance(half_products("bf16-mixed"), InFloat32)


def test_an_accelerator_makes_its_own_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert isinstance(half_products("bf16-mixed"), nullcontext)


@pytest.mark.parametrize(
    "method",
    [
        ["method=full"],
        ["method=said"],
        ["method=said", "projection=kronecker", "method.quantize=int8"],
        ["method=lora", "method.peft.head=frozen", "d=128"],
    ],
    ids=" ".join,
)
def test_a_run_trains_so(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: list[str]
) -> None:
    seen = []
    for context in (InFloat32(), nullcontext()):
        monkeypatch.setattr(training, "half_products", lambda _, context=context: context)
        out = tmp_path / type(context).__name__
        record = run(compose(out, *method, "trainer.precision=bf16-mixed"))
        assert record.status == "done", record.reason
        assert record.train_metric is not None
        seen.append(record.train_metric.value)
    assert seen[0] == pytest.approx(seen[1], abs=0.1)


def test_bfloat16_takes_about_as_long_as_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(512, 1024), nn.GELU(), nn.Linear(1024, 512))
    rows = torch.randn(512, 512)

    def seconds(half: bool) -> float:
        start = time.process_time()
        with InFloat32() if half else nullcontext():
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = layer(rows).square().mean()
            loss.backward()
        return time.process_time() - start

    rounds = [(seconds(True), seconds(False)) for _ in range(6)][1:]
    mine, float32 = (min(times) for times in zip(*rounds, strict=True))
    assert mine / float32 < 2
