"""One odd run never takes the answer down: it is a warning, and the other runs stand."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from said_lightning.cli.app import app
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.runs.certificate import CERTIFICATE
from said_lightning.runs.certificate import read as read_certificate
from said_lightning.runs.files import FACTS, sweep
from said_lightning.runs.index import CONFIG, find
from said_lightning.runs.record import RESULT, Record, Scores, read, write
from said_lightning.runs.scores import SCORES, read_scores

GOOD = Record(status="done", model="m", task="t", method="did", d=10, seed=0, wall_s=60.0)
FACTS_OF_ONE: dict[str, Any] = {
    "format": 1,
    **{"status": "done", "model": "m", "task": "t", "method": "did", "d": 10, "seed": 0},
}


def huge(path: Path) -> None:
    """Make a file of a gigabyte that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(2**30)


def shut(path: Path) -> None:
    """Make a file that nobody but the superuser may read."""
    path.write_text("{}")
    path.chmod(0)


STRANGE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "huge": huge,
    "empty": Path.touch,
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00{"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "shut": shut,
}
ROOT_READS = pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
STRANGE_FILES = [
    pytest.param(make, id=name, marks=ROOT_READS if name == "shut" else ())
    for name, make in STRANGE.items()
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Make two good runs, with room for an odd one between them."""
    for name in ("a", "c"):
        (tmp_path / name).mkdir()
        write(GOOD, tmp_path / name)
    (tmp_path / "b").mkdir()
    return tmp_path


def said_status(study: Path) -> str:
    """Return what `said status` prints; it ends well."""
    ended = CliRunner().invoke(app, ["status", str(study)])
    assert ended.exit_code == 0, ended.output
    return ended.output


@pytest.mark.parametrize("make", STRANGE_FILES)
def test_a_strange_result_is_a_warning_and_the_others_stand(
    study: Path, make: Callable[[Path], object]
) -> None:
    make(study / "b" / RESULT)
    records, (error, *more) = find(study)
    assert [record.folder for record in records] == [study / "a", study / "c"]
    assert error.startswith(f"{study / 'b' / RESULT}: ")
    assert not more
    assert "2 runs: 2 done" in said_status(study)


@pytest.mark.parametrize(
    "facts",
    [
        {"d": 1e30},
        {"d": 10**30},
        {"d": 0},
        {"d": -5},
        {"D": 10**400},
        {"m": [3]},
        {"metric": [0.5]},
        {"metric": {"name": "accuracy", "value": 1e300}},
        {"groups": ["layer.0"]},
        {"groups": {"layer.0": 5}},
        {"lr": 0.0},
        {"lr": -1.0},
        {"wall_s": 1e300},
        {"wall_s": -1},
        {"stages": {"d": 5}},
        {"seed": None},
        {"status": ["done"]},
        {"model": {"name": "m"}},
        {"notes": "one"},
    ],
    ids=str,
)
def test_a_fact_that_no_run_has_is_a_warning_which_names_it(
    study: Path, facts: dict[str, Any]
) -> None:
    (study / "b" / RESULT).write_text(json.dumps(FACTS_OF_ONE | facts))
    records, (error,) = find(study)
    assert len(records) == 2
    assert f"no record of a run: {next(iter(facts))}" in error
    assert "2 runs: 2 done" in said_status(study)


def test_a_thousand_errors_in_one_file_are_one_short_message(study: Path) -> None:
    groups = {f"layer.{index}": "none" for index in range(1000)}
    (study / "b" / RESULT).write_text(json.dumps(FACTS_OF_ONE | {"groups": groups}))
    (error,) = find(study)[1]
    assert error.endswith("; and 992 more")
    assert len(error) < 2000


def test_a_record_of_any_usual_size_is_read(study: Path) -> None:
    groups = {f"model.decoder.layers.{index}.mlp": {"D": 10**7} for index in range(20_000)}
    text = json.dumps(FACTS_OF_ONE | {"groups": groups})
    assert 10**6 < len(text) < FACTS
    (study / "b" / RESULT).write_text(text)
    assert len(find(study)[0]) == 3


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
facts = st.fixed_dictionaries({}, optional=dict.fromkeys(Record.__dataclass_fields__, values)).map(
    lambda some: FACTS_OF_ONE | some
)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a good run, with an odd one beside it."""
    path = tmp_path_factory.mktemp("study")
    for name in ("good", "odd"):
        (path / name).mkdir()
    write(GOOD, path / "good")
    return path


@given(values | facts)
@example({"d": 1e30})
@example([[]])
@example(FACTS_OF_ONE | {"status": "running", "wall_s": float("nan")})
def test_any_json_as_result_leaves_the_other_run_its_place(others: Path, plain: Any) -> None:
    (others / "odd" / RESULT).write_text(json.dumps(plain))
    records, errors = find(others)
    assert records[0].folder == others / "good"
    assert len(records) + len(errors) == 2
    assert f"{len(records)} runs: " in said_status(others)


yamls = values.map(yaml.safe_dump) | st.text() | st.sampled_from(["a: &a [*a]", "${oc.env:HOME}"])


@given(yamls, st.sampled_from(["done", "waiting", None]))
@example("- !!python/object/apply:os.system [true]", "waiting")
def test_any_yaml_as_config_leaves_the_other_run_its_place(
    others: Path, text: str, status: Any
) -> None:
    (others / "odd" / CONFIG).write_bytes(text.encode("utf-8", "surrogatepass"))
    (others / "odd" / RESULT).unlink(missing_ok=True)
    if status is not None:
        (others / "odd" / RESULT).write_text(json.dumps(FACTS_OF_ONE | {"status": status}))
    records, errors = find(others)
    assert records[0].folder == others / "good"
    assert (len(records), len(errors)) == ((1, 1) if status is None else (2, 0))
    said_status(others)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"\x1b[2J", b"[bold]", "\u202e".encode()])
def test_a_run_in_a_folder_of_any_name_is_read_and_its_name_is_shown_as_text(
    study: Path, name: bytes
) -> None:
    folder = Path(os.fsdecode(os.fsencode(study) + b"/" + name))
    folder.mkdir()
    write(Record(status="failed", model="m", task="t", method="did", seed=0), folder)
    assert folder in {record.folder for record in find(study)[0]}
    shown = said_status(study)
    assert "3 runs: 2 done, 1 failed" in shown
    assert not {"\x1b", "\u202e", "\udcff"} & set(shown)


@pytest.mark.parametrize("place", [RESULT, CONFIG])
def test_a_stray_file_at_the_top_hides_no_run(study: Path, place: str) -> None:
    (study / place).write_text("[]")
    records, (error,) = find(study)
    assert len(records) == 2
    assert error.startswith(str(study))


def test_a_record_at_the_top_hides_no_run(study: Path) -> None:
    write(GOOD, study)
    assert [record.folder for record in find(study)[0]] == [study, study / "a", study / "c"]


@pytest.mark.parametrize("make", STRANGE_FILES)
def test_strange_files_beside_a_record_are_refused_in_one_message(
    study: Path, make: Callable[[Path], object]
) -> None:
    run = study / "a"
    (run / checkpoint.FOLDER).mkdir()
    for path in (run / CERTIFICATE, run / SCORES, run / checkpoint.FOLDER / checkpoint.STATE):
        make(path)
    with pytest.raises(UserError):
        read_certificate(run / CERTIFICATE)
    with pytest.raises(UserError):
        read_scores(run, Record(**FACTS_OF_ONE, scores=Scores(sha256="0" * 64, rows=5)))
    assert checkpoint.latest(run / checkpoint.FOLDER) is None
    with pytest.raises((OSError, ValueError)):
        checkpoint.progress(run / checkpoint.FOLDER)


@pytest.mark.parametrize(
    "progress",
    ["[1, 0]", "[9, 3]", "[-1, 3]", "[1]", "5", "[NaN, 3]", '["1", "3"]', "{", "[" * 10**5, "null"],
)
def test_a_progress_that_is_none_is_not_shown(study: Path, progress: str) -> None:
    run = study / "b"
    write(Record(status="waiting", model="m", task="t", method="did", seed=0), run)
    (run / checkpoint.FOLDER).mkdir()
    header = json.dumps({"__metadata__": {"progress": progress}}).encode()
    state = run / checkpoint.FOLDER / checkpoint.STATE
    state.write_bytes(len(header).to_bytes(8, "little") + header)
    shown = said_status(study)
    assert "1 preempted" in shown
    assert "of its steps" not in shown


def test_a_reason_that_is_no_unicode_is_written_and_read_again(tmp_path: Path) -> None:
    write(
        Record(status="failed", reason="a\udcff \ud800", model="m", task="t", method="did", seed=0),
        tmp_path,
    )
    assert read(tmp_path / RESULT).reason == r"a\udcff \ud800"


def test_what_a_link_leads_to_is_not_swept_away(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (run := tmp_path / "run").mkdir()
    (run / "model.tmp").symlink_to(kept)
    sweep(run)
    assert kept.exists()
    assert list(run.iterdir()) == []
