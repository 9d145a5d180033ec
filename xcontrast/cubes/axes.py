"""Dims and CRS of a person's own arrays, under the names of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sensors import Sensor

__all__ = ["name_crs", "name_dims"]

SPATIAL = {
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}
LOCATIONS = ("location", "tile", "sample")
TIMES = ("time", "t", "date")
WKT = {"crs_wkt", "spatial_ref"}
"""Attributes of a grid mapping that hold a CRS."""


def name_dims(values: xr.DataArray, sensor: Sensor) -> xr.DataArray:
    """Give dims, and the times along them, the names of the contract.

    Parameters
    ----------
    values : DataArray
        With ``{sensor}_band`` and other dims under their usual names.
    sensor : Sensor
        Whose it is.

    Returns
    -------
    DataArray
        ``({sensor}_time, …, y, x)``; or ``(location, date, …, y, x)``, with or without dates, with
        ``{sensor}_time (location, date)`` where something tells it. Times are UTC, datetime64[ns].

    Raises
    ------
    DataError
        If a dim is missing or not understood, or the times of a cube are none.
    """
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
    time = next((names[s] for s in (*TIMES, sensor.time) if s in names), None)
    if time is not None:
        rename[time] = "date" if collection else sensor.time
    values = values.rename({old: new for old, new in rename.items() if old != new})
    values = _time_places(values, sensor) if collection else _time_steps(values, sensor)
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
    return values.transpose(*(d for d in order if d in values.dims), ..., "y", "x")


def _time_steps(values: xr.DataArray, sensor: Sensor) -> xr.DataArray:
    """Have the times of a cube along a dim, also the one time of an array without such a dim."""
    if sensor.time not in values.dims:
        stated = _find_coord(values, (sensor.time, *TIMES))
        if stated is not None and values[stated].ndim == 0:
            values = values.rename({stated: sensor.time} if stated != sensor.time else {})
        values = values.expand_dims(sensor.time)
    if sensor.time not in values.coords or values[sensor.time].dtype.kind in "iuf":
        return values
    times = _read_times(values[sensor.time])
    if times is None:
        raise DataError(
            problem(
                expected=f"{sensor.title}'s times as datetime64, or as text like '2023-04-01'",
                received=f"{values[sensor.time].dtype}, first {values[sensor.time].values[:1]}",
                do="convert them: da.assign_coords(time=pandas.to_datetime(da.time))",
            )
        )
    return values.assign_coords({sensor.time: (sensor.time, times, values[sensor.time].attrs)})


def _time_places(values: xr.DataArray, sensor: Sensor) -> xr.DataArray:
    """Have the times of a collection for every place and date, where something tells them."""
    stated = _find_coord(values, (sensor.time, *TIMES))
    if stated is None or not {"location", "date"}.issuperset(values[stated].dims):
        return values
    times = _read_times(values[stated])
    if times is None:
        return values  # Labels, such as "before" and "after".
    coord = xr.DataArray(times, dims=values[stated].dims, attrs=values[stated].attrs)
    if stated not in values.dims:
        values = values.drop_vars(stated)
    elif values[stated].dtype.kind == "M":
        values = values.assign_coords({stated: coord})
    dims = [dim for dim in ("location", "date") if dim in values.dims]
    coord = coord.expand_dims({dim: values.sizes[dim] for dim in dims if dim not in coord.dims})
    return values.assign_coords({sensor.time: coord.transpose(*dims).copy()})


def _find_coord(values: xr.DataArray, spellings: tuple[str, ...]) -> Any:
    names = {str(name).lower(): name for name in values.coords}
    return next((names[s] for s in spellings if s in names), None)


def _read_times(coord: xr.DataArray) -> npt.NDArray[np.datetime64] | None:
    """Give times in UTC, of datetimes with or without a zone and of ISO text; None of others."""
    if isinstance(coord.dtype, np.dtype) and coord.dtype.kind == "M":
        return coord.values.astype("datetime64[ns]")
    if coord.dtype.kind in "iufb":
        return None
    try:
        flat = coord.to_index() if coord.ndim == 1 else coord.values.ravel()
        read = pd.to_datetime(list(flat), utc=True, format="ISO8601")
    except (TypeError, ValueError):
        return None
    times: npt.NDArray[np.datetime64] = read.tz_localize(None).as_unit("ns").values
    return times.reshape(coord.shape)


def name_crs(values: xr.DataArray, source: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Have the CRS in ``spatial_ref``, whatever grid mapping of the source states it.

    Parameters
    ----------
    values : DataArray
        Taken from the source.
    source : DataArray or Dataset
        With a scalar, such as ``crs``, that holds the CRS as WKT; or without.

    Returns
    -------
    DataArray
        With no other CRS than that which the source's arrays name, else ``spatial_ref``'s, else
        any.
    """
    scalars = source.coords if isinstance(source, xr.DataArray) else source.variables
    told = {n: v.attrs for n, v in scalars.items() if not v.ndim and not WKT.isdisjoint(v.attrs)}
    if not told:
        return values
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    named = [own.get("grid_mapping") for a in arrays for own in (a.attrs, a.encoding)]
    chosen = next(name for name in [*named, "spatial_ref", *told] if name in told)
    ours = {"spatial_ref"} & {chosen}
    values = values.drop_vars([name for name in told if name in values.coords and name not in ours])
    if "spatial_ref" in values.coords:
        return values
    wkt = next(told[chosen][key] for key in ("crs_wkt", "spatial_ref") if key in told[chosen])
    named_so: xr.DataArray = values.rio.write_crs(str(wkt), grid_mapping_name="spatial_ref")
    return named_so
