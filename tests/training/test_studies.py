"""Each small study of section 5 runs, here on a tiny model, and is reported."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.report.sections import build
from said_lightning.config.compose import read_command
from said_lightning.runs.index import find
from said_lightning.training.run import run

CONF = Path(__file__).parents[2] / "conf"
STUDIES = {
    "pretraining-small": ("d90 over pre-training", 12),
    "size-small": ("d90 over size", 12),
    "adjoint-small": ("The wrong gradient", 5),
    "projections-small": ("Projections", 11),
    "spaces-small": ("Spaces", 13),
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where all the studies land: they share runs."""
    return tmp_path_factory.mktemp("out")


@pytest.mark.parametrize("study", STUDIES)
def test_a_small_study_runs_and_is_a_section_of_the_report(
    study: str, tiny: list[str], encoder: Path, out: Path, tmp_path: Path
) -> None:
    title, expected = STUDIES[study]
    for step in (0, 30, 300):
        shutil.copytree(encoder, tmp_path / f"step-{step}")
    own = ["task=sst2", "trainer.epochs=1", f"out={out / 'shared'}"]
    if study == "pretraining-small":
        model = [f"model.path={tmp_path}/step-${{model.step}}", "model.name=own-${model.step}"]
        own += [*model, f"out={out / 'own'}"]
    given = [one for one in tiny if not one.startswith("d=")]
    command = read_command(["-m", f"experiment={study}", *given, *own])
    assert command.errors == ()
    specs = {spec.folder: spec for spec in command.specs}
    assert len(specs) == expected
    least = min(spec.config.d for spec in specs.values())  # of each series: that will do
    for spec in specs.values():
        if spec.config.method.name == "full" or spec.config.d == least:
            assert run(spec).status == "done"
    records, _ = find(command.specs[0].out)
    sections = build(estimate(records), records, command.specs[0].out)
    assert title in {section.title for section in sections}


def test_every_study_names_what_there_is_and_has_a_small_form() -> None:
    folder = CONF / "experiment"
    small = {path.stem.removesuffix("-small") for path in folder.glob("*-small.yaml")}
    studies = {"pretraining", "size", "generalisation", "adjoint", "projections", "spaces"}
    assert studies <= small
    for path in folder.glob("*.yaml"):
        swept = OmegaConf.load(path).hydra.sweeper.get("params") or {}
        for group in ("model", "task", "method", "projection"):
            for option in str(swept.get(group, "")).split(",") if group in swept else []:
                assert (CONF / group / f"{option}.yaml").exists(), (path.name, option)


def test_the_steps_of_a_study_are_those_that_its_model_has() -> None:
    for study, model in (
        ("pretraining", "pretrained"),
        ("pretraining-multiberts", "multiberts"),
    ):
        swept = OmegaConf.load(CONF / "experiment" / f"{study}.yaml").hydra.sweeper.params
        known = OmegaConf.load(CONF / "model" / f"{model}.yaml").steps
        assert set(swept["model.step"].split(",")) <= set(known)
    sizes = OmegaConf.load(CONF / "model" / "bert-miniatures.yaml").sizes
    swept = OmegaConf.load(CONF / "experiment" / "size-miniatures.yaml").hydra.sweeper.params
    assert {size.strip() for size in swept["model.size"].split(",")} <= set(sizes)
