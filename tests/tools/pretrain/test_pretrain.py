"""`said pretrain` leaves ordinary checkpoints on its schedule, and goes on to the same bits."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForMaskedLM

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load
from said_lightning.runs import checkpoint
from said_lightning.runs.files import Bytes
from said_lightning.tools.pretrain import run as pretraining
from said_lightning.tools.pretrain.mlm import Batches, MaskedLM
from said_lightning.tools.pretrain.run import pretrain
from said_lightning.tools.pretrain.settings import PretrainConfig, read_settings
from said_lightning.tools.pretrain.text import blocks, paragraphs, train_tokenizer

CONF = Path(__file__).parents[3] / "conf"
WORDS = "the plot of a film is a fine thing but this one was long and dull".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty paragraphs in one file."""
    path = tmp_path_factory.mktemp("text") / "own.txt"
    lines = [" ".join(WORDS[i % 7 : i % 7 + 5] + WORDS[i % 3 :]) for i in range(40)]
    path.write_text("\n\n".join(lines))
    return path


@pytest.fixture(scope="module")
def config(text: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Return a run of eight steps, done."""
    config = PretrainConfig(
        text=[str(text)],
        out=str(tmp_path_factory.mktemp("out")),
        steps=[0, 3, 8],
        vocabulary=60,
        layers=1,
        width=8,
        heads=2,
        length=16,
        batch_size=4,
        save_every=0.0,
    )
    pretrain(config)
    return config


def weights(config: PretrainConfig, step: int) -> dict[str, torch.Tensor]:
    """Return a checkpoint's weights."""
    found = AutoModelForMaskedLM.from_pretrained(Path(config.out) / f"step-{step}")
    return dict(found.state_dict())


def test_each_kept_step_is_an_ordinary_folder_that_a_task_can_start_from(
    config: PretrainConfig,
) -> None:
    names = {path.name for path in Path(config.out).iterdir()}
    assert {"step-0", "step-3", "step-8", "tokenizer", "pretrain.yaml"} <= names
    folder = Path(config.out) / "step-3"
    task = TaskConfig(name="toy", labels=["a", "b"], metric="accuracy", metrics=["accuracy"])
    task.max_length = 16
    encoder, tokenizer, _, _ = load(ModelConfig(name="own", path=str(folder)), task, 0)
    assert encoder.config.num_labels == 2
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(encoder.state_dict()[name], weights(config, 3)[name])
    ids = tokenizer("the film", "a plot")
    assert ids["input_ids"][0] == tokenizer.cls_token_id
    assert set(ids["token_type_ids"]) == {0, 1}


def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PulledError(Exception):
        """The power is gone."""

    def pull(module: MaskedLM, *rest: object) -> None:
        if module.step == 5:
            raise PulledError
        kept(module, *rest)  # type: ignore[arg-type]

    kept = pretraining.keep
    again = replace(config, out=str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "keep", pull)
        with pytest.raises(PulledError):
            pretrain(again)
    assert not (tmp_path / "step-8").exists()
    pretrain(again)
    for step in (0, 3, 8):
        pairs = zip(weights(config, step).values(), weights(again, step).values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert not all(map(torch.equal, weights(config, 0).values(), weights(config, 8).values()))


def test_the_state_is_saved_in_time_and_with_each_checkpoint(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [0.0], []
    save, step = checkpoint.save, MaskedLM.training_step

    def ten_seconds(*arguments: Any) -> torch.Tensor:
        now[0] += 10
        return step(*arguments)

    def noted(folder: Path, *parts: Bytes) -> None:
        save(folder, *parts)
        saved.append(checkpoint.progress(folder)[0])

    monkeypatch.setattr(pretraining, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(checkpoint, "save", noted)
    monkeypatch.setattr(MaskedLM, "training_step", ten_seconds)
    pretrain(replace(config, out=str(tmp_path), save_every=25.0))
    assert saved == [3, 6, 8]


def test_a_folder_of_another_run_is_refused(config: PretrainConfig) -> None:
    with pytest.raises(UserError, match=r"lr=0.0005: expected 0.1"):
        pretrain(replace(config, lr=0.1))


def test_another_text_under_the_same_name_is_refused_and_the_same_elsewhere_is_not(
    config: PretrainConfig, text: Path, tmp_path: Path
) -> None:
    (copy := tmp_path / "copy.txt").write_text(text.read_text())
    moved = replace(config, text=[str(copy)])
    assert pretrain(moved) == Path(config.out)
    copy.write_text(text.read_text().replace("film", "song"))
    with pytest.raises(UserError, match="text_sha256"):
        pretrain(moved)


def test_a_folder_with_something_else_in_it_is_left_alone(
    config: PretrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "film.part").mkdir()
    (tmp_path / "download.part").write_text("half")
    with pytest.raises(UserError, match=r"holds no pretrain.yaml; expected a new folder"):
        pretrain(replace(config, out=str(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} == {"film.part", "download.part"}


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(
    config: PretrainConfig, tmp_path: Path
) -> None:
    out = shutil.copytree(config.out, tmp_path / "out")
    shutil.rmtree(out / "step-8")
    (out / ".unfinished-a" / "whole").mkdir(parents=True)
    (out / "mine.part").mkdir()
    pretrain(replace(config, out=str(out)))
    assert (out / "step-8").exists()
    assert (out / "mine.part").exists()
    assert not (out / ".unfinished-a").exists()


@pytest.mark.parametrize(
    "broken",
    [
        *("a: [", "- 1", "text", "a: ${nope.x}", "\x00", "lr: {a: 1}"),
        *("{a: " * 3000, "a: &a {b: *a}", f"lr: {'9' * 5000}"),
    ],
    ids=lambda text: ascii(text[:9]),
)
def test_settings_that_are_none_are_refused(
    broken: str, config: PretrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "pretrain.yaml").write_text(broken)
    with pytest.raises(UserError, match=str(tmp_path)):
        pretrain(replace(config, out=str(tmp_path)))


def test_settings_in_a_pipe_are_refused(config: PretrainConfig, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pretrain.yaml")
    with pytest.raises(UserError, match=r"pretrain\.yaml: cannot be read: neither a file"):
        pretrain(replace(config, out=str(tmp_path)))


def test_a_place_that_is_no_folder_is_reported(config: PretrainConfig, text: Path) -> None:
    for out in (text, text / "below", Path("/proc/nope"), Path("/") / ("a" * 300)):
        with pytest.raises(UserError, match=f"out={out}: "):
            pretrain(replace(config, out=str(out)))


@pytest.mark.parametrize(
    "value",
    [
        *("length=1", "length=2", "seed=-1", "seed=18446744073709551616", "lr=nan", "lr=inf"),
        *("steps=[0,1000000000000000000000]", "vocabulary=1000000000000000000000"),
    ],
)
def test_a_value_that_cannot_be_is_reported(value: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings([value])
    (message,) = caught.value.messages
    assert message.startswith(value.replace(",", ", "))
    assert "expected" in message


def test_the_same_texts_give_the_same_tokenizer(text: Path) -> None:
    texts = paragraphs([str(text)])
    one, other = (train_tokenizer(texts, 60, 16).get_vocab() for _ in range(2))
    assert one == other
    assert len(one) == 60


def test_a_step_has_its_own_rows_and_masks_whenever_it_is_asked_for(text: Path) -> None:
    texts = paragraphs([str(text)])
    tokenizer = train_tokenizer(texts, 60, 16)
    rows = blocks(tokenizer, texts, 16)
    assert (rows[:, 0] == tokenizer.cls_token_id).all()
    assert (rows[:, -1] == tokenizer.sep_token_id).all()
    batches = Batches(rows, tokenizer, 4, seed=0)
    for step in (0, 7, 100):
        one, other = batches[step], batches[step]
        assert all(torch.equal(one[name], other[name]) for name in one)
        masked = one["labels"] != -100
        assert torch.equal(
            one["input_ids"][~masked], torch.where(masked, 0, one["input_ids"])[~masked]
        )
        whole = torch.where(masked, one["labels"], one["input_ids"])
        assert {tuple(row) for row in whole.tolist()} <= {tuple(row) for row in rows.tolist()}
        assert not masked[:, [0, -1]].any()
    assert not torch.equal(batches[0]["input_ids"], batches[1]["input_ids"])
    assert not torch.equal(batches[0]["input_ids"], Batches(rows, tokenizer, 4, 1)[0]["input_ids"])


def test_all_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        read_settings(
            [
                f"text=[{tmp_path}/none.txt,{tmp_path}/empty]",
                *("layer=2", "width=15", "steps=[5,3]", "lr=fast"),
            ],
        )
    assert list(caught.value.messages) == [
        "layer: no such key; did you mean 'layers'?",
        "lr=fast: Value 'fast' of type 'str' could not be converted to Float",
        "width=15: expected a multiple of heads=4",
        "steps=[5, 3]: expected steps from 0 on, ascending, the last from 1 to 1,000,000,000",
        f"text={tmp_path}/none.txt: no such file or folder",
        f"text={tmp_path}/empty: no .txt file below it",
    ]


def test_text_that_is_none_or_too_short_is_reported(config: PretrainConfig, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a film")
    short = replace(config, text=[str(tmp_path / "short.txt")], out=str(tmp_path / "out"))
    with pytest.raises(UserError, match="0 rows of 16 tokens; expected at least batch_size=4"):
        pretrain(short)
    assert not (tmp_path / "out").exists()
    (tmp_path / "binary.txt").write_bytes(b"film \xff\xfe")
    with pytest.raises(UserError, match=r"binary.txt: no UTF-8 text: byte 5"):
        paragraphs([str(tmp_path)])


def test_the_defaults_fit_the_model_that_reads_the_checkpoints() -> None:
    steps = read_settings([]).steps
    model = OmegaConf.load(CONF / "model" / "pretrained.yaml")
    assert [str(step) for step in steps] == list(model.steps)
    assert str(steps[-1]) == model.step
