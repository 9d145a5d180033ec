"""Where windows lie on a grid, and sums over them: arrays only."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

__all__ = ["Indices", "lay_windows", "sum_table", "window_sum"]

Indices = npt.NDArray[np.intp]


def lay_windows(length: int, size: int, stride: int, edges: Literal["shift", "drop"]) -> Indices:
    """Lay windows along one dim; xbatcher decides where.

    Parameters
    ----------
    length, size, stride : int
        Of the dim, a window, and the step between two; pixels.
    edges : {"shift", "drop"}
        What becomes of the last pixels that no whole window reaches: one more window, shifted back
        to the edge, or nothing.

    Returns
    -------
    ndarray (n,), intp
        First pixel of each window.

    Examples
    --------
    >>> lay_windows(10, 4, 4, "shift"), lay_windows(10, 4, 4, "drop")
    (array([0, 4, 6]), array([0, 4]))
    """
    from xbatcher import BatchGenerator

    line = xr.Dataset({"start": ("line", np.arange(length))})
    windows = BatchGenerator(line, input_dims={"line": size}, input_overlap={"line": size - stride})
    starts = [int(window["start"][0]) for window in windows]
    # xbatcher leaves partial windows out.
    if edges == "shift" and starts[-1] + size < length:
        starts.append(length - size)
    return np.asarray(starts, np.intp)


def sum_table(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the sums of all windows from the corner: one more row and column than `values`.

    Parameters
    ----------
    values : ndarray (y, x), bool or float
        What is summed.

    Returns
    -------
    ndarray (y + 1, x + 1), int64 or float64
    """
    kind = np.int64 if values.dtype == bool else np.float64
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), kind)
    np.cumsum(np.cumsum(values, axis=0, dtype=kind), axis=1, out=table[1:, 1:])
    return table


def window_sum(table: npt.NDArray[Any], row: Indices, col: Indices, size: int) -> npt.NDArray[Any]:
    """Sum over square windows, whatever their size, by four looks into a table.

    Parameters
    ----------
    table : ndarray
        Of `sum_table`.
    row, col : ndarray (n,), intp
        First row and column of each window; what lies outside the grid counts nothing.
    size : int
        Side, pixels.

    Returns
    -------
    ndarray (n,)
    """
    top, bottom = (edge.clip(0, table.shape[0] - 1) for edge in (row, row + size))
    left, right = (edge.clip(0, table.shape[1] - 1) for edge in (col, col + size))
    total: npt.NDArray[Any] = (
        table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    )
    return total
