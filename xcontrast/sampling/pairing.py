"""Match Sentinel-1 and Sentinel-2 acquisitions of one place: cube in, pairs out, nothing read."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, SENSORS, Sensor

__all__ = ["match_nearest", "pairs", "seen_by"]


def pairs(
    cube: xr.Dataset,
    *,
    kind: Literal["cross-sensor"] = "cross-sensor",
    tolerance: str | pd.Timedelta = "3D",
    min_valid: float | None = None,
) -> xr.Dataset:
    """Match each Sentinel-2 acquisition with the Sentinel-1 acquisition nearest in time.

    An S1 acquisition may serve several S2 acquisitions; of two equally near, the earlier is
    taken. Lazy: nothing is read unless `min_valid` is given. A collection is already aligned in
    (location, date): its entries become pairs one by one, kept where their true times, if they
    are there, lie within the tolerance.

    Parameters
    ----------
    cube : Dataset
        A cube: ``s1 (s1_time, s1_band, y, x)`` and ``s2 (s2_time, s2_band, y, x)`` on one grid;
        or a collection with a leading ``location`` and perhaps ``date``.
    kind : {"cross-sensor"}
        What makes two images a positive pair: two sensors at one place and time.
    tolerance : str or Timedelta, default "3D"
        Largest absolute time between the two, inclusive.
    min_valid : float, optional
        Keep a pair only if at least this share of its pixels, 0..1, is valid in both sensors
        (first band of each). Reads those two bands.

    Returns
    -------
    Dataset
        ``s1 (pair, s1_band, y, x)`` and ``s2 (pair, s2_band, y, x)``, as lazy as the input;
        coords on ``pair``: ``s1_time``, ``s2_time``, ``lag`` (S1 minus S2, timedelta64[ns]), the
        other coords of both time axes, and ``valid_fraction`` (1) if `min_valid` is given.
        ``attrs["pairing"]`` is a JSON text with counts of what was matched and rejected.

    Raises
    ------
    DataError
        If a sensor is missing, no two acquisitions lie within the tolerance, or no pair is valid
        enough.

    References
    ----------
    Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks,
    section 3: an S1 and an S2 image of one place and time are a positive pair. The paper's
    30-day window is ``tolerance="30D"`` at its widest.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> day = pd.Timestamp("2023-04-01").as_unit("ns")
    >>> cube = xr.Dataset(
    ...     {
    ...         "s1": (("s1_time", "s1_band", "y", "x"), np.zeros((2, 2, 4, 4), "float32")),
    ...         "s2": (("s2_time", "s2_band", "y", "x"), np.zeros((2, 3, 4, 4), "float32")),
    ...     },
    ...     {
    ...         "s1_time": [day, day + pd.Timedelta("9D")],
    ...         "s2_time": [day + pd.Timedelta("2D"), day + pd.Timedelta("30D")],
    ...     },
    ... )
    >>> pairs(cube, tolerance="3D").lag.dt.days.values
    array([-2])
    """
    _check_kind(kind)
    limit = _read_tolerance(tolerance)
    _check_sensors(cube)
    collection = "location" in cube.dims
    matched = _stack_collection(cube, limit) if collection else _match_cube(cube, limit)
    facts: dict[str, Any] = {
        "kind": kind,
        "tolerance": str(limit),
        "matched": matched.sizes["pair"],
        "rejected_by_time": _count_acquisitions(cube) - matched.sizes["pair"],
        "rejected_by_validity": 0,
    }
    if min_valid is not None:
        matched = _keep_valid(matched, min_valid)
        facts["rejected_by_validity"] = facts["matched"] - matched.sizes["pair"]
    matched.attrs = {**cube.attrs, "pairing": json.dumps(facts)}
    return matched


def match_nearest(
    times: npt.NDArray[np.datetime64],
    candidates: npt.NDArray[np.datetime64],
    *,
    tolerance: pd.Timedelta,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find for each time the nearest candidate within a tolerance.

    Parameters
    ----------
    times : ndarray (n,), datetime64
        What looks for a partner, in any order.
    candidates : ndarray (m,), datetime64
        The possible partners, in any order.
    tolerance : Timedelta
        Largest absolute difference, inclusive.

    Returns
    -------
    tuple of ndarray (k,), intp
        Indices into `times` and into `candidates`; of two equally near candidates the earlier.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> days = np.array(["2023-01-01", "2023-01-09"], "datetime64[ns]")
    >>> match_nearest(days, days + np.timedelta64(1, "D"), tolerance=pd.Timedelta("2D"))
    (array([0, 1]), array([0, 1]))
    """
    if not len(times) or not len(candidates):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    order = np.argsort(candidates, kind="stable")
    ordered = candidates[order]
    after = np.searchsorted(ordered, times, side="left").clip(max=len(ordered) - 1)
    before = (np.searchsorted(ordered, times, side="right") - 1).clip(min=0)
    # The first of equal dates, so that the choice does not depend on how `before` was found.
    before = np.searchsorted(ordered, ordered[before], side="left")
    nearer = np.abs(ordered[after] - times) < np.abs(times - ordered[before])
    partner = np.where(nearer, after, before)
    near = np.abs(ordered[partner] - times) <= tolerance.to_timedelta64()
    return np.flatnonzero(near), order[partner[near]]


def _check_kind(kind: str) -> None:
    if kind != "cross-sensor":
        raise DataError(
            problem(expected="kind 'cross-sensor'", received=repr(kind), do="leave `kind` out")
        )


def _read_tolerance(tolerance: str | pd.Timedelta) -> pd.Timedelta:
    try:
        limit = pd.Timedelta(tolerance)
    except ValueError:
        limit = pd.Timedelta(-1, "D")
    if pd.isna(limit) or limit < pd.Timedelta(0):
        raise DataError(
            problem(
                expected="a tolerance of at least zero, such as '3D' or '12h'",
                received=repr(tolerance),
                do="write a number and a unit that pandas.Timedelta reads",
            )
        )
    return limit


def _check_sensors(cube: xr.Dataset) -> None:
    missing = [sensor.name for sensor in SENSORS if sensor.name not in cube.data_vars]
    if missing:
        raise DataError(
            problem(
                expected="a cube with both sensors, variables 's1' and 's2'",
                received=f"a Dataset with {sorted(map(str, cube.data_vars))}",
                do=f"add {' and '.join(missing)} with xc.open_cube or xc.as_cube",
            )
        )
    if "location" in cube.dims:
        return
    for sensor in SENSORS:
        expected = (sensor.time, sensor.band, "y", "x")
        if cube[sensor.name].dims != expected:
            raise DataError(
                problem(
                    expected=f"{sensor.name} with dims {expected}",
                    received=str(cube[sensor.name].dims),
                    do="make the cube with xc.as_cube, which names and orders the dims",
                )
            )


def _count_acquisitions(cube: xr.Dataset) -> int:
    if "location" in cube.dims:
        return int(cube.sizes["location"] * cube.sizes.get("date", 1))
    return int(cube.sizes[S2.time])


def _match_cube(cube: xr.Dataset, limit: pd.Timedelta) -> xr.Dataset:
    t1, t2 = cube[S1.time].values, cube[S2.time].values
    i2, i1 = match_nearest(t2, t1, tolerance=limit)
    if not len(i2):
        gap = np.abs(t1[:, None] - t2[None]).min() if len(t1) and len(t2) else None
        nearest = f"the nearest are {pd.Timedelta(gap)} apart" if gap is not None else "none at all"
        raise DataError(
            problem(
                expected=f"S1 and S2 acquisitions within {limit} of each other",
                received=f"{len(t1)} S1 and {len(t2)} S2 dates; {nearest}",
                do="widen `tolerance` or the period of the cube",
            )
        )
    one = _own_part(cube, S1).isel({S1.time: xr.DataArray(i1, dims="pair")})
    two = _own_part(cube, S2).isel({S2.time: xr.DataArray(i2, dims="pair")})
    matched = xr.merge([one, two], compat="override", join="exact")
    return matched.assign_coords(lag=matched[S1.time] - matched[S2.time])


def _own_part(cube: xr.Dataset, sensor: Sensor) -> xr.Dataset:
    return cube[[name for name in (sensor.name, sensor.valid) if name in cube]]


def _stack_collection(cube: xr.Dataset, limit: pd.Timedelta) -> xr.Dataset:
    dims = [dim for dim in ("location", "date") if dim in cube.dims]
    absent = [dim for dim in dims if any(dim not in cube[s.name].dims for s in SENSORS)]
    if absent:
        raise DataError(
            problem(
                expected=f"both sensors with the dims {dims}",
                received=f"s1 {cube['s1'].dims} and s2 {cube['s2'].dims}",
                do="give every location (and date) both sensors, or select one date",
            )
        )
    indexed = cube.assign_coords(
        {dim: np.arange(cube.sizes[dim]) for dim in dims if dim not in cube.coords}
    )
    stacked = indexed.stack(pair=dims, create_index=False).reset_coords(drop=False)
    coords = [name for name in stacked.data_vars if name not in (S1.name, S2.name)]
    stacked = stacked.set_coords(coords).transpose("pair", S1.band, S2.band, "y", "x", ...)
    if S1.time in stacked.coords and S2.time in stacked.coords:
        stacked = stacked.assign_coords(lag=stacked[S1.time] - stacked[S2.time])
        stacked = stacked.isel(pair=np.abs(stacked.lag.values) <= limit.to_timedelta64())
        if not stacked.sizes["pair"]:
            raise DataError(
                problem(
                    expected=f"S1 and S2 within {limit} at some location and date",
                    received="none that near in s1_time and s2_time",
                    do="widen `tolerance`",
                )
            )
    return stacked


def seen_by(pairs: xr.Dataset, sensor: Sensor) -> xr.DataArray:
    """Give where a sensor sees the ground: as its cube tells, or else where its first band is."""
    if sensor.valid in pairs:
        return pairs[sensor.valid]
    return pairs[sensor.name].isel({sensor.band: 0}, drop=True).notnull()


def _keep_valid(matched: xr.Dataset, min_valid: float) -> xr.Dataset:
    if not 0 <= min_valid <= 1:
        raise DataError(
            problem(expected="min_valid in 0..1", received=str(min_valid), do="give a share")
        )
    both = [seen_by(matched, sensor) for sensor in SENSORS]
    fraction = (both[0] & both[1]).mean(("y", "x")).astype("float32").compute()
    kept = matched.assign_coords(valid_fraction=("pair", fraction.values))
    kept = kept.isel(pair=fraction.values >= min_valid)
    if not kept.sizes["pair"]:
        raise DataError(
            problem(
                expected=f"a pair with at least {min_valid:.0%} of its pixels valid in both",
                received=f"{matched.sizes['pair']} pairs, the best {float(fraction.max()):.0%}",
                do="lower `min_valid`, or look for a clearer period",
            )
        )
    return kept
