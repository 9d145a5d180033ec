"""Real servers: a STAC API, and files behind tokens that expire, with faults on demand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pystac
from archive_server import Trouble


@dataclass
class ArchiveServer:
    """What a test tells a running archive, and asks it."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[str]:
        return self._tell()["requests"]

    @property
    def n_tokens(self) -> int:
        return sum("/token/" in line for line in self.requests)

    @property
    def left(self) -> list[int]:
        """How many times each trouble can still happen."""
        return self._tell()["left"]

    def fail(self, trouble: Trouble) -> None:
        """Answer with this trouble from now on."""
        self._tell(trouble=asdict(trouble))

    def recover(self) -> None:
        """Forget all troubles."""
        self._tell(clear=["troubles"])

    def withdraw(self) -> None:
        """Refuse all tokens issued so far."""
        self._tell(clear=["tokens"])

    def issue_for(self, seconds: float, *, shift: float = 0.0) -> None:
        """Issue tokens that live so long, and say an end that is so many seconds wrong."""
        self._tell(life=seconds, shift=shift)

    def _tell(self, **told: Any) -> dict[str, Any]:
        request = urllib.request.Request(self.address, json.dumps(told).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def serve_archive(folder: Path) -> Iterator[ArchiveServer]:
    """Serve a folder on a port of this machine while the context lasts."""
    program = Path(__file__).with_name("archive_server.py")
    command = [sys.executable, str(program), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield ArchiveServer(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


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
