"""The pages keep their promises: links lead somewhere, commands compose, lists are complete."""

import inspect
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from omegaconf import OmegaConf
from torch import nn

import said_lightning
from said_lightning.cli.app import app
from said_lightning.config.compose import read_command
from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.tools.pretrain.settings import read_settings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
DATA = "docs/guides/data.md"
TRAIN = (["said", "train"], ["said", "check"], ["python", "train.py"])
# What takes arguments of the public names.
PUBLIC: dict[str, Callable[..., Any]] = {
    name: getattr(said_lightning, name)
    for name in said_lightning.__all__
    if not name.startswith("__") and name != "projections"
} | {"projections.build": said_lightning.projections.build}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in headings}


def commands(text: str) -> Iterator[list[str]]:
    """Each command of a page's shell blocks as a list of words, continued lines joined."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def test_the_readme_is_short_and_names_make_demo_and_make_test(pages: dict[str, str]) -> None:
    assert len(pages["README.md"].splitlines()) <= 130
    assert {"make demo", "make test"} <= {" ".join(words) for words in commands(pages["README.md"])}


def test_every_relative_link_and_image_leads_to_a_file_and_a_heading(pages: dict[str, str]) -> None:
    lost = []
    for page, text in pages.items():
        for link in LINK.findall(text):
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            if "://" in link:
                continue
            text_there = pages.get(str(target.resolve().relative_to(ROOT)), "")
            if not target.exists() or (anchor and anchor not in anchors(text_there)):
                lost.append(f"{page}: {link}")
    assert lost == []


def test_every_page_is_reached_from_the_index(pages: dict[str, str]) -> None:
    docs = {(ROOT / page).resolve() for page in pages if page not in ("README.md", "docs/index.md")}
    found = set()
    for page in ("docs/index.md", "docs/results/index.md"):
        targets = (link.partition("#")[0] for link in LINK.findall(pages[page]))
        found |= {((ROOT / page).parent / path).resolve() for path in targets}
    assert sorted(map(str, docs - found)) == []


def test_every_command_composes(
    page: str, pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (yaml,) = re.findall(r"`mine/task/mine.yaml`.*?```yaml\n(.*?)```", pages[DATA], re.S)
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "mine.yaml").write_text(yaml)
    monkeypatch.chdir(tmp_path)
    wrong = []
    for words in commands(pages[page]):
        try:
            mistakes = mistakes_of(words)
        except UserError as error:
            mistakes = list(error.messages)
        wrong += [f"{' '.join(words)}: {mistake}" for mistake in mistakes]
    assert wrong == []


def mistakes_of(words: list[str]) -> list[str]:
    """Return what is wrong with a command; other programs than ours are taken as they are."""
    if words[:2] in TRAIN:
        # A whole study is hundreds of jobs, and one point of its grid composes as all do.
        words = [re.sub(r"^(d|seed)=(\d+)(,\d+)+$", r"\1=\2", word) for word in words]
        if words[2:-1] == ["-m"] and words[-1].startswith("experiment="):
            words += ["d=1000", "seed=0"]
        return list(read_command(words[2:]).errors)
    if words[:2] == ["said", "pretrain"]:
        read_settings([word for word in words[2:] if "FILE" not in word])
    if words[0] == "said":
        name, *rest = words[1:]
        subcommand = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        subcommand.make_context(name, rest)
    if words[:2] == ["python", "-m"]:
        place = ROOT.joinpath(*words[2].split("."))
        found = place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
        return [] if found else ["no such module"]
    if words[0] == "python" and words[1] != "train.py":
        return [] if (ROOT / words[1]).is_file() else ["no such file"]
    return []


def test_every_key_and_experiment_that_a_page_names_exists(pages: dict[str, str]) -> None:
    config = Config()
    known = {
        f"{group.name}.{key.name}"
        for group in fields(Config)
        if group.name in ("model", "task", "method", "projection", "trainer", "logger")
        for key in fields(getattr(config, group.name))
    }
    sweeper = OmegaConf.load(CONF / "hydra" / "sweeper" / "d90.yaml")
    known |= {f"hydra.sweeper.{key!s}" for key in sweeper}
    key = r"(?<![\w./-])((?:model|task|method|projection|trainer|logger|hydra\.sweeper)\.\w+)=?"
    choice = r"\b(experiment|search|projection)=([\w-]+)"
    for page, text in pages.items():
        code = " ".join(one for one in re.findall(r"`([^`\n]+)`", text) if "(" not in one)
        assert set(re.findall(key, code)) <= known, page
        for group, name in re.findall(choice, code):
            assert name == "NAME" or (CONF / group / f"{name}.yaml").is_file(), (page, name)


def test_every_command_of_said_is_on_the_command_lines_page(pages: dict[str, str]) -> None:
    names = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    shown = re.findall(r"^### said (\S+)$", pages["docs/cli.md"], re.M)
    assert sorted(shown) == names


def test_the_reference_has_every_public_name(pages: dict[str, str]) -> None:
    shown = re.findall(r"^::: said_lightning\.(\w+)$", pages["docs/api.md"], re.M)
    public = {name for name in said_lightning.__all__ if not name.startswith("__")}
    assert sorted(shown) == sorted(public)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_of_a_public_name_describes_each_of_its_arguments(name: str) -> None:
    one = PUBLIC[name]
    (arguments,) = re.findall(r"^Args:\n((?: .*\n|\n)*)", f"{inspect.getdoc(one)}\n", re.M)
    described = re.findall(r"^    (\*{0,2}\w+): ", arguments, re.M)
    assert described == [
        str(each.replace(annotation=each.empty, default=each.empty))
        for each in inspect.signature(one).parameters.values()
    ]


def test_the_readmes_loop_trains_an_ordinary_model(pages: dict[str, str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", pages["README.md"], re.S)
    assert len(program.splitlines()) == 10
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    before = [weight.detach().clone() for weight in model.parameters()]
    exec(program, {"model": model, "batches": [batch] * 3})
    for weight, old in zip(model.parameters(), before, strict=True):
        assert not torch.equal(weight, old)
        assert weight.grad is None


def test_every_extra_is_listed_where_installing_is_described(pages: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"dev", "docs"}
    install = pages["README.md"].split("## Install")[1].split("\n## ")[0]
    assert extras <= set(re.findall(r"`(\w+)`", install))
    assert set(re.findall(r"^\| `(\w+)` \|", pages["docs/install.md"], re.M)) == extras
