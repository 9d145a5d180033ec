"""Serves a folder as an archive does, with tokens that expire and faults on demand.

A program of its own, started by `servers.serve_archive`: GDAL holds Python's lock during some of
its requests, and a server in the same process could then never answer.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import random
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Trouble:
    """What happens to requests whose path holds a text, a number of times."""

    path: str
    status: int | None = None
    retry_after: str | None = None
    sleep: float = 0.0
    cut_body: bool = False
    cut_file: bool = False
    times: int = 10**9
    share: float = 1.0
    """Of the requests, drawn at random."""


@dataclass
class Archive:
    """A folder; under ``/protected`` only for requests with a living token."""

    folder: Path
    life: float = 3600.0
    """Seconds that a token lives."""
    shift: float = 0.0
    """Seconds by which the stated end of a token is wrong: negative, issued already expired."""
    troubles: list[Trouble] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tokens: dict[str, datetime] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self) -> tuple[str, datetime]:
        end = datetime.now(UTC) + timedelta(seconds=self.life)
        signature = secrets.token_hex(8)
        self.tokens[signature] = end
        stated = end + timedelta(seconds=self.shift)
        return f"st=2020-01-01T00%3A00%3A00Z&se={_iso(stated)}&sp=rl&sig={signature}", stated

    def trouble_of(self, path: str) -> Trouble | None:
        with self.lock:
            for trouble in self.troubles:
                if trouble.path in path and trouble.times > 0 and random() < trouble.share:
                    trouble.times -= 1
                    return trouble
        return None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(":", "%3A")


class Handler(BaseHTTPRequestHandler):
    """Answers for the archive; POST is the test's own line to it."""

    protocol_version = "HTTP/1.1"
    archive: Archive

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "trouble" in told:
            self.archive.troubles.append(Trouble(**told.pop("trouble")))
        for name in told.pop("clear", []):
            getattr(self.archive, name).clear()
        for name, value in told.items():
            setattr(self.archive, name, value)
        left = [trouble.times for trouble in self.archive.troubles]
        state = {"requests": self.archive.requests, "left": left}
        _send(self, 200, json.dumps(state).encode(), body=True)

    def answer(self, *, body: bool) -> None:
        try:
            _answer(self, self.archive, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the reader has given up waiting


def _answer(request: BaseHTTPRequestHandler, archive: Archive, body: bool) -> None:
    parts = urlsplit(request.path)
    archive.requests.append(f"{request.command} {request.path}")
    trouble = archive.trouble_of(parts.path)
    if trouble is not None:
        time.sleep(trouble.sleep)
        if trouble.status is not None:
            extra = {"Retry-After": trouble.retry_after} if trouble.retry_after else {}
            return _send(request, trouble.status, b"", body, extra)
    if parts.path.startswith("/token/"):
        token, end = archive.issue()
        told = {"token": token, "msft:expiry": end.isoformat()}
        return _send(request, 200, json.dumps(told).encode(), body)
    if parts.path.startswith("/protected"):
        signature = parse_qs(parts.query).get("sig", [""])[0]
        if archive.tokens.get(signature, datetime.min.replace(tzinfo=UTC)) < datetime.now(UTC):
            return _send(request, 403, b"AuthenticationFailed", body)
    file = archive.folder / parts.path.removeprefix("/protected").lstrip("/")
    if not file.is_file():
        return _send(request, 404, b"BlobNotFound", body)
    data = file.read_bytes()
    if trouble is not None and trouble.cut_file:
        data = data[: len(data) // 2]
    wanted = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return _send(request, 200, data, body)
    first = int(wanted[1])
    last = min(int(wanted[2] or len(data) - 1), len(data) - 1)
    if first >= len(data):
        return _send(request, 416, b"", body, {"Content-Range": f"bytes */{len(data)}"})
    part = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
    piece = data[first : last + 1]
    return _send(request, 206, piece, body, part, cut=trouble is not None and trouble.cut_body)


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    data: bytes,
    body: bool,
    headers: dict[str, str] | None = None,
    cut: bool = False,
) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(data)))
    request.send_header("Accept-Ranges", "bytes")
    for key, value in (headers or {}).items():
        request.send_header(key, value)
    request.end_headers()
    if body:
        request.wfile.write(data[: len(data) // 2] if cut else data)
    if cut:
        request.close_connection = True


def main() -> None:
    """Serve the folder that is named, and say on which port."""
    Handler.archive = Archive(Path(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
