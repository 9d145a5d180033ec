"""Grids, places, times and sizes in words: lines of the sheets that describe what is held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.sensors import S1, S2, Sensor
from xcontrast.sheets import say_bytes

__all__ = ["say_grid", "say_places", "say_size", "say_times"]


def say_grid(data: xr.Dataset, unit: str = "px") -> str:
    """Say how many pixels or cells there are, how wide they are, and where they lie."""
    import odc.geo.xr  # noqa: F401  (registers .odc)

    height, width = data.sizes.get("y", 0), data.sizes.get("x", 0)
    grid = data.odc.geobox
    if grid is None or grid.crs is None:
        return f"{width:,} × {height:,} {unit}, not georeferenced"
    measure = "°" if grid.crs.geographic else "m"
    box = grid.geographic_extent.boundingbox
    east, north = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    middle = f"{abs(north):.2f}° {'NS'[north < 0]} {abs(east):.2f}° {'EW'[east < 0]}"
    cell = f"{abs(grid.resolution.x):g} {measure}"
    name = f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else grid.crs.to_wkt().split('"')[1]
    return f"{width:,} × {height:,} {unit} of {cell} around {middle}, {name}"


def say_places(data: xr.Dataset, unit: str = "px") -> str:
    """Say how many locations there are, of how many pixels or cells each, and between where."""
    line = f"{data.sizes['location']:,}"
    if "x" in data.sizes:
        line += f" of {data.sizes['x']} × {data.sizes.get('y', 0)} {unit}"
    if "lon" in data.coords and data.sizes["location"]:
        line += (
            f", {float(data.lat.min()):.1f} to {float(data.lat.max()):.1f}° N, "
            f"{float(data.lon.min()):.1f} to {float(data.lon.max()):.1f}° E"
        )
    return line


def say_times(values: xr.DataArray, sensor: Sensor) -> list[str]:
    """Say how many times there are, from when to when, their longest gap, orbits or cloud.

    Parameters
    ----------
    values : DataArray
        With the sensor's dim of times; without it nothing is said.
    sensor : Sensor

    Returns
    -------
    list of str
    """
    if sensor.time not in values.dims:
        return []
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
        parts.append(f"mean cloud {float(np.nanmean(values.s2_cloud_cover)):.0f} %")
    return parts


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


def say_size(arrays: Sequence[xr.DataArray], items: Mapping[str, Any] | None = None) -> str:
    """Say what arrays take in memory, what is read for them, and in how many tasks.

    Parameters
    ----------
    arrays : sequence of DataArray
        Lazy or not.
    items : mapping, optional
        What a cube's items told, with ``source_bytes``.

    Returns
    -------
    str
    """
    line = f"{say_bytes(sum(values.nbytes for values in arrays))} in memory"
    if items and "source_bytes" in items:
        most = say_bytes(items["source_bytes"])
        line += f"; the whole cube reads at most {most}, less compressed"
    chunked = [values for values in arrays if values.chunks is not None]
    if chunked:
        tasks = sum(len(values.data.dask) for values in chunked)
        largest = max(chunked, key=_chunk_bytes)
        sides = [max(own) for own in largest.chunks or ()]
        size = say_bytes(float(_chunk_bytes(largest)))
        line += f"; {tasks:,} tasks, chunks up to {' × '.join(map(str, sides))} ({size})"
    return line


def _chunk_bytes(values: xr.DataArray) -> int:
    return values.dtype.itemsize * math.prod(max(own, default=0) for own in values.chunks or ())
