"""Pixels of chips at rest: int16, one block a chip, in memory or in a Zarr store.

Letters: n chips, D dates (seasonal pairs alone), S a chip's side, C bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import SourceError, problem
from xcontrast.sampling.windows import Indices
from xcontrast.sensors import SENSORS, STORED_NODATA, Sensor

__all__ = ["Pixels"]


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of chips, cut out already."""

    arrays: Mapping[str, Any]
    """For each sensor ``(n, [D,] S, S, C)`` int16: an ndarray or a Zarr array."""
    scale: Mapping[str, float]
    """For each sensor, units of one step."""
    attrs: Mapping[str, Mapping[str, Any]]
    """For each sensor, the attributes of its variable."""
    slot: Indices
    """Where each chip is in the arrays, shape (n,)."""
    chunk: int | None = None
    """Chips of a chunk on disk; None in memory."""
    place: str = "memory"
    """Where they are, for people."""

    @property
    def sensors(self) -> list[Sensor]:
        """The sensors that each chip holds."""
        return [sensor for sensor in SENSORS if sensor.name in self.arrays]

    @property
    def n_chunks(self) -> int:
        """Chunks on disk; 0 in memory."""
        length = next(iter(self.arrays.values())).shape[0]
        return -(-length // self.chunk) if self.chunk else 0

    def take(self, which: npt.NDArray[Any]) -> Pixels:
        """Keep some chips; nothing is read or copied."""
        return replace(self, slot=self.slot[which])

    def read(self, name: str, slots: slice | Indices) -> npt.NDArray[np.int16]:
        """Read the pixels of some chips.

        Parameters
        ----------
        name : str
            Of the sensor.
        slots : slice or ndarray of int
            Where they are; each chunk is read once.

        Returns
        -------
        ndarray (k, [D,] S, S, C), int16

        Raises
        ------
        SourceError
            If the store is damaged.
        """
        array = self.arrays[name]
        if isinstance(slots, slice) or self.chunk is None:
            return self._get(name, slots)
        pixels = np.empty((len(slots), *array.shape[1:]), np.int16)
        chunk = slots // self.chunk
        for number in np.unique(chunk):
            own = np.flatnonzero(chunk == number)
            first = int(number) * self.chunk
            block = self._get(name, slice(first, first + self.chunk))
            pixels[own] = block[slots[own] - first]
        return pixels

    def _get(self, name: str, slots: slice | Indices) -> npt.NDArray[np.int16]:
        try:
            return np.asarray(self.arrays[name][slots])
        except (OSError, ValueError, RuntimeError) as error:
            raise SourceError(
                problem(
                    expected=f"whole chips of {name} in {self.place}",
                    received=f"{type(error).__name__}: {error}",
                    do="remove the store and save the chips again",
                )
            ) from error

    def variables(self, slot: int) -> dict[str, xr.Variable]:
        """Read one chip as variables.

        Parameters
        ----------
        slot : int
            Where it is.

        Returns
        -------
        dict of str to Variable
            ``([date,] band, y, x)`` float32, NaN where invalid.
        """
        read = {}
        for sensor in self.sensors:
            stored = self._get(sensor.name, slice(slot, slot + 1))[0]
            values = np.where(
                stored == STORED_NODATA,
                np.float32(np.nan),
                stored * np.float32(self.scale[sensor.name]),
            )
            dims = [*(["date"] if stored.ndim == 4 else []), sensor.band, "y", "x"]
            attrs = dict(self.attrs[sensor.name])
            read[sensor.name] = xr.Variable(dims, np.moveaxis(values, -1, -3), attrs)
        return read
