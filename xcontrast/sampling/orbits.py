"""Which Sentinel-1 passes take part: those of one direction, or of one relative orbit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sampling.matching import match_times
from xcontrast.sensors import S1, S2

__all__ = ["keep_orbit", "keep_pairs", "keep_passes"]

DIRECTIONS = ("ascending", "descending")


def keep_passes(cube: xr.Dataset, orbit: str | int | None) -> tuple[xr.Dataset, dict[str, Any]]:
    """Keep the passes that seasonal pairs are made of: never of both directions.

    Parameters
    ----------
    cube : Dataset
        A cube, or a collection, whose pairs :func:`keep_pairs` sifts.
    orbit : str or int, optional
        As of :func:`keep_orbit`; by default the direction of the most passes.

    Returns
    -------
    tuple of Dataset and dict
        As of :func:`keep_orbit`.

    Raises
    ------
    DataError
        If it is Sentinel-2 that is paired, or the cube has no such pass.
    """
    if S2.name in cube and orbit is not None:
        raise DataError(
            problem(
                expected="an orbit of seasonal pairs of Sentinel-1",
                received=f"orbit={orbit!r}, while the cube's Sentinel-2 is paired",
                do="leave out `orbit`, or pair Sentinel-1 alone: cube.drop_dims('s2_time')",
            )
        )
    if S2.name in cube or S1.time not in cube.dims:
        return cube, {}
    if orbit is None:
        states: Any = cube["s1_orbit_state"].values if "s1_orbit_state" in cube.coords else []
        directions = [str(state) for state in states if state in DIRECTIONS]
        if len(set(directions)) < len(DIRECTIONS):
            return cube, {}
        orbit = max(DIRECTIONS, key=directions.count)
    return keep_orbit(cube, orbit)


def keep_pairs(pairs: xr.Dataset, orbit: str | int) -> tuple[xr.Dataset, dict[str, Any]]:
    """Keep the pairs of a collection whose passes are all of one direction or relative orbit.

    Parameters
    ----------
    pairs : Dataset
        Of a collection.
    orbit : str or int
        As of :func:`keep_orbit`; "same" keeps the orbit of the most pairs of each place.

    Returns
    -------
    tuple of Dataset and dict
        As of :func:`keep_orbit`.

    Raises
    ------
    DataError
        If no pair is so, or the orbits are not known.
    """
    name = _coord_of(orbit)
    known = pairs[name] if name in pairs.coords else xr.DataArray(np.array([]), dims="pair")
    own = known == (_orbit_of_places(pairs, known) if orbit == "same" and known.size else orbit)
    if "date" in own.dims:
        own = own.all("date")
    if not own.any():
        raise _no_pass(orbit, name, known.values)
    told = {"orbit": str(orbit), "rejected_by_orbit": int((~own).sum())}
    return pairs.isel(pair=own.values), told


def _orbit_of_places(pairs: xr.Dataset, known: xr.DataArray) -> xr.DataArray:
    """Give each pair the relative orbit that its place has most often; -2 where none is known."""
    if "date" in known.dims:
        return known.isel(date=0).where(known.isel(date=0) >= 0, -2)
    places = pairs["location"].values
    chosen = np.full(len(places), -2)
    for place in np.unique(places):
        own = known.values[places == place]
        orbits, counts = np.unique(own[own >= 0], return_counts=True)
        if len(orbits):
            chosen[places == place] = orbits[counts.argmax()]
    return xr.DataArray(chosen, dims="pair")


def _coord_of(orbit: str | int) -> str:
    return "s1_orbit_state" if orbit in DIRECTIONS else "s1_relative_orbit"


def _no_pass(orbit: str | int, name: str, known: Any) -> DataError:
    there = sorted(set(known.ravel().tolist()), key=str)
    return DataError(
        problem(
            expected="orbit 'ascending', 'descending', 'same' or a relative orbit of the cube",
            received=f"{orbit!r}, while {name} is {there or 'not there'}",
            do="choose one of those, or leave it out",
        )
    )


def keep_orbit(
    cube: xr.Dataset,
    orbit: str | int,
    limit: pd.Timedelta | None = None,
    match: str = "nearest",
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Keep the passes of one direction or relative orbit.

    Parameters
    ----------
    cube : Dataset
        With both sensors.
    orbit : str or int
        A direction, a relative orbit, or "same" for the one that gives the most pairs.
    limit, match
        Tolerance and rule of cross-sensor pairs; without, passes are counted.

    Returns
    -------
    tuple of Dataset and dict
        The cube with fewer passes; which orbit was kept, and how many passes were not.

    Raises
    ------
    DataError
        If the cube has no such pass.
    """
    name = _coord_of(orbit)
    known = cube[name].values if name in cube.coords else np.array([])
    chosen = _best_orbit(cube, limit, match) if orbit == "same" and len(known) else orbit
    own = known == chosen
    if not own.any():
        raise _no_pass(orbit, name, known)
    told = {"orbit": str(chosen), "rejected_by_orbit": int((~own).sum())}
    return cube.isel({S1.time: own}), told


def _best_orbit(cube: xr.Dataset, limit: pd.Timedelta | None, match: str) -> int:
    """Give the relative orbit with the most pairs; of several, the one with the least lags."""
    orbits = cube["s1_relative_orbit"].values
    if limit is None:
        unique, counts = np.unique(orbits, return_counts=True)
        return int(unique[counts.argmax()])
    t1, t2 = cube[S1.time].values, cube[S2.time].values

    def rank(orbit: int) -> tuple[int, float, int]:
        own = t1[orbits == orbit]
        i2, i1, _ = match_times(t2, own, limit=limit, rule=match)
        lags = np.abs(own[i1] - t2[i2]) / np.timedelta64(1, "s")
        return -len(i2), float(lags.mean()) if len(i2) else 0.0, int(orbit)

    return min((int(orbit) for orbit in np.unique(orbits)), key=rank)
