"""The state of a run as a safetensors file, and back: nothing is pickled."""

import json
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor

from said_lightning.runs import checkpoint as generations
from said_lightning.runs.files import Bytes

TENSOR, PAIRS = "<tensor>", "<pairs>"
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pack(state: dict[str, Any]) -> list[Bytes]:
    """Turn nested dicts and lists of tensors and JSON values into a safetensors file, in parts.

    The tensors are its tensors, the rest is JSON in its metadata. The state of full fine-tuning is
    three times the model, so it is not copied: a tensor's part is its memory. Raises TypeError for
    what is neither, KeyError for numbers of another kind than DTYPES.
    """
    tensors: dict[str, Tensor] = {}

    def encode(node: Any) -> Any:
        if isinstance(node, Tensor):
            name = str(len(tensors))
            tensors[name] = node.detach().cpu().contiguous()
            return {TENSOR: name}
        if isinstance(node, dict):
            # JSON would turn other keys, such as the optimizer's integers, into texts.
            if all(isinstance(key, str) for key in node):
                return {key: encode(value) for key, value in node.items()}
            return {PAIRS: [[key, encode(value)] for key, value in node.items()]}
        if isinstance(node, list | tuple):
            return [encode(value) for value in node]
        return node

    metadata = {
        "state": json.dumps(encode(state)),
        "progress": json.dumps(state.get("progress")),
        generations.KEY: generations.UNSEALED,
    }
    # A number stands at a multiple of its size.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        shape = list(tensor.shape)
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    parts = (tensor.reshape(-1).view(torch.uint8).numpy().data for _, tensor in ordered)
    return [len(text).to_bytes(8, "little") + text, *parts]


def unpack(content: bytes) -> dict[str, Any]:
    """Return what was packed; tuples come back as lists."""
    tensors = safetensors.load(content)

    def decode(node: Any) -> Any:
        if isinstance(node, list):
            return [decode(value) for value in node]
        if not isinstance(node, dict):
            return node
        if TENSOR in node:
            return tensors[node[TENSOR]]
        if PAIRS in node:
            return {key: decode(value) for key, value in node[PAIRS]}
        return {key: decode(value) for key, value in node.items()}

    state: dict[str, Any] = decode(json.loads(generations.metadata(content)["state"]))
    return state
