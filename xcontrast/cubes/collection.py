"""A collection on disk: one Zarr store for all locations, written shard by shard, and opened."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.cubes.facts import SUMMARY
from xcontrast.cubes.gather import REASONS, CollectPlan, Sample
from xcontrast.errors import SourceError, problem
from xcontrast.sensors import SENSORS, STORED_NODATA, Sensor

__all__ = ["create_store", "finish_store", "open_collection", "read_attempts", "write_shard"]

SHARD_BYTES = 128e6
"""Values in a shard, at most: a worker holds one, and there are few files."""
PENDING, GIVEN_UP = -1, -2
"""In ``attempt``: not there yet; no draw of the location was clean."""
PLAN = "xcontrast_plan"
OPENED = 64e6
"""Values in a chunk of an opened collection, bytes as float32."""


def shard_length(plan: CollectPlan, n: int) -> int:
    """Give the locations of a shard."""
    per_date = sum(len(plan.bands[name]) for name in plan.sensors) * plan.size**2 * 2
    return int(max(1, min(n, 64, SHARD_BYTES // (per_date * plan.dates))))


def create_store(
    store: str | os.PathLike[str], plan: CollectPlan, n: int, recipe: Mapping[str, Any]
) -> int:
    """Create the store of a collection, empty, or find the one that was begun.

    Parameters
    ----------
    store : path
        Of the Zarr store.
    plan : CollectPlan
        What is gathered.
    n : int
        Locations.
    recipe : mapping
        Of the locations.

    Returns
    -------
    int
        Locations of a shard.

    Raises
    ------
    SourceError
        If something else is there.
    """
    stated = json.dumps({"plan": asdict(plan), "n": n, "locations": dict(recipe)}, sort_keys=True)
    path = Path(store)
    if path.exists():
        _check_same(path, stated)
        return shard_length(plan, n)
    length = shard_length(plan, n)
    template = _template(plan, n, length)
    template.attrs = {"title": "xcontrast collection", PLAN: stated}
    encoding = {name: _encoding(variable, length) for name, variable in template.variables.items()
                if "location" in variable.dims}  # fmt: skip
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Zarr 3 has not settled gathered metadata.
        template.to_zarr(
            partial, compute=False, zarr_format=3, consolidated=True, encoding=encoding
        )
    partial.rename(path)
    return length


def _template(plan: CollectPlan, n: int, length: int) -> xr.Dataset:
    """Describe all arrays, with nothing in them."""
    import dask.array as da

    def blank(dims: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> xr.Variable:
        values = da.zeros(shape, dtype=dtype, chunks=(length, *shape[1:]))
        return xr.Variable(dims, values)

    arrays: dict[str, xr.Variable] = {}
    coords: dict[str, Any] = {
        name: blank(("location",), (n,), "float64") for name in ("lon", "lat", "x0", "y0")
    }
    coords["epsg"] = blank(("location",), (n,), "int32")
    for sensor in SENSORS:
        if sensor.name not in plan.sensors:
            continue
        bands = plan.bands[sensor.name]
        dims = ("location", "date", sensor.band, "y", "x")
        shape = (n, plan.dates, len(bands), plan.size, plan.size)
        arrays[sensor.name] = blank(dims, shape, "int16")
        arrays[sensor.name].attrs = {"units": sensor.units, "long_name": sensor.title}
        coords[sensor.band] = np.array(bands, object)
        coords[sensor.time] = blank(("location", "date"), (n, plan.dates), "int64")
        coords[sensor.time].attrs = {"units": "seconds since 1970-01-01"}
    if "s1" in plan.sensors:
        coords["s1_relative_orbit"] = blank(("location", "date"), (n, plan.dates), "int16")
    arrays["attempt"] = blank(("location",), (n,), "int16")
    arrays["attempt"].attrs = {"long_name": "draw that was accepted; -1 pending, -2 given up"}
    arrays["rejected"] = blank(("location", "reason"), (n, len(REASONS)), "int16")
    coords["reason"] = np.array(REASONS, object)
    return xr.Dataset(arrays, coords)


def _encoding(variable: xr.Variable, length: int) -> dict[str, Any]:
    n = variable.sizes["location"]
    # Whole shards, the last one too: Zarr wants them to divide evenly, and does not store the rest.
    if variable.ndim < 3:
        return {"chunks": (length, *variable.shape[1:]), "fill_value": PENDING}
    from zarr.codecs import BloscCodec

    bands = variable.dims[2]
    sensor = next(s for s in SENSORS if s.band == bands)
    return {
        "chunks": (1, 1, *variable.shape[2:]),
        "shards": (min(length, n), *variable.shape[1:]),
        "compressors": (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),),
        "fill_value": STORED_NODATA,
        "_FillValue": STORED_NODATA,
        "scale_factor": sensor.stored_scale,
        "dtype": "int16",
    }


def _check_same(path: Path, stated: str) -> None:
    import zarr

    try:
        found = zarr.open_group(path, mode="r").attrs.get(PLAN)
    except (OSError, ValueError, KeyError):
        found = None
    if found == stated:
        return
    received = str(path)
    if found is not None:
        old, new = (_flatten(json.loads(str(text))) for text in (found, stated))
        changed = [key for key in new if old.get(key) != new[key]]
        received += f", begun with other {', '.join(changed) or 'settings'}"
    raise SourceError(
        problem(
            expected="a store that does not exist, or one begun with the same call",
            received=received,
            do="choose another path, or call with what it was begun with",
        )
    )


def _flatten(stated: dict[str, Any]) -> dict[str, Any]:
    return {"n": stated["n"], "locations": stated["locations"], **stated["plan"]}


def read_attempts(store: str | os.PathLike[str]) -> npt.NDArray[np.int16]:
    """Read which locations are there: the draw of each, or -1 (pending), or -2 (given up)."""
    import zarr

    array = zarr.open_group(str(store), mode="r")["attempt"]
    return np.asarray(array[:], np.int16)


def write_shard(
    store: str | os.PathLike[str],
    first: int,
    samples: Sequence[Sample | None],
    rejected: npt.NDArray[np.int16],
) -> None:
    """Write the locations of one shard; the last thing written is that it is whole.

    Parameters
    ----------
    store : path
        Of the Zarr store.
    first : int
        Location of the first sample: the begin of a shard.
    samples : sequence of Sample or None
        Of all locations of the shard; None where it was given up.
    rejected : array of int16
        ``(location, reason)``: how many draws.
    """
    import zarr

    group: Any = zarr.open_group(str(store), mode="r+")
    where = slice(first, first + len(samples))
    for sensor in SENSORS:
        if sensor.name in group:
            group[sensor.name][where] = _gather_values(group, sensor, samples)
            group[sensor.time][where] = _gather_times(group, sensor, samples)
    if "s1_relative_orbit" in group:
        blank = np.full(group["s1_relative_orbit"].shape[1:], -1, np.int16)
        group["s1_relative_orbit"][where] = np.stack(
            [blank if s is None else s.facts["s1_relative_orbit"] for s in samples]
        )
    for name in ("lon", "lat", "x0", "y0"):
        group[name][where] = np.array([np.nan if s is None else getattr(s, name) for s in samples])
    group["epsg"][where] = np.array([0 if s is None else s.epsg for s in samples], np.int32)
    group["rejected"][where] = rejected
    attempts = [GIVEN_UP if s is None else s.attempt for s in samples]
    group["attempt"][where] = np.array(attempts, np.int16)


def _gather_values(
    group: Any, sensor: Sensor, samples: Sequence[Sample | None]
) -> npt.NDArray[np.int16]:
    shape = group[sensor.name].shape[1:]
    blank = np.full(shape, STORED_NODATA, np.int16)
    return np.stack([blank if s is None else s.values[sensor.name] for s in samples])


def _gather_times(
    group: Any, sensor: Sensor, samples: Sequence[Sample | None]
) -> npt.NDArray[np.int64]:
    blank = np.full(group[sensor.time].shape[1:], PENDING, np.int64)
    return np.stack(
        [blank if s is None else s.times[sensor.name].astype(np.int64) for s in samples]
    )


def finish_store(store: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Note in the store what came of it."""
    import zarr

    group = zarr.open_group(str(store), mode="r+", use_consolidated=False)
    group.attrs[SUMMARY] = json.dumps(dict(summary))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        zarr.consolidate_metadata(str(store))


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
    """
    path = str(store)
    try:
        stored = xr.open_zarr(path, chunks=None, mask_and_scale=False)
        plan = json.loads(stored.attrs[PLAN])["plan"]
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            problem(
                expected="a collection that xc.collect wrote",
                received=f"{path} ({type(error).__name__}: {error})",
                do="check the path",
            )
        ) from error
    there = np.flatnonzero(stored["attempt"].values >= 0)
    stored = stored.set_coords("attempt").drop_vars(["rejected", "reason"])
    stored = stored.assign_coords(location=np.arange(stored.sizes["location"]))
    n_bands = sum(len(plan["bands"][name]) for name in plan["sensors"])
    step = int(max(1, OPENED // (4 * n_bands * plan["dates"] * plan["size"] ** 2)))
    stored = stored.chunk({"location": step})
    if len(there) < stored.sizes["location"]:
        stored = stored.isel(location=there)
    for name in plan["sensors"]:
        stored[name] = _to_float(stored[name])
    # Small, and looked at all the time.
    lazy = [name for name, coord in stored.coords.items() if coord.chunks is not None]
    result: xr.Dataset = stored.assign_coords({name: stored[name].compute() for name in lazy})
    return result


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
