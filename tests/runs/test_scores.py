"""The scores of a run's report rows: a byte a row, whole, and the ones that the run had."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from said_lightning.errors import UserError
from said_lightning.runs.record import Record
from said_lightning.runs.scores import LEVELS, SCORES, quantised, read_scores, write_scores

RECORD = Record(status="done", model="tiny", task="sst2", method="said", seed=0)


def kept(folder: Path, values: np.ndarray) -> Record:
    """Write scores and return the record of their run."""
    return replace(RECORD, scores=write_scores(folder, values))


def test_scores_come_back_row_by_row_at_a_byte_each(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([-0.25, 0.5, 1.125], 4000)
    record = kept(tmp_path, values)
    found = read_scores(tmp_path, record)
    assert found is not None
    assert (found == values).all()
    assert record.scores is not None
    assert record.scores.rows == 4000
    assert (tmp_path / SCORES).stat().st_size < 4000 + 400


numbers = st.floats(-1e6, 1e6, width=32)


@given(arrays.arrays(np.float64, st.integers(1, 600), elements=numbers))
def test_any_scores_are_kept_within_a_level_and_in_their_mean(values: np.ndarray) -> None:
    levels, index = quantised(values)
    found = levels[index]
    if len(np.unique(values)) <= LEVELS:
        assert (found == values).all()
        return
    step = np.ptp(values) / (LEVELS - 1)
    assert len(levels) == LEVELS
    assert (abs(found - values) <= 1.001 * step).all()
    assert abs(found.mean() - values.mean()) <= step / len(values)


def test_more_scores_than_levels_are_kept_within_a_level() -> None:
    values = np.random.default_rng(1).standard_t(3, 5000)
    levels, index = quantised(values)
    step = np.ptp(values) / (LEVELS - 1)
    assert np.diff(levels) == pytest.approx(np.full(LEVELS - 1, step))
    assert abs(levels[index] - values).max() <= 1.001 * step
    assert abs(levels[index].mean() - values.mean()) <= step / 5000


def test_a_record_without_scores_has_none(tmp_path: Path) -> None:
    assert read_scores(tmp_path, RECORD) is None


def test_scores_of_another_run_are_refused(tmp_path: Path) -> None:
    record = kept(tmp_path, np.array([0.0, 1.0]))
    kept(tmp_path, np.array([1.0, 0.0]))
    with pytest.raises(UserError, match=rf"{SCORES}: sha256 \w+...: expected \w+..., as when"):
        read_scores(tmp_path, record)


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    record = kept(tmp_path, np.array([0.0, 1.0, 1.0]))
    content = (tmp_path / SCORES).read_bytes()
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 1
        (tmp_path / SCORES).write_bytes(broken)
        with pytest.raises(UserError, match="as when the run ended"):
            read_scores(tmp_path, record)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    record = kept(tmp_path, np.array([1.0]))
    (tmp_path / SCORES).unlink()
    with pytest.raises(
        UserError, match=f"{SCORES}: cannot be read: No such file or directory; run"
    ):
        read_scores(tmp_path, record)
