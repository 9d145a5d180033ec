"""Grids: of a result, its source's zoomed out by an integer stride; and whether two are one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["are_close", "find_factors", "geobox_of", "order_alike", "positions_in", "zoom_out"]


def geobox_of(obj: xr.Dataset | xr.DataArray) -> Any:
    """Give the grid of what has a CRS, whatever the coord that states it is called.

    Parameters
    ----------
    obj : Dataset or DataArray (…, y, x)
        Georeferenced or not.

    Returns
    -------
    GeoBox or None
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)

    named = {own["grid_mapping"] for own in (obj.attrs, obj.encoding) if "grid_mapping" in own}
    if not named <= set(obj.coords):
        return None  # Of which odc would warn.
    box = obj.odc.geobox
    return box if box is not None and box.crs is not None else None


def positions_in(source: Any, target: Any, column: Any, row: Any) -> tuple[Any, Any]:
    """Give where positions on one grid lie on another.

    Parameters
    ----------
    source, target : GeoBox
        Of any CRS.
    column, row : ndarray
        On `target`, in its cells, from the outer edge of its first.

    Returns
    -------
    tuple of ndarray
        Row and column on `source`; infinite if nowhere.
    """
    a, b, c, d, e, f = tuple(target.affine)[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    if source.crs != target.crs:
        x, y = (np.asarray(v) for v in target.crs.transformer_to_crs(source.crs)(x, y))
    a, b, c, d, e, f = tuple(~source.affine)[:6]
    with np.errstate(invalid="ignore"):
        return d * x + e * y + f, a * x + b * y + c


def find_factors(fine: xr.DataArray | xr.Dataset, cells: xr.DataArray | xr.Dataset) -> list[int]:
    """Find how many pixels a side the cells have that were made of a grid, without a CRS.

    The last row and column of cells may be partial, so that several factors can fit: the cells'
    own stride is the one if it does, or else the one that leaves no partial cell. Where both have
    ``y`` and ``x``, these must agree.

    Parameters
    ----------
    fine, cells : DataArray or Dataset (…, y, x)
        Pixels; and cells of them, with ``attrs["stride"]`` if it is known.

    Returns
    -------
    list of int
        One if it is certain, none if nothing fits.
    """
    spans = [(fine.sizes[dim], cells.sizes[dim]) for dim in ("y", "x")]
    least = max(-(-n // m) for n, m in spans)
    most = min(((n - 1) // (m - 1) for n, m in spans if m > 1), default=least)
    stride = int(cells.attrs.get("stride", 0))
    fitting = [stride] if least <= stride <= most else range(least, most + 1)
    agreeing = [n for n in fitting if _lie_on(fine, cells, n)]
    even = [n for n in agreeing if all(n * m == length for length, m in spans)]
    return even or agreeing


def _lie_on(fine: xr.DataArray | xr.Dataset, cells: xr.DataArray | xr.Dataset, n: int) -> bool:
    told = [d for d in ("y", "x") if d in fine.coords and d in cells.coords]
    return all(are_close(_centres(fine, d, n), cells[d]) for d in told)


def are_close(one: xr.DataArray, two: xr.DataArray) -> bool:
    """Say whether the coords of two axes agree to a tenth of a cell.

    Parameters
    ----------
    one, two : DataArray (n,)
        Of ``y`` or ``x``.

    Returns
    -------
    bool
    """
    own, other = (np.asarray(v.values, float) for v in (one, two))
    if own.shape != other.shape:
        return False
    step = abs(own[-1] - own[0]) / max(1, len(own) - 1) or 1.0
    return bool((np.abs(own - other) < 0.1 * step).all())


def order_alike(obj: xr.DataArray, like: xr.DataArray | xr.Dataset, *, what: str) -> xr.DataArray:
    """Bring the leading dims of one array into the order of another, by what their coords say.

    Parameters
    ----------
    obj : DataArray
        Such as labels ``(location, y, x)``. What it does not have becomes NaN, what `like` does
        not have is left out.
    like : DataArray or Dataset
        In whose order. Dims without coords in either are taken in order.
    what : str
        What `obj` is, for errors.

    Returns
    -------
    DataArray

    Raises
    ------
    DataError
        If sizes differ and nothing says what belongs to what, or a value stands for several.

    Examples
    --------
    >>> import xarray as xr
    >>> truth = xr.DataArray([5, 6], {"location": ["b", "a"]}, ("location",))
    >>> order_alike(truth, truth[::-1], what="labels").values
    array([6, 5])
    """
    for dim in (d for d in obj.dims if d in like.dims and d not in ("y", "x")):
        own, wanted = obj.indexes.get(dim), like.indexes.get(dim)
        received = f"{obj.sizes[dim]} without coords"
        if own is None or wanted is None:
            if obj.sizes[dim] == like.sizes[dim]:
                continue
        elif own.equals(wanted):
            continue
        elif not (own.is_unique and wanted.is_unique):
            received = "values that stand for several"
        elif wanted.isin(own).any():
            obj = obj.reindex({dim: wanted})
            continue
        else:
            received = "others"
        raise DataError(
            problem(
                expected=f"{what} for the {like.sizes[dim]} of {dim!r}, in their order or with "
                "coords that name each once",
                received=received,
                do=f"give {what} for each, or assign the same coords along {dim!r} to both",
            )
        )
    return obj


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
            coords = xr_coords(geobox.zoom_out(stride) if stride > 1 else geobox, dims=("y", "x"))
            return {str(name): coord for name, coord in coords.items()}
    bare: dict[str, Any] = {dim: _centres(obj, dim, stride) for dim in ("y", "x")}
    if "spatial_ref" in obj.coords:
        # A single row of pixels tells no grid, but its CRS is known.
        bare["spatial_ref"] = obj["spatial_ref"]
    return bare


def _centres(obj: xr.Dataset | xr.DataArray, dim: str, stride: int) -> xr.DataArray:
    length = obj.sizes[dim]
    pixels = stride * np.arange(-(-length // stride)) + (stride - 1) / 2
    if dim not in obj.coords:
        return xr.DataArray(pixels, dims=dim)
    values = np.asarray(obj[dim].values, "float64")
    step = _step(obj, dim)
    return xr.DataArray(values[0] + step * pixels, dims=dim, attrs=obj[dim].attrs)


def _step(obj: xr.Dataset | xr.DataArray, dim: str) -> float:
    """Give the step from pixel to pixel; a single one is taken to be square."""
    north_up = -1 if "spatial_ref" in obj.coords else 1
    for own, sign in ((dim, 1), ("x" if dim == "y" else "y", north_up)):
        if own in obj.coords and obj.sizes[own] > 1:
            ends = np.asarray(obj[own].values, "float64")[[0, -1]]
            return float(sign * (ends[1] - ends[0]) / (obj.sizes[own] - 1))
    return 1.0
