"""From a person's own arrays to a cube or a collection: dims, bands, units and grid made plain."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from xcontrast.cubes.loading import finish_sensor
from xcontrast.cubes.radiometry import INVALID_SCL, to_decibels
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, Sensor

__all__ = ["as_cube"]

SPATIAL = {
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}
BANDS = ("band", "bands", "variable", "channel", "channels", "pol", "polarization", "polarisation")
LOCATIONS = ("location", "tile", "sample")
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
    s1_units : {"dB", "power", "unknown"}, default "dB"
        ``power`` becomes dB; ``unknown`` (stretched images) is taken as it is.
    s2_scale, s2_offset : float, optional
        Reflectance is ``value * s2_scale + s2_offset``. Needed for integers, where 0 is no data.

    Returns
    -------
    Dataset
        A cube, or a collection with ``location`` and perhaps ``date`` dims; float32, NaN where
        invalid; as lazy as the input.

    Raises
    ------
    DataError
        If dims or bands are not understood, values are integers or implausible for the units
        (only data in memory are looked at), or the sensors are not on one grid.

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
        values = _name_dims(values, sensor)
        values = (
            _physical_s1(values, s1_units)
            if sensor is S1
            else _physical_s2(values, s2_scale, s2_offset)
        )
        if valid is not None:
            values = values.where(_name_dims(valid, sensor))
        units = s1_units if sensor is S1 and s1_units == "unknown" else sensor.units
        part = finish_sensor(values, sensor, list(values[sensor.band].values), units)
        if sensor.time in values.dims and "location" not in values.dims:
            part[sensor.valid] = part[sensor.name].isel({sensor.band: 0}, drop=True).notnull()
            part[sensor.valid].attrs = {"long_name": f"{sensor.title}: the ground is seen"}
        parts.append(part)
    _check_grid(parts)
    cube = xr.merge(parts, compat="override", join="exact", combine_attrs="override")
    cube.attrs = {"title": "xcontrast cube"}
    return _name_axes(cube)


def _name_axes(cube: xr.Dataset) -> xr.Dataset:
    """Say the units of y and x in CF's words, where a CRS tells them and nothing else does."""
    known = all(d in cube.coords and "units" not in cube[d].attrs for d in ("y", "x"))
    if not known or cube.rio.crs is None:
        return cube
    named: xr.Dataset = cube.rio.write_coordinate_system()
    return named


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
        return named.assign_coords({sensor.band: np.array(bands, object)}), None
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
    values = values.assign_coords({sensor.band: np.array(bands, object)})
    crs = _crs_of(obj)
    if crs is not None:
        values = values.rio.write_crs(crs)
    valid = None if scl is None or sensor is not S2 else ~obj[scl].isin(INVALID_SCL)
    return values, valid


def _crs_of(obj: xr.Dataset) -> str | None:
    """Read the CRS of a CF grid mapping variable, such as ``crs`` or ``spatial_ref``."""
    for name in ("spatial_ref", "crs"):
        attrs = obj[name].attrs if name in obj.variables else {}
        for key in ("crs_wkt", "spatial_ref"):
            if key in attrs:
                return str(attrs[key])
    return None


def _name_dims(values: xr.DataArray, sensor: Sensor) -> xr.DataArray:
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


def _physical_s1(values: xr.DataArray, units: str) -> xr.DataArray:
    if units not in ("dB", "power", "unknown"):
        raise DataError(
            problem(
                expected="s1_units 'dB', 'power' or 'unknown'",
                received=repr(units),
                do="convert amplitude first: dB = 20 log10(amplitude) + calibration",
            )
        )
    if units == "unknown":
        return values.astype("float32")
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            problem(
                expected=f"Sentinel-1 in {units} as floats",
                received=f"{values.dtype}",
                do="calibrate first (the product's own formula), or say s1_units='unknown'",
            )
        )
    if units == "power":
        return to_decibels(values, floor=-40)
    _check_plausible(values, S1, "say s1_units='power' or 'unknown'")
    return values.astype("float32")


def _physical_s2(values: xr.DataArray, scale: float | None, offset: float | None) -> xr.DataArray:
    integer = np.issubdtype(values.dtype, np.integer)
    if integer and scale is None:
        raise DataError(
            problem(
                expected="Sentinel-2 reflectance as floats, or integers with their scale",
                received=f"{values.dtype} and no s2_scale",
                do="give s2_scale=1e-4 for Level-2A numbers, and s2_offset=-0.1 from processing "
                "baseline 04.00 on",
            )
        )
    known = values.where(values != 0) if integer else values
    result = known.astype("float32") * np.float32(1 if scale is None else scale)
    result = result + np.float32(offset or 0)
    _check_plausible(result, S2, "give s2_scale and s2_offset")
    return result


def _check_plausible(values: xr.DataArray, sensor: Sensor, advice: str) -> None:
    """Look at the median of data in memory; lazy data are taken on trust."""
    if values.chunks is not None or not values.size:
        return
    flat = values.values.ravel()
    sample = flat[:: max(1, flat.size // 100_000)]
    known = sample[np.isfinite(sample)]
    low, high = sensor.plausible
    # Power lies in 0..1, where no scene in dB has both its median and its spread.
    positive = sensor is S1 and len(known) > 0 and float(np.min(known)) >= 0
    if len(known) and (positive or not low <= float(np.median(known)) <= high):
        raise DataError(
            problem(
                expected=f"{sensor.title} with a median in {low}..{high} "
                f"{'dB, some values negative' if sensor is S1 else '(1 = 100 %)'}",
                received=f"a median of {float(np.median(known)):.4g}, "
                f"{float(known.min()):.4g} to {float(known.max()):.4g}",
                do=advice,
            )
        )


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
