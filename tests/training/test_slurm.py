"""What a user asks of Slurm reaches sbatch; the cluster is a stand-in that keeps the script."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_plugins.said_launchers import SlurmLauncher
from said_lightning.config.plugins import SlurmConfig

CONF = Path(__file__).parents[2] / "conf" / "hydra" / "launcher" / "slurm.yaml"
KEYS = {one.name for one in fields(SlurmConfig)}
# What submitit calls otherwise, or has no use for since its own name for all clusters says it.
OTHERWISE = {"job_name", "time", "mem", "ntasks_per_node", "num_gpus"}
OWN = {"detach", "poll_s"}
SBATCH = """#!/bin/sh
cp "$1" {folder}/script
echo Submitted batch job 12
"""


def test_the_yaml_names_every_key_that_is_taken() -> None:
    assert set(OmegaConf.load(CONF)) == KEYS | {"_target_"}


def test_every_field_of_submitit_is_taken() -> None:
    submitit = pytest.importorskip("submitit")
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    slurm = submitit.SlurmExecutor._valid_parameters() - OTHERWISE
    shared = submitit.AutoExecutor._typed_parameters().keys()
    made_with = {"submitit_folder", "max_num_timeout", "python"}
    assert slurm | shared | made_with == KEYS - OWN
    assert {one.name for one in fields(SlurmQueueConf)} - {"_target_"} <= KEYS


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the script that a launcher with these settings submits."""
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun", "scontrol", "squeue"):
        command = tmp_path / name
        command.write_text(SBATCH.format(folder=tmp_path) if name == "sbatch" else "#!/bin/sh\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def submitted(**settings: Any) -> list[str]:
        plain: Any = OmegaConf.to_container(OmegaConf.load(CONF), resolve=False)
        plain |= {"submitit_folder": str(tmp_path / "jobs"), "detach": True, **settings}
        launcher = SlurmLauncher(**{key: plain[key] for key in plain if key != "_target_"})
        launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "out")}}})
        with pytest.raises(SystemExit):
            launcher.launch([["d=10"], ["d=20"]], 0)
        return (tmp_path / "script").read_text().splitlines()

    return submitted


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("account", 1234, "--account=1234"),
        ("qos", "normal", "--qos=normal"),
        ("gres", "gpu:a100:1", "--gres=gpu:a100:1"),
        ("constraint", "a100|h100", "--constraint='a100|h100'"),
        ("mem_per_cpu", "4G", "--mem-per-cpu=4G"),
        ("mem_gb", 8, "--mem=8GB"),
        ("exclusive", True, "--exclusive"),
        ("exclusive", "user", "--exclusive=user"),
        ("partition", "gpu", "--partition=gpu"),
        ("nodelist", "n[1-3]", "--nodelist='n[1-3]'"),
        ("exclude", "n4", "--exclude=n4"),
        ("dependency", "afterok:7", "--dependency=afterok:7"),
        ("mail_user", "me@host", "--mail-user=me@host"),
        ("cpus_per_task", 4, "--cpus-per-task=4"),
        ("gpus_per_node", 0, "--gpus-per-node=0"),
        ("additional_parameters", {"reservation": "course"}, "--reservation=course"),
    ],
)
def test_a_key_is_a_line_for_sbatch(script: Any, key: str, value: Any, line: str) -> None:
    assert f"#SBATCH {line}" in script(**{key: value})


def test_what_is_not_asked_for_is_left_to_the_cluster(script: Any) -> None:
    for settings in ({}, {"exclusive": False}):
        lines = script(**settings)
        named = {
            line.split("=")[0].removeprefix("#SBATCH --") for line in lines if "#SBATCH" in line
        }
        assert named == {
            *("array", "error", "job-name", "nodes", "ntasks-per-node", "open-mode", "output"),
            *("requeue", "signal", "time", "wckey"),
        }


def test_what_runs_around_a_job_reaches_the_script(script: Any) -> None:
    lines = script(
        setup=["module load cuda"],
        teardown=["rm -r scratch"],
        srun_args=["--container-image=image.sqsh"],
        python="apptainer exec --nv image.sif python",
    )
    assert lines.index("module load cuda") < lines.index("rm -r scratch")
    (command,) = (line for line in lines if line.startswith("srun"))
    assert "--container-image=image.sqsh apptainer exec --nv image.sif python -u -m" in command
    (plain,) = (line for line in script(use_srun=False) if "submitit.core._submit" in line)
    assert not plain.startswith("srun")
