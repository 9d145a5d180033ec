"""Which Sentinel-1 passes take part: those of one direction, or of one relative orbit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sampling.matching import match_times
from xcontrast.sensors import S1, S2

__all__ = ["keep_orbit"]


def keep_orbit(
    cube: xr.Dataset, orbit: str | int, limit: pd.Timedelta, match: str
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Keep the passes of one direction or relative orbit.

    Parameters
    ----------
    cube : Dataset
        With both sensors.
    orbit : str or int
        A direction, a relative orbit, or "same" for the one that gives the most pairs.
    limit, match
        Tolerance and rule of the pairs.

    Returns
    -------
    tuple of Dataset and dict
        The cube with fewer passes; which orbit was kept, and how many passes were not.

    Raises
    ------
    DataError
        If the cube has no such pass.
    """
    name = "s1_orbit_state" if orbit in ("ascending", "descending") else "s1_relative_orbit"
    known = cube[name].values if name in cube.coords else np.array([])
    chosen = _best_orbit(cube, limit, match) if orbit == "same" and len(known) else orbit
    own = known == chosen
    if not own.any():
        raise DataError(
            problem(
                expected="orbit 'ascending', 'descending', 'same' or a relative orbit of the cube",
                received=f"{orbit!r}, while {name} is {sorted(set(known.tolist())) or 'not there'}",
                do="choose one of those, or leave it out",
            )
        )
    told = {"orbit": str(chosen), "rejected_by_orbit": int((~own).sum())}
    return cube.isel({S1.time: own}), told


def _best_orbit(cube: xr.Dataset, limit: pd.Timedelta, match: str) -> int:
    """Give the relative orbit with the most pairs; of several, the one with the least lags."""
    orbits = cube["s1_relative_orbit"].values
    t1, t2 = cube[S1.time].values, cube[S2.time].values

    def rank(orbit: int) -> tuple[int, float, int]:
        own = t1[orbits == orbit]
        i2, i1, _ = match_times(t2, own, limit=limit, rule=match)
        lags = np.abs(own[i1] - t2[i2]) / np.timedelta64(1, "s")
        return -len(i2), float(lags.mean()) if len(i2) else 0.0, int(orbit)

    return min((int(orbit) for orbit in np.unique(orbits)), key=rank)
