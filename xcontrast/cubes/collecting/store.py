"""A collection on disk: one Zarr store for all locations, written shard by shard."""

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

from xcontrast.cubes.collecting.collection import (
    GIVEN_UP,
    PLACE,
    PLAN,
    RECORD,
    read_record,
    sensors_of,
    to_coords,
)
from xcontrast.cubes.collecting.gather import REASONS, Sample
from xcontrast.cubes.collecting.plan import CollectPlan
from xcontrast.cubes.facts import SUMMARY
from xcontrast.errors import SourceError, problem
from xcontrast.sensors import SENSORS, STORED_NODATA
from xcontrast.store import local_path

__all__ = ["create_store", "finish_store", "write_shard"]

READING = "reading"
SHARD_BYTES = 256e6
"""Values in a shard, at most: a worker holds one, and there are few files."""


def shard_length(plan: CollectPlan, n: int) -> int:
    """Give the locations of a shard."""
    per_date = sum(len(plan.bands[name]) for name in plan.sensors) * plan.size**2 * 2
    return int(max(1, min(n, 64, SHARD_BYTES // (per_date * plan.dates))))


def create_store(
    store: str | os.PathLike[str],
    plan: CollectPlan,
    n: int,
    recipe: Mapping[str, Any],
    reading: Mapping[str, Any],
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
    reading : mapping
        What pixels and draws depend on besides.

    Returns
    -------
    int
        Locations of a shard.

    Raises
    ------
    SourceError
        If something else is there, or it is an address.
    """
    told = {"plan": asdict(plan), "n": n, "locations": dict(recipe), READING: dict(reading)}
    stated = json.dumps(told, sort_keys=True, default=_to_json)
    path = local_path(store)
    if path.exists():
        _check_same(path, stated)
        return shard_length(plan, n)
    length = shard_length(plan, n)
    template = _template(plan, n, length)
    template.attrs = {"title": "xcontrast collection", PLAN: stated}
    encoding = {name: _encoding(v.variable, length) for name, v in template.data_vars.items()}
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
    """Describe the arrays, with nothing in them."""
    import dask.array as da

    arrays: dict[str, xr.Variable] = {}
    coords: dict[str, Any] = {}
    for sensor in sensors_of(plan.sensors):
        bands = plan.bands[sensor.name]
        dims = ("location", "date", sensor.band, "y", "x")
        shape = (n, plan.dates, len(bands), plan.size, plan.size)
        values = da.zeros(shape, dtype="int16", chunks=(length, *shape[1:]))
        attrs = {"units": sensor.units, "long_name": sensor.title}
        arrays[sensor.name] = xr.Variable(dims, values, attrs)
        coords[sensor.band] = np.array(bands, object)
    coords["fact"] = np.array(_fact_names(plan.sensors, plan.dates), object)
    facts = da.zeros((n, len(coords["fact"])), chunks=(length, -1))
    arrays[RECORD] = xr.Variable(("location", "fact"), facts)
    return xr.Dataset(arrays, coords)


def _fact_names(sensors: Sequence[str], dates: int) -> list[str]:
    """Name what is known of a location, in one row: a file for each would be many files."""
    names = [*PLACE, *(f"rejected: {reason}" for reason in REASONS)]
    for sensor in sensors_of(sensors):
        names += [f"{sensor.time} {date}" for date in range(dates)]
    if "s1" in sensors:
        names += [f"s1_relative_orbit {date}" for date in range(dates)]
    return names


def _encoding(variable: xr.Variable, length: int) -> dict[str, Any]:
    if variable.ndim < 3:
        return {"chunks": (length, variable.shape[1]), "fill_value": np.nan}
    from zarr.codecs import BloscCodec

    sensor = next(s for s in SENSORS if s.band == variable.dims[2])
    return {
        "chunks": (1, 1, *variable.shape[2:]),
        "shards": (length, *variable.shape[1:]),
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
    received = str(path)
    if found is not None:
        begun, told = json.loads(str(found)), json.loads(stated)
        # Earlier versions did not state the reading: such a store is taken on trust, as it was.
        old, new = _flatten({READING: told[READING], **begun}), _flatten(told)
        changed = [key for key in {**new, **old} if old.get(key) != new.get(key)]
        if not changed:
            return
        received += f", begun with other {', '.join(changed)}"
    raise SourceError(
        problem(
            expected="a store that does not exist, or one begun with the same call",
            received=received,
            do="choose another path, or call with what it was begun with",
        )
    )


def _flatten(stated: dict[str, Any]) -> dict[str, Any]:
    rest = {**stated["plan"], **stated[READING]}
    return {"n": stated["n"], "locations": stated["locations"], **rest}


def _to_json(value: Any) -> Any:
    """Give numbers of NumPy as plain ones, anything else as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


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
    names = [sensor.name for sensor in SENSORS if sensor.name in group]
    for name in names:
        blank = np.full(group[name].shape[1:], STORED_NODATA, np.int16)
        group[name][where] = np.stack([blank if s is None else s.values[name] for s in samples])
    dates = group[names[0]].shape[1]
    rows = [
        _to_row(sample, own, names, dates) for sample, own in zip(samples, rejected, strict=True)
    ]
    group[RECORD][where] = np.array(rows, float)


def _to_row(
    sample: Sample | None, rejected: npt.NDArray[np.int16], names: Sequence[str], dates: int
) -> list[float]:
    """Give the facts of a location in the order of their names."""
    if sample is None:
        n_times = dates * (len(names) + ("s1" in names))
        return [GIVEN_UP, *[np.nan] * (len(PLACE) - 1), *rejected, *[np.nan] * n_times]
    row = [float(getattr(sample, name)) for name in PLACE] + [float(n) for n in rejected]
    for name in names:
        row += sample.times[name].astype("datetime64[s]").astype(float).tolist()
    if "s1" in names:
        row += sample.facts["s1_relative_orbit"].astype(float).tolist()
    return row


def finish_store(store: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Write the facts of all locations as coords, for other programs, and what came of it all."""
    import zarr

    attrs = dict(zarr.open_group(str(store), mode="r").attrs)
    plan = json.loads(str(attrs[PLAN]))["plan"]
    coords = xr.Dataset(coords=to_coords(read_record(store), plan)).drop_vars("location")
    # xarray's own list of coords, where this was finished before: it warns of one that is there.
    attrs.pop("coordinates", None)
    # Appending replaces the attributes of the whole.
    coords.attrs = {**attrs, SUMMARY: json.dumps(dict(summary))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Zarr 3 has not settled gathered metadata.
        coords.to_zarr(store, mode="a", consolidated=False)
        zarr.consolidate_metadata(str(store))
