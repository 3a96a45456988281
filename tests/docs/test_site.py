"""The site builds without a warning, names every key of conf/, and asks nothing of the network."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from said_lightning.config.describe import describe
from tests.docs.conftest import ROOT

CONF = ROOT / "conf"
NODES = CONF / "hydra"  # quoted as they are
# A tag that fetches what it names while a page is shown.
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"']?(https?:|//)")
FREE = {key.name for key in describe() if "mapping" in key.type} | {"hydra.sweeper.params"}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site and return its folder."""
    folder = tmp_path_factory.mktemp("site")
    ended = build(ROOT, folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def build(root: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site of a folder with mkdocs.yml by the command of `make docs`."""
    (options,) = re.findall(r"/mkdocs (build .*)$", (ROOT / "Makefile").read_text(), re.M)
    command = [sys.executable, "-m", "mkdocs", *options.split(), "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def reference(site: Path) -> str:
    """Return the reference of the config."""
    return (site / "config.html").read_text(encoding="utf-8")


SMALL = f"""
INHERIT: {ROOT / "mkdocs.yml"}
docs_dir: docs
extra_css: []
hooks: []
nav: [index.md]
plugins: []
"""


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("", None),
        ("[a page](nowhere.md)", "nowhere.md"),
        ("[a place](#nowhere)", "#nowhere"),
        ("[a file](/absolute.md)", "/absolute.md"),
        ("![a picture](nowhere.svg)", "nowhere.svg"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(
    text: str, warning: str | None, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    (tmp_path / "mkdocs.yml").write_text(SMALL)
    ended = build(tmp_path, tmp_path / "site")
    assert ended.returncode == (0 if warning is None else 1)
    assert warning is None or f"'{warning}'" in ended.stderr


def leaves(node: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    """Yield the dotted path of each key of a yaml that holds a value; free keys end a path."""
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and path not in FREE:
            yield from leaves(value, f"{path}.")
        else:
            yield path


def keys_of(path: Path) -> set[str]:
    """Return the dotted keys that a yaml of conf/ sets in a config."""
    text = path.read_text(encoding="utf-8")
    (folder,) = path.relative_to(CONF).parts[:-1] or ("",)
    prefix = f"{folder}." if folder and "@package _global_" not in text else ""
    node: Any = OmegaConf.to_container(OmegaConf.create(text))
    node.pop("defaults", None)
    return set(leaves(node, prefix))


def unnamed(page: str) -> set[str]:
    """Return the keys of conf/ that a page does not name."""
    named = set(re.findall(r"<code>([\w.]+)</code>", page))
    yamls = [path for path in CONF.rglob("*.yaml") if NODES not in path.parents]
    return set().union(*map(keys_of, yamls)) - named


def test_the_config_reference_names_every_key_of_conf(reference: str) -> None:
    assert unnamed(reference) == set()
    text = unescape(re.sub(r"<[^>]+>", "", reference))
    for path in NODES.rglob("*.yaml"):
        assert path.read_text(encoding="utf-8").strip() in text, path


@pytest.mark.parametrize("key", ["trainer.warmup", "task.hub.eval", "method.peft.knob", "steps"])
def test_a_key_that_the_reference_leaves_out_is_found(key: str, reference: str) -> None:
    assert unnamed(reference.replace(f"<code>{key}</code>", "")) == {key}


def test_every_key_has_its_type_and_its_meaning(reference: str) -> None:
    row = r"<td><code>([\w.]+)</code><br ?/?>(.*?)</td>\s*<td>(.*?)</td>\s*<td>.*?</td>"
    rows = re.findall(row, reference)
    assert {name for name, _, _ in rows} >= {key.name for key in describe()}
    assert [name for name, meaning, kind in rows if not kind or not meaning] == []


def test_every_option_of_a_group_is_named_with_what_it_is(reference: str) -> None:
    rows = dict(re.findall(r"<td><code>([\w.-]+)</code></td>\s*<td>(.*?)</td>\s*</tr>", reference))
    groups = ("model", "task", "method", "projection", "experiment", "logger", "hydra/launcher")
    names = [path.stem for group in groups for path in (CONF / group).glob("*.yaml")]
    assert [name for name in names if not rows.get(name)] == []


def test_the_site_asks_nothing_of_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [page.name for page in pages if FETCHED.search(page.read_text())] == []
    styles = [style.name for style in site.rglob("*.css") if "url(http" in style.read_text()]
    assert styles == []


def test_nothing_is_left_to_be_made(site: Path) -> None:
    assert [page.name for page in site.rglob("*.html") if "<!-- made" in page.read_text()] == []
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    sections = (site / "gallery.html").read_text(encoding="utf-8").split('<div class="plots">')[1:]
    assert len(sections) == gallery.count("<!-- made: plots") > 0
    assert all('<svg role="img"' in section for section in sections)


def test_a_list_and_a_table_are_none_of_a_paragraph(site: Path) -> None:
    # GitHub starts one without a blank line before it, or two spaces in, and the site does not.
    lost = re.compile(r"<p>(?:(?!</p>).)*?^(?:[-*|] |\d+\. )", re.M | re.S)
    assert [page.name for page in site.rglob("*.html") if lost.search(page.read_text())] == []


def test_the_tutorial_is_shown_with_its_outputs(site: Path) -> None:
    page = (site / "tutorial.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "22,713,986" in page
    assert "\x1b" not in page


def test_the_reference_shows_signature_and_arguments(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("Subspace", "measure", "load", "projections.build", "Subspace.training"):
        assert f'id="said_lightning.{name}"' in page
