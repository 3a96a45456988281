"""A decoder without a head, from its zero-shot score to artifact and certificate."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from said_lightning.artifact.export import export
from said_lightning.artifact.file import FILE
from said_lightning.artifact.load import restored, score
from said_lightning.artifact.merge import merge
from said_lightning.certify.certify import certify, validate_run
from said_lightning.certify.verify import verify
from said_lightning.data.datamodule import TextDataModule
from said_lightning.models.encoder import load
from said_lightning.runs.certificate import CERTIFICATE
from said_lightning.training.run import run
from said_lightning.training.zero_shot import zero_shot
from tests.conftest import WORDS

PROMPT = ["task.kind=prompt", "task.template='{0} the'", "task.answers=[dull,great]"]
FIT = ["d=60", "lr=0.05", "trainer.epochs=30", "trainer.batch_size=8"]


@pytest.fixture(scope="module")
def decoder(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random Llama with the tests' tokenizer."""
    folder = tmp_path_factory.mktemp("decoder")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    layers: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(
        vocab_size=len(WORDS), **sizes, **layers, initializer_range=0.2, bos_token_id=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def spec(compose: Any, decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a finished run of SAID by prompts."""
    out = tmp_path_factory.mktemp("out")
    one = compose(out, f"model.path={decoder}", *PROMPT, *FIT)
    assert run(one).status == "done"
    return one


def test_the_record_holds_what_was_right_before_training(spec: Any, decoder: Path) -> None:
    record = json.loads((spec.folder / "result.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(decoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    data = TextDataModule(spec.config.split_task, tokenizer, 8, 8, 0)
    data.setup()
    answers = torch.tensor([WORDS.index("dull"), WORDS.index("great")])
    for part, rows in (("select", data.select_sets[0]), ("report", data.report_sets[0])):
        right = 0
        for row in range(len(rows)):
            (one,) = rows[np.array([row])]
            logits = model(input_ids=torch.tensor([one["input_ids"]])).logits[0, -1]
            right += int(logits[answers].argmax() == one["labels"])
        assert record[part]["zero_shot"] == right / len(rows)
        assert record[part]["trivial"] == max(data.trivial(rows), right / len(rows))
    assert record["metric"]["trivial"] == record["report"]["trivial"]
    assert record["metric"]["value"] > record["metric"]["trivial"]
    assert record["D"] == sum(weight.numel() for weight in model.parameters())


def test_it_is_asked_once_for_all_runs(
    spec: Any, decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, sha, _ = load(spec.config.model, spec.config.task, 0)
    data = TextDataModule(spec.config.split_task, tokenizer, 8, 8, 0)
    data.setup()
    monkeypatch.setattr("said_lightning.training.zero_shot.scored", lambda *_: pytest.fail("again"))
    assert set(zero_shot(model, data, sha, "32-true")) == {"select", "report"}


def test_artifact_and_merged_folder_predict_what_the_run_did(spec: Any, tmp_path: Path) -> None:
    record = json.loads((spec.folder / "result.json").read_text())
    export(spec.folder, None, "float32")
    file = spec.folder / FILE
    model, tokenizer, _, _ = restored(file)
    assert score(model, tokenizer, spec.config.split_task, 8) == record["metric"]["value"]
    merge(file, tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    ids = tokenizer("a good film the", return_tensors="pt")["input_ids"][:, :-1]
    answers = torch.tensor([WORDS.index("dull"), WORDS.index("great")])
    after = plain(input_ids=ids).logits[0, -1].log_softmax(-1)
    torch.testing.assert_close(model(input_ids=ids).logits[0], after[answers])


def test_a_certificate_is_issued_and_verified(spec: Any, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    folder = sweep / spec.folder.relative_to(spec.folder.parents[2])
    shutil.copytree(spec.folder, folder)
    certify(folder, [5], 1, sweep)
    assert verify(folder / CERTIFICATE).errors >= 0


def test_full_fine_tuning_trains_by_prompts_too(compose: Any, decoder: Path, out: Path) -> None:
    one = compose(out, f"model.path={decoder}", *PROMPT, "method=full", "trainer.epochs=1")
    record = run(one)
    assert (record.status, record.d) == ("done", record.D)
    kept = AutoModelForCausalLM.from_pretrained(one.folder / "checkpoint")
    assert type(kept).__name__ == "LlamaForCausalLM"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_template_makes_another_run_but_for_a_head(compose: Any, out: Path) -> None:
    names = {compose(out, *own).name for own in ([], PROMPT, ["task.template='{0} a'"])}
    assert len(names) == 2


def test_what_a_head_alone_has_is_refused(main: Any, decoder: Path) -> None:
    ended = main(f"model.path={decoder}", *PROMPT, "model.head=keep", "method.head=outside")
    assert ended.code == 2
    for line in ("model.head=keep: expected new", "method.head=outside: expected inside"):
        assert f"{line}, since task.kind=prompt has no head" in ended.err


def test_an_encoder_is_no_decoder(main: Any) -> None:
    ended = main(*PROMPT)
    assert ended.code == 2
    assert "bert is no decoder; expected a language model such as GPT-2 or Llama" in ended.err


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with problems of GSM8K's form: each good film is great, each bad one poor."""
    folder = tmp_path_factory.mktemp("problems")
    for name, rows in (("train", 60), ("test", 12)):
        pairs = [("good", "great"), ("bad", "poor")]
        lines = [
            json.dumps(
                {"question": f"a {word} film {'a ' * (i % 5 + len(name))}", "answer": answer}
            )
            for i in range(rows // 2)
            for word, answer in pairs
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_decoder_learns_to_write_answers_and_its_artifact_writes_them_again(
    compose: Any, decoder: Path, problems: Path, out: Path
) -> None:
    own = ["task=gsm8k", f"task.data_dir={problems}", "task.match=exact", "task.max_length=20"]
    own += ["task.template='{0} the'", "task.max_new_tokens=2", "task.rows.eval=null"]
    one = compose(out, f"model.path={decoder}", *own, *FIT)
    record = run(one)
    assert record.status == "done"
    assert record.metric.name == "exact_match"
    assert record.report is not None
    assert record.report.zero_shot == record.metric.trivial
    assert record.metric.value is not None
    assert record.metric.trivial is not None
    assert record.metric.value > record.metric.trivial
    export(one.folder, None, "float32")
    model, tokenizer, _, _ = restored(one.folder / FILE)
    assert score(model, tokenizer, one.config.split_task, 8) == record.metric.value
    assert "does not classify" in validate_run(one.folder, one.config, record)[0]


def alike(written: str, target: str) -> bool:
    """Return whether both begin with the same letter: a match of one's own."""
    return written.strip()[:1] == target.strip()[:1]


def test_a_match_of_ones_own_is_used_and_no_file_names_it(
    compose: Any, decoder: Path, problems: Path, out: Path
) -> None:
    own = ["task=gsm8k", f"task.data_dir={problems}", "task.max_length=20", "task.rows.eval=null"]
    own += ["task.template='{0} the'", "task.max_new_tokens=2", f"task.match={__name__}:alike"]
    one = compose(out, f"model.path={decoder}", *own, "trainer.epochs=1", "d=60")
    assert run(one).status == "done"
    for dtype in ("float32", "bfloat16"):  # the latter is scored anew
        artifact = export(one.folder, None, dtype)
        assert "match" not in artifact.about.config["task"]
    model, tokenizer, _, _ = restored(one.folder / FILE)
    assert artifact.about.metric.value == score(model, tokenizer, one.config.split_task, 8)


def test_prompts_are_padded_on_the_right_whatever_a_tokenizer_says(
    spec: Any, decoder: Path, tmp_path: Path
) -> None:
    left = shutil.copytree(decoder, tmp_path / "left")
    AutoTokenizer.from_pretrained(decoder, padding_side="left").save_pretrained(left)
    assert AutoTokenizer.from_pretrained(left).padding_side == "left"
    model, tokenizer, *_ = load(replace(spec.config.model, path=str(left)), spec.config.task, 0)
    rows = [[2, 6], [2, 6, 7, 8, 5]]
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    alone = [model.eval()(torch.tensor([row])).logits[0] for row in rows]
    torch.testing.assert_close(model(**batch).logits, torch.stack(alone))


def test_what_is_written_has_to_fit_into_the_positions(main: Any, decoder: Path) -> None:
    ended = main(
        *(f"model.path={decoder}", "task.kind=generate", "task.template='{0}'", "task.labels=[]"),
        *("task.metric=exact_match", "task.metrics=[exact_match]", "task.max_new_tokens=30"),
    )
    assert ended.code == 2
    assert "task.max_length=16 and task.max_new_tokens=30: this model takes at most 32" in ended.err


def test_a_method_of_peft_answers_prompts_without_a_head(
    compose: Any, decoder: Path, tmp_path: Path
) -> None:
    one = compose(tmp_path, f"model.path={decoder}", *PROMPT, "method=lora", "d=300")
    record = run(one)
    assert record.status == "done", record.reason
    assert (record.d, record.outside) == (256, 0)
    base = AutoModelForCausalLM.from_pretrained(decoder)
    model = PeftModel.from_pretrained(base, one.folder / "checkpoint")
    moved = [one for name, one in model.named_parameters() if "lora_B" in name]
    assert len(moved) == 4
    assert all(one.abs().sum() > 0 for one in moved)
