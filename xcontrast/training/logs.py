"""What a run writes down as it goes: rows in memory, a CSV file, curves, TensorBoard."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xcontrast.errors import DataError, problem
from xcontrast.plotting.live import Curve

__all__ = ["LOG", "Log"]

LOG = "log.csv"
"""In the folder of a model that is still to be: what was logged so far."""


class Log:
    """One row a step, later ones with what was watched.

    Parameters
    ----------
    folder : Path, optional
        Where ``log.csv`` is written: step, name and value, line by line, so that it can be read
        while the run goes on.
    tensorboard : path, optional
        Folder for TensorBoard.
    curve : Curve, optional
        Drawn as the run goes.

    Raises
    ------
    DataError
        If TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        curve: Curve | None = None,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self._curve = curve
        self._path = None if folder is None else folder / LOG
        if self._path is not None:
            self._path.unlink(missing_ok=True)  # Of a run that failed, or rows to be taken up.
        self._writer = None if tensorboard is None else _open_tensorboard(tensorboard)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add values of a step, the last one or a new one.

        Parameters
        ----------
        step : int
            Counted from 1.
        values : mapping of str to float
            By name.
        """
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        self.rows[-1].update(values)
        if self._path is not None:
            new = not self._path.exists()
            with self._path.open("a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(("step", "name", "value"))
                writer.writerows((step, name, value) for name, value in values.items())
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def resume(self, rows: list[dict[str, Any]]) -> None:
        """Go on after rows of a run that was stopped; what came after them is forgotten.

        Parameters
        ----------
        rows : list of dict
            As they were in `rows`.
        """
        self.rows = []
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        for row in rows:
            self.add(row["step"], {name: value for name, value in row.items() if name != "step"})

    def draw(self) -> None:
        """Draw the curves anew, if it is time."""
        if self._curve is not None:
            self._curve.draw(self.rows)

    def close(self) -> None:
        """Write out what is not yet."""
        if self._curve is not None:
            self._curve.draw(self.rows, last=True)
        if self._writer is not None:
            self._writer.close()


def _open_tensorboard(folder: str | os.PathLike[str]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DataError(
            problem(
                expected="the package tensorboard, for options.tensorboard",
                received=f"none ({error})",
                do="pip install tensorboard, or leave the option out: log.csv in `out` has it all",
            )
        ) from error
    return SummaryWriter(os.fspath(folder))
