import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from said_lightning import cli
from said_lightning.cli.app import app
from said_lightning.runs.record import Metric, Record, write
from tests.pace import FILES, LIBRARIES, spent


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Full fine-tuning at 0.8, and DID below the threshold at 100 and above it at 1,000."""
    points: list[tuple[str, int, float]] = [
        ("full", 10**6, 0.8),
        ("did", 100, 0.6),
        ("did", 1000, 0.75),
    ]
    for i, (method, d, value) in enumerate(points):
        folder = tmp_path / "sweep" / str(i)
        folder.mkdir(parents=True)
        metric = Metric(name="accuracy", value=value, trivial=0.5)
        record = Record(
            status="done",
            model="minilm",
            task="sst2",
            method=method,
            projection=None if method == "full" else "fastfood",
            d=d,
            seed=0,
            lr=0.1,
            metric=metric,
        )
        write(record, folder)
    return tmp_path / "sweep"


def said(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def fails(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str | None:
    """Return the exit code of a command that ends with an error."""
    monkeypatch.setattr(sys, "argv", ["said", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_d90_prints_the_table_and_leaves_a_plot_beside_the_runs(runs: Path) -> None:
    result = said("d90", runs)
    assert result.exit_code == 0
    assert "1,000 (100, 1,000]" in result.stdout
    assert f"plot: {runs / 'd90.png'} {runs / 'd90.svg'}" in result.stderr
    assert (runs / "d90.png").exists()
    assert (runs / "d90.svg").exists()


def test_no_plot_draws_none(runs: Path) -> None:
    assert said("d90", runs, "--no-plot").exit_code == 0
    assert not list(runs.glob("d90.*"))


def test_the_plot_can_go_elsewhere(runs: Path, tmp_path: Path) -> None:
    assert said("d90", runs, "--plot", tmp_path / "figures").exit_code == 0
    assert (tmp_path / "figures" / "d90.svg").exists()
    assert not list(runs.glob("d90.*"))


def test_json_prints_json_alone_and_draws_only_where_asked(runs: Path, tmp_path: Path) -> None:
    ((row),) = json.loads(said("d90", runs, "--json").stdout)
    assert (row["grid"], row["bracket"], row["verdict"]) == (1000, [100, 1000], "found")
    assert 100 < row["d90"] < 1000
    assert not list(runs.glob("d90.*"))
    assert json.loads(said("d90", runs, "--json", "--plot", tmp_path).stdout) == [row]
    assert (tmp_path / "d90.svg").exists()


def test_reading_twice_gives_the_same_answer_though_a_plot_was_left(runs: Path) -> None:
    assert said("d90", runs).stdout == said("d90", runs).stdout


def test_a_run_that_cannot_be_read_is_warned_of_and_the_table_is_made(runs: Path) -> None:
    (runs / "torn").mkdir()
    (runs / "torn" / "result.json").write_text("{")
    result = said("d90", runs, "--json")
    assert result.exit_code == 0
    assert f"warning: {runs / 'torn' / 'result.json'}: no JSON" in result.stderr
    assert json.loads(result.stdout)[0]["grid"] == 1000


def test_a_plot_that_cannot_be_written_is_a_warning(runs: Path) -> None:
    (runs / "file").touch()
    result = said("d90", runs, "--plot", runs / "file")
    assert result.exit_code == 0
    assert "no plot written" in result.stderr
    assert "1,000 (100, 1,000]" in result.stdout


def test_with_baselines_alone_the_table_is_empty_and_says_why(runs: Path) -> None:
    result = said("d90", runs / "0", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "1 runs, and none of method did or said yet" in result.stderr


def test_a_path_without_runs_exits_2_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(monkeypatch, "d90", tmp_path / "nowhere") == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'nowhere'}: no such folder\n"


@pytest.mark.parametrize("arguments", [(), ("d90",), ("d19", "."), ("d90", ".", "--jason")])
def test_a_wrong_command_line_exits_2(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    assert fails(monkeypatch, *arguments) == 2


def test_the_command_runs_as_a_module_and_imports_no_torch(runs: Path) -> None:
    program = """
import runpy, sys
sys.argv = ["said", "d90", sys.argv[1]]
try:
    runpy.run_module("said_lightning.cli", run_name="__main__")
finally:
    slow = {"torch", "transformers", "pytorch_lightning", "pandas"} & set(sys.modules)
    print("imported:", *slow, file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(runs)], capture_output=True, text=True, check=True
    )
    assert "1,000 (100, 1,000]" in ended.stdout
    assert ended.stderr.endswith("imported:\n")


def test_report_writes_each_file_that_is_asked_for(runs: Path, tmp_path: Path) -> None:
    files = [tmp_path / "new" / name for name in ("r.html", "r.md", "r.csv", "r.tex")]
    result = said("report", runs, *(part for file in files for part in ("-o", file)))
    assert result.exit_code == 0, result.stderr
    assert all(file.exists() for file in files)


def test_report_lands_beside_the_runs_and_does_not_change_the_next(runs: Path) -> None:
    assert said("report", runs).exit_code == 0
    first = (runs / "report.html").read_bytes()
    assert said("report", runs).exit_code == 0
    assert (runs / "report.html").read_bytes() == first


def test_2000_runs_are_read_in_little_more_than_their_files_and_without_torch(
    tmp_path: Path,
) -> None:
    for index in range(2000):
        folder = tmp_path / f"{index}"
        folder.mkdir()
        full = index < 10
        record = Record(
            status="done",
            model="minilm",
            task="sst2",
            method="full" if full else "did",
            projection=None if full else "fastfood",
            d=10**6 if full else 10 + index % 199,
            seed=index // 199,
            lr=0.1,
            metric=Metric(name="accuracy", value=0.8 if full else 0.6 + index % 199 / 1000),
        )
        write(record, folder)
    program = """
import sys
from said_lightning.cli.app import app
app(sys.argv[1:], standalone_mode=False)
print("torch" in sys.modules)
"""
    least, _ = spent(LIBRARIES + FILES, tmp_path)
    for command in (["d90", "--no-plot"], ["report"]):
        seconds, shown = spent(program, *command, tmp_path)
        assert shown.endswith("False\n")
        assert seconds < 2 * least
