"""Labels by their meaning, whatever program or yaml wrote them; never by a guess."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from said_lightning.data.labels import label_parser, meaning_of
from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.data.validate import validate_description, validate_task

NO_YES = "unless they are in quotes: 'no'"


def ids(labels: list[str], label_map: dict[Any, str] | None = None, **task: Any) -> Any:
    """Return a parser of labels, which gives None for what it refuses."""
    source = FileSource(label_map=label_map or {})
    parse = label_parser(TaskConfig(labels=labels, **task), source)

    def parsed(text: str) -> int | float | None:
        try:
            return parse(text)
        except ValueError:
            return None

    return parsed


def refusal(labels: list[str], text: str) -> str:
    """Return why a label is refused."""
    with pytest.raises(ValueError, match="found") as caught:
        label_parser(TaskConfig(labels=labels), FileSource())(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "written"),
    [
        (["ham", "spam"], {"ham": 0, " spam ": 1, "0": 0, "1.0": 1, "0.0": 0, "1e0": 1, "+1": 1}),
        (["ham", "spam"], {"true": 1, "False": 0, "TRUE": 1, "yes": 1, "off": 0}),
        (["ham", "spam"], {"Ham": None, "2": None, "0.5": None, "nan": None, "1_": None}),
        (["no", "yes"], {"True": 1, "false": 0, "NO": 0, "1": 1, "0.0": 0}),
        (["yes", "no"], {"True": 0, "false": 1, "no": 1, "1": None, "0.0": None}),
        (["a", "b", "c"], {"2.0": 2, "true": None, "3": None}),
        (["1", "2"], {"1.0": 0, "2": 1, "0": None, "true": None}),
        (["1.0", "0.0"], {"1": 0, "0": 1, "true": 0}),
        (["-1", "1"], {"-1.0": 0, "1.0": 1, "0": None, "true": None}),
        (["1", "1.0"], {"1": 0, "1.0": 1, "1.00": None}),
    ],
)
def test_a_label_is_read_by_its_meaning(labels: list[str], written: dict[str, Any]) -> None:
    parse = ids(labels)
    assert {text: parse(text) for text in written} == written


@pytest.mark.parametrize(
    ("key", "text"),
    [(1, "1.0"), ("1", "1"), (1.0, "1"), ("1.0", "+1"), (True, "yes"), ("on", "true")],
)
def test_the_keys_of_a_label_map_are_read_so_too(key: Any, text: str) -> None:
    parse = ids(["ham", "spam"], {key: "spam"})
    assert (parse(text), parse("ham"), parse("0")) == (1, None, None)


def test_what_yaml_makes_of_no_and_yes_is_read_as_it_is_meant() -> None:
    task = OmegaConf.to_object(
        OmegaConf.merge(TaskConfig, OmegaConf.create("{labels: [no, yes], files: {text: [a]}}"))
    )
    assert isinstance(task, TaskConfig)
    assert isinstance(task.files, FileSource)
    assert task.labels == ["False", "True"]
    parse = label_parser(task, task.files)
    assert [parse(text) for text in ("no", "yes", "No", "true", "0", "1.0")] == [0, 1, 0, 1, 0, 1]
    with pytest.raises(ValueError, match=NO_YES):
        parse("nein")


@pytest.mark.parametrize(
    "yaml",
    [
        "{labels: [no, off]}",
        "{labels: [yes, on, maybe]}",
        "{labels: ['no', 'yes'], files: {label_map: {a: no, b: yes}}}",
    ],
)
def test_yaml_is_explained_where_it_joins_names(yaml: str) -> None:
    plain = {"metric": "accuracy", "metrics": ["accuracy"], "data_dir": ".", "files": {}}
    merged = OmegaConf.merge(TaskConfig, OmegaConf.create(plain), OmegaConf.create(yaml))
    task = OmegaConf.to_object(merged)
    assert isinstance(task, TaskConfig)
    assert NO_YES in "\n".join([*validate_description(task), *validate_task(task)])


@pytest.mark.parametrize("source", [FileSource, HubSource])
def test_a_label_map_may_have_numbers_and_truths_as_keys(source: Any) -> None:
    yaml = OmegaConf.create("{label_map: {1: ham, 2.5: spam, no: eggs, name: ham}}")
    made: Any = OmegaConf.to_object(OmegaConf.merge(source, yaml))
    assert made.label_map == {"1": "ham", "2.5": "spam", "False": "eggs", "name": "ham"}


def test_a_refusal_names_the_remedy() -> None:
    assert refusal(["yes", "no"], "1").endswith("; label_map={'1': LABEL} says which it is")
    assert refusal(["ham", "spam"], "Ham").endswith("did you mean 'ham'?")
    with pytest.raises(ValueError, match="expected a number with a decimal point"):
        label_parser(TaskConfig(kind="regression"), FileSource())("3,5")


@given(number=st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_equal_numbers_mean_the_same(number: Decimal) -> None:
    assert meaning_of(f"{number}") == meaning_of(f"{number}000") == meaning_of(f"{number:e}")


@given(labels=st.lists(st.text(), min_size=2, unique=True), text=st.text())
def test_any_text_is_a_label_or_is_refused(labels: list[str], text: str) -> None:
    parse = ids(labels)
    assert [parse(label) for label in labels] == list(range(len(labels)))
    assert parse(text) in {None, *range(len(labels))}
