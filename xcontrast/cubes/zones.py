"""Where: the grid of a cube, UTM zones, the antimeridian, and how large its chunks may be."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xcontrast.cubes.sources import Box
from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["areas_of", "choose_chunks", "choose_grid", "epsg_of", "split_zones"]

REACH = 6.0
"""Degrees of longitude from the middle of its zone, at the equator, up to which a UTM grid is used:
there lengths are wrong by half a percent."""
COG_BLOCK = 512
"""Side of the blocks in the Planetary Computer's files, pixels."""
CHUNK = 1024
"""Side of a chunk where memory allows: larger ones save little reading and cost much memory."""
COPIES = 4
"""Chunks in memory at once in a thread: two while a block is read, its input and its output."""


def choose_grid(
    bbox: Box | None, geobox: GeoBox | None, resolution: float, crs: str | int | None
) -> GeoBox:
    """Choose the grid of a cube.

    Parameters
    ----------
    bbox : tuple of float, optional
        West, south, east, north in degrees.
    geobox : GeoBox, optional
        The grid itself.
    resolution : float
        Pixel size of the grid made from `bbox`, in units of the CRS.
    crs : str or int, optional
        Of the grid made from `bbox`; by default the UTM zone of its centre.

    Returns
    -------
    GeoBox

    Raises
    ------
    DataError
        If both or none are given, the box is none, or it is too wide for one UTM zone.
    """
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import box

    if (bbox is None) == (geobox is None):
        raise DataError(
            problem(
                expected="either a bbox or a geobox",
                received="both" if bbox is not None else "neither",
                do="give one",
            )
        )
    if bbox is None:
        return geobox
    west, south, east, north = _check_box(bbox)
    if west > east:
        raise DataError(
            problem(
                expected="a bbox of west < east, on one side of the antimeridian",
                received=f"{tuple(bbox)}, which runs across it",
                do="open one cube a zone: xc.split_zones(bbox) gives the box of each",
            )
        )
    outline = box(west, south, east, north, "EPSG:4326")
    if crs is None:
        crs = CRS.utm(outline.centroid)
        middle = math.floor((west + east) / 2 / 6) * 6 + 3
        low = 0.0 if south < 0 < north else min(abs(south), abs(north))
        reach = max(abs(west - middle), abs(east - middle)) * math.cos(math.radians(low))
        if reach > REACH:
            raise DataError(
                problem(
                    expected=f"a bbox within {REACH:.0f} degrees of the middle of its UTM zone",
                    received=f"{tuple(bbox)}, which reaches {reach:.1f} from {middle}",
                    do="open one cube a zone, xc.split_zones(bbox) gives the box of each; or "
                    "choose a projection: options=xc.CubeOptions(crs=...)",
                )
            )
    return GeoBox.from_geopolygon(outline, resolution=resolution, crs=crs, tight=False)


def _check_box(bbox: Box) -> Box:
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90) or (
        west == east
    ):
        raise DataError(
            problem(
                expected="a bbox of west < east in -180..180 and south < north in -90..90 degrees",
                received=str(tuple(bbox)),
                do="order it as (west, south, east, north)",
            )
        )
    return west, south, east, north


def split_zones(bbox: Box) -> dict[int, Box]:
    """Split a box at the borders of UTM zones, and at the antimeridian.

    Parameters
    ----------
    bbox : tuple of float
        West, south, east, north in degrees; west > east runs across the antimeridian.

    Returns
    -------
    dict
        The box of each zone, by its EPSG code, from west to east.

    Raises
    ------
    DataError
        If it is no box.

    Examples
    --------
    >>> split_zones((11.0, 44.0, 13.0, 45.0))
    {32632: (11.0, 44.0, 12.0, 45.0), 32633: (12.0, 44.0, 13.0, 45.0)}
    >>> split_zones((179.0, -18.0, -179.0, -16.0))
    {32760: (179.0, -18.0, 180.0, -16.0), 32701: (-180.0, -18.0, -179.0, -16.0)}
    """
    west, south, east, north = _check_box(bbox)
    base = 32600 if south + north >= 0 else 32700
    parts = [(west, east)] if west < east else [(west, 180.0), (-180.0, east)]
    boxes: dict[int, Box] = {}
    for left, right in parts:
        first = math.floor((left + 180) / 6)
        last = math.ceil((right + 180) / 6)
        for zone in range(first, last):
            start, end = zone * 6 - 180.0, zone * 6 - 174.0
            own = max(left, start), south, min(right, end), north
            if own[0] < own[2]:
                boxes[base + zone + 1] = own
    return boxes


def areas_of(grid: GeoBox) -> list[Box]:
    """Give the boxes in degrees that cover a grid: two where it runs across the antimeridian.

    Parameters
    ----------
    grid : GeoBox
        In any CRS.

    Returns
    -------
    list of tuple of float
        West, south, east, north.
    """
    from pyproj import Transformer

    # Along the edges only: inside a grid nothing lies farther out, but for a pole.
    height, width = grid.shape
    across, along = np.linspace(0, width, 65), np.linspace(0, height, 65)
    columns = np.concatenate([across, across, np.zeros(65), np.full(65, width)])
    rows = np.concatenate([np.zeros(65), np.full(65, height), along, along])
    step_x, skew_x, left, skew_y, step_y, top = list(grid.affine)[:6]
    x, y = left + step_x * columns + skew_x * rows, top + skew_y * columns + step_y * rows
    to_degrees = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    lon, lat = (np.asarray(values) for values in to_degrees.transform(x, y))
    south, north = float(lat.min()), float(lat.max())
    for pole in (-90.0, 90.0):
        at = to_degrees.transform(0.0, pole, direction="INVERSE")
        if x.min() <= at[0] <= x.max() and y.min() <= at[1] <= y.max() and not grid.crs.geographic:
            return [(-180.0, min(south, pole), 180.0, max(north, pole))]
    if lon.max() - lon.min() <= 180:
        return [(float(lon.min()), south, float(lon.max()), north)]
    return [
        (float(lon[lon > 0].min()), south, 180.0, north),
        (-180.0, south, float(lon[lon <= 0].max()), north),
    ]


def epsg_of(item: Item) -> int | None:
    """Give the EPSG code that an item, or else one of its assets, states."""
    for facts in (item.properties, *(asset.extra_fields for asset in item.assets.values())):
        code = facts.get("proj:code") or facts.get("proj:epsg")
        if code:
            return int(str(code).removeprefix("EPSG:"))
    return None


def choose_chunks(grid: GeoBox, n_bands: int, chunks: Mapping[str, int] | None) -> dict[str, int]:
    """Choose the chunks of a cube: whole blocks of the files, as large as memory allows.

    Parameters
    ----------
    grid : GeoBox
        Of the cube.
    n_bands : int
        Of its widest sensor; 4 bytes a value, one time a chunk.
    chunks : mapping, optional
        What a person asked for, ``{"y": ..., "x": ...}``; -1 is all.

    Returns
    -------
    dict
        Pixels along y and x.
    """
    budget = _memory() / 4
    side = COG_BLOCK // 2
    while side < CHUNK and (2 * side) ** 2 * n_bands * 4 * COPIES <= budget:
        side *= 2
    sizes = {"y": side, "x": side} | dict(chunks or {})
    lengths = dict(zip(("y", "x"), grid.shape, strict=True))
    return {dim: lengths[dim] if sizes[dim] < 0 else sizes[dim] for dim in ("y", "x")}


def _memory() -> float:
    """Give the bytes at hand for each thread: of this machine, or of the cluster's workers."""
    import sys

    import psutil

    memory = float(psutil.virtual_memory().available)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip().isdigit():
        memory = min(memory, float(limit.read_text()))
    threads = [memory / (os.cpu_count() or 1)]
    if "distributed.client" in sys.modules:
        from distributed import get_client

        try:
            workers = get_client().scheduler_info()["workers"].values()
        except ValueError:
            workers = []
        threads += [w["memory_limit"] / w["nthreads"] for w in workers if w["memory_limit"]]
    return min(threads)
