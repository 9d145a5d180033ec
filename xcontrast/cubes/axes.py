"""Dims and CRS of a person's own arrays, under the names of the contract."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sensors import Sensor

__all__ = ["crs_of", "name_dims"]

SPATIAL = {
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}
LOCATIONS = ("location", "tile", "sample")


def name_dims(values: xr.DataArray, sensor: Sensor) -> xr.DataArray:
    """Give dims (location, date | time, band, y, x) under the names of the contract."""
    names = {str(dim).lower(): dim for dim in values.dims}
    rename = {}
    for ours, spellings in SPATIAL.items():
        found = next((names[s] for s in spellings if s in names), None)
        if found is None:
            raise DataError(
                problem(
                    expected=f"a dim {ours!r} (or {', '.join(spellings[1:])})",
                    received=f"dims {values.dims}",
                    do="rename the dims",
                )
            )
        rename[found] = ours
    rename |= {names[s]: "location" for s in LOCATIONS if s in names}
    collection = "location" in rename.values()
    time = next((names[s] for s in ("time", "t", "date", sensor.time) if s in names), None)
    if time is not None:
        rename[time] = "date" if collection else sensor.time
    elif not collection:
        values = values.expand_dims(sensor.time)
    values = values.rename({old: new for old, new in rename.items() if old != new})
    order = ("location", "date") if collection else (sensor.time,)
    allowed = {*order, sensor.band, "y", "x"}
    if extra := [dim for dim in values.dims if dim not in allowed]:
        raise DataError(
            problem(
                expected=f"no dims but {', '.join(sorted(allowed))}",
                received=f"also {', '.join(map(str, extra))}",
                do="select along them, or stack them into time or location",
            )
        )
    if sensor.time in values.coords and np.issubdtype(values[sensor.time].dtype, np.datetime64):
        values[sensor.time] = values[sensor.time].astype("datetime64[ns]")
    return values.transpose(*(d for d in order if d in values.dims), ..., "y", "x")


def crs_of(obj: xr.Dataset) -> str | None:
    """Read the CRS of a CF grid mapping variable, such as ``crs`` or ``spatial_ref``."""
    for name in ("spatial_ref", "crs"):
        attrs = obj[name].attrs if name in obj.variables else {}
        for key in ("crs_wkt", "spatial_ref"):
            if key in attrs:
                return str(attrs[key])
    return None
