"""Serves repositories as a model hub does: the few addresses that sending and fetching need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"


@dataclass
class Hub:
    """Repositories, each a list of commits; a commit is its files."""

    address: str = ""
    repositories: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    """Files that were read, by repository and name."""

    def put(self, repo_id: str, files: dict[str, bytes]) -> None:
        """Add a commit."""
        commits = self.repositories.setdefault(repo_id, [])
        commits.append({**(commits[-1] if commits else {}), **files})

    def find(self, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Give a commit's name and files, by that name or "main"."""
        commits = self.repositories[repo_id]
        names = [hashlib.sha1(f"{repo_id} {k}".encode()).hexdigest() for k in range(len(commits))]
        if revision == "main" and commits:
            return names[-1], commits[-1]
        return next((own for own in zip(names, commits, strict=True) if own[0] == revision), None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.give()

    def do_GET(self) -> None:
        self.give()

    def give(self) -> None:
        path = unquote(urlsplit(self.path).path)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/(.+)", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo_id, revision = found.group(1, 3) if found else file.group(1, 2) if file else ("", "")
        if repo_id not in self.hub.repositories:
            return self.refuse(401, "RepoNotFound")
        commit = self.hub.find(repo_id, revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        name, files = commit
        if file is not None:
            content = files[file[3]]
            if self.command == "GET":
                self.hub.fetched.append(f"{repo_id}/{file[3]}")
            return self.send(200, content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": name})
        if found and found[2] == "tree":
            told = [
                {"type": "file", "path": k, "size": len(v), "oid": _oid(v)}
                for k, v in files.items()
            ]
            return self.send_json(told)
        siblings = [{"rfilename": k} for k in files]
        return self.send_json(
            {"id": repo_id, "modelId": repo_id, "sha": name, "siblings": siblings, "tags": []}
        )

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "")
        if path == "/api/repos/create":
            told = json.loads(content)
            repo_id = f"{told['organization']}/{told['name']}"
            self.hub.repositories.setdefault(repo_id, [])
            return self.send_json({"url": f"{self.hub.address}/{repo_id}", "name": repo_id})
        if path == "/api/validate-yaml":
            return self.send_json({"warnings": [], "errors": []})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        assert found, path
        if found[2] == "preupload":
            files = [
                {"path": own["path"], "uploadMode": "regular", "shouldIgnore": False}
                for own in json.loads(content)["files"]
            ]
            return self.send_json({"files": files})
        lines = [json.loads(line) for line in content.splitlines()]
        sent = [line["value"] for line in lines if line["key"] == "file"]
        self.hub.put(found[1], {own["path"]: base64.b64decode(own["content"]) for own in sent})
        name = self.hub.find(found[1], "main")[0]
        address = f"{self.hub.address}/{found[1]}/commit/{name}"
        return self.send_json({"commitUrl": address, "commitOid": name})

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"", {"X-Error-Code": code} if code else {})

    def send_json(self, told: Any) -> None:
        self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve an empty hub on a port of this machine while the context lasts."""
    hub = Hub()
    own = type("OwnHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), own)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
