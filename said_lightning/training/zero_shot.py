"""What a language model scores before any training: once for a model, its prompts and its data."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from filelock import FileLock
from transformers import PreTrainedModel

from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.metrics import predictions
from said_lightning.data.scores import score
from said_lightning.data.tokens import Encoded, cache
from said_lightning.runs.files import write_whole

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
            found = {part: asked(model, data, rows, precision) for part, rows in parts.items()}
            write_whole(file, json.dumps(found).encode())
        scores: Scores = json.loads(file.read_text())
    return scores


@torch.no_grad()
def asked(model: PreTrainedModel, data: TextDataModule, rows: Encoded, precision: str) -> float:
    """Return the metric of a model's answers to some rows."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    half = torch.float16 if precision.startswith("16") else torch.bfloat16
    plain = precision == "32-true"
    model.eval().to(device)
    answers, labels = [], []
    with nullcontext() if plain else torch.autocast(device.type, half):
        for batch in data.in_order(rows):
            moved = {name: part.to(device) for name, part in batch.items()}
            labels.append(moved.pop("labels").cpu().numpy())
            answers.append(predictions(model(**moved).logits.float()).cpu().numpy())
    model.train().to("cpu")
    pair = np.concatenate(answers), np.concatenate(labels)
    return score(data.task.metric, *pair, data.task.num_labels)
