"""A stand-in of W&B's server, and what the client's files hold."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

BLOCK, HEADER = 2**15, 7  # of a .wandb file, whose layout is that of LevelDB's logs


class Logged(NamedTuple):
    """What a .wandb file holds of one run."""

    run: Any
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    artifacts: list[Any]
    exit_code: int | None


def records(file: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: chunks in blocks, each with checksum, length and kind."""
    content, at, whole = file.read_bytes(), HEADER, b""
    while at < len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def updated(plain: dict[str, Any], updates: Any) -> None:
    """Take over what a config, a summary or a row of the history sets."""
    for one in updates:
        *parents, last = list(one.nested_key) or [one.key]
        node = plain
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = json.loads(one.value_json)


def read_file(file: Path) -> Logged:
    """Read a .wandb file as W&B's server would."""
    run, code = None, None
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    artifacts: list[Any] = []
    for record in records(file):
        match record.WhichOneof("record_type"):
            case "run":
                run = record.run
                updated(config, record.run.config.update)
            case "config":
                updated(config, record.config.update)
            case "summary":
                updated(summary, record.summary.update)
            case "history":
                row: dict[str, Any] = {}
                updated(row, record.history.item)
                history.append(row)
            case "artifact":
                artifacts.append(record.artifact)
            case "request" if record.request.WhichOneof("request_type") == "log_artifact":
                artifacts.append(record.request.log_artifact.artifact)
            case "exit":
                code = record.exit.exit_code
    return Logged(run, config, summary, history, artifacts, code)


@pytest.fixture
def read_wandb() -> Callable[[Path], Logged]:
    """Return what reads a .wandb file."""
    return read_file


class Server(ThreadingHTTPServer):
    """Answers what the client asks, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upserts: list[dict[str, Any]] = []
        self.streamed: list[str] = []
        self.views: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.committed = 0
        self.summaries: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """GraphQL, file streams and uploads of a W&B server."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/file_stream"):
            self.server.streamed.append(body.decode())
            self.answer({})
        elif self.path == "/graphql":
            asked = json.loads(body)
            self.answer({"data": self.data(asked["query"], asked.get("variables") or {})})
        else:
            self.answer({})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("wandb-summary.json"):
            self.server.summaries.append(json.loads(body))
        self.answer({})

    do_GET = do_PUT  # noqa: N815

    def data(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertBucket" in query:
            self.server.upserts.append(variables)
            project = {"name": "p", "entity": {"name": "me"}}
            bucket = {
                "id": variables.get("name"),
                "name": variables.get("name"),
                "displayName": variables.get("displayName"),
                "project": project,
                "historyLineCount": 0,
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            files = [
                {"name": name, "uploadUrl": f"{self.server.url}/upload/{name}"}
                for name in variables["files"]
            ]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "rtifact" in query and "mutation" in query:
            return self.artifact(query, variables)
        if "upsertView" in query:
            self.server.views.append(variables)
            view = {"id": "1", "name": variables["name"]}
            return {"upsertView": {"view": view, "inserted": True}}
        viewer = {
            "id": "1",
            "entity": "me",
            "username": "me",
            "flags": "{}",
            "teams": {"edges": []},
        }
        return {
            "viewer": viewer,
            "serverInfo": {"features": [], "cliVersionInfo": {}, "latestLocalVersionInfo": None},
            "model": None,
        }

    def artifact(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Take an artifact in: its name, its manifest, its files, and that all are there."""
        url = f"{self.server.url}/upload/file"
        file = {"id": "1", "displayName": "file", "uploadUrl": url, "uploadHeaders": []}
        if "createArtifactManifest(" in query:
            manifest = {"id": "1", "file": {**file, "name": "manifest"}}
            return {"createArtifactManifest": {"artifactManifest": manifest}}
        if "createArtifactFiles(" in query:
            more = {"uploadMultipartUrls": None, "storagePath": None, "artifact": {"id": "1"}}
            nodes = [
                {"node": {**file, **more, "name": one["name"]}}
                for one in variables["input"]["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": nodes}}}
        if "commitArtifact(" in query:
            self.server.committed += 1
            return {"commitArtifact": {"artifact": {"id": "1", "digest": "0"}}}
        if "createArtifact(" in query:
            self.server.artifacts.append(variables["input"])
            sequence = {"id": "1", "latestArtifact": None}
            made = {"id": "1", "state": "PENDING", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": made}}
        return {}

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server that the client finds in the environment."""
    with Server() as made:
        Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", made.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        monkeypatch.delenv("WANDB_SERVICE", raising=False)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        yield made
        made.shutdown()
