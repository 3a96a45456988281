"""The source tree keeps its promises: sizes, arrows, docstrings, words, no trace of a machine."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jaxtyping import TypeCheckError
from omegaconf import OmegaConf

from said_lightning.errors import UserError

ROOT = Path(__file__).parents[1]
PACKAGE = "said_lightning"
FILE_LINES, FUNCTION_LINES, TOP_NAMES = 300, 40, 14

# Arrows run downward only: a layer (a module or folder of the package) imports what is named here.
MAY_IMPORT = {
    "errors": set[str](),
    "projections": {"errors"},
    "subspace": {"errors", "projections"},
    "runs": {"errors"},
    "data": {"errors"},
    "config": {"data", "errors", "runs", "subspace"},
    "analysis": {"config", "errors", "runs"},
    "search": {"analysis", "errors", "runs"},
    "models": {"config", "data", "errors", "projections", "subspace"},
    "artifact": {"config", "data", "errors", "models", "projections", "runs", "subspace"},
    "training": {
        *("artifact", "config", "data", "errors", "models", "projections", "runs", "subspace"),
    },
    "certify": {
        *("artifact", "config", "data", "errors", "models", "projections", "runs", "subspace"),
        "training",
    },
    "tools": {
        *("analysis", "config", "data", "errors", "models", "projections", "runs", "subspace"),
        "training",
    },
    "cli": {"analysis", "artifact", "certify", "config", "errors", "runs", "tools", "training"},
    "__init__": {"artifact", "projections", "search", "subspace", "training"},
}

# What reads run folders starts in a second, so it does without these.
SLOW = {"datasets", "lightning", "pytorch_lightning", "torch", "torchmetrics", "transformers"}
WITHOUT_SLOW = {"analysis", "runs", "search"}

# Written in parts, so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work)" + r"/[\w.]+")
SHARED_DATA = re.compile(r"\bshared" + r"/")
# A file object's tell() and the keys of committed results are no words of ours.
VAGUE = re.compile(
    r"""(?ix) \b (?: told | tells? (?!\(\)) | foreign | so\ many | which\ this\ one
    | lanes? (?!"\]) (?!":) ) \b"""
)
THIS = Path(__file__)
WORDED = {PACKAGE, "hydra_plugins", "conf", "docs", "tests", "README.md", "train.py"}
TEXT = {".cff", ".css", ".csv", ".ipynb", ".json", ".jsonl", ".md", ".py", ".svg", ".toml", ".yaml"}
TEXT_NAMES = {"Makefile", "run"}
NOT_COMMITTED = {"build", "dist", "multirun_outputs", "outputs", "site", "wandb"}

Check = Callable[[Path], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def modules(root: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield each source file of the package, relative to `root`, with its syntax tree."""
    for path in sorted((root / PACKAGE).rglob("*.py")):
        yield path.relative_to(root), ast.parse(path.read_text(encoding="utf-8"))


def long_files(root: Path) -> Iterator[str]:
    """Yield source and test files beyond the ceiling."""
    for folder in (PACKAGE, "hydra_plugins", "benchmarks", "tests"):
        for path in sorted((root / folder).rglob("*.py")):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > FILE_LINES:
                yield f"{path.relative_to(root)} has {lines} lines"


def many_names(root: Path) -> Iterator[str]:
    """Yield what lies at the package's top where that is more than a reader can hold."""
    top = (root / PACKAGE).iterdir()
    names = {one.stem for one in top if one.suffix == ".py" or (one / "__init__.py").exists()}
    names -= {"__init__"}
    if len(names) > TOP_NAMES:
        yield f"{PACKAGE} holds {len(names)} names: {', '.join(sorted(names))}"


def vague_words(root: Path) -> Iterator[str]:
    """Yield words that stand for a term of the field, or that a reader has to puzzle out."""
    for path in committed(root):
        inside = path.relative_to(root)
        # The kernels' lanes are those of a vector unit.
        if inside.parts[0] not in WORDED or "projections" in inside.parts or path == THIS:
            continue
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            yield from (f"{inside}:{number} says {found!r}" for found in VAGUE.findall(line))


def long_functions(root: Path) -> Iterator[str]:
    """Yield functions beyond the ceiling, signature counted, docstring not."""
    for path, tree in modules(root):
        for node in ast.walk(tree):
            if isinstance(node, Function):
                lines = extent(node) - (extent(node.body[0]) if said(node) else 0)
                if lines > FUNCTION_LINES:
                    yield f"{path}:{node.lineno} {node.name} has {lines} lines"


def extent(node: ast.stmt) -> int:
    """Return the number of lines that a statement covers."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def upward_imports(root: Path) -> Iterator[str]:
    """Yield imports, at any depth, that the table of layers does not name."""
    for path, tree in modules(root):
        layer = path.with_suffix("").parts[1]
        if layer not in MAY_IMPORT:
            yield f"{path} is in no layer of MAY_IMPORT"
            continue
        for head, *rest in imported(path, tree):
            target = rest[0] if head == PACKAGE and rest else None
            if target in set(MAY_IMPORT) - MAY_IMPORT[layer] - {layer}:
                yield f"{path} imports {target}"
            if head in SLOW and layer in WITHOUT_SLOW:
                yield f"{path} imports {head}"


def imported(path: Path, tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Yield every imported name as its dotted parts, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.parts[:-1]
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)


def missing_docstrings(root: Path) -> Iterator[str]:
    """Yield public modules, classes, functions and methods that don't say what they are.

    An override may leave it to the method that it overrides, a namesake in the package.
    """
    trees = dict(modules(root))
    described = {method.name for tree in trees.values() for method in methods(tree) if said(method)}
    for path, tree in trees.items():
        if not said(tree):
            yield f"{path} has no docstring"
        silent = [node for node in public(tree) if not said(node)]
        silent += [node for node in methods(tree) if not said(node) and node.name not in described]
        yield from (f"{path}:{node.lineno} {node.name} has no docstring" for node in silent)


def said(node: ast.Module | Definition) -> bool:
    """Return whether a definition has a docstring."""
    return bool(ast.get_docstring(node))


def public(scope: ast.Module | ast.ClassDef) -> list[Definition]:
    """Return the public definitions directly in a module or a class."""
    definitions = [node for node in scope.body if isinstance(node, Definition)]
    return [node for node in definitions if not node.name.startswith("_")]


def methods(tree: ast.Module) -> list[Definition]:
    """Return the public methods of a module's public classes."""
    return [node for top in public(tree) if isinstance(top, ast.ClassDef) for node in public(top)]


def broken_configs(root: Path) -> Iterator[str]:
    """Yield config files that don't parse, or say a key twice."""
    for path in sorted((root / "conf").rglob("*.yaml")):
        try:
            OmegaConf.load(path)
        except Exception as error:
            yield f"{path.relative_to(root)}: {error}"


def machine_paths(root: Path) -> Iterator[str]:
    """Yield paths of one machine in what is committed; tests may name data beside the checkout."""
    for path in committed(root):
        inside, text = path.relative_to(root), path.read_text(encoding="utf-8")
        yield from (f"{inside} names {found}" for found in MACHINE_PATH.findall(text))
        if inside.parts[0] != "tests" and SHARED_DATA.search(text):
            yield f"{inside} names data beside the checkout"


def committed(root: Path) -> Iterator[Path]:
    """Yield the text files of a checkout, without what tools and runs leave in it."""
    for path in sorted(root.rglob("*")):
        folders = path.relative_to(root).parts[:-1]
        hidden = any(folder.startswith(".") and folder != ".ci" for folder in folders)
        text = path.suffix in TEXT or path.name in TEXT_NAMES
        if text and not hidden and not NOT_COMMITTED & set(folders) and path.is_file():
            yield path


CHECKS = [
    many_names,
    vague_words,
    long_files,
    long_functions,
    upward_imports,
    missing_docstrings,
    broken_configs,
    machine_paths,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_is_in_order(check: Check) -> None:
    complaints = "\n".join(check(ROOT))
    assert not complaints, complaints


FAULTS = [
    (vague_words, "docs/a.md", "This tells so many.", "docs/a.md:1 says 'tells'"),
    (vague_words, "said_lightning/a.py", "for lane in lanes:", "a.py:1 says 'lane'"),
    (long_files, "tests/a.py", "x = 1\n" * 301, "tests/a.py has 301 lines"),
    (long_files, "said_lightning/a.py", "x = 1\n" * 301, "a.py has 301 lines"),
    (long_functions, "said_lightning/a.py", "def f():\n" + "    x = 1\n" * 40, "f has 41 lines"),
    (upward_imports, "said_lightning/novel.py", "", "novel.py is in no layer"),
    (upward_imports, "said_lightning/projections/a.py", "from .. import runs", "imports runs"),
    (upward_imports, "said_lightning/data/a.py", "from ..models import M", "imports models"),
    (upward_imports, "said_lightning/subspace/a.py", "import said_lightning.cli", "imports cli"),
    (upward_imports, "said_lightning/runs/a.py", "def f():\n    import torch.nn", "imports torch"),
    (missing_docstrings, "said_lightning/a.py", "x = 1", "a.py has no docstring"),
    (
        missing_docstrings,
        "said_lightning/a.py",
        "class A:\n    def b(self): ...",
        "a.py:2 b has no",
    ),
    (broken_configs, "conf/task/a.yaml", "labels: [0, 1", "conf/task/a.yaml"),
    (broken_configs, "conf/task/a.yaml", "seed: 0\nseed: 1", "duplicate key seed"),
    (machine_paths, "README.md", "cd /work" + "/project", "README.md names"),
    (machine_paths, "conf/task/a.yaml", "data_dir: ../shared" + "/glue", "beside the checkout"),
]


def test_one_name_too_many_at_the_top_is_found(tmp_path: Path) -> None:
    for number in range(TOP_NAMES + 1):
        plant(tmp_path, f"{PACKAGE}/name{number}.py", '"""Said."""')
    assert any("holds 15 names" in found for found in many_names(tmp_path))


@pytest.mark.parametrize(("check", "path", "text", "complaint"), FAULTS)
def test_a_planted_fault_is_found(
    check: Check, path: str, text: str, complaint: str, tmp_path: Path
) -> None:
    plant(tmp_path, path, text)
    assert any(complaint in found for found in check(tmp_path))


def test_an_orderly_tree_is_left_in_peace(tmp_path: Path) -> None:
    docstring = '    """Long.\n' + "\n" * 40 + '    """\n'
    function = "def f():\n" + docstring + "    x = 1\n" * 39
    base = "class A:\n    'A.'\n    def rows(self):\n        'Rows.'\n"
    contract = f"'Said.'\n{base}class B(A):\n    'B.'\n    def rows(self): ..."
    plant(tmp_path, "said_lightning/subspace/a.py", '"""Said."""\n' + function)
    plant(tmp_path, "said_lightning/training/a.py", '"""Said."""\nfrom ..subspace.a import f')
    plant(tmp_path, "said_lightning/projections/a.py", contract)
    plant(tmp_path, "conf/config.yaml", "seed: 0")
    assert [found for check in CHECKS for found in check(tmp_path)] == []


def plant(root: Path, path: str, text: str) -> None:
    """Write one file of a small tree."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_what_reads_run_folders_starts_without_torch() -> None:
    program = f"import sys, {PACKAGE}.analysis, {PACKAGE}.cli; print(*{SLOW} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.stdout.split(), process.stderr) == ([], "")


def test_annotations_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError):
        UserError(1)  # type: ignore[arg-type]
