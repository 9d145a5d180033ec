"""A collection opened: images as float32, and what is known of each location as coords."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import SourceError, problem
from xcontrast.sensors import SENSORS, STORED_NODATA, Sensor

__all__ = [
    "GIVEN_UP",
    "PLACE",
    "PLAN",
    "RECORD",
    "open_collection",
    "read_record",
    "sensors_of",
    "to_coords",
]

PENDING, GIVEN_UP = -1, -2
"""In ``attempt``: not there yet; no draw of the location was clean."""
PLACE = ("attempt", "lon", "lat", "epsg", "x0", "y0")
RECORD = "record"
"""The array of what is known of each location: written last, it tells which shards are whole."""
PLAN = "xcontrast_plan"
OPENED = 64e6
"""Values in a chunk of an opened collection, bytes as float32."""


def open_collection(store: str | os.PathLike[str]) -> xr.Dataset:
    """Open the collection that ``collect`` wrote, lazily.

    Parameters
    ----------
    store : path
        Of the Zarr store.

    Returns
    -------
    Dataset
        ``s2 (location, date, s2_band, y, x)`` float32 surface reflectance and
        ``s1 (location, date, s1_band, y, x)`` float32 dB, NaN where invalid; ``s2_time``,
        ``s1_time``, ``s1_relative_orbit (location, date)``; ``lon``, ``lat``, ``epsg`` and
        ``x0``, ``y0`` (west and north edge, metres) of each location, the ``attempt`` that was
        accepted, and ``location``, its number; y and x are pixels. Only locations that are there:
        of a collection that was interrupted, those so far.

    Raises
    ------
    SourceError
        If it is no collection.

    Examples
    --------
    >>> import geopandas
    >>> truth = xc.read_truth(archive)
    >>> place = truth.odc.geobox.footprint("EPSG:4326").centroid.geom
    >>> _ = xc.collect(
    ...     geopandas.GeoDataFrame(geometry=[place], crs=4326), store=folder / "places.zarr",
    ...     source=archive / "catalog.json", datetime="2023", dates=1, window="60D",
    ...     max_cloud=100, size=32, options=xc.CollectOptions(max_invalid=1, progress=False),
    ... )
    >>> xc.open_collection(folder / "places.zarr").s2.dims
    ('location', 'date', 's2_band', 'y', 'x')
    """
    path = str(store)
    try:
        stored = xr.open_zarr(path, chunks=None, mask_and_scale=False)
        plan = json.loads(stored.attrs[PLAN])["plan"]
        record = read_record(path)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            problem(
                expected="a collection that xc.collect wrote",
                received=f"{path} ({type(error).__name__}: {error})",
                do="check the path",
            )
        ) from error
    n_bands = sum(len(plan["bands"][name]) for name in plan["sensors"])
    step = int(max(1, OPENED // (4 * n_bands * plan["dates"] * plan["size"] ** 2)))
    kept = [name for sensor in plan["sensors"] for name in (sensor, f"{sensor}_band")]
    stored = stored[kept].drop_vars(set(stored[kept].coords) - set(kept)).chunk({"location": step})
    stored = stored.assign_coords(to_coords(record, plan))
    there = np.flatnonzero(stored["attempt"].values >= 0)
    if len(there) < stored.sizes["location"]:
        stored = stored.isel(location=there)
    for name in plan["sensors"]:
        stored[name] = _to_float(stored[name])
    result: xr.Dataset = stored
    return result


def read_record(store: str | os.PathLike[str]) -> xr.DataArray:
    """Read what is known of all locations.

    Parameters
    ----------
    store : path
        Of the Zarr store.

    Returns
    -------
    DataArray (location, fact), float64
        ``attempt`` is the draw that was accepted, -2 where none was, NaN where it is not there yet.
    """
    stored = xr.open_zarr(store, chunks=None, mask_and_scale=False)
    record: xr.DataArray = stored[RECORD].load()
    return record


def to_coords(record: xr.DataArray, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known of locations as coords.

    Parameters
    ----------
    record : DataArray (location, fact)
        Of :func:`read_record`.
    plan : mapping
        With the collection's ``sensors`` and ``dates``.

    Returns
    -------
    dict
        Of (dims, values).
    """
    table = dict(zip(map(str, record["fact"].values), record.values.T, strict=True))
    coords: dict[str, Any] = {"location": np.arange(record.sizes["location"])}
    for name in PLACE:
        whole = name in ("attempt", "epsg")
        values = np.nan_to_num(table[name], nan=PENDING).astype("int32") if whole else table[name]
        coords[name] = ("location", values)
    both = ("location", "date")
    for sensor in sensors_of(plan["sensors"]):
        seconds = np.stack([table[f"{sensor.time} {d}"] for d in range(plan["dates"])], 1)
        known = np.nan_to_num(seconds).astype("datetime64[s]").astype("datetime64[ns]")
        coords[sensor.time] = both, np.where(np.isnan(seconds), np.datetime64("NaT", "ns"), known)
    if "s1" in plan["sensors"]:
        orbits = np.stack([table[f"s1_relative_orbit {d}"] for d in range(plan["dates"])], 1)
        coords["s1_relative_orbit"] = both, np.nan_to_num(orbits, nan=-1).astype("int32")
    return coords


def sensors_of(names: Sequence[str]) -> list[Sensor]:
    """Give the sensors of names, in the order in which a collection holds them."""
    return [sensor for sensor in SENSORS if sensor.name in names]


def _to_float(stored: xr.DataArray) -> xr.DataArray:
    """Give the values of stored integers as float32; xarray's own decoding gives float64."""
    scale = np.float32(stored.attrs["scale_factor"])

    def decode(values: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        return np.where(values == STORED_NODATA, np.float32(np.nan), values * scale)

    decoded: xr.DataArray = xr.apply_ufunc(
        decode, stored, dask="parallelized", output_dtypes=[np.float32]
    )
    keep = ("units", "long_name")
    decoded.attrs = {key: stored.attrs[key] for key in keep if key in stored.attrs}
    decoded.encoding = {}
    return decoded
