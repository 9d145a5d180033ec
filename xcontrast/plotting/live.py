"""The curves of a training that is going on: under the cell of a notebook, and in a file."""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xcontrast.plotting.training import plot_training
from xcontrast.progress import is_on

__all__ = ["CURVE", "Curve"]

CURVE = "training.png"
"""In the folder of a model, from the first look at held-out ground on."""
EVERY = 5.0
"""Seconds between two drawings, at least."""
SHARE = 0.02
"""Of a run's time that drawing may take."""


class Curve:
    """Draw the curves of a training as it goes.

    Parameters
    ----------
    folder : Path, optional
        Where ``training.png`` is written, whole each time, so that a run on a machine without a
        screen can be looked at; none without it.
    shown : bool
        Whether to show it in a notebook too, where there is one.
    """

    def __init__(self, folder: Path | None, *, shown: bool) -> None:
        self._path = None if folder is None else folder / CURVE
        self._shown = is_on(shown) and in_notebook()
        self._handle: Any = None
        self._next = 0.0

    def draw(self, rows: Sequence[Mapping[str, Any]], *, last: bool = False) -> None:
        """Draw what was logged, if the last drawing is long enough ago.

        Parameters
        ----------
        rows : sequence of mapping
            As :func:`plot_training` takes them.
        last : bool, default False
            However long ago that is.
        """
        began = time.monotonic()
        wanted = self._path is not None or self._shown
        if not wanted or not any("recall_at_1" in row for row in rows):
            return
        if began < self._next and not last:
            return
        image = _paint(pd.DataFrame(list(rows)))
        if self._path is not None and not _write(self._path, image):
            self._path = None
        if self._shown:
            self._show(image)
        now = time.monotonic()
        self._next = now + max(EVERY, (now - began) / SHARE)

    def _show(self, image: bytes) -> None:
        from IPython.display import Image, display

        if self._handle is None:
            self._handle = display(Image(image), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(Image(image))  # type: ignore[no-untyped-call]


def in_notebook() -> bool:
    """Say whether the process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return getattr(shell and shell.get_ipython(), "kernel", None) is not None


def _write(path: Path, image: bytes) -> bool:
    """Write a picture whole, and say whether it could be: a run is not ended for its picture."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(image)
        partial.replace(path)
    except OSError as error:
        warnings.warn(f"no more curves in {path}: {error}", stacklevel=3)
        return False
    return True


def _paint(history: pd.DataFrame) -> bytes:
    """Draw without pyplot, whose figures are the user's."""
    from matplotlib.figure import Figure

    n = 3 if "uniformity" in history else 2
    figure = Figure(figsize=(4.5 * n, 3.1), layout="constrained")
    plot_training(history, axes=figure.subplots(1, n))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
