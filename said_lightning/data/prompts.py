"""A row as a prompt, and each label as the tokens that may follow it.

A prompt is the task's template with the row's texts in place of {0} and {1}. One that would be too
long loses the end of its longest text, never of the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError

Ids = list[int]


@dataclass(frozen=True)
class Prompts:
    """A task's template, the tokens of each label's answer, and the room that a prompt has."""

    template: str
    answers: list[Ids]
    room: int

    def rows(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]]) -> list[Ids]:
        """Return the tokens of each row's prompt; `texts` are columns."""
        return [self._fitted(tokenizer, list(row)) for row in zip(*texts, strict=True)]

    def _fitted(self, tokenizer: PreTrainedTokenizerBase, row: list[str]) -> Ids:
        ids = prompt_ids(tokenizer, self.template.format(*row))
        while len(ids) > self.room:
            longest = max(range(len(row)), key=lambda place: len(row[place]))
            kept = answer_ids(tokenizer, row[longest])
            kept = kept[: max(0, len(kept) - (len(ids) - self.room))]
            shorter = str(tokenizer.decode(kept))
            # Tokens that are decoded may be as many again.
            row[longest] = shorter if len(shorter) < len(row[longest]) else row[longest][:-1]
            if not any(row):
                raise UserError(
                    f"task.template: its own tokens and an answer's are more than "
                    f"task.max_length={self.room + max(map(len, self.answers))}"
                )
            ids = prompt_ids(tokenizer, self.template.format(*row))
        return ids


def prompts_of(task: TaskConfig, tokenizer: PreTrainedTokenizerBase) -> Prompts | None:
    """Return a task's prompts, None where a head answers. Raise UserError as the answers' check."""
    if task.kind != "prompt":
        return None
    answers = [answer_ids(tokenizer, text) for text in task.answer_texts]
    if wrong := validate_answers(task, answers):
        raise UserError(*wrong)
    return Prompts(str(task.template), answers, task.max_length - max(map(len, answers)))


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Return the tokens of a prompt, with those that begin a text and none that ends one."""
    ids: Ids = tokenizer(text)["input_ids"]
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    return ids[:-1] if len(ids) > 1 and ids[-1] in ends else ids


def answer_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """Return the tokens of an answer."""
    ids: Ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def validate_answers(task: TaskConfig, answers: Sequence[Ids]) -> list[str]:
    """Return the answers that no likelihood parts: empty, or another's beginning."""
    texts = task.answer_texts
    found = [
        f"task.answers: {text!r} has no tokens"
        for text, ids in zip(texts, answers, strict=True)
        if not ids
    ]
    for one, first in enumerate(answers):
        for other, second in enumerate(answers):
            if one != other and first and second[: len(first)] == first:
                found.append(
                    f"task.answers: {texts[other]!r} begins with the tokens of {texts[one]!r}, "
                    "which is always as likely; expected answers that differ earlier"
                )
    return found
