"""Two sensors' arrays become one cube: on one grid, in one order, each coord under its own name."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["join_sensors"]


def join_sensors(parts: list[xr.Dataset]) -> xr.Dataset:
    """Join the parts of one or both sensors.

    Parameters
    ----------
    parts : list of Dataset
        A part a sensor, with the dims of a cube or a collection.

    Returns
    -------
    Dataset
        A cube or a collection.

    Raises
    ------
    DataError
        If they are not on one grid.
    """
    _check_grid(parts)
    cube = xr.merge(parts, compat="override", join="exact", combine_attrs="override")
    cube.attrs = {"title": "xcontrast cube"}
    return _name_axes(cube)


def _check_grid(parts: list[xr.Dataset]) -> None:
    if len(parts) < 2:
        return
    one, two = parts
    same = all(one.sizes[d] == two.sizes[d] for d in ("y", "x"))
    for dim in ("y", "x"):
        if same and dim in one.coords and dim in two.coords:
            same = bool(np.array_equal(one[dim].values, two[dim].values))
    crs: list[Any] = [part.rio.crs for part in parts if "spatial_ref" in part.coords]
    same = same and (len(crs) < 2 or crs[0] == crs[1])
    locations = [part.sizes.get("location") for part in parts]
    if not same or locations[0] != locations[1]:
        boxes = [f"{p.sizes['y']} x {p.sizes['x']} px, {p.rio.crs}" for p in parts]
        raise DataError(
            problem(
                expected="both sensors on one grid",
                received=f"s1 {boxes[0]} and s2 {boxes[1]}",
                do="reproject one: s1.odc.reproject(s2.odc.geobox, resampling='bilinear')",
            )
        )


def _name_axes(cube: xr.Dataset) -> xr.Dataset:
    """Say the units of y and x in CF's words, where a CRS tells them and nothing else does."""
    known = all(d in cube.coords and "units" not in cube[d].attrs for d in ("y", "x"))
    if not known or cube.rio.crs is None:
        return cube
    named: xr.Dataset = cube.rio.write_coordinate_system()
    return named
