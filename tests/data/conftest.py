"""Tasks from their yamls, planted files, and a tokenizer that needs no network."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from said_lightning.data.task import FileSource, Rows, TaskConfig

ROOT = Path(__file__).parents[2]
MakeTask = Callable[..., TaskConfig]


@pytest.fixture
def make_task() -> MakeTask:
    """Return a task by the name of its yaml, with some keys changed, as Hydra would compose it.

    Unless the changes say otherwise dev selects and reports, so that a whole file is trained on.
    """

    def make(name: str, **changes: Any) -> TaskConfig:
        yaml = OmegaConf.load(ROOT / "conf" / "task" / f"{name}.yaml")
        changes = {"select": "dev", "report": "dev"} | changes
        task = OmegaConf.to_object(OmegaConf.merge(TaskConfig, yaml, changes))
        assert isinstance(task, TaskConfig)
        return task

    return make


@dataclass
class Planted:
    """A task whose files hold a few rows: what each file and each split should give."""

    task: TaskConfig
    rows: dict[Path, list[list[Any]]]
    splits: dict[str, list[Path]] = field(default_factory=dict)

    def expected(self, split: str) -> list[list[Any]]:
        """Give a split's rows, texts and label."""
        return [row for path in self.splits[split] for row in self.rows[path]]


@pytest.fixture
def plant(make_task: MakeTask, tmp_path: Path) -> Callable[..., Planted]:
    """Return a function that writes a task's original files, of a few rows, in their layout."""

    def write(name: str) -> Planted:
        task = make_task(name, data_dir=str(tmp_path))
        source, evaluation = task.files, task.eval_files or task.files
        assert source is not None
        assert evaluation is not None
        planted = Planted(task, {})
        splits = {"train": source.train, "dev": str(evaluation.eval), **evaluation.also}
        if evaluation.test:
            splits["test"] = evaluation.test
        for split, names in splits.items():
            files = source if split == "train" else evaluation
            for file in names.split("+"):
                path = tmp_path / files.folder / file
                if path not in planted.rows:
                    planted.rows[path] = write_file(path, task, files, 6 if split == "train" else 3)
            planted.splits[split] = [tmp_path / files.folder / file for file in names.split("+")]
        sizes: dict[str, int | None] = {
            split: sum(len(planted.rows[path]) for path in paths)
            for split, paths in planted.splits.items()
        }
        task.rows = Rows(sizes.pop("train"), sizes.pop("dev"), sizes.pop("test", None), sizes)
        return planted

    return write


def write_file(path: Path, task: TaskConfig, files: FileSource, count: int) -> list[list[Any]]:
    """Write a file in the format that its name ends in, and give its rows as read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = files.columns or ["index", *files.text, files.label, "note"]
    forms = {label: form for form, label in files.label_map.items()}
    rows, lines = [], []
    for i in range(count):
        texts = [f'{path.stem} "{column}" of {i}, §5' for column in files.text]
        label: float = i % 6
        form = f"{label:.3f}"
        if task.labels:
            label = i % len(task.labels)
            name = task.labels[i % len(task.labels)]
            form = forms.get(name, name)
        cells = dict.fromkeys(columns, str(i))
        cells |= {**dict(zip(files.text, texts, strict=True)), files.label: form}
        rows.append([*texts, label])
        lines.append(join(path.suffix, cells))
    if not files.columns and path.suffix != ".jsonl":
        lines.insert(0, join(path.suffix, dict(zip(columns, columns, strict=True))))
    path.write_text("\n".join(lines) + "\n")
    return rows


def join(suffix: str, cells: dict[str, str]) -> str:
    """Write a line in a format."""
    if suffix == ".jsonl":
        return json.dumps(cells, ensure_ascii=False)
    if suffix == ".csv":
        quoted = (cell.replace('"', '""') for cell in cells.values())
        return ",".join(f'"{cell}"' for cell in quoted)
    return "\t".join(cells.values())


@pytest.fixture
def own_rows() -> dict[str, None]:
    """Return the change that lets a planted file have any number of rows."""
    return {"train": None, "eval": None, "test": None}


@pytest.fixture(scope="session")
def glue() -> Path:
    """Return the folder of original GLUE files, which is not part of the project."""
    folder = Path(os.environ.get("SAID_GLUE_DIR", ROOT.parent / "shared" / "glue"))
    if not folder.is_dir():
        pytest.skip("no original GLUE files: SAID_GLUE_DIR names no folder")
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer of a few words, with BERT's special tokens."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "the", "of"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
