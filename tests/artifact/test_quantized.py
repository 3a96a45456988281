"""What was learned on weights in 4 or 8 bits is in the artifact, and predicts the same again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from said_lightning.artifact.file import read
from said_lightning.artifact.load import restored, score
from said_lightning.artifact.merge import merge
from said_lightning.certify.certify import validate_run
from said_lightning.errors import UserError
from said_lightning.runs.scores import read_scores

pytest.importorskip("bitsandbytes")
CASES = {
    "nf4": ("d=50", "projection=kronecker", "method.quantize=nf4"),
    "int8": ("d=50", "projection=kronecker", "method.quantize=int8"),
    "lora": ("d=50", "method.space=lora", "method.r=2", "method.quantize=nf4"),
}
FIT = ("method=said", "lr=0.07", "trainer.epochs=60", "trainer.batch_size=4")


@pytest.fixture(scope="module", params=CASES)
def quantized(
    request: pytest.FixtureRequest, finish: Callable[..., Any], tmp_path_factory: Any
) -> Any:
    return finish(tmp_path_factory.mktemp("out"), *FIT, *CASES[request.param])


def test_the_loaded_model_predicts_what_its_run_did(quantized: Any) -> None:
    metric = read(quantized.file).about.metric
    assert metric.value == quantized.record.metric.value > quantized.record.metric.trivial
    model, tokenizer, _, _ = restored(quantized.file)
    assert score(model, tokenizer, quantized.config.split_task, 128) == metric.value
    scores = read_scores(quantized.folder, quantized.record)
    assert scores is not None
    assert scores.mean() == pytest.approx(metric.value)


def test_a_record_says_in_how_few_bits_its_weights_were(quantized: Any) -> None:
    bits = quantized.config.method.quantize
    space = quantized.config.method.space
    assert quantized.record.space == f"{space}-{bits}"
    assert bits in quantized.folder.name


def test_what_would_need_ordinary_weights_is_refused(quantized: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"theta cannot be written into; said_lightning.load"):
        merge(quantized.file, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    found = validate_run(quantized.folder, quantized.config, quantized.record)
    assert any("method.quantize=" in line and "expected null" in line for line in found)
