"""`said push` with the hub's real client, against a stand-in of the hub's HTTP interface."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from said_lightning.artifact.file import Artifact, parse, write
from said_lightning.artifact.header import About, Score

ABOUT = About(
    config={
        "model": {"name": "bert-base", "path": "google-bert/bert-base-uncased", "layers": 4},
        "task": {
            "name": "sst2",
            "labels": ["negative", "positive"],
            "metric": "accuracy",
            "metrics": ["accuracy"],
        },
        "method": {"name": "did"},
        "projection": {"name": "fastfood"},
        "d": 20,
    },
    m=0,
    groups="0" * 16,
    fingerprint="0" * 16,
    model_sha256="0" * 64,
    metric=Score(name="accuracy", value=0.84404, epoch=3),
    version="0.1.0",
)


class Hub(ThreadingHTTPServer):
    """Answers what the client asks, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The parts of the hub that make a repository and take a commit."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        if self.server.refuses:
            self.answer({"error": "not yours"}, 403)
        elif path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self.answer({"url": f"{self.server.url}/me/small", "id": "1"})
        elif path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            files = [{"path": one["path"], "uploadMode": "regular"} for one in asked]
            self.answer({"files": [one | {"shouldIgnore": False} for one in files]})
        elif path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[line["value"]["path"]] = content
            url = f"{self.server.url}/me/small/commit/1"
            self.answer({"success": True, "commitOid": "1", "commitUrl": url})
        else:
            self.answer({})

    def do_GET(self) -> None:
        self.answer({"id": "me/small", "sha": "0", "siblings": []})

    def answer(self, content: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Return a hub on this machine."""
    with Hub() as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return an artifact's file."""
    path = tmp_path / "mine.safetensors"
    write(Artifact(ABOUT, np.arange(20, dtype=np.float32)), path)
    return path


def push(url: str, file: Path, token: str = "hf_none") -> "subprocess.CompletedProcess[str]":
    """Run `said push` in a process whose hub is at an address."""
    settings = {"HF_ENDPOINT": url, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "said_lightning.cli", "push", str(file), "me/small"],
        capture_output=True,
        text=True,
        env={**os.environ, **settings, "HF_HOME": str(file.parent / "home")},
    )


def test_the_file_and_its_card_reach_the_hub(hub: Hub, file: Path) -> None:
    ended = push(hub.url, file)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.strip().endswith(f"{hub.url}/me/small")
    assert hub.made[0]["name"] == "small"
    assert set(hub.files) == {"said.safetensors", "README.md"}
    assert hub.files["said.safetensors"] == file.read_bytes()
    assert parse(hub.files["said.safetensors"]).values().tolist() == list(range(20))
    card = hub.files["README.md"].decode()
    assert "base_model: google-bert/bert-base-uncased" in card
    assert "| accuracy on the evaluation split | 0.8440 |" in card
    assert 'said_lightning.load("said.safetensors")' in card


def test_a_hub_that_refuses_is_reported_in_a_line(hub: Hub, file: Path) -> None:
    hub.refuses = True
    ended = push(hub.url, file)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: me/small: not pushed: ")
    assert "Traceback" not in ended.stderr
    assert hub.files == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere", "http://no.invalid"])
def test_a_hub_that_cannot_be_reached_is_reported_in_a_line(url: str, file: Path) -> None:
    ended = push(url, file)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: me/small: not pushed: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("odd", ["\x01", "\u00e9", " "])
def test_a_token_that_no_header_takes_is_reported_and_not_shown(
    odd: str, hub: Hub, file: Path
) -> None:
    hub.refuses = True
    ended = push(hub.url, file, token=f"hf_planted{odd}planted")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: me/small: not pushed: ")
    assert "planted" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
