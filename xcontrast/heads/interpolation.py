"""Probabilities on a finer or another grid: bilinear, exact, and the same whatever the blocks.

Reprojection block by block through GDAL leaves seams, as it crops the source to each block and
approximates the transform; here each output block takes the cells it needs and a margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["ToCells", "interpolate"]

ToCells: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]
"""From (column, row) of pixels to (row, column) of cells, counted from the grid's corner."""
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
BLOCK = 1024
"""Side of an output block, pixels."""


def interpolate(values: Any, to_cells: ToCells, shape: tuple[int, int]) -> Any:
    """Interpolate cells at the centres of pixels.

    Parameters
    ----------
    values : numpy or dask array (…, y, x) float32
        Cells, NaN = invalid.
    to_cells : callable
        Where a pixel lies among the cells; not finite for nowhere.
    shape : (int, int)
        Rows and columns of pixels.

    Returns
    -------
    numpy or dask array (…, *shape) float32
        Invalid neighbours take no part. NaN where the pixel's own cell is invalid or missing.
    """
    if isinstance(values, np.ndarray):
        return _interpolate(values, to_cells, (0, 0), (0, 0), shape)
    import dask.array as da

    rows = []
    for top in range(0, shape[0], BLOCK):
        row = []
        for left in range(0, shape[1], BLOCK):
            size = (min(BLOCK, shape[0] - top), min(BLOCK, shape[1] - left))
            row.append(_lazy_block(values, to_cells, (top, left), size))
        rows.append(da.concatenate(row, axis=-1))
    return da.concatenate(rows, axis=-2)


def _lazy_block(
    values: Any, to_cells: ToCells, origin: tuple[int, int], size: tuple[int, int]
) -> Any:
    import dask.array as da

    window = _window(to_cells, origin, size, values.shape[-2:])
    if window is None:
        chunks = (*values.chunks[:-2], *size)
        return da.full((*values.shape[:-2], *size), np.nan, dtype=np.float32, chunks=chunks)
    part = values[(..., *window)]
    part = part.rechunk({part.ndim - 2: -1, part.ndim - 1: -1})
    return part.map_blocks(
        _interpolate,
        to_cells=to_cells,
        corner=tuple(w.start for w in window),
        origin=origin,
        size=size,
        chunks=(*part.chunks[:-2], (size[0],), (size[1],)),
        dtype=np.float32,
        meta=np.empty((0,) * part.ndim, np.float32),
    )


def _window(
    to_cells: ToCells, origin: tuple[int, int], size: tuple[int, int], cells: tuple[int, int]
) -> tuple[slice, slice] | None:
    """Find the cells that a block of pixels needs, from a mesh of 33 x 33 points over it."""
    across, down = (
        np.linspace(o, o + n, 33) for o, n in zip(origin[::-1], size[::-1], strict=True)
    )
    window = []
    for at, n in zip(to_cells(*np.meshgrid(across, down)), cells, strict=True):
        at = at[np.isfinite(at)]
        if not at.size or at.min() >= n or at.max() <= 0:
            return None
        # A map projection bends little between the points of the mesh: 5 % are ample.
        margin = 2 + 0.05 * np.ptp(at)
        window.append(
            slice(max(0, math.floor(at.min() - margin)), min(n, math.ceil(at.max() + margin)))
        )
    return window[0], window[1]


def _interpolate(
    values: Floats,
    to_cells: ToCells,
    corner: tuple[int, int],
    origin: tuple[int, int],
    size: tuple[int, int],
) -> Floats:
    """Interpolate one block; `values` starts at cell `corner`, the block at pixel `origin`."""
    across, down = (np.arange(n) + o + 0.5 for o, n in zip(origin[::-1], size[::-1], strict=True))
    row, column = to_cells(*np.meshgrid(across, down))
    rows, row_share, row_in = _neighbours(row - corner[0], values.shape[-2])
    columns, column_share, column_in = _neighbours(column - corner[1], values.shape[-1])
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0)
    total = np.zeros((*values.shape[:-2], *size), np.float32)
    weight = np.zeros_like(total)
    own = np.zeros(total.shape, bool)
    for i in (0, 1):
        for j in (0, 1):
            share = np.abs(1 - i - row_share) * np.abs(1 - j - column_share)
            at = (..., rows[i], columns[j])
            total += share * filled[at]
            weight += share * valid[at]
            # The pixel's own cell is the one whose centre is nearest.
            nearest = ((row_share >= 0.5) == bool(i)) & ((column_share >= 0.5) == bool(j))
            own |= nearest & valid[at]
    own &= row_in & column_in
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = np.where(own, total / weight, np.nan).astype(np.float32)
    return out


def _neighbours(position: Any, n: int) -> tuple[tuple[Any, Any], Any, Any]:
    """Give both neighbouring cells along one axis, the share of the second, and who is inside.

    Beyond the centres of the outermost cells the value is theirs.
    """
    inside = np.isfinite(position) & (position >= 0) & (position < n)
    centre = np.clip(np.where(inside, position, 0) - 0.5, 0, n - 1)
    low = np.floor(centre).astype(np.intp)
    share = (centre - low).astype(np.float32)
    return (low, np.minimum(low + 1, n - 1)), share, inside
