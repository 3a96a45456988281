"""The board: the report over a sweep that runs, served to browsers on this machine alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.report.layout import name
from said_lightning.analysis.report.page import FOLDER, main, page
from said_lightning.analysis.report.sections import build
from said_lightning.errors import UserError
from said_lightning.runs.index import find
from said_lightning.runs.record import Record
from said_lightning.runs.status import summary, why

ADDRESS = "127.0.0.1"
# A page of another site whose name leads here asks by that name, and learns nothing.
HOSTS = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_LINES = 8  # on runs that are under way or failed, and on prices


class Board:
    """A page over the runs below `path`, made anew where they have changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.html = page("", [f"{path}: the runs are being read"]).encode()
        self._ended: list[tuple[Path | None, Record]] | None = None
        self._prices: list[str] = []
        self._main = ""
        self._maker = Thread()

    def look(self) -> None:
        """Read the folders once and show the state of the runs.

        Where a run has ended, the report is made anew meanwhile. Folders that are gone, or have no
        run yet, are said to be so.
        """
        try:
            records, errors = find(self.path)
        except UserError as error:
            records, errors = [], list(error.messages)
        ended = [(one.folder, one) for one in records if one.status in ("done", "failed")]
        if ended != self._ended and not self._maker.is_alive():
            self._ended = ended
            # Waited for at the end: an interpreter that ends inside of a plot's C++ aborts.
            self._maker = Thread(target=self._make, args=(records,), daemon=False)
            self._maker.start()
        lines = [summary(records)] if records else []
        lines += [f"warning: {message}" for message in errors] if records else errors
        lines += islice(_open(records, self.path), _LINES)
        self.html = page(self._main if records else "", [*lines, *self._prices]).encode()

    def _make(self, records: Sequence[Record]) -> None:
        # What goes while it is read has changed the records by the next look.
        with suppress(OSError, UserError):
            rows = estimate(records)
            self._main = main(build(rows, records, self.path))
            priced = (f"{name(row)}: {row.price}" for row in rows if row.price)
            self._prices = list(islice(priced, _LINES))


def _open(records: Sequence[Record], path: Path) -> Iterator[str]:
    """Yield a line for each run that is under way or has failed, with what is known of it."""
    for record in records:
        if record.status in ("running", "preempted", "failed") and record.folder is not None:
            facts = "; ".join(why(record))
            place = record.folder.relative_to(path).as_posix()
            yield f"{record.status}: {place}{f': {facts}' if facts else ''}"


@contextmanager
def serve(board: Board, port: int) -> Iterator[str]:
    """Serve a board at a port of this machine, 0 for any that is free; yield its address.

    Raises:
        UserError: the port cannot be had; one message.
    """
    try:
        server = ThreadingHTTPServer((ADDRESS, port), _handler(board))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: cannot be opened: {error}") from None
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield f"http://{ADDRESS}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def _handler(board: Board) -> type[BaseHTTPRequestHandler]:
    script = (FOLDER / "board.js").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        """Answers with the page and its script, and nothing else."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer a request by one of this machine's own names."""
            pages = {"/": ("text/html", board.html), "/board.js": ("text/javascript", script)}
            if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in HOSTS:
                self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            elif self.path not in pages:
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self._send(*pages[self.path])

        def _send(self, kind: str, body: bytes) -> None:
            tag = f'"{sha256(body).hexdigest()[:16]}"'
            known = self.headers.get("If-None-Match") == tag
            self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
            for header, value in HEADERS.items():
                self.send_header(header, value)
            self.send_header("ETag", tag)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", "0" if known else str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if known else body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a browser asks each second."""

    return Handler
