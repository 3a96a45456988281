import os
from pathlib import Path

import pytest

from said_lightning.errors import UserError
from said_lightning.runs.checkpoint import FOLDER, STATE
from said_lightning.runs.index import CONFIG, LOG, at, find
from said_lightning.runs.lease import FILE, lease
from said_lightning.runs.record import RESULT, Record, Status, finished, write


def put(folder: Path, seed: int = 0, status: Status = "done") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(Record(status=status, model="m", task="t", method="did", d=10, seed=seed), folder)


def test_runs_are_found_at_any_depth_in_the_order_of_their_folders(tmp_path: Path) -> None:
    for seed, name in enumerate(["b", "a/deep/down", "a/b"]):
        put(tmp_path / name, seed)
    records, errors = find(tmp_path)
    assert [record.seed for record in records] == [2, 1, 0]
    assert not errors


def test_a_path_that_is_itself_a_run_is_one_run(tmp_path: Path) -> None:
    put(tmp_path)
    assert len(find(tmp_path)[0]) == 1


def test_a_planned_run_waits_whatever_log_it_has(tmp_path: Path) -> None:
    put(tmp_path, status="waiting")
    # Hydra opens the log of a job before the job knows whether it runs.
    (tmp_path / LOG).touch()
    ((record,), _) = find(tmp_path)
    assert (record.status, record.reason, record.folder) == ("waiting", None, tmp_path)


def test_a_planned_run_is_running_while_its_lease_is_held(tmp_path: Path) -> None:
    put(tmp_path, status="waiting")
    with lease(tmp_path):
        assert at(tmp_path).status == "running"
    assert at(tmp_path).status == "waiting"


@pytest.mark.parametrize("left_behind", [FILE, f"{FOLDER}/{STATE}"])
def test_a_planned_run_is_preempted_once_its_launcher_left_a_lease_or_a_state(
    tmp_path: Path, left_behind: str
) -> None:
    put(tmp_path, status="waiting")
    (tmp_path / left_behind).parent.mkdir(exist_ok=True)
    (tmp_path / left_behind).touch()
    os.utime(tmp_path / left_behind, (0, 0))
    record = at(tmp_path)
    assert (record.status, record.reason) == (
        "preempted",
        "cut off; the same command resumes it",
    )


@pytest.mark.parametrize("status", ["done", "failed", "preempted"])
def test_what_lies_beside_the_record_of_a_run_that_ended_changes_nothing(
    tmp_path: Path, status: Status
) -> None:
    put(tmp_path, status=status)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / STATE).touch()
    with lease(tmp_path):
        assert at(tmp_path).status == status


def test_a_planned_run_is_not_finished(tmp_path: Path) -> None:
    put(tmp_path, status="waiting")
    assert finished(tmp_path) is None


def test_a_config_without_a_record_is_named_with_its_remedy(tmp_path: Path) -> None:
    put(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / CONFIG).write_text("d: 500\n")
    records, (error,) = find(tmp_path)
    assert len(records) == 1
    assert error == (
        f"{tmp_path / 'bad'}: a run without its record: expected result.json beside config.yaml; "
        "run the same command again"
    )


@pytest.mark.parametrize("inner", [".hydra", "wandb/offline-run/files", "checkpoint"])
def test_configs_inside_a_run_are_no_runs(tmp_path: Path, inner: str) -> None:
    put(tmp_path / "run")
    (tmp_path / "run" / inner).mkdir(parents=True)
    (tmp_path / "run" / inner / CONFIG).write_text("d: 500\n")
    assert len(find(tmp_path)[0]) == 1


@pytest.mark.parametrize("hidden", [".mine", ".mine/deep/down", "sweep/.mine"])
def test_a_hidden_folder_with_runs_is_passed_over_and_named(tmp_path: Path, hidden: str) -> None:
    put(tmp_path / "run")
    put(tmp_path / hidden)
    records, (error,) = find(tmp_path)
    assert [record.folder for record in records] == [tmp_path / "run"]
    top = tmp_path / hidden.removesuffix("/deep/down")
    assert error == f"{top}: hidden, so its runs are left out; rename it"


def test_hidden_runs_are_named_where_there_are_no_others(tmp_path: Path) -> None:
    put(tmp_path / ".mine" / "run")
    with pytest.raises(UserError, match=r"\.mine: hidden, so its runs are left out"):
        find(tmp_path)


def test_a_hidden_folder_without_runs_is_not_named(tmp_path: Path) -> None:
    put(tmp_path / "run")
    for name in (".git", ".hydra", "run/.hydra"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text("d: 500\n")
    (tmp_path / ".git" / RESULT).write_text("{}")  # of something else
    (tmp_path / ".all").symlink_to(tmp_path)
    assert find(tmp_path)[1] == []


def folders(path: Path) -> list[str]:
    """Return the folders of the runs below a path, of which none is amiss."""
    records, errors = find(path)
    assert errors == []
    return [str(record.folder.relative_to(path)) for record in records if record.folder]


def test_runs_behind_a_link_are_found(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "one", 1)
    put(tmp_path / "elsewhere" / "deep" / "two", 2)
    put(tmp_path / "here" / "three", 3)
    (tmp_path / "here" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "run").symlink_to(tmp_path / "elsewhere" / "one")
    assert folders(tmp_path / "here") == ["more/deep/two", "more/one", "three"]


def test_a_folder_with_several_ways_to_it_is_read_once_under_its_own_name(tmp_path: Path) -> None:
    put(tmp_path / "z" / "run")
    for name in ("a", "b", "z/again"):
        (tmp_path / name).symlink_to(tmp_path / "z")
    (tmp_path / "latest").symlink_to(tmp_path / "z" / "run")
    assert folders(tmp_path) == ["z/run"]


def test_links_that_lead_round_and_up_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "a" / "run")
    put(tmp_path / "b" / "run", 1)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "itself").symlink_to(tmp_path / "b")
    assert folders(tmp_path) == ["a/run", "b/run"]
    assert folders(tmp_path / "a") == ["other/run", "run"]


def test_a_path_that_is_a_link_is_read(tmp_path: Path) -> None:
    put(tmp_path / "there" / "run")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert folders(tmp_path / "link") == ["run"]


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str) -> None:
    put(tmp_path / "run")
    (tmp_path / "link").symlink_to(target)
    assert find(tmp_path)[1] == [f"{tmp_path / 'link'}: a link that leads nowhere"]


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    put(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / RESULT).write_text("{")
    records, (error,) = find(tmp_path)
    assert len(records) == 1
    assert error.startswith(f"{tmp_path / 'bad' / RESULT}: no JSON, perhaps torn")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_entered_is_named(tmp_path: Path) -> None:
    put(tmp_path / "good")
    (tmp_path / "shut").mkdir(mode=0)
    assert "Permission denied" in find(tmp_path)[1][0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_path_in_a_folder_that_cannot_be_entered_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shut" / "inner").mkdir(parents=True)
    (tmp_path / "shut").chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        find(tmp_path / "shut" / "inner")


def test_a_missing_path_is_named_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "multirun").mkdir()
    with pytest.raises(UserError, match=r"no such folder; did you mean .*/multirun\?"):
        find(tmp_path / "multrun")


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="a file; expected a folder"):
        find(tmp_path / "result.json")


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run below it; a run's folder holds a result\.json"):
        find(tmp_path)


def test_where_no_run_can_be_read_every_reason_is_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{")
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert len(caught.value.messages) == 3
