"""Decoders without a head that write an answer after a prompt, which is right or wrong."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from said_lightning.data.answering import Match, match_of
from said_lightning.data.prompts import end_of
from said_lightning.data.task import TaskConfig
from said_lightning.models.prompted import Prompted

Tokens = Int[Tensor, "batch tokens"]


class Writes(Prompted):
    """Makes a language model's forward say whether it writes each row's target.

    A row is its prompt and its target, which token_type_ids mark with 1. The loss is the targets'
    cross-entropy, the mean over rows of the mean over tokens. Logits are 0 and 1 for (wrong,
    right): in training whether each token of the target is the likeliest after those before it, in
    evaluation whether `match` accepts what is written greedily, of at most `most` tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    match: Match
    most: int

    @classmethod
    def ask(cls, tokenizer: PreTrainedTokenizerBase, task: TaskConfig) -> None:
        cls.tokenizer, cls.match = tokenizer, staticmethod(match_of(task.match))
        cls.most = task.max_new_tokens

    def forward(
        self,
        input_ids: Tokens,
        attention_mask: Tokens | None = None,
        token_type_ids: Tokens | None = None,
        labels: Int[Tensor, " batch"] | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits [batch, 2], and the loss."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        own = torch.zeros_like(mask) if token_type_ids is None else token_type_ids * mask
        read: Any = super().forward  # type: ignore[misc]
        after = read(input_ids=input_ids, attention_mask=mask).logits[:, :-1].float()
        following, counted = input_ids[:, 1:], own[:, 1:]
        each = functional.cross_entropy(after.transpose(1, 2), following, reduction="none")
        loss = ((each * counted).sum(1) / counted.sum(1).clamp(min=1)).mean()
        if self.training:  # type: ignore[attr-defined]
            right = ((after.argmax(-1) == following) | (counted == 0)).all(1)
        else:
            right = self._written(input_ids, mask, own == 1)
        logits = functional.one_hot(right.long(), 2).to(after.dtype)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def _written(
        self, ids: Tokens, mask: Tokens, own: Bool[Tensor, "batch tokens"]
    ) -> Bool[Tensor, " batch"]:
        """Write after each prompt and compare."""
        prompts = [row[(kept == 1) & ~its] for row, kept, its in zip(ids, mask, own, strict=True)]
        targets = [row[its] for row, its in zip(ids, own, strict=True)]
        pair = (self._texts(rows) for rows in (self._generated(prompts), targets))
        right = [bool(self.match(*texts)) for texts in zip(*pair, strict=True)]
        return torch.tensor(right, device=ids.device)

    def _generated(self, prompts: list[Int[Tensor, "_"]]) -> list[Int[Tensor, "_"]]:
        """Return what is written after each prompt; they are padded on the left for that."""
        longest = max(map(len, prompts))
        pad = int(self.tokenizer.pad_token_id or 0)
        left = [functional.pad(row, (longest - len(row), 0), value=pad) for row in prompts]
        room = [functional.pad(torch.ones_like(r), (longest - len(r), 0)) for r in prompts]
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.most,
            pad_token_id=pad,
            eos_token_id=end_of(self.tokenizer) or None,
        )
        # The same modules as the language model that they are: this class' forward asks for more.
        plain: Any = copy.copy(self)
        plain.__class__ = self.language_model
        made = plain.generate(
            torch.stack(left), attention_mask=torch.stack(room), generation_config=settings
        )
        return list(made[:, longest:])

    def _texts(self, rows: list[Int[Tensor, "_"]]) -> list[str]:
        tokens = [row.tolist() for row in rows]
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
