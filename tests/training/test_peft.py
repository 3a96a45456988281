"""Runs of PEFT's methods: d is what they train, and what they leave is an adapter of PEFT's own."""

import importlib.util
import math
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import said_lightning.training.run as running
from said_lightning.artifact.export import export
from said_lightning.certify.certify import certify
from said_lightning.config.compose import read_command
from said_lightning.config.identity import RunSpec
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.training.dry_run import check
from said_lightning.training.module import Classifier
from said_lightning.training.run import run
from said_lightning.training.sizes import settle

HEAD = 16 * 2 + 2
# The numbers nearest to d = 100 that a method can train in the tiny encoder.
SIZES = {
    "lora": {"trained": 128 + HEAD, "frozen": 128},
    "vera": {"trained": 68 + HEAD, "frozen": 100},
    "unilora": {"trained": 100, "frozen": 100},
    "tinylora": {"trained": 68 + HEAD, "frozen": 100},
}
Composed = Callable[..., RunSpec]


@pytest.fixture
def composed(tiny: list[str], tmp_path: Path) -> Composed:
    """Return the spec of a tiny run as said train composes it."""

    def one(*overrides: str, out: str = "out") -> RunSpec:
        command = read_command([*tiny, f"out={tmp_path / out}", *overrides], settle)
        assert command.errors == ()
        (spec,) = command.specs
        return spec

    return one


@pytest.mark.parametrize("head", ["trained", "frozen"])
@pytest.mark.parametrize("method", SIZES)
def test_d_counts_what_is_trained_and_the_adapter_predicts_the_same_when_loaded(
    method: str, head: str, composed: Composed, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Classifier] = []

    def save(module: Classifier, folder: Path) -> None:
        kept.append(module)
        saved(module, folder)

    saved = running.save
    monkeypatch.setattr(running, "save", save)
    spec = composed(f"method={method}", "d=100", f"method.peft.head={head}")
    record = run(spec)
    assert record.status == "done", record.reason
    beside = HEAD if head == "trained" else 0
    facts = (record.d, record.D, record.m, record.outside)
    assert facts == (SIZES[method][head], 5554, 0, beside)
    assert (record.method, record.projection) == (method, None)
    given = spec.config.method.peft
    if given.lr_at is None:
        assert (record.lr, record.rule) == (given.lr, None)
    else:
        assert record.lr == pytest.approx(given.lr * math.sqrt(given.lr_at / spec.config.d))
        assert record.rule == pytest.approx(given.lr * math.sqrt(given.lr_at))
    assert spec.name.startswith(f"tiny/sst2/{method}-d{record.d}-seed0-")
    base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    loaded = peft.PeftModel.from_pretrained(base, spec.folder / checkpoint.FOLDER)
    tokens = torch.arange(4, 12).view(2, 4)
    trained: Any = kept[0].model
    models = (trained, loaded)
    mine, theirs = (one.eval()(tokens, attention_mask=torch.ones_like(tokens)) for one in models)
    assert torch.equal(mine.logits, theirs.logits)
    with trained.disable_adapter():
        assert not torch.equal(trained(tokens).logits, mine.logits)


def test_two_d_that_give_the_same_size_are_one_run(composed: Composed) -> None:
    specs = [composed("method=lora", f"d={d}") for d in (20, 150, 162, 200)]
    assert len({spec.folder for spec in specs}) == 1
    assert specs[0].config.d == 162
    assert composed("method=lora", "d=280").config.d == 290


def test_what_a_method_of_peft_does_not_read_makes_no_other_run(composed: Composed) -> None:
    alike = [
        *(["projection=dense"], ["trainer.step_ratio=3"], ["trainer.lambda_lr=1"]),
        *(["trainer.full_lr=1"], ["method.space=bias"], ["lr=5e-4"], ["method.head=outside"]),
    ]
    whole = composed("method=lora", "d=162")
    for overrides in alike:
        assert composed("method=lora", "d=162", *overrides).folder == whole.folder, overrides
    others = [
        *(["lr=1e-3"], ["seed=1"], ["method.peft.head=frozen"], ["d=290"]),
        ["+method.peft.options.lora_alpha=16"],
    ]
    folders = {composed("method=lora", "d=162", *overrides).folder for overrides in others}
    assert len(folders | {whole.folder}) == len(others) + 1


def test_no_key_of_peft_changes_the_runs_of_the_other_methods(composed: Composed) -> None:
    for method in ("said", "did", "full"):
        own = composed(f"method={method}")
        other = composed(f"method={method}", "method.peft.head=frozen", "method.peft.lr=1")
        assert own.labels == other.labels


def test_a_rate_that_falls_with_the_root_of_d_is_one_rate_for_every_d(composed: Composed) -> None:
    frozen = ["method=lora", "method.peft.head=frozen"]
    falling = [*frozen, "method.peft.lr=0.3", "method.peft.lr_at=200"]
    small, large = (composed(*falling, f"d={d}").config for d in (128, 512))
    assert (small.d, large.d) == (128, 512)
    assert small.given_lr is not None
    assert large.given_lr is not None
    assert small.given_lr == pytest.approx(2 * large.given_lr)
    assert small.rule == large.rule
    # What is trained at one rate is one run, whatever the rate was made from.
    same = composed(*frozen, f"lr={small.given_lr}", "d=128"), composed(*falling, "d=128")
    assert same[0].name == same[1].name
    assert small.own_rate == ("method.peft.lr", 0.3)


def test_a_kept_config_is_the_run_s_own(composed: Composed) -> None:
    spec = composed("method=vera", "d=110", "+method.peft.options.vera_dropout=0.1")
    assert run(spec).status == "done"
    kept = RunSpec.of(read_config(spec.folder))
    assert (kept.config, kept.name, kept.labels) == (spec.config, spec.name, spec.labels)


def test_a_state_holds_what_is_trained_alone(composed: Composed, interrupt: Any) -> None:
    spec = composed("method=unilora", "d=100", "trainer.save_every=0")
    stopped = interrupt((Classifier, "training_step"), 2, signal.SIGTERM, partial(run, spec))
    assert stopped.status == "preempted"
    newest = checkpoint.latest(spec.folder / checkpoint.FOLDER)
    assert newest is not None
    sizes = [part.numel() for part in load_file(newest).values()]
    assert sum(sizes) < 3 * 100 + 50  # the numbers and AdamW's two moments, and what counts


def test_check_says_the_size_and_what_the_head_has_of_it(tiny: list[str], tmp_path: Path) -> None:
    jobs = ["-m", *tiny, f"out={tmp_path}", "method=lora,vera", "d=100"]
    (trained, vera) = check([*jobs])
    assert "\nd      162 = LORA with r=1 (128) + the head (34)\n" in trained
    assert "\nd      102 = VERA with r=1 (68) + the head (34)\n" in vera
    (frozen,) = check([*jobs, "method=lora", "method.peft.head=frozen"])
    assert "\nd      128 = LORA with r=1 (128)\n" in frozen


MISTAKES = [
    (["method.peft.type=LORRA"], "PEFT has no such type; did you mean 'LORA'?"),
    (["method.peft.knob=rank"], "method.peft.knob=rank: LORA has no such keyword"),
    (["+method.peft.options.lora_alfa=1"], "did you mean 'lora_alpha'?"),
    (["+method.peft.options.r=8"], "method.peft.options.r: d chooses it, since it is the knob"),
    (["method.peft.head=free"], "method.peft.head=free: unknown value; did you mean 'frozen'?"),
    (["method.peft.lr=0"], "method.peft.lr=0.0: expected more than 0"),
    (["method.peft.typ=LORA"], "method.peft.typ: no such key; did you mean 'method.peft.type'?"),
    (["method.peft.type=null"], "method.peft.type: has no value; expected a type of PEFT's"),
    (["trainer.grow_from=10"], "trainer.grow_from=10: expected null with PEFT"),
    (["+method.peft.options.target_modules=[no]"], "method.peft: PEFT refuses LORA with r=1"),
    (["method.peft.options.lora_alpha=1"], "expected ++method.peft.options.lora_alpha=1"),
]


@pytest.mark.parametrize(("wrong", "line"), MISTAKES)
def test_a_mistake_is_a_line_and_nothing_is_written(
    main: Any, tmp_path: Path, wrong: list[str], line: str
) -> None:
    code, _, err = main("method=lora", *wrong)
    assert code == 2
    assert line in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_where_peft_is_missing_the_extra_is_named(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "peft" and there(name))
    code, _, err = main("method=vera")
    assert code == 2
    assert "method=vera needs peft: pip install 'said_lightning[lora]'" in err


def test_a_logger_gets_the_size_of_the_adapter(composed: Composed) -> None:
    spec = composed("method=lora", "d=100", "logger=csv", "trainer.epochs=1")
    record = run(spec)
    sent = (spec.folder / "csv" / "hparams.yaml").read_text()
    assert f"\nd: {record.d}\n" in sent
    assert f"\nD: {record.D}\n" in sent


def test_wandb_keeps_a_run_that_has_no_artifact(composed: Composed) -> None:
    spec = composed("method=lora", "d=100", "logger=wandb", "trainer.epochs=1")
    assert run(spec).notes == []
    assert not (spec.folder / "said.safetensors").exists()


def test_what_needs_theta_says_what_there_is_instead(composed: Composed, tmp_path: Path) -> None:
    spec = composed("method=lora")
    run(spec)
    with pytest.raises(UserError, match=r"lora has no theta.*PeftModel.from_pretrained") as caught:
        export(spec.folder, None, "float32")
    assert len(caught.value.messages) == 1
    with pytest.raises(UserError, match="method lora; expected said or did"):
        certify(spec.folder, [8], 0)
