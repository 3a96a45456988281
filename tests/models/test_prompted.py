"""A language model answers among labels by the likelihood of their tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from said_lightning.models.encoder import build
from said_lightning.subspace.subspace import Subspace
from tests.models.test_architectures import small

DECODERS = (
    *("gpt2", "gpt_neox", "opt", "llama", "mistral"),
    *("qwen2", "qwen3", "gemma3_text", "phi3", "falcon"),
)
every_decoder = pytest.mark.parametrize("architecture", DECODERS)
ONE, MORE = [[5], [9], [11]], [[5, 6], [9], [5, 7, 8]]
PROMPTS = [[12, 3, 44], [17, 9, 30, 21, 8], [40]]


def pair(architecture: str, answers: list[list[int]]) -> tuple[Any, Any]:
    """Return a model that answers, and the plain language model with its weights."""
    torch.manual_seed(0)
    config = small(architecture)
    model: Any = build(config, "prompt").eval()
    model.answers = answers
    architecture_of: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    plain: Any = architecture_of[type(config)](config).eval()
    plain.load_state_dict(model.state_dict())
    return model, plain


def padded(rows: list[list[int]]) -> dict[str, Tensor]:
    """Return rows as a batch, padded on the right."""
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows]),
    }


def likelihood(plain: Any, prompt: list[int], answer: list[int]) -> Tensor:
    """Return an answer's log-likelihood by one plain pass over its row alone."""
    ids = torch.tensor([prompt + answer])
    after = plain(input_ids=ids).logits[0].log_softmax(-1)
    return sum((after[len(prompt) + i - 1, token] for i, token in enumerate(answer)), Tensor([0]))


@pytest.mark.parametrize("answers", [ONE, MORE], ids=["one token", "more tokens"])
@every_decoder
def test_logits_are_the_log_likelihoods_of_the_answers(
    architecture: str, answers: list[list[int]]
) -> None:
    model, plain = pair(architecture, answers)
    with torch.no_grad():
        found = model(**padded(PROMPTS)).logits
        right = [[likelihood(plain, row, one)[0] for one in answers] for row in PROMPTS]
    torch.testing.assert_close(found, torch.tensor(right), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("answers", [ONE, MORE], ids=["one token", "more tokens"])
def test_the_loss_and_its_gradient_are_the_right_answers_alone(answers: list[list[int]]) -> None:
    model, plain = pair("llama", answers)
    labels = torch.tensor([2, 0, 1])
    output = model(**padded(PROMPTS), labels=labels)
    output.loss.backward()
    rows = zip(PROMPTS, labels.tolist(), strict=True)
    loss = -torch.stack([likelihood(plain, row, answers[label]) for row, label in rows]).mean()
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None, name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_row_takes_one_pass_for_each_answer(
    labelled: bool, grad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = pair("llama", MORE)
    passes: list[bool] = []
    read = model.language_model.forward

    def counted(*arguments: Any, **named: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        return read(*arguments, **named)

    monkeypatch.setattr(model.language_model, "forward", counted)
    labels = {"labels": torch.tensor([2, 0, 1])} if labelled else {}
    with torch.set_grad_enabled(grad):
        model(**padded(PROMPTS), **labels)
    assert passes == [grad, False, False]


@every_decoder
def test_a_step_of_said_moves_every_group_in_order(architecture: str) -> None:
    model, _ = pair(architecture, ONE)
    space = Subspace(model.train(), 120, lazy=True)
    layers = [name for name in space.groups if name.startswith("layer.")]
    assert list(space.groups) == ["embeddings", "layer.0", "layer.1", "head"]
    assert len(layers) == 2
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    with space.training(optimizer):
        model(**padded(PROMPTS), labels=torch.tensor([2, 0, 1])).loss.backward()
        optimizer.step()
    for group, tensors in space.groups.items():
        after = dict(model.named_parameters())
        assert any(not torch.equal(after[name], before[name]) for name in tensors), group


def test_a_saved_model_is_the_language_model_that_it_was(tmp_path: Any) -> None:
    model, plain = pair("gpt2", ONE)
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).architectures == ["GPT2LMHeadModel"]
    again = type(plain).from_pretrained(tmp_path).eval()
    batch = padded(PROMPTS)
    torch.testing.assert_close(again(**batch).logits, plain(**batch).logits)


@pytest.mark.parametrize("architecture", ["bert", "t5", "bart", "pegasus", "roberta"])
def test_what_is_no_decoder_is_refused(architecture: str) -> None:
    with pytest.raises(ValueError, match="no decoder; expected a language model"):
        build(AutoConfig.for_model(architecture), "prompt")
