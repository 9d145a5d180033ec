"""What a cube holds, said before a byte of it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.lines import say_grid, say_places, say_size, say_times
from xcontrast.cubes.periods import time_of
from xcontrast.cubes.radiometry import processing_baseline
from xcontrast.cubes.sources import Box
from xcontrast.cubes.zones import epsg_of
from xcontrast.sensors import S1, S2, SENSORS, Sensor
from xcontrast.sheets import Sheet

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["FACTS", "SUMMARY", "describe", "gather_facts"]

FACTS = "xcontrast_facts"
"""Attribute of a cube: what only its items tell, as JSON."""
SUMMARY = "xcontrast_summary"
"""Attribute of a collection: what was accepted and rejected, as JSON."""
FINE, MIDDLE = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
PAIR_TOLERANCE = np.timedelta64(3, "D")


def gather_facts(
    items: Mapping[str, Sequence[Item]],
    bands: Mapping[str, Sequence[str]],
    grid: GeoBox,
    areas: Sequence[Box],
) -> str:
    """Gather what only the items tell.

    Parameters
    ----------
    items : mapping of sequence of pystac.Item
        By sensor.
    bands : mapping of sequence of str
        By sensor.
    grid : GeoBox
        Of the cube.
    areas : sequence of tuple of float
        The grid in degrees.

    Returns
    -------
    str
        JSON: items by sensor, bytes to read, notes.
    """
    import shapely

    area = shapely.union_all([shapely.box(*box) for box in areas])
    facts: dict[str, Any] = {"items": {}, "source_bytes": 0, "notes": []}
    for sensor in SENSORS:
        own = list(items.get(sensor.name, ()))
        if not own:
            continue
        shares = _shares(own, area)
        pixels = abs(grid.shape[0] * grid.shape[1] * grid.resolution.x * grid.resolution.y)
        if grid.crs is not None and grid.crs.geographic:
            pixels *= 111_320**2 * np.cos(np.radians(area.centroid.y))
        facts["items"][sensor.name] = len(own)
        facts["source_bytes"] += int(shares.sum() * pixels / 100 * _bytes(sensor, bands))
        facts["notes"] += _warn_of(sensor, own, shares, grid)
    return json.dumps(facts)


def describe(cube: xr.Dataset) -> Sheet:
    """Describe a cube; nothing is read.

    Parameters
    ----------
    cube : Dataset
        From ``open_cube`` or ``as_cube``, or a part of one.

    Returns
    -------
    Sheet
        Prints its place, dates, gaps, size, tasks and what to know of its items.
    """
    present = [sensor for sensor in SENSORS if sensor.name in cube]
    if not present:
        return Sheet("Dataset without s1 or s2", [], [])
    title = str(cube.attrs.get("title", "Dataset"))
    items = json.loads(cube.attrs.get(FACTS, "{}"))
    arrays = [cube[sensor.name] for sensor in present]
    if "location" in cube.dims:
        rows = [("Places", say_places(cube))]
        rows += [(s.title, _dates_line(cube, s)) for s in present]
        rows.append(("Size", say_size(arrays, items)))
        return Sheet(title, rows, _tell_rejected(cube))
    rows = [("Grid", say_grid(cube))]
    rows += [(s.title, _sensor_line(cube[s.name], s, items)) for s in present]
    if S1.time in cube.dims and S2.time in cube.dims:
        rows.append(("Pairs", _pairs_line(cube)))
    rows.append(("Size", say_size(arrays, items)))
    return Sheet(title, rows, items.get("notes", []))


def _dates_line(cube: xr.Dataset, sensor: Sensor) -> str:
    line = ", ".join(map(str, cube[sensor.band].values))
    if "date" in cube[sensor.name].dims:
        line = f"{cube.sizes['date']} dates; {line}"
    if sensor.time in cube.coords and cube[sensor.time].size:
        first, last = (pd.Timestamp(f(cube[sensor.time].values)) for f in (np.min, np.max))
        line = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}, {line}"
    return line


def _tell_rejected(cube: xr.Dataset) -> list[str]:
    summary = json.loads(cube.attrs.get(SUMMARY, "{}"))
    if not summary:
        return []
    notes = [f"{summary['accepted']:,} of {summary['locations']:,} places accepted"]
    counts = summary["rejected_draws"].items()
    why = ", ".join(f"{count:,} {reason}" for reason, count in counts if count)
    return [notes[0] + (f"; draws rejected: {why}" if why else "")]


def _sensor_line(values: xr.DataArray, sensor: Sensor, items: Mapping[str, Any]) -> str:
    parts = say_times(values, sensor)
    if parts and sensor.name in items.get("items", {}):
        parts.append(f"{items['items'][sensor.name]} items")
    return "; ".join([*parts, ", ".join(map(str, values[sensor.band].values))])


def _pairs_line(cube: xr.Dataset) -> str:
    passes, days = cube[S1.time].values, cube[S2.time].values
    if not len(passes) or not len(days):
        return "none: a sensor has no date"
    nearest = np.abs(days[:, None] - passes).min(1)
    return f"{int((nearest <= PAIR_TOLERANCE).sum())} of {len(days)} Sentinel-2 days have a " + (
        "Sentinel-1 pass within 3 days"
    )


def _shares(items: Sequence[Item], area: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Give the share of the area that each item covers."""
    import shapely

    boxes = [shapely.box(*_flat(item.bbox)) if item.bbox else area for item in items]
    outlines = shapely.from_geojson(
        [json.dumps(i.geometry) if i.geometry else shapely.to_geojson(b)
         for i, b in zip(items, boxes, strict=True)]
    )  # fmt: skip
    covered = shapely.area(shapely.intersection(shapely.make_valid(outlines), area))
    result: np.ndarray[Any, np.dtype[np.float64]] = covered / area.area
    return result


def _flat(box: Sequence[float]) -> Sequence[float]:
    return [*box[:2], *box[3:5]] if len(box) == 6 else box


def _bytes(sensor: Sensor, bands: Mapping[str, Sequence[str]]) -> float:
    """Give the bytes of a 10 m pixel at the source, each band at its own resolution."""
    own = bands[sensor.name]
    if sensor is S1:
        return 4.0 * len(own)
    return 0.25 + sum(2 if b in FINE else 2 / 4 if b in MIDDLE else 2 / 36 for b in own)


def _warn_of(
    sensor: Sensor,
    items: Sequence[Item],
    shares: np.ndarray[Any, np.dtype[np.float64]],
    grid: GeoBox,
) -> list[str]:
    """Say what a person should know of the items before they use them."""
    notes = []
    steps = pd.Series(shares).groupby([time_of(item).date() for item in items]).sum()
    partial = int((steps < 0.5).sum())
    if partial:
        notes.append(f"{sensor.title}: {partial} dates cover less than half of the area")
    zones = {str(epsg_of(item)) for item in items} - {str(grid.crs.epsg), "None"}
    if zones:
        notes.append(
            f"{sensor.title}: items in EPSG {', '.join(sorted(zones))} are resampled to the grid"
        )
    if sensor is S1:
        orbits = {item.properties.get("sat:relative_orbit") for item in items}
        platforms = {str(item.properties.get("platform")).lower() for item in items}
        if len(orbits) > 1:
            notes.append(f"{sensor.title}: {len(orbits)} orbits see from different sides; each "
                         "pass is a time of its own")  # fmt: skip
        if len(platforms) > 1:
            notes.append(f"{sensor.title}: {', '.join(sorted(platforms))} may lie apart by pixels; "
                         "cube.contrast.measure_shifts() tells")  # fmt: skip
        return notes
    unknown = [i for i in items if processing_baseline(i.properties, i.id) is None]
    if unknown:
        notes.append(f"{sensor.title}: {len(unknown)} items without a processing baseline are "
                     "taken to have no offset")  # fmt: skip
    if not all(any(key.lower() == "scl" for key in item.assets) for item in items):
        notes.append(f"{sensor.title}: without SCL assets clouds are not masked")
    return notes
