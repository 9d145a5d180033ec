"""Two sensors' arrays become one cube: on one grid, in one order, each coord under its own name."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2

__all__ = ["join_sensors"]


def join_sensors(parts: list[xr.Dataset]) -> xr.Dataset:
    """Join the parts of one or both sensors.

    Places and dates of a collection are aligned by their coords. Dates that differ are taken in
    order, where both sensors have their own times; the coord ``date`` then says nothing and goes.

    Parameters
    ----------
    parts : list of Dataset
        A part a sensor, with the dims of a cube or a collection.

    Returns
    -------
    Dataset
        A cube or a collection. Coords that both sensors have under one name, and that differ, are
        ``s1_…`` and ``s2_…``.

    Raises
    ------
    DataError
        If they are not on one grid, or not of the same places and dates.
    """
    if len(parts) > 1:
        one, two = parts
        _check_grid(parts)
        for dim in ("location", "date"):
            one, two = _align(one, two, dim)
        parts = _tell_apart(one, two)
    cube = xr.merge(parts, compat="override", join="exact", combine_attrs="override")
    cube.attrs = {"title": "xcontrast cube"}
    return _name_axes(cube)


def _check_grid(parts: list[xr.Dataset]) -> None:
    one, two = parts
    same = all(one.sizes[d] == two.sizes[d] for d in ("y", "x"))
    for dim in ("y", "x"):
        if same and dim in one.coords and dim in two.coords:
            same = bool(np.array_equal(one[dim].values, two[dim].values))
    crs: list[Any] = [part.rio.crs for part in parts if "spatial_ref" in part.coords]
    same = same and (len(crs) < 2 or crs[0] == crs[1])
    if not same:
        boxes = [f"{p.sizes['y']} x {p.sizes['x']} px, {p.rio.crs}" for p in parts]
        raise DataError(
            problem(
                expected="both sensors on one grid",
                received=f"s1 {boxes[0]} and s2 {boxes[1]}",
                do="reproject one: s1.odc.reproject(s2.odc.geobox, resampling='bilinear')",
            )
        )


def _align(one: xr.Dataset, two: xr.Dataset, dim: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Bring both sensors' places, or dates, into one order."""
    there = [dim in part.dims for part in (one, two)]
    if not any(there) or (dim == "date" and not all(there)):
        return one, two  # One image of each place goes with all dates.
    own, other = one.indexes.get(dim), two.indexes.get(dim)
    if one.sizes.get(dim) == two.sizes.get(dim):
        if own is None or other is None or own.equals(other):
            return one, two
        if own.is_unique and other.is_unique and own.isin(other).all():
            return one, two.sel({dim: own})
        if dim == "date" and S1.time in one.coords and S2.time in two.coords:
            return one.drop_vars(dim), two.drop_vars(dim)
    told = [_tell(part, dim) for part in (one, two)]
    raise DataError(
        problem(
            expected=f"both sensors with the same {dim}s",
            received=f"s1 {told[0]} and s2 {told[1]}",
            do=f"select what both have, or leave out the coord of one, drop_vars({dim!r}), if "
            "they are in one order",
        )
    )


def _tell(part: xr.Dataset, dim: str) -> str:
    index = part.indexes.get(dim)
    first = f", the first {index[0]}" if index is not None and len(index) else ""
    return f"{part.sizes.get(dim, 'none')}{first}"


def _tell_apart(one: xr.Dataset, two: xr.Dataset) -> list[xr.Dataset]:
    """Give coords that differ the name of their sensor, as s1_relative_orbit has."""
    shared = [
        name
        for name in one.coords
        if name in two.coords and name not in one.dims and name != "spatial_ref"
    ]
    differing = [name for name in shared if not _same(one[name], two[name])]
    return [
        part.rename({n: f"{sensor.name}_{n}" for n in differing if n not in part.dims})
        for sensor, part in ((S1, one), (S2, two))
    ]


def _same(one: xr.DataArray, two: xr.DataArray) -> bool:
    # Lazy coords are not read to compare them.
    lazy = one.chunks is not None or two.chunks is not None
    alone = [coord.reset_coords(drop=True) for coord in (one, two)]
    return one.dims == two.dims and (lazy or alone[0].equals(alone[1]))


def _name_axes(cube: xr.Dataset) -> xr.Dataset:
    """Say the units of y and x in CF's words, where a CRS tells them and nothing else does."""
    known = all(d in cube.coords and "units" not in cube[d].attrs for d in ("y", "x"))
    if not known or cube.rio.crs is None:
        return cube
    named: xr.Dataset = cube.rio.write_coordinate_system()
    return named
