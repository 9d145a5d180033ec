"""Embeddings at points: windows around them alone are read and encoded, not the cube.

Near points share a window where that is fewer pixels than one each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.blocks import Pieces, Window, map_windows
from xcontrast.errors import DataError, problem

__all__ = ["Place", "find_cells", "plan_windows", "take_cells"]

SIDE = 2048
"""Of a window without its halo, pixels, at most."""

Cells = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Place:
    """A window without its halo, and the cells that are wanted of it."""

    row: int
    """First row, pixels."""
    col: int
    height: int
    """Pixels."""
    width: int
    cells: Cells
    """(n,): which of the wanted cells lie in it."""


@dataclass(frozen=True)
class _Pick:
    """A kernel of a whole window, of whose cells some are taken."""

    kernel: Callable[[Window, Pieces], npt.NDArray[np.float32]]
    rows: Cells
    cols: Cells

    def __call__(self, window: Window, pieces: Pieces) -> npt.NDArray[np.float32]:
        return self.kernel(window, pieces)[..., self.rows, self.cols]


def find_cells(array: xr.DataArray, points: Any, *, stride: int) -> Cells:
    """Find the cells of an embedding that hold points.

    Parameters
    ----------
    array : DataArray (…, y, x)
        Georeferenced pixels.
    points : GeoDataFrame, GeoSeries or anything with ``__geo_interface__``
        Points in the CRS that they state, or in the array's.
    stride : int
        Pixels a cell.

    Returns
    -------
    ndarray (2, n), intp
        Row and column of each point's cell.

    Raises
    ------
    DataError
        If the array has no CRS, or something is not a point or lies outside.
    """
    import geopandas
    import odc.geo.xr  # noqa: F401  (registers .odc)

    box = array.odc.geobox if "spatial_ref" in array.coords else None
    if box is None or box.crs is None:
        raise _wrong("a cube with a CRS", "one without", "georeference it (rio.write_crs)")
    shapes = getattr(points, "geometry", None)
    if not isinstance(shapes, geopandas.GeoSeries):
        if not hasattr(points, "__geo_interface__"):
            raise _wrong("points", f"a {type(points).__name__}", "give a GeoDataFrame of points")
        own = points.__geo_interface__
        features = own.get("features") or [{"geometry": own, "properties": {}}]
        shapes = geopandas.GeoDataFrame.from_features(features).geometry
    if shapes.crs is not None:
        shapes = shapes.to_crs(box.crs.to_wkt())
    if not len(shapes) or not (shapes.geom_type == "Point").all() or shapes.is_empty.any():
        kinds = sorted(set(map(str, shapes.geom_type))) or "nothing"
        raise _wrong("points", str(kinds), "give points, as labels.representative_point() makes")
    col, row = (~box.affine) * (shapes.x.to_numpy(), shapes.y.to_numpy())
    height, width = box.shape
    outside = ~((row >= 0) & (row < height) & (col >= 0) & (col < width))
    if outside.any():
        raise _wrong(
            "points inside the cube",
            f"{outside.sum()} of {len(outside)} outside of it",
            "clip them, as in points.clip(box), or open a larger cube; check their CRS",
        )
    return np.stack([row, col]).astype(np.intp) // stride


def plan_windows(cells: Cells, *, stride: int, halo: int, step: int) -> list[Place]:
    """Cover cells with windows so that few pixels are read.

    Parameters
    ----------
    cells : ndarray (2, n), intp
        Rows and columns.
    stride, halo : int
        Pixels a cell, and read around a window.
    step : int
        Pixels that windows begin and end at multiples of.

    Returns
    -------
    list of Place
        Each cell in exactly one.
    """
    at = cells * stride // step
    large = at // max(1, SIDE // step)
    _, block = np.unique(large, axis=1, return_inverse=True)
    places = []
    for k in range(block.max() + 1):
        places += _divide(np.flatnonzero(block.ravel() == k), at, halo=halo, step=step)
    return places


def _divide(which: Cells, at: Cells, *, halo: int, step: int) -> list[Place]:
    """Take one window around cells, or the best of both halves where these are fewer pixels."""
    low, high = at[:, which].min(1), at[:, which].max(1) + 1
    (row, col), (height, width) = (low * step).tolist(), ((high - low) * step).tolist()
    one = Place(row, col, height, width, which)
    axis = int(np.argmax(high - low))
    middle = (low[axis] + high[axis]) // 2
    if high[axis] - low[axis] < 2:
        return [one]
    first = at[axis, which] < middle
    halves = [
        place
        for part in (first, ~first)
        for place in _divide(which[part], at, halo=halo, step=step)
    ]
    return halves if sum(_pixels(p, halo) for p in halves) < _pixels(one, halo) else [one]


def _pixels(place: Place, halo: int) -> int:
    return (place.height + 2 * halo) * (place.width + 2 * halo)


def take_cells(
    source: Any,
    kernel: Any,
    cells: Cells,
    places: list[Place],
    *,
    stride: int,
    halo: int,
    n_out: int | None,
) -> Any:
    """Apply a kernel of windows, and keep the wanted cells.

    Parameters
    ----------
    source : dask.array.Array (…, C, y, x)
    kernel : callable
        As for :func:`xcontrast.blocks.map_blocks_with_halo`.
    cells : ndarray (2, n), intp
        Rows and columns.
    places : list of Place
        From :func:`plan_windows`.
    stride, halo : int
        Pixels a cell, and read around a window.
    n_out : int or None
        Length of the result's second last dim; None when the kernel drops it.

    Returns
    -------
    dask.array.Array (…, n_out, n), float32
        Lazy.
    """
    from dask.base import tokenize

    jobs = []
    for place in places:
        window = Window(
            (place.row - halo, place.row + place.height + halo),
            (place.col - halo, place.col + place.width + halo),
            source.shape[-2:],
            halo,
            stride,
        )
        rows, cols = cells[:, place.cells] - np.array([[place.row], [place.col]]) // stride
        jobs.append((_Pick(kernel, rows, cols), window, len(rows)))
    name = f"embed-points-{tokenize(source.name, kernel, cells, stride, halo)}"
    values = map_windows(source, jobs, n_out=n_out, dtype="float32", name=name)
    order = np.argsort(np.concatenate([place.cells for place in places]))
    return values[..., order]


def _wrong(expected: str, received: str, do: str) -> DataError:
    return DataError(problem(expected=expected, received=received, do=do))
