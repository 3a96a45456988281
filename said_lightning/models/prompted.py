"""Decoders without a head: they answer among labels, by the likelihood of each label's tokens."""

import inspect
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from said_lightning.data.prompts import prompts_of
from said_lightning.data.task import TaskConfig

Tokens = Int[Tensor, "batch tokens"]


class Prompted:
    """Makes a language model answer a batch's prompts by what the class before it says.

    `language_model` is the model's own class.
    """

    language_model: Any

    @classmethod
    def ask(cls, tokenizer: PreTrainedTokenizerBase, task: TaskConfig) -> None:
        """Let all models of this class answer what a task asks. Raise UserError as `prompts_of`."""
        raise NotImplementedError


class AmongLabels(Prompted):
    """Makes a language model's forward give the log-likelihood of each label's answer.

    `answers` holds the tokens of each. The loss is that of the right answer, in nats: of its tokens
    alone, over the whole vocabulary (not among the labels). Prompts are padded on the right.
    """

    answers: list[list[int]]

    @classmethod
    def ask(cls, tokenizer: PreTrainedTokenizerBase, task: TaskConfig) -> None:
        prompts = prompts_of(task, tokenizer)
        assert prompts is not None
        cls.answers = prompts.answers

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        labels: Int[Tensor, " batch"] | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits [batch, labels], and the mean loss where labels are given."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if all(len(ids) == 1 for ids in self.answers):
            logits, loss = self._by_one_token(input_ids, mask, labels)
        else:
            logits, loss = self._by_tokens(input_ids, mask, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _by_one_token(
        self, ids: Tokens, mask: Tokens, labels: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch labels"], Float[Tensor, ""] | None]:
        """Read all answers off the token that follows a prompt."""
        likely = self._after(ids, mask, mask.sum(1, keepdim=True) - 1)[:, 0]
        tokens = torch.tensor([one for (one,) in self.answers], device=ids.device)
        logits = likely[:, tokens]
        loss = None if labels is None else functional.nll_loss(likely, tokens[labels])
        return logits, loss

    def _by_tokens(
        self, ids: Tokens, mask: Tokens, labels: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch labels"], Float[Tensor, ""] | None]:
        """Append an answer in each pass, the right one in the first, which alone has a graph."""
        first = ids.new_zeros(len(ids)) if labels is None else labels
        which = [(first + more) % len(self.answers) for more in range(len(self.answers))]
        right = self._likelihood(ids, mask, which[0])
        with torch.no_grad():
            others = [self._likelihood(ids, mask, one) for one in which[1:]]
        found = torch.stack([right.detach(), *others], dim=1)
        logits = torch.empty_like(found).scatter(1, torch.stack(which, dim=1), found)
        return logits, None if labels is None else -right.mean()

    def _likelihood(
        self, ids: Tokens, mask: Tokens, which: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-likelihood of one answer to each prompt."""
        longest = max(map(len, self.answers))
        padded = [one + [-1] * (longest - len(one)) for one in self.answers]
        tokens = torch.tensor(padded, device=ids.device)[which]
        own: Bool[Tensor, "batch answer"] = tokens >= 0
        lengths = mask.sum(1, keepdim=True)
        places = lengths + torch.arange(longest, device=ids.device)
        wide, room = functional.pad(ids, (0, longest)), functional.pad(mask, (0, longest))
        wide = wide.scatter(1, places, tokens.clamp(min=0))
        room = room.scatter(1, places, own.to(room.dtype))
        likely = self._after(wide, room, places - 1)
        each = likely.gather(2, tokens.clamp(min=0)[:, :, None]).squeeze(2)
        return (each * own).sum(1)

    def _after(
        self, ids: Tokens, mask: Tokens, places: Int[Tensor, "batch places"]
    ) -> Float[Tensor, "batch places words"]:
        """Return the log-probability of each word after some places of each row."""
        kept, place = places.unique(return_inverse=True)
        read: Any = super().forward  # type: ignore[misc]
        if _keeps(self.language_model):
            logits = read(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits
        else:
            logits = read(input_ids=ids, attention_mask=mask).logits[:, kept]
        index = place[:, :, None].expand(-1, -1, logits.shape[-1])
        likely: Tensor = logits.gather(1, index).float().log_softmax(-1)
        return likely


@cache
def _keeps(architecture: type) -> bool:
    """Return whether a language model can give the logits of some places alone."""
    return "logits_to_keep" in inspect.signature(architecture.forward).parameters  # type: ignore


def prompted(architecture: type, how: type[Prompted]) -> type:
    """Return a language model's class that answers prompts, under the model's own name."""
    return type(architecture.__name__, (how, architecture), {"language_model": architecture})


def build_prompted(config: PretrainedConfig, how: type[Prompted]) -> Any:
    """Build a language model of a config that answers prompts, with random weights.

    Raise ValueError where the config is not a decoder's.
    """
    kind = type(config)
    reads_both_ways = kind in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING or reads_both_ways:
        raise ValueError(
            f"{config.model_type} is no decoder; expected a language model such as GPT-2 or Llama "
            "for a task by prompts"
        )
    architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    return prompted(architecture, how)(config)
