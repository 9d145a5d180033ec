"""Pixels of pairs as int16, block by block, each source chunk read once.

Letters: P pairs, D dates (seasonal pairs alone), Y X the grid, S a chip's side, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from xcontrast.sampling.windows import Indices
from xcontrast.sensors import STORED_NODATA, Sensor

__all__ = [
    "Block",
    "cut_windows",
    "find_scale",
    "group_pairs",
    "read_blocks",
    "view_windows",
]


Stored = npt.NDArray[np.int16]

BLOCK_BYTES = 256e6
"""Of one block in memory, as int16."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of some pairs' images."""

    group: slice
    """Positions among the pairs asked for."""
    row: int
    """First row."""
    stored: Stored
    """(P, [D,] rows, X, C)."""


def find_scale(values: xr.DataArray, sensor: Sensor) -> float:
    """Give the step of the int16 form, in the units of `values`.

    Parameters
    ----------
    values : DataArray
        Of one sensor.
    sensor : Sensor
        Which.

    Returns
    -------
    float
        The sensor's own step where the units are known; else one with which the largest value
        fits, for which all are read.
    """
    if values.attrs.get("units") == sensor.units:
        return sensor.stored_scale
    # What is infinite is stored as invalid, and says nothing of the others.
    largest = float(np.abs(values.where(np.isfinite(values))).max())
    return largest / 30_000 if largest > 0 else 1.0


def group_pairs(values: xr.DataArray, pairs: Indices, n_bytes: float) -> list[slice]:
    """Group pairs that are read together: those of one source chunk, as many as fit.

    Parameters
    ----------
    values : DataArray (pair, ...)
        Of one sensor.
    pairs : ndarray (n,), intp
        Which are read, rising.
    n_bytes : float
        Of one pair's image.

    Returns
    -------
    list of slice
        Of `pairs`.
    """
    most = max(1, int(BLOCK_BYTES // max(n_bytes, 1)))
    chunk = pairs
    if values.chunks is not None:
        chunk = np.searchsorted(np.cumsum(_chunks_of(values, "pair")), pairs, side="right")
    groups, begin = [], 0
    while begin < len(pairs):
        end = begin + most
        # Not across a chunk, unless one alone is too large.
        borders = np.flatnonzero(np.diff(chunk[begin : end + 1])) + 1
        if end < len(pairs) and len(borders):
            end = begin + int(borders[-1])
        groups.append(slice(begin, min(end, len(pairs))))
        begin = end
    return groups


def read_blocks(
    values: xr.DataArray, sensor: Sensor, pairs: Indices, scale: float, groups: Sequence[slice]
) -> Iterator[Block]:
    """Read the images of pairs, group by group and from north to south.

    Parameters
    ----------
    values : DataArray (pair, [date,] band, y, x)
        Of one sensor; lazy or not.
    sensor : Sensor
        Which.
    pairs : ndarray (n,), intp
        Which are read.
    scale : float
        Of :func:`find_scale`.
    groups : sequence of slice
        Of :func:`group_pairs`, those that are still to be read.

    Yields
    ------
    Block
        All rows where they fit, else as many chunks of rows as do.
    """
    dims = [dim for dim in ("pair", "date", "y", "x") if dim in values.dims]
    stored = xr.apply_ufunc(
        to_stored,
        values.transpose(*dims, sensor.band),
        kwargs={"scale": scale},
        dask="parallelized",
        output_dtypes=[np.int16],
    )
    for group in groups:
        own = stored.isel(pair=pairs[group])
        for rows in _strips(own):
            yield Block(group, rows.start, own.isel(y=rows).values)


def _strips(stored: xr.DataArray) -> list[slice]:
    height = stored.sizes["y"]
    most = max(1, int(BLOCK_BYTES // max(stored.nbytes / height, 1)))
    if most >= height or stored.chunks is None:
        return [slice(0, height)]
    strips, begin = [], 0
    borders = np.cumsum(_chunks_of(stored, "y"))
    while begin < height:
        fits = borders[(borders > begin) & (borders <= begin + most)]
        end = int(fits[-1] if len(fits) else borders[borders > begin][0])
        strips.append(slice(begin, end))
        begin = end
    return strips


def _chunks_of(values: xr.DataArray, dim: str) -> tuple[int, ...]:
    """Give the chunks of the values alone: chunksizes counts those of lazy coords too."""
    return dict(zip(values.dims, values.variable.chunks or (), strict=True))[dim]


def to_stored(values: npt.NDArray[Any], scale: float) -> Stored:
    """Give values as int16 steps; -32768 where they are not finite."""
    steps = np.asarray(values / np.float32(scale), np.float32)
    np.clip(np.rint(steps, out=steps), STORED_NODATA + 1, 32_767, out=steps)
    gaps = ~np.isfinite(values)
    if gaps.any():
        steps[gaps] = STORED_NODATA
    return steps.astype(np.int16)


def view_windows(images: Stored, size: int) -> Stored:
    """View all windows: (P, [D,] Y, X, C) -> (P, [D,] Y - S + 1, X - S + 1, S, S, C), no copy."""
    return np.moveaxis(sliding_window_view(images, (size, size), axis=(-3, -2)), -3, -1)


def cut_windows(
    blocks: Iterator[Block], image: Indices, row: Indices, col: Indices, size: int
) -> Iterator[tuple[slice, Indices, Stored]]:
    """Cut windows from blocks as soon as all of their rows are read.

    Parameters
    ----------
    blocks : iterator of Block
        From :func:`read_blocks`.
    image : ndarray (n,), intp
        Position of each window's pair among those read.
    row, col : ndarray (n,), intp
        First row and column of each.
    size : int
        Side, pixels.

    Yields
    ------
    tuple of slice, ndarray and ndarray
        The group; which windows; their pixels ``(k, [D,] S, S, C)``.
    """
    begun: slice | None = None
    tail: Stored = np.empty((0, 0, 0, 0), np.int16)
    left: Indices = np.empty(0, np.intp)
    for block in blocks:
        rows, first = block.stored, block.row
        if block.group != begun:
            begun = block.group
            left = np.flatnonzero((image >= begun.start) & (image < begun.stop))
        elif tail.size:
            rows, first = np.concatenate([tail, rows], axis=-3), first - tail.shape[-3]
        done = row[left] + size <= first + rows.shape[-3]
        which, left = left[done], left[~done]
        if len(which):
            view = view_windows(rows, size)
            # An index each for pair, row and column; all dates of a seasonal pair.
            at = (image[which] - begun.start, row[which] - first, col[which])
            yield begun, which, view[at] if view.ndim == 6 else view[at[0], :, at[1], at[2]]
        # Rows that windows across the border still need.
        keep = int(row[left].min() - first) if len(left) else rows.shape[-3]
        tail = rows[..., max(0, keep) :, :, :]
