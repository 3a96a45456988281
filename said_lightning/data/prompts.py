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
    """A task's template, and what may follow a row's prompt.

    `answers` are the tokens of each label's answer; they are none where the row's last text is to
    be written after its prompt. A row has at most `most` tokens in all.
    """

    template: str
    answers: list[Ids]
    most: int

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]]
    ) -> dict[str, list[Ids]]:
        """Return each row's tokens; `texts` are columns.

        A text to be written follows its prompt and a space, an end token follows it, and
        token_type_ids are 1 for both.
        """
        rows = [list(row) for row in zip(*texts, strict=True)]
        if self.answers:
            room = self.most - max(map(len, self.answers))
            return {"input_ids": [self._fitted(tokenizer, row, room) for row in rows]}
        ids, types = [], []
        for *row, target in rows:
            written = [*answer_ids(tokenizer, f" {target.strip()}"), *end_of(tokenizer)]
            prompt = self._fitted(tokenizer, row, self.most - len(written))
            ids.append(prompt + written)
            types.append([0] * len(prompt) + [1] * len(written))
        return {"input_ids": ids, "token_type_ids": types}

    def _fitted(self, tokenizer: PreTrainedTokenizerBase, row: list[str], room: int) -> Ids:
        ids = prompt_ids(tokenizer, self.template.format(*row))
        while len(ids) > room:
            longest = max(range(len(row)), key=lambda place: len(row[place]))
            kept = answer_ids(tokenizer, row[longest])
            kept = kept[: max(0, len(kept) - (len(ids) - room))]
            shorter = str(tokenizer.decode(kept))
            # Tokens that are decoded may be as many again.
            row[longest] = shorter if len(shorter) < len(row[longest]) else row[longest][:-1]
            if not any(row):
                raise UserError(
                    "task.template: its own tokens and those of an answer are more than "
                    f"task.max_length={self.most}"
                )
            ids = prompt_ids(tokenizer, self.template.format(*row))
        return ids


def prompts_of(task: TaskConfig, tokenizer: PreTrainedTokenizerBase) -> Prompts | None:
    """Return a task's prompts, None where a head answers. Raise UserError as the answers' check."""
    if not task.prompted:
        return None
    if task.kind == "generate":
        return Prompts(str(task.template), [], task.max_length)
    answers = [answer_ids(tokenizer, text) for text in task.answer_texts]
    if wrong := validate_answers(task, answers):
        raise UserError(*wrong)
    return Prompts(str(task.template), answers, task.max_length)


def end_of(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """Return the token that ends what is written, none where a tokenizer has none."""
    ends = (tokenizer.eos_token_id, tokenizer.sep_token_id)
    return [int(end) for end in ends if isinstance(end, int)][:1]


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
