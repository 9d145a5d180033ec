"""Folders that hold weights and a readable card: written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from xcontrast.errors import ModelError, problem

__all__ = [
    "cache_root",
    "cached_folder",
    "claim_folder",
    "copy_folder",
    "form_of",
    "holds",
    "pack_folder",
    "publish_folder",
    "read_folder",
    "require_folder",
    "stage_folder",
    "unpack_folder",
]

WEIGHTS = "weights.safetensors"
CARD = "card.json"
READERS = {
    "xcontrast-model": "xc.load_model",
    "xcontrast-head": "xc.load_head",
    "xcontrast-segmenter": "xc.load_segmenter",
}
"""Of what is finished, by its card's ``format``: for errors."""


def cache_root() -> Path:
    """Give the folder for models that were given none; ``XCONTRAST_CACHE`` moves it."""
    root = _find_cache()
    root.mkdir(parents=True, exist_ok=True)
    return root


def cached_folder(digest: str) -> Path:
    """Give the place in the cache of what has a digest; nothing is made.

    Parameters
    ----------
    digest : str
        Of a model.

    Returns
    -------
    Path
    """
    return _find_cache() / digest


def claim_folder(path: str | os.PathLike[str], *, but: Collection[str] = ()) -> Path:
    """Say that a folder is free to write a model or head into.

    Parameters
    ----------
    path : path
        The folder.
    but : collection of str
        Names that may be in it.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        If it is a file or holds something else.
    """
    target = Path(path)
    if target.is_file() or (target.is_dir() and any(p.name not in but for p in target.iterdir())):
        reader = READERS.get(form_of(target))
        raise ModelError(
            problem(
                expected="a folder that does not exist or is empty",
                received=str(target),
                do="choose another folder, or remove that one first"
                + (f"; or read what is in it with {reader}" if reader else ""),
            )
        )
    return target


def stage_folder(target: Path) -> Path:
    """Make the hidden folder in which a target is prepared.

    Parameters
    ----------
    target : Path
        Where it will be published.

    Returns
    -------
    Path
        Empty, beside the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    return partial


def publish_folder(
    partial: Path,
    target: Path,
    *,
    form: str,
    version: int,
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    """Write weights and card, then rename the prepared folder to its name.

    Parameters
    ----------
    partial : Path
        From :func:`stage_folder`; may hold further files.
    target : Path
        The name it gets.
    form, version : str, int
        ``format`` and ``format_version`` of the card.
    facts : mapping
        JSON-able content of the card.
    arrays : mapping of str to ndarray
        The weights.
    """
    from safetensors.numpy import save_file

    # ascontiguousarray makes a number an array of one.
    whole = {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in arrays.items()}
    save_file(whole, partial / WEIGHTS)
    card = {"format": form, "format_version": version, **facts}
    card["weights_sha256"] = _sha256(partial / WEIGHTS)
    card["digest"] = _digest(card)
    (partial / CARD).write_text(json.dumps(card, indent=2) + "\n")
    _rename(partial, target)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder so that the copy is whole or not there.

    Parameters
    ----------
    source : Path
        What to copy.
    target : Path
        From :func:`claim_folder`.

    Raises
    ------
    ModelError
        If the source is not there any more.
    """
    require_folder(source)
    partial = stage_folder(target)
    # Not the pixels it was trained on, which may lie beside the weights.
    ignored = shutil.ignore_patterns("*.zarr*")
    try:
        shutil.copytree(source, partial, dirs_exist_ok=True, ignore=ignored)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _rename(partial, target)


def require_folder(folder: Path) -> None:
    """Refuse to go on where a folder that was opened has been moved or removed since.

    Parameters
    ----------
    folder : Path
        Of a model or segmenter.

    Raises
    ------
    ModelError
        If its card or weights are not there.
    """
    if not all((folder / name).is_file() for name in (WEIGHTS, CARD)):
        raise ModelError(
            problem(
                expected="the folder from which this was loaded, with its weights and card",
                received=f"{folder}, which is not there any more",
                do="load it again from where it lies now, as by xc.load_model(path)",
            )
        )


def pack_folder(folder: Path) -> dict[str, bytes]:
    """Read the files that make a folder what it is.

    Parameters
    ----------
    folder : Path
        As :func:`read_folder` takes it.

    Returns
    -------
    dict of str to bytes
        By file name, the card last: without it the rest is no whole folder.
    """
    return {name: (folder / name).read_bytes() for name in (WEIGHTS, CARD)}


def unpack_folder(files: Mapping[str, bytes], target: Path) -> None:
    """Write a folder; several processes may write the same one at once, over a damaged one too.

    Parameters
    ----------
    files : mapping of str to bytes
        From :func:`pack_folder`.
    target : Path
        What it shall be; may exist.
    """
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=target.parent) as partial:
        for name, content in files.items():
            (Path(partial) / name).write_bytes(content)
        # Files, not the folder: a file takes the place of another in one step, so that nobody
        # finds nothing where a whole folder was a moment before.
        for name in files:
            (Path(partial) / name).replace(target / name)


def read_folder(folder: Path, *, form: str, version: int) -> dict[str, Any]:
    """Read and check the card of a folder that xcontrast wrote.

    Parameters
    ----------
    folder : Path
        With ``card.json`` and ``weights.safetensors``.
    form : str
        Expected ``format`` of the card.
    version : int
        Newest ``format_version`` that can be read.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ModelError
        If a file is missing, the card is not ours or is newer, or anything was changed.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / CARD).read_text())
        ours = isinstance(facts, dict) and facts.get("format") == form
    except (OSError, ValueError):
        ours = False
    if not ours or not (folder / WEIGHTS).is_file():
        raise ModelError(
            problem(
                expected=f"a folder with weights.safetensors and a card.json of format {form!r}",
                received=str(folder),
                do="give the folder that xcontrast wrote",
            )
        )
    if facts.get("format_version", 0) > version:
        raise ModelError(
            problem(
                expected=f"format version {version} or older",
                received=f"version {facts['format_version']} in {folder}",
                do="upgrade xcontrast",
            )
        )
    if facts.get("weights_sha256") != _sha256(folder / WEIGHTS):
        raise _damaged(folder, "weights that do not match their checksum")
    if facts.get("digest") != _digest(facts):
        raise _damaged(folder, "a card that does not match its digest")
    return facts


def form_of(folder: Path) -> str:
    """Give the ``format`` that a folder's card states; empty if it states none."""
    try:
        return str(json.loads((folder / CARD).read_text()).get("format", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def holds(folder: Path, digest: str) -> bool:
    """Say whether a folder is whole and of a digest, whatever kind of thing it holds."""
    try:
        facts = json.loads((folder / CARD).read_text())
        weights = _sha256(folder / WEIGHTS)
    except (OSError, ValueError):
        return False
    whole = isinstance(facts, dict) and facts.get("weights_sha256") == weights
    return whole and digest == facts.get("digest") == _digest(facts)


def _find_cache() -> Path:
    from platformdirs import user_cache_path

    return Path(os.environ.get("XCONTRAST_CACHE") or user_cache_path("xcontrast")) / "models"


def _rename(partial: Path, target: Path) -> None:
    if target.is_dir():
        for kept in target.iterdir():  # What claim_folder let be there.
            kept.rename(partial / kept.name)
        target.rmdir()  # A rename needs the name free.
    partial.rename(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(facts: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in facts.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _damaged(folder: Path, what: str) -> ModelError:
    return ModelError(
        problem(
            expected="a folder as xcontrast wrote it",
            received=f"{folder}, with {what}",
            do="copy the folder again from where it was made; do not edit it by hand",
        )
    )
