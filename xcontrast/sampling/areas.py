"""Which ground an area, a mask or weights mean, and which windows lie on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import are_close, order_alike
from xcontrast.sampling.windows import Indices, sum_table, window_sum

__all__ = ["choose_windows", "mark_area", "read_pair_weights", "read_weights"]

_ELSEWHERE = ", of other names, sizes or coords than the grid's y and x"


def choose_windows(
    pairs: xr.Dataset,
    row: Indices,
    col: Indices,
    size: int,
    *,
    within: Any,
    weights: xr.DataArray | None,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Choose the windows of which at least half lies in an area and whose weight is not zero.

    Parameters
    ----------
    pairs : Dataset
        With the grid.
    row, col : ndarray (n,), intp
        First row and column of each window.
    size : int
        Side, pixels.
    within, weights
        As for :func:`xcontrast.chips`.

    Returns
    -------
    tuple of ndarray (n,)
        Which are kept, bool; the mean weight of each, float32.
    """
    kept = np.ones(len(row), bool)
    weight = np.ones(len(row), np.float32)
    if within is not None:
        inside = window_sum(sum_table(mark_area(pairs, within)), row, col, size)
        kept &= inside >= size**2 / 2
    if weights is not None:
        total = window_sum(sum_table(read_weights(pairs, weights)), row, col, size)
        weight = (total / size**2).astype(np.float32)
        kept &= weight > 0
    return kept, weight


def mark_area(pairs: xr.Dataset, within: Any) -> npt.NDArray[np.bool_]:
    """Mark the pixels of an area on the grid of pairs.

    Parameters
    ----------
    pairs : Dataset
        With dims y and x; georeferenced, unless `within` is an array.
    within : DataArray, tuple or geometry
        A bool DataArray (y, x) on the grid, by its coords where it has any;
        ``(west, south, east, north)`` in degrees; anything with ``__geo_interface__``, in degrees;
        or a GeoDataFrame or GeoSeries in its own CRS.

    Returns
    -------
    ndarray (y, x), bool
        Pixels whose middle lies within.

    Raises
    ------
    DataError
        If it is none of these, not on the grid, or there is no CRS to place it by.
    """
    shape = (pairs.sizes["y"], pairs.sizes["x"])
    if isinstance(within, xr.DataArray):
        placed = _place(within, pairs)
        if placed is None or within.dtype != bool:
            raise DataError(
                problem(
                    expected=f"a bool DataArray (y, x) of {shape[0]} x {shape[1]} pixels",
                    received=f"dims {dict(within.sizes)} of {within.dtype}"
                    + (_ELSEWHERE if placed is None else ""),
                    do="bring it onto the grid, and compare: mask = labels == 1",
                )
            )
        return np.asarray(placed.values)
    import odc.geo.xr  # noqa: F401  (registers .odc)
    from rasterio.features import geometry_mask

    grid = pairs.odc.geobox
    shapes = _to_shapes(within)
    if grid is None or grid.crs is None or shapes is None or not len(shapes):
        raise DataError(
            problem(
                expected="within as a bool DataArray, a box in degrees, or a geometry; and pairs "
                "with a CRS",
                received=f"{type(within).__name__}, and pairs "
                f"{'without a CRS' if grid is None or grid.crs is None else 'on a grid'}",
                do="give a GeoDataFrame, a shapely geometry or (west, south, east, north)",
            )
        )
    placed = shapes.to_crs(str(grid.crs))
    marked: npt.NDArray[np.bool_] = geometry_mask(
        list(placed.geometry), shape, grid.affine, invert=True
    )
    return marked


def _place(array: xr.DataArray, pairs: xr.Dataset) -> xr.DataArray | None:
    """Bring an array onto the grid of pairs, by its coords where it has any; None if it is not."""
    if set(array.dims) != {"y", "x"}:
        return None
    for axis in ("y", "x"):
        if array.sizes[axis] != pairs.sizes[axis]:
            return None
        if axis not in array.coords or axis not in pairs.coords:
            continue
        if not are_close(array[axis], pairs[axis]):
            # The other way round, as a north-up grid and a map of rising latitudes.
            array = array.isel({axis: slice(None, None, -1)})
            if not are_close(array[axis], pairs[axis]):
                return None
    return array.transpose("y", "x")


def _to_shapes(within: Any) -> Any:
    """Give a GeoSeries; None where it is none."""
    import geopandas
    import shapely

    if isinstance(within, geopandas.GeoDataFrame | geopandas.GeoSeries):
        return within.geometry if within.crs is not None else within.geometry.set_crs(4326)
    if isinstance(within, tuple | list) and len(within) == 4:
        return geopandas.GeoSeries([shapely.box(*within)], crs=4326)
    if hasattr(within, "__geo_interface__"):
        return geopandas.GeoSeries([shapely.geometry.shape(within)], crs=4326)
    return None


def read_weights(pairs: xr.Dataset, weights: xr.DataArray) -> npt.NDArray[np.float64]:
    """Read the weights of pixels.

    Parameters
    ----------
    pairs : Dataset
        With dims y and x.
    weights : DataArray (y, x)
        On the same grid, 0 or more.

    Returns
    -------
    ndarray (y, x), float64
        0 where unknown.

    Raises
    ------
    DataError
        If they are not on the grid, or negative.
    """
    shape = (pairs.sizes["y"], pairs.sizes["x"])
    placed = _place(weights, pairs) if isinstance(weights, xr.DataArray) else None
    if placed is not None:
        values: npt.NDArray[np.float64] = np.nan_to_num(placed.values.astype(float))
        if (values >= 0).all():
            return values
    raise DataError(
        problem(
            expected=f"weights (y, x) of {shape[0]} x {shape[1]} pixels, or (pair), 0 or more",
            received=f"{type(weights).__name__} with {dict(getattr(weights, 'sizes', {}))}"
            + (_ELSEWHERE if placed is None else ", some negative"),
            do="make them on the grid: xr.where(land_cover == 80, 0.1, 1.0)",
        )
    )


def read_pair_weights(pairs: xr.Dataset, weights: xr.DataArray | None) -> npt.NDArray[np.float32]:
    """Read the weights of pairs.

    Parameters
    ----------
    pairs : Dataset
        With the dim pair.
    weights : DataArray (pair), optional
        Numbers or times, 0 or more.

    Returns
    -------
    ndarray (pair,), float32
        In shares of the largest; 0 where unknown, 1 without weights.

    Raises
    ------
    DataError
        If they are of other pairs, negative, or all 0.
    """
    n = pairs.sizes["pair"]
    if weights is None:
        return np.ones(n, np.float32)
    if "pair" in weights.indexes and "pair" in pairs.indexes:
        weights = order_alike(weights, pairs[["pair"]], what="weights")
    values = weights.values
    if values.dtype.kind == "m":
        values = values / np.timedelta64(1, "s")
    values = np.nan_to_num(values.astype(float))
    if len(values) == n and (values >= 0).all() and values.any():
        return np.asarray(values / values.max(), np.float32)
    raise DataError(
        problem(
            expected=f"weights of {n} pairs, 0 or more, not all 0",
            received=f"{len(values)} from {values.min():g} to {values.max():g}",
            do="take a coord of these pairs: weights=pairs.duration",
        )
    )
