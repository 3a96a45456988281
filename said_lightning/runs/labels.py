"""The names that records, folders and tables give to a config's model and projection."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

NESTED = "nested"
PACKAGE = "package:"  # starts the path of a model that lies in a pip package
# A folder's name has at most 255 bytes, and a label is a name with a little more.
LETTERS, BYTES = 64, 200


def validate_name(key: str, name: str) -> list[str]:
    """Return a message where a name is none that a folder, a label and a table can bear."""
    inside = all(one in "-_.+=" or _is_letter(one) for one in name)
    if name and inside and name[0].isalnum() and len(name) <= LETTERS and len(_utf8(name)) <= BYTES:
        return []
    shown = repr(name) if len(name) <= LETTERS else f"{name[:20]!r}... of {len(name)} letters"
    return [
        f"{key}={shown}: expected 1 to {LETTERS} letters, digits and any of - _ . + =, "
        "of which the first is a letter or a digit"
    ]


def name_of_path(path: str) -> str:
    """Return the name of a model that has none but its path: a valid one, whatever the path.

    A folder gives its own name. Of a hub id, or of a path in a package, all parts count.
    """
    parts = [part for part in path.removeprefix(PACKAGE).split("/") if part]
    whole = path.startswith(PACKAGE) or (len(parts) == 2 and path[0] not in "./~")
    if not whole:
        with suppress(ValueError):  # ~ of a user that nobody can be
            path = os.path.expanduser(path)
        parts = [os.path.basename(os.path.abspath(path))]
    text = unicodedata.normalize("NFC", "-".join(parts))
    kept = "".join(one if one in "-_.+=" or _is_letter(one) else "-" for one in text)
    start = next((i for i, one in enumerate(kept) if one.isalnum()), len(kept))
    name = kept[start:]
    if name == text and not validate_name("", name):
        return name
    # Paths that differ in what a name cannot bear keep different names.
    tail = hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:8]
    while len(f"{name}-{tail}") > LETTERS or len(_utf8(name)) > BYTES - len(tail) - 1:
        name = name[:-1]
    return f"{name or 'model'}-{tail}"


def _is_letter(one: str) -> bool:
    """Return whether a character is a letter, an accent on one, or a digit, of any script."""
    return unicodedata.category(one)[0] in "LMN"


def _utf8(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def model_label(model: Mapping[str, Any]) -> str:
    """Return a model's name, with the layers kept where they are not all: bert-base-4-layers."""
    layers = model.get("layers")
    return str(model["name"]) if layers is None else f"{model['name']}-{layers}-layers"


def space_label(method: Mapping[str, Any]) -> str:
    """Return what theta moves, and in how few bits that is held: `all`, `lora`, `all-nf4`."""
    bits = method["quantize"]
    return f"{method['space']}-{bits}" if bits else str(method["space"])


def projection_label(projection: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    """Return a projection's name with the options that are set: fastfood, released-exact.

    One whose d grows is another, fastfood-nested: its blocks are those of the largest d.
    """
    grows = trainer.get("grow_from") is not None
    parts = [*projection.values(), NESTED if grows else None]
    # What is not named but switched changes no result.
    return "-".join(part for part in parts if isinstance(part, str))
