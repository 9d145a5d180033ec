"""Checkpoints of a run: written whole or not at all, and only taken up by the same run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xcontrast.errors import DataError, TrainingError, problem
from xcontrast.training.logs import LOG

__all__ = ["CHECKPOINT", "STOPPED", "Keeper", "find_checkpoint", "forget_failure", "forget_run"]

CHECKPOINT = "checkpoint.ckpt"
RUN = "run.json"
STOPPED = (CHECKPOINT, RUN, f".{CHECKPOINT}.partial", f".{RUN}.partial", LOG)
"""In the folder of a model that is still to be: where its run stands."""


class Keeper:
    """Writes a checkpoint after a step, every so many seconds.

    Parameters
    ----------
    folder : Path
        Where it is written, in place of the last one.
    seconds : float
        Least time between two.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._last = time.monotonic()

    def keep(self, trainer: Any) -> None:
        """Write one if it is time, or the last moment for it."""
        early = time.monotonic() - self._last < self._seconds
        if early and not trainer.received_sigterm:
            return
        partial = self._folder / f".{CHECKPOINT}.partial"
        trainer.save_checkpoint(partial)
        os.replace(partial, self._folder / CHECKPOINT)
        self._last = time.monotonic()


def find_checkpoint(folder: Path, run: Mapping[str, Any]) -> Path | None:
    """Find the checkpoint of a run that was stopped; without one, note which run begins.

    Parameters
    ----------
    folder : Path
        Of the model to be.
    run : mapping
        All that decides what the run does, JSON-able.

    Returns
    -------
    Path or None

    Raises
    ------
    DataError
        If another run was begun there.
    """
    stated: dict[str, Any] = json.loads(json.dumps(run))
    note = folder / RUN
    if note.is_file():
        old = json.loads(note.read_text())
        changed = [key for key in stated if old.get(key) != stated[key]]
        if changed:
            raise DataError(
                problem(
                    expected=f"the run that was begun in {folder}",
                    received="another one: "
                    + ", ".join(
                        f"{key}={stated[key]!r} (there {old.get(key)!r})" for key in changed
                    ),
                    do="call as then to go on with it, choose another `out`, or remove the folder",
                )
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{RUN}.partial"
        partial.write_text(json.dumps(stated, indent=2) + "\n")
        os.replace(partial, note)
    checkpoint = folder / CHECKPOINT
    return checkpoint if checkpoint.is_file() else None


def forget_run(folder: Path | None, *, but: str = "") -> None:
    """Remove what says where a run stands.

    Parameters
    ----------
    folder : Path, optional
        Of the model.
    but : str, optional
        Name of what stays.
    """
    for name in STOPPED:
        if folder is not None and name != but:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def forget_failure(folder: Path | None) -> Iterator[None]:
    """Forget a run that fails, so that the next call may be told otherwise; its log tells why.

    Parameters
    ----------
    folder : Path, optional
        Of the model to be.

    Notes
    -----
    What failed for another reason than its training, and has a checkpoint, is to be gone on with.
    """
    try:
        yield
    except Exception as error:
        lost = folder is not None and not (folder / CHECKPOINT).is_file()
        if lost or isinstance(error, TrainingError):
            forget_run(folder, but=LOG)
        raise
