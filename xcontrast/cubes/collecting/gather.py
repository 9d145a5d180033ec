"""The imagery of one location: its dates drawn, its images chosen, clean or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xcontrast.cubes.catalog import find_items
from xcontrast.cubes.collecting.plan import CollectPlan
from xcontrast.cubes.loading import hidden_share, load_sensor, number_passes
from xcontrast.cubes.options import CubeOptions
from xcontrast.cubes.periods import time_of
from xcontrast.cubes.sources import Box, Source
from xcontrast.cubes.zones import areas_of, epsg_of
from xcontrast.sensors import S1, S2, STORED_NODATA, Sensor

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["REASONS", "Rejected", "Sample", "footprint_of", "gather_sample"]

Times = npt.NDArray[np.datetime64]

SNAP = 60
"""Metres: on multiples of it pixels of 10, 20 and 60 m all begin, as in every Sentinel-2 tile."""
TRIES = 3
"""Images of a window, or of a pass, that are looked at before it is given up."""
REASONS = ("no image", "clouds or no data", "no radar", "radar without data")
"""Why a draw is rejected."""


class Rejected(Exception):
    """A draw has to be made again; its argument is one of `REASONS`."""


@dataclass(frozen=True)
class Sample:
    """What was gathered at one location, as it is stored."""

    attempt: int
    lon: float
    lat: float
    epsg: int
    x0: float
    y0: float
    """West and north edge, metres."""
    values: dict[str, npt.NDArray[np.int16]]
    """``(date, band, y, x)`` by sensor."""
    times: dict[str, Times]
    """``(date,)`` by sensor."""
    facts: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


def footprint_of(lon: float, lat: float, size: int) -> GeoBox:
    """Give the grid of a location: its UTM zone, 10 m, on the pixels of Sentinel-2.

    Parameters
    ----------
    lon, lat : float
        Of its middle, degrees.
    size : int
        Pixels a side.

    Returns
    -------
    GeoBox
    """
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    epsg = (32600 if lat >= 0 else 32700) + min(int((lon + 180) // 6) + 1, 60)
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    west = round((x - 5 * size) / SNAP) * SNAP
    north = round((y + 5 * size) / SNAP) * SNAP
    return GeoBox((size, size), Affine(10, 0, west, 0, -10, north), f"EPSG:{epsg}")


def gather_sample(
    plan: CollectPlan,
    source: Source,
    options: CubeOptions,
    *,
    location: int,
    attempt: int,
    lon: float,
    lat: float,
) -> Sample:
    """Gather the images of one draw of one location.

    Parameters
    ----------
    plan : CollectPlan
        What to gather.
    source : Source
        Where from.
    options : CubeOptions
        How to read.
    location, attempt : int
        Which draw.
    lon, lat : float
        Of its middle, degrees.

    Returns
    -------
    Sample

    Raises
    ------
    Rejected
        If a date has no image that is clean, or no radar near it.
    SourceError
        If the archive cannot be accessed or reached.
    """
    place = _Place(plan, source, options, footprint_of(lon, lat, plan.size))
    windows = plan.draw_windows(location, attempt)
    values: dict[str, npt.NDArray[np.int16]] = {}
    times: dict[str, Times] = {}
    facts: dict[str, npt.NDArray[Any]] = {}
    aims = [end if plan.backward else start + (end - start) / 2 for start, end in windows]
    # All that is cheap first: most draws are rejected, and should be before their bands are read.
    days = [place.choose_day(*w, aim) for w, aim in zip(windows, aims, strict=True)
            if "s2" in plan.sensors]  # fmt: skip
    if "s1" in plan.sensors:
        limits = windows
        if days and not plan.backward:
            aims = [time_of(day[0]) for day in days]
            limit = pd.Timedelta(plan.tolerance)
            limits = [(aim - limit, aim + limit) for aim in aims]
        passes, values["s1"] = place.choose_passes(limits, aims)
        times["s1"] = _naive([time_of(items[0]) for items in passes])
        facts["s1_relative_orbit"] = np.array([_orbit(items) for items in passes], np.int16)
    if days:
        values["s2"] = place.read(S2, days, REASONS[1])
        times["s2"] = _naive([time_of(day[0]) for day in days])
    grid = place.grid
    west, north = float(grid.affine.c), float(grid.affine.f)
    return Sample(attempt, lon, lat, int(grid.crs.epsg), west, north, values, times, facts)


@dataclass(frozen=True)
class _Place:
    """A footprint and the archive over it."""

    plan: CollectPlan
    source: Source
    options: CubeOptions
    grid: GeoBox

    @cached_property
    def areas(self) -> list[Box]:
        return areas_of(self.grid)

    def find(self, sensor: Sensor, start: pd.Timestamp, end: pd.Timestamp) -> list[list[Item]]:
        """Find the passes or days of a sensor that cover the footprint, each once."""
        period = f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
        cloud = self.plan.max_cloud if sensor is S2 else None
        items = find_items(
            self.source, sensor=sensor, boxes=self.areas, datetime=period, max_cloud=cloud
        )
        keys = number_passes(items) if sensor is S1 else map(_day_of, items)
        passes: dict[object, list[Item]] = {}
        for key, item in zip(keys, items, strict=True):
            passes.setdefault(key, []).append(item)
        whole = (_cover(own, self.grid, self.areas) for own in passes.values())
        return [own for own in whole if own]

    def choose_day(self, start: pd.Timestamp, end: pd.Timestamp, aim: pd.Timestamp) -> list[Item]:
        """Choose the clean image of a window that is nearest an aim (paper: the latest or none)."""
        days = sorted(self.find(S2, start, end), key=lambda own: _lag(own, aim))
        if not days:
            raise Rejected(REASONS[0])
        for own in days[: 1 if self.plan.backward else TRIES]:
            share = hidden_share(own, self.grid, source=self.source, options=self.options)
            if share <= self.plan.max_invalid:
                return own
        raise Rejected(REASONS[1])

    def choose_passes(
        self, windows: Sequence[tuple[pd.Timestamp, pd.Timestamp]], aims: Sequence[pd.Timestamp]
    ) -> tuple[list[list[Item]], npt.NDArray[np.int16]]:
        """Choose the radar pass nearest each aim, all of one orbit (paper: of any), and read it."""
        found = [self.find(S1, *window) for window in windows]
        if not all(found):
            raise Rejected(REASONS[2])
        for orbit in self._rank_orbits(found, aims):
            nearest = [
                _nearest([p for p in passes if orbit is None or _orbit(p) == orbit], aim)
                for passes, aim in zip(found, aims, strict=True)
            ]
            try:
                return nearest, self.read(S1, nearest, REASONS[3])
            except Rejected:
                continue
        raise Rejected(REASONS[3])

    def _rank_orbits(
        self, found: Sequence[list[list[Item]]], aims: Sequence[pd.Timestamp]
    ) -> list[object]:
        """Rank the orbits that serve every date by how near they pass."""
        if self.plan.backward:
            return [None]
        shared = set.intersection(*({_orbit(p) for p in passes} for passes in found))
        if not shared:
            raise Rejected(REASONS[2])

        def lag(orbit: object) -> float:
            near = [
                _nearest([p for p in passes if _orbit(p) == orbit], aim)
                for passes, aim in zip(found, aims, strict=True)
            ]
            return sum(_lag(p, aim) for p, aim in zip(near, aims, strict=True))

        return sorted(shared, key=lambda orbit: (lag(orbit), str(orbit)))[:TRIES]

    def read(
        self, sensor: Sensor, steps: Sequence[Sequence[Item]], reason: str
    ) -> npt.NDArray[np.int16]:
        """Read images as they are stored, ``(date, band, y, x)``; all clean or rejected."""
        images = []
        for items in steps:
            cube = load_sensor(
                sensor, items, self.grid, bands=self.plan.bands[sensor.name], chunks=None,
                source=self.source, on_error="nan", options=self.options,
            )  # fmt: skip
            values = cube[sensor.name].values[0]
            if np.isnan(values).any(0).mean() > self.plan.max_invalid:
                raise Rejected(reason)
            scaled = np.rint(values / np.float32(sensor.stored_scale)).clip(-32767, 32767)
            images.append(np.where(np.isnan(scaled), STORED_NODATA, scaled).astype(np.int16))
        return np.stack(images)


def _day_of(item: Item) -> object:
    facts = item.properties
    if facts.get("s2:datatake_id"):
        return facts["s2:datatake_id"]
    west, _, east, _ = item.bbox or (0.0, 0.0, 0.0, 0.0)
    noon = time_of(item) + pd.Timedelta((west + east) / 30, "h")
    return str(facts.get("platform")).lower(), noon.date()


def _lag(items: Sequence[Item], aim: pd.Timestamp) -> float:
    return float(abs((time_of(items[0]) - aim).total_seconds()))


def _nearest(passes: Sequence[list[Item]], aim: pd.Timestamp) -> list[Item]:
    return min(passes, key=lambda items: _lag(items, aim))


def _orbit(items: Sequence[Item]) -> object:
    return items[0].properties.get("sat:relative_orbit") or -1


def _cover(items: Sequence[Item], grid: GeoBox, areas: Sequence[Box]) -> list[Item]:
    """Give the items that it takes to cover a footprint: one of its own zone if there is; or none.

    An item of the own zone is read without resampling.
    """
    import shapely

    area = shapely.union_all([shapely.box(*box) for box in areas])
    shapes = [shapely.geometry.shape(item.geometry) if item.geometry else area for item in items]
    own = [n for n, item in enumerate(items) if epsg_of(item) in (None, grid.crs.epsg)]
    for n in own:
        if shapes[n].covers(area):
            return [items[n]]
    for chosen in (own, range(len(items))):
        if chosen and shapely.union_all([shapes[n] for n in chosen]).buffer(1e-6).covers(area):
            return [items[n] for n in chosen]
    return []


def _naive(moments: Sequence[pd.Timestamp]) -> Times:
    return np.array([m.tz_convert(None).to_datetime64() for m in moments], "datetime64[s]")
