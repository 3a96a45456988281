"""What the model is served: right tensors, every row once, in an order that Lightning keeps."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from transformers import PreTrainedTokenizerFast

from said_lightning.data.datamodule import TextDataModule
from said_lightning.errors import UserError

WORDS = ["a", "good", "bad", "film", "the", "of"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Plant 200 training and 30 evaluation rows, each row's text its number in base 6, in words."""
    for name, numbers in (("train.tsv", range(200)), ("dev.tsv", range(200, 230))):
        lines = [f"{spell(i)}\t{i % 2}" for i in numbers]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *lines]))
    return tmp_path


def spell(number: int) -> str:
    """Write a number in words, so that a row is known by its tokens."""
    digits = WORDS[number % 6]
    return digits if number < 6 else f"{spell(number // 6)} {digits}"


@pytest.fixture
def make(make_task: Any, own_rows: Any, rows: Path, tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return a ready data module on the planted rows."""

    def build(seed: int = 0, workers: int = 0, **changes: Any) -> TextDataModule:
        task = make_task("sst2", data_dir=str(rows), rows=own_rows, **{"max_length": 16, **changes})
        module = TextDataModule(task, tokenizer, 16, 8, seed, workers)
        module.setup("fit")
        return module

    return build


def served(batches: Any) -> list[tuple[int, ...]]:
    """Rows as tuples of tokens, padding left out, in the order served."""
    return [
        tuple(ids[mask.bool()].tolist())
        for batch in batches
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]


def test_a_batch_is_what_a_model_takes(make: Any) -> None:
    module = make()
    batch = next(iter(module.train_dataloader()))
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]
    assert batch["labels"].shape == (16,)
    assert batch["labels"].dtype == torch.long


def test_scores_are_floats_and_pairs_have_two_token_types(
    make_task: Any, own_rows: Any, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    for name, word in (("train.tsv", "bad"), ("dev.tsv", "good")):
        lines = [f"a {word} film\tthe film\t{score}" for score in (3.8, 0.5)]
        (tmp_path / name).write_text("\n".join(["sentence1\tsentence2\tscore", *lines]))
    module = TextDataModule(
        make_task("stsb", data_dir=str(tmp_path), rows=own_rows, max_length=16), tokenizer, 4, 4, 0
    )
    module.setup()
    (batch,) = chain(*module.val_dataloader())
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == pytest.approx([3.8, 0.5])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]] * 2
    assert module.trivial(module.report_sets[0]) == 0.0


def test_every_row_comes_once_in_both_splits(make: Any, tokenizer: Any) -> None:
    module = make()
    expected = {tuple(tokenizer(spell(i))["input_ids"]) for i in range(200)}
    train = served(module.train_dataloader())
    assert len(train) == 200
    assert set(train) == expected
    assert len(set(served(chain(*module.val_dataloader())))) == 30


def test_what_trains_selects_and_reports_is_served_apart(make: Any) -> None:
    module = make(select=None, report=None)
    (select,) = module.val_dataloader()
    parts = [module.train_dataloader(), select, module.in_order(module.report_sets[0])]
    rows = [served(loader) for loader in parts]
    assert [len(part) for part in rows] == [180, 20, 30]
    train, chosen, report = map(set, rows)
    assert len(train | chosen | report) == 200 + 30


def test_labels_stay_with_their_texts(make: Any) -> None:
    module = make()
    for batch in module.train_dataloader():
        last = batch["input_ids"].gather(1, batch["attention_mask"].sum(1, keepdim=True) - 2)
        assert torch.equal((last.squeeze(1) - 4) % 2, batch["labels"])


def test_long_rows_are_cut(make: Any) -> None:
    assert make(max_length=8).train_set.lengths.max() == 5
    assert make(train_limit=20, max_length=8).train_set.lengths.size == 20


class Listener(LightningModule):
    """Learns nothing and writes down what it is served."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.epochs: list[list[tuple[int, ...]]] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.epochs[-1] += served([batch])
        return self.weight * 1.0

    def validation_step(self, batch: Any, index: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def listen(module: TextDataModule) -> list[list[tuple[int, ...]]]:
    """Three epochs as Lightning serves them."""
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    listener = Listener()
    trainer.fit(listener, datamodule=module)
    return listener.epochs


def test_lightning_keeps_the_order_whatever_the_workers(make: Any) -> None:
    epochs = listen(make())
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) == 1
    assert listen(make(workers=2)) == epochs
    assert listen(make(seed=1)) != epochs
    loader = make().train_dataloader()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        assert served(loader) == epochs[epoch]


def test_loading_draws_nothing_from_the_global_generator(make: Any) -> None:
    module = make()
    before = torch.get_rng_state()
    list(module.train_dataloader())
    list(chain(*module.val_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_length_beyond_the_model_is_reported(make: Any) -> None:
    with pytest.raises(UserError, match=r"task.max_length=65: this model takes at most 64 tokens"):
        make(max_length=65)


def test_the_trivial_score_and_the_hash_are_at_hand(make: Any) -> None:
    module = make()
    assert module.trivial(module.report_sets[0]) == 0.5
    assert len(module.data.sha256) == 64
    assert module.data.sha256 != make(train_limit=100).data.sha256
