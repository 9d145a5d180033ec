"""Real servers: a STAC API, and files behind tokens that expire, with faults on demand."""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pystac


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
class ArchiveServer:
    """Serves a folder; under ``/protected`` only to requests with a living token."""

    folder: Path
    life: float = 3600.0
    """Seconds that a token lives."""
    shift: float = 0.0
    """Seconds by which the stated end of a token is wrong: negative, issued already expired."""
    troubles: list[Trouble] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tokens: dict[str, datetime] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def n_tokens(self) -> int:
        return sum("/token/" in line for line in self.requests)

    def issue(self) -> tuple[str, datetime]:
        end = datetime.now(UTC) + timedelta(seconds=self.life)
        signature = secrets.token_hex(8)
        self.tokens[signature] = end
        stated = end + timedelta(seconds=self.shift)
        return f"st=2020-01-01T00%3A00%3A00Z&se={_iso(stated)}&sp=rl&sig={signature}", stated

    def withdraw(self) -> None:
        """Refuse all tokens issued so far."""
        self.tokens.clear()

    def trouble_of(self, path: str) -> Trouble | None:
        with self.lock:
            for trouble in self.troubles:
                if trouble.path in path and trouble.times > 0 and random() < trouble.share:
                    trouble.times -= 1
                    return trouble
        return None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(":", "%3A")


@contextmanager
def serve_archive(folder: Path, **options: Any) -> Iterator[ArchiveServer]:
    """Serve a folder on a port of this machine while the context lasts."""
    archive = ArchiveServer(folder, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            try:
                _answer(self, archive, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the reader has given up waiting

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    archive.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, archive: ArchiveServer, body: bool) -> None:
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


@contextmanager
def serve_api(items: Sequence[pystac.Item], folder: Path) -> Iterator[str]:
    """Run rustac's STAC API over items while the context lasts; give its address."""
    features = [item.to_dict(include_self_link=False, transform_hrefs=False) for item in items]
    file = folder / "items.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).parent / "rustac"
    process = subprocess.Popen(
        [str(command), "serve", "--addr", f"127.0.0.1:{port}", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()
