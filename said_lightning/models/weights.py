"""A checkpoint's weights: what they should hold, and a rehearsal before they are read."""

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_utils import load_state_dict
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.fit import columns
from said_lightning.models.head import head_of
from said_lightning.models.locate import is_folder
from said_lightning.subspace.groups import group_tensors

NAMES = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
ADAPTER = "adapter_config.json"
# A rehearsal's tokens a row, and the most weights of a model for which it takes a moment.
TOKENS, WEIGHTS = 16, 10**9


def stored_files(where: str, revision: str | None, config: PretrainedConfig) -> list[str] | None:
    """Return the files with a model's weights; None where the hub is still to be asked for them.

    Raise UserError for a folder without weights or one of their parts, and for an adapter's.
    """

    def find(name: str) -> str | None:
        found: Any = Path(where) / name
        if not is_folder(where):
            found = try_to_load_from_cache(where, name, revision=revision)
        return str(found) if isinstance(found, str | Path) and Path(found).is_file() else None

    # transformers would load another model, the adapter's base.
    if find(ADAPTER) is not None:
        raise UserError(
            f"it holds an adapter ({ADAPTER}); expected a model into which it is merged"
        )
    given = getattr(config, "transformers_weights", None)
    names = (str(given),) if given else NAMES
    first = next(filter(None, map(find, names)), None)
    parts: list[str | None] = [first]
    if first is not None and first.endswith(".json"):
        listed = json.loads(Path(first).read_text(encoding="utf-8"))["weight_map"]
        names = tuple(sorted(set(listed.values())))
        parts = [find(name) for name in names]
    if None not in parts:
        return [part for part in parts if part]
    if is_folder(where):
        missing = names if first is None else [n for n in names if find(n) is None]
        raise UserError(f"no file named {missing[0]} in {where}")
    return None


def stand_ins(files: list[str]) -> dict[str, Tensor]:
    """Return tensors of the names and shapes that files of weights hold, all 0 and without memory.

    Raise UserError, naming the file, where one is torn or holds more than tensors.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            # A pickle's storages are looked for as they are mapped, though not read.
            device = "meta" if file.endswith(".safetensors") else "cpu"
            held = load_state_dict(file, map_location=device)
            found |= {name: torch.zeros(()).expand(one.shape) for name, one in held.items()}
        except Exception as error:  # of any kind, by the bytes that are there
            lines = str(error).splitlines() or [""]
            raise UserError(
                f"{Path(file).name} cannot be read: {type(error).__name__}: {lines[0]:.200}; "
                "expected a whole file of tensors, best as model.safetensors"
            ) from None
    return found


def validate_loaded(shape: PreTrainedModel, info: Mapping[str, Any], keep: bool) -> list[str]:
    """Return what weights lack of an encoder, and of a head that is to be kept.

    `info` is what transformers says of loading them. An encoder's pooler may be missing, since
    pre-training may not have had any.
    """
    other = {name for name, *_ in info["mismatched_keys"]}
    head = head_of(shape)
    free = set() if keep else head
    after = set(group_tensors(shape, dict(shape.named_parameters())).get("head", []))
    pooler = after - head if head else set()
    names = [name for name, _ in shape.named_parameters()]
    found = []
    if lost := [n for n in names if n in set(info["missing_keys"]) - free - pooler]:
        hint = "; model.head=new draws a new head" if keep and set(lost) <= head else ""
        found.append(f"its weights lack {_counted(lost)}{hint}")
    if changed := [n for n in names if n in other - free]:
        found.append(f"its weights have other shapes than its config.json: {_counted(changed)}")
    return found


def _counted(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def holds_head(shape: PreTrainedModel, info: Mapping[str, Any]) -> bool:
    """Return whether weights hold a head, of whatever size."""
    return not head_of(shape) <= set(info["missing_keys"])


@torch.no_grad()
def rehearse(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: TaskConfig) -> None:
    """Let a model take a batch of two short rows, as training will; its weights may be stand-ins.

    Raise whatever the model raises.
    """
    if sum(weight.numel() for weight in model.parameters()) > WEIGHTS:
        return
    length = min(task.max_length, TOKENS)
    texts = [["a", "a " * length]] * columns(task)
    tokens = tokenizer(*texts, truncation=True, max_length=length)
    if not all(tokens["input_ids"]):
        return
    rows = [{name: part[row] for name, part in tokens.items()} for row in (0, 1)]
    labels = torch.zeros(2, dtype=torch.float32 if task.kind == "regression" else torch.int64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several wait for each other
    try:
        model.train()(**tokenizer.pad(rows, return_tensors="pt"), labels=labels)
    finally:
        torch.set_num_threads(threads)


def weights_sha256(model: nn.Module, without: Set[str]) -> str:
    """Hash the state dict in the order of its names, without some of them."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if name in without:
            continue
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
