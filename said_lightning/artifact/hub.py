"""An artifact on the Hugging Face hub: its model card, and the push of both."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCardData

from said_lightning.artifact.coding import Coded
from said_lightning.artifact.file import FILE, Artifact, read
from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.models.locate import PACKAGE, is_folder
from said_lightning.runs.secrets import scrub
from said_lightning.runs.text import line, markdown

SMALL = """```python
import said_lightning
from transformers import AutoTokenizer

model = said_lightning.load("{file}")
tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
```

`said merge {file} -o FOLDER` makes an ordinary folder of it, for whoever lacks said_lightning."""
MERGED = """```python
from transformers import pipeline

classify = pipeline("text-classification", "FOLDER OR REPOSITORY", truncation=True)
```"""
CARD = """---
{front}
---

# {model} fine-tuned on {task}: {d} trained numbers

{usage}

| | |
|---|---|
| base model | {path}{layers}, weights of sha256 `{sha256}` |
| labels | {labels} |
| trained numbers | {d} = {theta} theta + {m} lambda{outside}, {form} |
| method | {method}, projection {projection}, seed {seed} |
| {metric} on the evaluation split | {value} |

Each weight is theta_0 + lambda P theta: theta_0 the base model's, P a random map that the seed
gives ([Aghajanyan et al. 2020](https://arxiv.org/abs/2012.13255)). Texts are cut to {length}
tokens. The metric is of these numbers exactly, after epoch {epoch}. Made by said_lightning
{version}.
"""


def card(artifact: Artifact, file: str | None) -> str:
    """Return the card, Markdown with the hub's front matter; `file` None is for a merged model."""
    about, config = artifact.about, artifact.about.run
    outside = sum(weight.numel() for weight in artifact.head.values())
    layers = config.model.layers
    quantised = isinstance(artifact.numbers, Coded)
    value = about.metric.value
    return CARD.format(
        front=front(config, merged=file is None),
        usage=SMALL.format(file=file) if file else MERGED,
        model=markdown(config.model.name),
        task=markdown(config.task.name),
        d=f"{config.d:,}",
        theta=f"{config.d - about.m:,}",
        m=about.m,
        outside=f", and {outside:,} of the head" if outside else "",
        form="quantised" if quantised else artifact.dtype,
        path=markdown(config.model.path),
        layers=f", its first {layers} layers" if layers else "",
        sha256=about.model_sha256,
        labels=markdown(", ".join(config.task.labels)) or "none: it gives a score",
        method=markdown(config.method.name),
        projection=markdown(config.projection.name),
        seed=config.seed,
        metric=markdown(about.metric.name),
        value="unknown" if value is None else f"{value:.4f}",
        length=config.task.max_length,
        epoch=about.metric.epoch,
        version=markdown(about.version),
    )


def front(config: Config, merged: bool) -> str:
    """Return a card's front matter as YAML, without its rules."""
    path = config.model.path
    named = not path.startswith((PACKAGE, ".", "/", "~")) and path.count("/") <= 1
    data = ModelCardData(
        base_model=line(path) if named and not is_folder(path) else None,
        library_name="transformers" if merged else "said_lightning",
        pipeline_tag="text-classification",
        tags=["said_lightning", *map(line, (config.method.name, config.task.name))],
    )
    return data.to_yaml()


def push(file: Path, repository: str) -> str:
    """Upload an artifact's file and its card in one commit; return the repository's address.

    The repository is made where there is none; a file or a card of an earlier push is replaced.
    Raise UserError where the file is no artifact, or the hub refuses or is out of reach.
    """
    described = card(read(file), FILE).encode()
    files = [CommitOperationAdd(FILE, file), CommitOperationAdd("README.md", described)]
    api = HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.create_commit(repository, files, commit_message=f"{FILE} and its card")
    except Exception as error:  # the client lets those of its HTTP library through, of any base
        reason = scrub(str(error).strip()) or type(error).__name__
        raise UserError(f"{repository}: not pushed: {reason}") from None
    return str(address)
