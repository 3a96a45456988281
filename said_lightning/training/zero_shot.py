"""What a language model scores before any training: once for a model, its prompts and its data."""

import hashlib
import json
from collections.abc import Mapping

import torch
from filelock import FileLock
from transformers import PreTrainedModel

from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.scores import score
from said_lightning.data.tokens import Encoded, cache
from said_lightning.models.answers import answers
from said_lightning.runs.files import write_whole
from said_lightning.training.half import SINGLE, half_products

Scores = Mapping[str, float]


def zero_shot(
    model: PreTrainedModel, data: TextDataModule, model_sha256: str, precision: str
) -> Scores:
    """Return the metric of a model at theta = 0 on the `select` and the `report` rows.

    Empty where a head answers, which is random then. It is kept beside the cached tokens, under
    what it depends on, so that the runs of a sweep compute it once.
    """
    if (prompts := data.prompts) is None:
        return {}
    task = data.task
    facts = [model_sha256, data.data.sha256, task.metric, task.max_length, task.labels, precision]
    facts += [prompts.template, prompts.answers, task.match, task.max_new_tokens]
    key = json.dumps(facts)
    file = cache().parent / "zero-shot" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if not file.is_file():
            parts = {"select": data.select_sets[0], "report": data.report_sets[0]}
            found = {part: scored(model, data, rows, precision) for part, rows in parts.items()}
            write_whole(file, json.dumps(found).encode())
        scores: Scores = json.loads(file.read_text())
    return scores


def scored(model: PreTrainedModel, data: TextDataModule, rows: Encoded, precision: str) -> float:
    """Return the metric of a model's answers to some rows, on the accelerator if there is one."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    half = torch.float16 if precision.startswith("16") else torch.bfloat16
    model.eval().to(device)
    cast = torch.autocast(device.type, half, enabled=precision != SINGLE)
    with half_products(precision), cast:
        found = answers(model, data, rows)
    model.train().to("cpu")
    return score(data.task.metric, *found, data.task.num_labels)
