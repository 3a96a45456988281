"""A language model writes an answer, which is right or wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from said_lightning.data.answering import match_of
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import build
from said_lightning.models.writing import Writes
from tests.models.test_architectures import small
from tests.models.test_prompted import every_decoder

TASK = TaskConfig(name="toy", kind="generate", template="{0}", max_new_tokens=3)


@pytest.fixture
def tokenizer(encoder: Path) -> Any:
    return AutoTokenizer.from_pretrained(encoder)


def written(architecture: str, tokenizer: Any) -> Any:
    """Return a random model of the tests' few words that writes answers."""
    config = small(architecture)
    config.vocab_size = len(tokenizer)
    model: Any = build(config, "generate")
    assert isinstance(model, Writes)
    model.ask(tokenizer, TASK)
    return model


def rows(*pairs: tuple[list[int], list[int]]) -> dict[str, torch.Tensor]:
    """Return prompts and targets as a batch, padded on the right."""
    longest = max(len(prompt + target) for prompt, target in pairs)
    ids = [p + t + [0] * (longest - len(p + t)) for p, t in pairs]
    mask = [[1] * len(p + t) + [0] * (longest - len(p + t)) for p, t in pairs]
    types = [[0] * len(p) + [1] * len(t) + [0] * (longest - len(p + t)) for p, t in pairs]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "token_type_ids": torch.tensor(types),
    }


def greedy(model: Any, prompt: list[int], most: int) -> list[int]:
    """Return what is written after a prompt, token by token, each by one pass over all."""
    written: list[int] = []
    while len(written) < most and (not written or written[-1] != 3):
        logits = model.language_model.forward(model, torch.tensor([prompt + written])).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@every_decoder
def test_a_row_is_right_where_greedy_writing_gives_its_target(
    architecture: str, tokenizer: Any
) -> None:
    torch.manual_seed(0)
    model = written(architecture, tokenizer).eval()
    prompts = [[2, 5, 6], [2, 7, 8, 9, 10]]
    texts = []
    for prompt in prompts:
        text = greedy(model, prompt, 3)
        texts.append(text if text[-1] == 3 else [*text, 3])
    other = next([word, word, 3] for word in (5, 6) if [word, word] != texts[0][:2])
    logits = model(**rows(*zip(prompts, texts, strict=True))).logits
    assert logits.argmax(1).tolist() == [1, 1]
    logits = model(**rows((prompts[0], other), (prompts[1], texts[1]))).logits
    assert logits.argmax(1).tolist() == [0, 1]


def test_the_loss_is_that_of_the_targets_alone(tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = written("llama", tokenizer).train()
    pairs = (([2, 5, 6], [7, 3]), ([2, 9], [8, 8, 8, 3]))
    found = model(**rows(*pairs), labels=torch.tensor([1, 1])).loss
    each = []
    for prompt, target in pairs:
        after = model.language_model.forward(model, torch.tensor([prompt + target])).logits[0]
        places = slice(len(prompt) - 1, len(prompt) + len(target) - 1)
        each.append(torch.nn.functional.cross_entropy(after[places], torch.tensor(target)))
    torch.testing.assert_close(found, torch.stack(each).mean())


@pytest.mark.parametrize(
    ("name", "generated", "target", "right"),
    [
        ("exact", " yes ", "yes", True),
        ("exact", "Yes", "yes", False),
        ("number", "so 1,234.50 it is", "#### 1234.5", True),
        ("number", "12 apples, then -3", "-3", True),
        ("number", "none", "none", False),
        ("number", "3 or 4", "3", False),
        ("fnmatch:fnmatch", "abc", "a*", True),
    ],
)
def test_what_is_right(name: str, generated: str, target: str, right: bool) -> None:
    assert bool(match_of(name)(generated, target)) is right


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exactly", "task.match=exactly: cannot be imported|expected exact, number, or module:"),
        ("math:pi", "task.match=math:pi: expected exact, number, or module:function"),
        ("math:nothing", "task.match=math:nothing: cannot be imported: AttributeError"),
        ("no.such:one", "task.match=no.such:one: cannot be imported: ModuleNotFoundError"),
        (":", "task.match=:"),
    ],
)
def test_a_match_that_is_none_is_one_message(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        match_of(name)
