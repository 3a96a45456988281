"""Prompts keep their template whatever their texts are, and answers can be held apart."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from said_lightning.data.prompts import Prompts, prompts_of, validate_answers
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.data.validate import validate_description
from said_lightning.errors import UserError


def task(**own: Any) -> TaskConfig:
    """Return a task by prompt with two texts a row."""
    settings: dict[str, Any] = {
        "name": "mine",
        "kind": "prompt",
        "labels": ["bad", "good"],
        "metric": "accuracy",
        "metrics": ["accuracy"],
        "template": "{0} film {1} the",
        "answers": ["bad", "good"],
        "files": FileSource(text=["first", "second"]),
        "max_length": 12,
    }
    return TaskConfig(**(settings | own))


@pytest.fixture(scope="module")
def tokenizer(encoder: Path) -> Any:
    return AutoTokenizer.from_pretrained(encoder)


@given(st.lists(st.sampled_from(["good", "bad", "plot", "a b c"]), max_size=30), st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_prompt_of_any_text_fits_and_keeps_its_end(
    tokenizer: Any, words: list[str], text: str
) -> None:
    prompts = prompts_of(task(), tokenizer)
    assert prompts is not None
    (ids,) = prompts.encode(tokenizer, [[" ".join(words) or "a"], [text or "a"]])["input_ids"]
    assert len(ids) <= prompts.most - 1 == 11
    end = tokenizer("the", add_special_tokens=False)["input_ids"]
    assert ids[-len(end) :] == end
    assert ids[0] == tokenizer.cls_token_id
    assert tokenizer.sep_token_id not in ids


def test_a_short_prompt_is_the_template_with_its_texts(tokenizer: Any) -> None:
    prompts = prompts_of(task(), tokenizer)
    assert prompts is not None
    (ids,) = prompts.encode(tokenizer, [["good"], ["bad"]])["input_ids"]
    assert tokenizer.decode(ids[1:]) == "good film bad the"


def test_a_template_that_leaves_no_room_is_refused(tokenizer: Any) -> None:
    prompts = Prompts("film " * 20 + "{0}", [[1]], 12)
    with pytest.raises(UserError, match=r"task.template: its own tokens .* task.max_length=12"):
        prompts.encode(tokenizer, [["good"]])


def test_a_text_to_be_written_follows_its_prompt_whole_and_ends(tokenizer: Any) -> None:
    wanted = task(kind="generate", labels=[], metric="exact_match", metrics=["exact_match"])
    assert validate_description(wanted) == []
    prompts = prompts_of(wanted, tokenizer)
    assert prompts is not None
    found = prompts.encode(tokenizer, [["good " * 20], ["bad"], ["fine plot"]])
    (ids,), (types,) = found["input_ids"], found["token_type_ids"]
    assert len(ids) == len(types) == 12
    assert tokenizer.decode(ids[-3:-1]) == "fine plot"
    assert ids[-1] == tokenizer.sep_token_id
    assert types == [0] * 9 + [1] * 3
    assert tokenizer.decode(ids[7:9]).endswith("the")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"template": None}, "task.template=None: expected {0} and {1}"),
        ({"template": "{0} alone"}, "task.template='{0} alone': expected {0} and {1}"),
        ({"template": "{0} {1} {2}"}, "expected {0} and {1}, where the texts of a row go"),
        ({"template": "{text} {0} {1}"}, "expected {0} and {1}"),
        ({"template": "{0.x} {1}"}, "expected {0} and {1}"),
        ({"template": "{0} {"}, "task.template: "),
        ({"answers": ["one"]}, "task.answers: 1 for 2 labels; expected one each"),
        ({"labels": ["only"]}, "task.labels=['only']: expected two or more"),
        ({"metric": "pearson", "metrics": ["pearson"]}, "unknown for prompt with 2 labels"),
    ],
)
def test_a_wrong_template_is_one_message(own: dict[str, Any], message: str) -> None:
    assert any(message in line for line in validate_description(task(**own)))


def test_a_right_one_is_none_and_a_template_is_nothing_to_a_head() -> None:
    assert validate_description(task()) == []
    assert validate_description(task(kind="classification", template="{9}", answers=["x"])) == []


def test_answers_are_the_labels_after_a_space_unless_given() -> None:
    assert task(answers=[]).answer_texts == [" bad", " good"]


def test_answers_that_are_always_as_likely_are_refused() -> None:
    found = validate_answers(task(answers=["no", "none"]), [[4], [4, 5]])
    assert found == [
        "task.answers: 'none' begins with the tokens of 'no', which is always as likely; expected "
        "answers that differ earlier"
    ]
    assert validate_answers(task(answers=["", "x"]), [[], [4]]) == [
        "task.answers: '' has no tokens"
    ]
    assert len(validate_answers(task(answers=["a", "a"]), [[4], [4]])) == 2


def test_a_task_with_a_head_has_no_prompts(tokenizer: Any) -> None:
    assert prompts_of(task(kind="classification"), tokenizer) is None
