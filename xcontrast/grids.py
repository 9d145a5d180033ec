"""The grid of a result: the grid of its source, zoomed out by an integer stride."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

__all__ = ["zoom_out"]


def zoom_out(obj: xr.Dataset | xr.DataArray, stride: int) -> dict[str, Any]:
    """Give the coords of a grid whose cells are `stride` pixels a side.

    Parameters
    ----------
    obj : Dataset or DataArray (…, y, x)
        Georeferenced (``spatial_ref``) or not.
    stride : int
        Pixels a cell; the last row and column may reach beyond the source.

    Returns
    -------
    dict of str to coord
        ``y`` and ``x``, cell centres, and ``spatial_ref`` with the right GeoTransform where the
        source has a CRS. Without one, centres follow the source's regular ``y`` and ``x``, or
        its pixel numbers where it has none.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> zoom_out(xr.DataArray(np.zeros((5, 8)), dims=("y", "x")), 4)["y"].values
    array([1.5, 5.5])
    """
    if "spatial_ref" in obj.coords:
        from odc.geo.xr import xr_coords

        geobox = obj.odc.geobox
        if geobox is not None:
            coords = xr_coords(geobox.zoom_out(stride) if stride > 1 else geobox)
            return {str(name): coord for name, coord in coords.items()}
    return {dim: _centres(obj, dim, stride) for dim in ("y", "x")}


def _centres(obj: xr.Dataset | xr.DataArray, dim: str, stride: int) -> xr.DataArray:
    length = obj.sizes[dim]
    pixels = stride * np.arange(-(-length // stride)) + (stride - 1) / 2
    if dim not in obj.coords:
        return xr.DataArray(pixels, dims=dim)
    values = np.asarray(obj[dim].values, "float64")
    step = (values[-1] - values[0]) / (length - 1) if length > 1 else 1.0
    return xr.DataArray(values[0] + step * pixels, dims=dim, attrs=obj[dim].attrs)
