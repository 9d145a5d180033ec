"""Sending to and fetching from a hub: a real client in a process of its own, a server here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import TOKEN, Hub, serve_hub

import xcontrast as xc
from xcontrast.errors import ModelError, SourceError
from xcontrast.model.hub import find_folder

KINDS = {"model": "tiny", "head": "tiny_head", "segmenter": "tiny_segmenter"}
CLIENT = """
import json, sys
import xcontrast as xc
told = {}
for name, call in json.loads(sys.stdin.read()).items():
    try:
        result = eval(call)
        told[name] = getattr(result, "digest", result)
    except Exception as error:
        told[name] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


def call(calls: dict[str, str], cache: Path, **env: str) -> dict[str, str]:
    """Evaluate expressions in one process whose hub is at HF_ENDPOINT: by name, what came."""
    own = {
        "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "XCONTRAST_CACHE": str(cache / "own"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CLIENT], input=json.dumps(calls), capture_output=True, text=True,
        env={**os.environ, **own, **env}, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A model, a head and a segmenter on disk."""
    place = tmp_path_factory.mktemp("things")
    for kind, name in KINDS.items():
        request.getfixturevalue(name).save(place / kind)
    return {kind: place / kind for kind in KINDS}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def sent(hub: Hub, folders: dict[str, Path], cache: Path) -> dict[str, str]:
    """Send each, and load it again; then all that must be refused."""
    calls = {}
    for kind, folder in folders.items():
        push = f"xc.load_{kind}({str(folder)!r}).push_to_hub('lab/{kind}', token={TOKEN!r})"
        calls |= {f"push {kind}": push, f"load {kind}": f"xc.load_{kind}('lab/{kind}')"}
    card, weights = (
        (folders["model"] / n).read_bytes() for n in ("card.json", "weights.safetensors")
    )
    hub.put("other/text", {"README.md": b"words", "model.safetensors": b"numbers"})
    hub.put("other/tampered", {"card.json": card, "weights.safetensors": weights[:-1] + b"\x01"})
    edited = json.dumps({**json.loads(card), "method": "better"}).encode()
    hub.put("other/edited", {"card.json": edited, "weights.safetensors": weights})
    wrong = f"xc.load_model({str(folders['model'])!r}).push_to_hub('lab/model', token='hf_wrong')"
    calls |= {
        "again": "xc.load_model('lab/model@main')",
        "unknown": "xc.load_model('lab/nothing')",
        "no revision": "xc.load_model('lab/model@v9')",
        "not ours": "xc.load_model('other/text')",
        "tampered": "xc.load_model('other/tampered')",
        "edited": "xc.load_model('other/edited')",
        "another kind": "xc.load_head('lab/model')",
        "not a segmenter": "xc.load_segmenter('lab/head')",
        "no right": wrong,
    }
    return call(calls, cache, HF_ENDPOINT=hub.address)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sent_is_what_is_fetched(
    kind: str, sent: dict[str, str], hub: Hub, folders: dict[str, Path]
) -> None:
    assert sent[f"push {kind}"].startswith(f"{hub.address}/lab/{kind}/commit/")
    assert sent[f"load {kind}"] == getattr(xc, f"load_{kind}")(folders[kind]).digest
    files = hub.repositories[f"lab/{kind}"][0]
    assert {"card.json", "weights.safetensors", "README.md"} <= set(files)
    assert f'xc.load_{kind}("lab/{kind}")' in files["README.md"].decode()
    assert files["README.md"].decode().startswith("---\nlibrary_name: xcontrast\n")


def test_only_what_makes_a_folder_is_fetched_and_once(sent: dict[str, str], hub: Hub) -> None:
    assert sent["again"] == sent["load model"]
    names = [name.rsplit("/", 1)[1] for name in hub.fetched]
    assert set(names) == {"card.json", "weights.safetensors", "history.csv"}
    assert len(set(hub.fetched)) == len(hub.fetched)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", r"ModelError: Expected a folder here, or a repo.*'lab/nothing', which the hub "
         r"does not have, or does not show.*Do this: check the path"),
        ("no revision", r"ModelError: .*'lab/model@v9', a revision that the repository does not"),
        ("not ours", r"ModelError: Expected a repository with card\.json and weights\.safetensors"
         r".*'other/text', without card\.json and weights.*Do this: give the id of a model"),
        ("tampered", r"ModelError: .*weights that do not match their checksum.*Do this: copy"),
        ("edited", r"ModelError: .*a card that does not match its digest.*Do this: copy"),
        ("another kind", r"ModelError: Expected .*of format 'xcontrast-head'"),
        ("not a segmenter", r"ModelError: Expected .*of format 'xcontrast-segmenter'"),
        ("no right", r"SourceError: Expected a repository of the hub that can be written to; "
         r"received 'lab/model'.*Do this: log in"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(name: str, message: str, sent: dict[str, str]) -> None:
    assert re.match(message, sent[name]), sent[name]


def test_without_a_network_what_was_fetched_is_there_and_the_rest_is_said(
    sent: dict[str, str], cache: Path, folders: dict[str, Path]
) -> None:
    model = str(folders["model"])
    found = call(
        {
            "fetched": "xc.load_model('lab/model')",
            "not fetched": "xc.load_model('lab/other')",
            "push": f"xc.load_model({model!r}).push_to_hub('lab/model', token='hf_any')",
        },
        cache,
        HF_ENDPOINT="http://127.0.0.1:9",  # nobody listens
    )
    assert found["fetched"] == sent["load model"]
    expected = r"ModelError: .*'lab/other', and no hub that answers, nor a copy.*Do this: check"
    assert re.match(expected, found["not fetched"]), found["not fetched"]
    expected = r"SourceError: Expected a repository of the hub.*ConnectError.*Do this: log in"
    assert re.match(expected, found["push"]), found["push"]


@pytest.mark.parametrize("repo_id", ["po", "lab/po/model", "https://hub.co/lab/po", "lab/po@main"])
def test_an_id_that_is_none_is_refused(repo_id: str, tiny: xc.Model) -> None:
    with pytest.raises(SourceError, match=r"an id such as 'name/repository'; received .*address"):
        tiny.push_to_hub(repo_id)


def test_folders_are_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "po").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    for path in ("runs/po", "./runs/other", "../runs", "/runs/po", Path("runs/other"), "po"):
        assert find_folder(path) == Path(path)
    with pytest.raises(ModelError, match="and AssertionError: the hub was asked"):
        find_folder("runs/other")
