"""What a cube holds, said before a byte of it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.periods import time_of
from xcontrast.cubes.radiometry import processing_baseline
from xcontrast.cubes.sources import Box
from xcontrast.cubes.zones import epsg_of
from xcontrast.sensors import S1, S2, SENSORS, Sensor
from xcontrast.sheets import Sheet, say_bytes

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
    if "location" in cube.dims:
        rows = [("Places", _places_line(cube))]
        rows += [(s.title, _dates_line(cube, s)) for s in present]
        rows.append(("Size", _size_line(cube, present, items)))
        return Sheet(title, rows, _tell_rejected(cube))
    rows = [("Grid", _grid_line(cube))]
    rows += [(s.title, _sensor_line(cube[s.name], s, items)) for s in present]
    if S1.time in cube.dims and S2.time in cube.dims:
        rows.append(("Pairs", _pairs_line(cube)))
    rows.append(("Size", _size_line(cube, present, items)))
    return Sheet(title, rows, items.get("notes", []))


def _grid_line(cube: xr.Dataset) -> str:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    height, width = cube.sizes.get("y", 0), cube.sizes.get("x", 0)
    grid = cube.odc.geobox
    if grid is None or grid.crs is None:
        return f"{width:,} × {height:,} px, not georeferenced"
    unit = "°" if grid.crs.geographic else "m"
    box = grid.geographic_extent.boundingbox
    east, north = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    middle = f"{abs(north):.2f}° {'NS'[north < 0]} {abs(east):.2f}° {'EW'[east < 0]}"
    cell = f"{abs(grid.resolution.x):g} {unit}"
    name = f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else grid.crs.to_wkt().split('"')[1]
    return f"{width:,} × {height:,} px of {cell} around {middle}, {name}"


def _places_line(cube: xr.Dataset) -> str:
    line = f"{cube.sizes['location']:,} of {cube.sizes.get('x', 0)} × {cube.sizes.get('y', 0)} px"
    if "lon" in cube.coords and cube.sizes["location"]:
        line += (
            f", {float(cube.lat.min()):.1f} to {float(cube.lat.max()):.1f}° N, "
            f"{float(cube.lon.min()):.1f} to {float(cube.lon.max()):.1f}° E"
        )
    return line


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
    bands = ", ".join(map(str, values[sensor.band].values))
    if sensor.time not in values.dims:
        return bands
    times = pd.DatetimeIndex(values[sensor.time].values)
    steps = "passes" if sensor is S1 else "days"
    parts = [f"{len(times)} {steps}"]
    known = times.dropna().sort_values()
    if len(known):
        parts[0] += f", {known[0]:%Y-%m-%d} to {known[-1]:%Y-%m-%d}"
    if len(known) > 1:
        gaps = known[1:] - known[:-1]
        widest = int(gaps.argmax())
        parts.append(f"longest gap {gaps[widest].days} d from {known[widest]:%Y-%m-%d}")
    if sensor is S1 and (orbits := _name_orbits(values)):
        parts.append("orbits " + ", ".join(orbits[:6]))
    if sensor is S2 and "s2_cloud_cover" in values.coords and len(times):
        cloud = float(np.nanmean(values.s2_cloud_cover)) if len(times) else np.nan
        parts.append(f"mean cloud {cloud:.0f} %")
    if sensor.name in items.get("items", {}):
        parts.append(f"{items['items'][sensor.name]} items")
    return "; ".join([*parts, bands])


def _name_orbits(values: xr.DataArray) -> list[str]:
    """Name the relative orbits that are known, with their directions where these are."""
    if "s1_relative_orbit" not in values.coords:
        return []
    orbits = pd.to_numeric(np.ravel(values["s1_relative_orbit"]), errors="coerce")
    states = np.ravel(values.coords.get("s1_orbit_state", ""))
    known = {
        (int(orbit), "" if pd.isna(state) else str(state))
        for orbit, state in zip(*np.broadcast_arrays(orbits, states), strict=True)
        if np.isfinite(orbit)
    }
    return [f"{orbit} {state}".strip() for orbit, state in sorted(known)]


def _pairs_line(cube: xr.Dataset) -> str:
    passes, days = cube[S1.time].values, cube[S2.time].values
    if not len(passes) or not len(days):
        return "none: a sensor has no date"
    nearest = np.abs(days[:, None] - passes).min(1)
    return f"{int((nearest <= PAIR_TOLERANCE).sum())} of {len(days)} Sentinel-2 days have a " + (
        "Sentinel-1 pass within 3 days"
    )


def _size_line(cube: xr.Dataset, present: Sequence[Sensor], items: Mapping[str, Any]) -> str:
    line = f"{say_bytes(sum(cube[s.name].nbytes for s in present))} in memory"
    if "source_bytes" in items:
        most = say_bytes(items["source_bytes"])
        line += f"; the whole cube reads at most {most}, less compressed"
    chunked = [cube[s.name] for s in present if cube[s.name].chunks is not None]
    if chunked:
        tasks = sum(len(values.data.dask) for values in chunked)
        sides = [max(own) for own in max(chunked, key=_chunk_size).chunks or ()]
        size = say_bytes(4 * float(math.prod(sides)))
        line += f"; {tasks:,} tasks, chunks up to {' × '.join(map(str, sides))} ({size})"
    return line


def _chunk_size(values: xr.DataArray) -> int:
    return math.prod(max(own) for own in values.chunks or ())


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
