"""From a person's own arrays to a cube or a collection: dims, bands, units and grid made plain."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from xcontrast.cubes.alignment import join_sensors
from xcontrast.cubes.axes import name_crs, name_dims
from xcontrast.cubes.loading import finish_sensor
from xcontrast.cubes.radiometry import INVALID_SCL
from xcontrast.cubes.units import nodata_of, to_physical
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, Sensor

__all__ = ["as_cube"]

BANDS = ("band", "bands", "variable", "channel", "channels", "pol", "polarization", "polarisation")
AUXILIARY = frozenset({"aot", "wvp", "cld", "snw", "slope", "elevation", "dem", "angle"})
"""Layers that come with bands but are none, by the last part of their name."""


def as_cube(
    *,
    s1: xr.DataArray | xr.Dataset | None = None,
    s2: xr.DataArray | xr.Dataset | None = None,
    s1_units: Literal["dB", "power", "unknown"] = "dB",
    s2_scale: float | None = None,
    s2_offset: float | None = None,
) -> xr.Dataset:
    """Make a cube of arrays that a person already has.

    Parameters
    ----------
    s1, s2 : DataArray or Dataset, optional
        A DataArray with a band dim, or a Dataset with a variable a band (odc-stac's form). Bands
        in any of the usual spellings (``B04``, ``B4``, ``red``; ``vv``, ``VV``); time, y and x
        under their usual names. A Dataset's scene classification (SCL) masks clouds and shadows;
        grid mappings give the CRS; auxiliary layers (AOT, slope, ...) are left out. A leading
        ``location`` (or ``tile``, ``sample``) makes a collection, with or without dates;
        a georeference is then optional. Coords on it, such as ``scene``, are kept.
        Times with a zone become UTC; ``date`` of a collection, where it holds times, is also
        ``s1_time`` and ``s2_time (location, date)``. Coords that differ between the sensors under
        one name become ``s1_…`` and ``s2_…``.
    s1_units : {"dB", "power", "unknown"}, default "dB"
        ``power`` becomes dB; ``unknown`` (stretched images) is taken as it is.
    s2_scale, s2_offset : float, optional
        Reflectance is ``value * s2_scale + s2_offset``. Needed for integers, where 0 is no data.
        What ``_FillValue`` or ``nodata`` name, and -32768 of int16, is no data of either sensor.

    Returns
    -------
    Dataset
        A cube, or a collection with ``location`` and perhaps ``date`` dims; float32, NaN where
        invalid; as lazy as the input.

    Raises
    ------
    DataError
        If dims or bands are not understood, values are integers or implausible for the units
        (only data in memory are looked at), or the sensors are not on one grid, or not of the
        same places and dates.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xcontrast as xc
    >>> mine = xr.DataArray(np.full((1, 2, 4, 4), 0.3, "f4"), dims=("time", "band", "y", "x"))
    >>> xc.as_cube(s2=mine.assign_coords(band=["red", "nir"])).s2.s2_band.values
    array(['B04', 'B08'], dtype=object)
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)
    import rioxarray  # noqa: F401  (registers .rio)

    given = [(sensor, obj) for sensor, obj in ((S1, s1), (S2, s2)) if obj is not None]
    if not given:
        raise DataError(problem(expected="s1 and/or s2", received="neither", do="give an array"))
    parts = []
    for sensor, obj in given:
        values, valid = _gather(obj, sensor)
        values = name_dims(values, sensor)
        values = to_physical(values, sensor, units=s1_units, scale=s2_scale, offset=s2_offset)
        if valid is not None:
            values = values.where(name_dims(valid, sensor))
        units = s1_units if sensor is S1 and s1_units == "unknown" else sensor.units
        part = finish_sensor(values, sensor, list(values[sensor.band].values), units)
        if sensor.time in values.dims and "location" not in values.dims:
            part[sensor.valid] = part[sensor.name].isel({sensor.band: 0}, drop=True).notnull()
            part[sensor.valid].attrs = {"long_name": f"{sensor.title}: the ground is seen"}
        parts.append(part)
    return join_sensors(parts)


def _gather(
    obj: xr.DataArray | xr.Dataset, sensor: Sensor
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Give one array with a band dim of canonical names, and validity where SCL tells it."""
    if isinstance(obj, xr.DataArray):
        dim = next((d for d in obj.dims if d == sensor.band or str(d).lower() in BANDS), None)
        if dim is None or dim not in obj.coords:
            raise DataError(
                problem(
                    expected=f"a band dim with names, such as 'band' or {sensor.band!r}",
                    received=f"dims {obj.dims}, coords {sorted(map(str, obj.coords))}",
                    do="name the bands: da.expand_dims('band').assign_coords(band=['vv'])",
                )
            )
        bands = sensor.canonical_bands(list(obj[dim].values))
        named = obj.rename({dim: sensor.band}) if dim != sensor.band else obj
        named = named.assign_coords({sensor.band: np.array(bands, object)})
        return name_crs(named, obj), None
    if not isinstance(obj, xr.Dataset):
        raise DataError(
            problem(
                expected=f"{sensor.name} as a DataArray or Dataset",
                received=f"a {type(obj).__name__}",
                do="wrap it as an xarray.DataArray with dims and band names",
            )
        )
    return _gather_variables(obj, sensor)


def _gather_variables(obj: xr.Dataset, sensor: Sensor) -> tuple[xr.DataArray, xr.DataArray | None]:
    layers = [name for name, var in obj.data_vars.items() if var.ndim >= 2]
    last = {name: str(name).lower().replace("-", "_").rsplit("_", 1)[-1] for name in layers}
    scl = next((name for name in layers if last[name] == "scl"), None)
    kept = [n for n in layers if n != scl and last[n] not in AUXILIARY]
    bands = sensor.canonical_bands(kept)
    if not bands:
        raise DataError(
            problem(
                expected=f"a variable for each band of {sensor.title}",
                received=f"variables {sorted(map(str, obj.data_vars))}",
                do=f"name them {', '.join(sensor.bands)}",
            )
        )
    values = obj[kept].to_dataarray(sensor.band)
    values.attrs = {"nodata": [code for name in kept for code in nodata_of(obj[name])]}
    values = values.assign_coords({sensor.band: np.array(bands, object)})
    values = name_crs(values, obj)
    valid = (
        None
        if scl is None or sensor is not S2
        else ~obj[scl].isin(INVALID_SCL) & obj[scl].notnull()
    )
    return values, valid
