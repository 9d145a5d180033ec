"""From STAC items to one sensor's array: grouped, loaded on a grid, physical; lazy if chunked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.files import ItemFiles, bundle, check_bands, find_files
from xcontrast.cubes.options import CubeOptions
from xcontrast.cubes.periods import time_of
from xcontrast.cubes.radiometry import processing_baseline
from xcontrast.cubes.reading import ItemParser, ItemReader, ReadSettings, SensorDriver
from xcontrast.cubes.reports import READS
from xcontrast.cubes.signing import choose_signer
from xcontrast.sensors import S1, S2, Sensor

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["finish_sensor", "hidden_share", "load_sensor", "number_passes"]

PASS_GAP = pd.Timedelta(30, "min")
"""Longest time between two images of one Sentinel-1 pass: cut along the track, they follow each
other by 25 s, or by minutes where some are missing; the next orbit comes 98 minutes later."""


def load_sensor(
    sensor: Sensor,
    items: Sequence[Item],
    grid: GeoBox,
    *,
    bands: Sequence[str],
    chunks: Mapping[str, int] | None,
    source: Any,
    on_error: Literal["raise", "nan"],
    options: CubeOptions,
) -> xr.Dataset:
    """Load the items of one sensor.

    Parameters
    ----------
    sensor : Sensor
        Whose items they are.
    items : sequence of pystac.Item
        At least one.
    grid : GeoBox
        Of the result.
    bands : sequence of str
        Canonical names.
    chunks : mapping or None
        Pixels of a dask chunk along y and x; None reads at once, without dask.
    source : object
        Where the items are from, for signing.
    on_error : {"raise", "nan"}
        What becomes of a file that is at fault.
    options : CubeOptions
        All the rest.

    Returns
    -------
    Dataset
        ``{sensor} ({sensor}_time, {sensor}_band, y, x)`` float32 and ``{sensor}_valid
        ({sensor}_time, y, x)`` bool; a step is a pass (Sentinel-1) or a solar day (Sentinel-2).

    Raises
    ------
    DataError
        If no item has one of the bands.
    """
    keys = number_passes(items) if sensor is S1 else _solar_days(items, grid)
    groups = _group(items, keys)
    items = [item for group in groups for item in group]
    files = [find_files(item, sensor, bands) for item in items]
    check_bands(sensor, bands, items, files)
    settings = _settings(items, files, source, on_error, options)
    driver = SensorDriver(settings, ItemParser(sensor, files))
    values, valid = _load(groups, grid, chunks, sensor, files, driver)
    facts = _pass_facts(groups) if sensor is S1 else _day_facts(groups)
    values = values.assign_coords({name: ("time", column) for name, column in facts.items()})
    units = "dB" if sensor is S1 else "1"
    loaded = finish_sensor(values.rename(time=sensor.time), sensor, bands, units)
    loaded[sensor.valid] = valid.rename(time=sensor.time)
    loaded.attrs[READS] = settings.reads
    return loaded


def hidden_share(
    items: Sequence[Item], grid: GeoBox, *, source: Any, options: CubeOptions
) -> float:
    """Give the share of a grid that the scene classes of all items hide; 0 without any.

    Parameters
    ----------
    items : sequence of pystac.Item
        Sentinel-2 items of one day.
    grid : GeoBox
        What to look at.
    source : object
        Where the items are from, for signing.
    options : CubeOptions
        Which classes hide, and how to read.

    Returns
    -------
    float
        0..1.
    """
    files = [find_files(item, S2, ()) for item in items]
    settings = _settings(items, files, source, "nan", options)
    gdal = SensorDriver(settings).capture_env()["gdal"]
    seen = [ItemReader(own, settings, gdal).read_seen(grid) for own in files if own.classes]
    return float(1 - np.logical_or.reduce(seen).mean()) if seen else 0.0


def number_passes(items: Sequence[Item]) -> list[int]:
    """Tell apart the Sentinel-1 passes that items are of, by a number.

    Parameters
    ----------
    items : sequence of pystac.Item
        In any order.

    Returns
    -------
    list of int
        One an item: the same for items of one platform and direction that follow each other by at
        most `PASS_GAP`.

    Notes
    -----
    Absolute orbits do not tell: each platform counts its own, and the number changes where an
    ascending pass crosses the equator.
    """

    def track(item: Item) -> tuple[str, str]:
        facts = item.properties
        return str(facts.get("platform")).lower(), str(facts.get("sat:orbit_state")).lower()

    ordered = sorted(
        range(len(items)), key=lambda n: (track(items[n]), time_of(items[n]), items[n].id)
    )
    numbers = [0] * len(items)
    for last, n in pairwise(ordered):
        before, item = items[last], items[n]
        begins = track(item) != track(before) or time_of(item) - time_of(before) > PASS_GAP
        numbers[n] = numbers[last] + begins
    return numbers


def finish_sensor(
    values: xr.DataArray, sensor: Sensor, bands: Sequence[str], units: str
) -> xr.Dataset:
    """Name, order and describe the dims of one sensor's array.

    Parameters
    ----------
    values : DataArray
        With the dims ``{sensor}_band``, y, x and any leading ones, in any order.
    sensor : Sensor
        Whose it is.
    bands : sequence of str
        Canonical names, in the array's order.
    units : str
        Of the values.

    Returns
    -------
    Dataset
        One variable, ``(…, {sensor}_band, y, x)`` with all bands in one chunk.
    """
    values = values.transpose(..., sensor.band, "y", "x")
    # Text as objects: fixed-width strings have no settled form in Zarr 3.
    values = values.assign_coords({sensor.band: np.array(bands, object)})
    if values.chunks is not None and len(values.chunksizes[sensor.band]) > 1:
        # Not values.chunk(), which would make the coords lazy too.
        values = values.copy(data=values.data.rechunk({values.get_axis_num(sensor.band): -1}))
    quantity = "backscatter" if sensor is S1 else "surface reflectance"
    values.attrs = {"units": units, "long_name": f"{sensor.title} {quantity}"}
    values.encoding = {}
    return values.to_dataset(name=sensor.name)


def _settings(
    items: Sequence[Item],
    files: Sequence[ItemFiles],
    source: Any,
    on_error: Literal["raise", "nan"],
    options: CubeOptions,
) -> ReadSettings:
    return ReadSettings(
        reads=_name_reads(files, on_error, options),
        sign=choose_signer(source, items) if options.sign == "auto" else options.sign,
        patience=options.patience,
        on_error=on_error,
        resampling=options.resampling,
        floor_db=options.floor_db,
        invalid_scl=options.invalid_scl,
    )


def _load(
    groups: Sequence[Sequence[Item]],
    grid: GeoBox,
    chunks: Mapping[str, int] | None,
    sensor: Sensor,
    files: Sequence[ItemFiles],
    driver: SensorDriver,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Load groups of items as time steps, values and validity; one source an item."""
    import odc.stac

    step = {item.id: number for number, group in enumerate(groups) for item in group}
    items = [item for group in groups for item in group]
    loaded = odc.stac.load(
        [bundle(item, sensor, own) for item, own in zip(items, files, strict=True)],
        bands=[sensor.name, sensor.valid],
        geobox=grid,
        chunks=None if chunks is None else {"time": 1, **chunks},
        groupby=lambda item, _parsed, _index: step[item.id],
        driver=driver,
    )
    times = pd.DatetimeIndex([time_of(group[0]) for group in groups]).tz_localize(None)
    loaded = loaded.assign_coords(time=times.values.astype("datetime64[ns]"))
    spatial = [dim for dim in loaded.dims if dim not in ("time", sensor.band)]
    loaded = loaded.rename(dict(zip(spatial, ("y", "x"), strict=True)))
    valid = loaded[sensor.valid].drop_attrs(deep=False)  # The coords keep their units.
    valid.attrs = {"long_name": f"{sensor.title}: the ground is seen"}
    return loaded[sensor.name], valid


def _name_reads(files: Sequence[ItemFiles], on_error: str, options: CubeOptions) -> str:
    """Name these files read in this way: the same in every process and session."""
    digest = hashlib.sha256(f"{on_error} {options}".encode())
    for own in files:
        digest.update(repr(own).encode())
    return f"xcontrast-{digest.hexdigest()[:16]}"


def _group(items: Sequence[Item], keys: Sequence[object]) -> list[list[Item]]:
    """Group items by key, groups in order of their first time."""
    groups: dict[object, list[Item]] = {}
    for item, key in zip(items, keys, strict=True):
        groups.setdefault(key, []).append(item)
    ordered = [sorted(group, key=lambda i: (time_of(i), i.id)) for group in groups.values()]
    return sorted(ordered, key=lambda group: time_of(group[0]))


def _solar_days(items: Sequence[Item], grid: GeoBox) -> list[object]:
    shift = pd.Timedelta(grid.geographic_extent.centroid.coords[0][0] / 15, "h")
    return [(time_of(item) + shift).date() for item in items]


def _pass_facts(groups: Sequence[Sequence[Item]]) -> dict[str, npt.NDArray[Any]]:
    # A property of null is not stated; so it is with the clouds below.
    first = [group[0].properties for group in groups]
    return {
        "s1_orbit_state": _text([p.get("sat:orbit_state") or "unknown" for p in first]),
        "s1_relative_orbit": np.array([int(p.get("sat:relative_orbit") or -1) for p in first]),
        "s1_platform": _text([str(p.get("platform") or "unknown").lower() for p in first]),
    }


def _day_facts(groups: Sequence[Sequence[Item]]) -> dict[str, npt.NDArray[Any]]:
    clouds = [np.array([i.properties.get("eo:cloud_cover") for i in g], float) for g in groups]
    baselines = [
        sorted({processing_baseline(i.properties, i.id) or "unknown" for i in group})
        for group in groups
    ]
    return {
        "s2_cloud_cover": np.array([np.mean(own) for own in clouds]),
        "s2_processing_baseline": _text([", ".join(own) for own in baselines]),
    }


def _text(values: Sequence[object]) -> npt.NDArray[Any]:
    return np.array([str(value) for value in values], object)
