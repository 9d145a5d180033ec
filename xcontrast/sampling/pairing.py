"""Positive pairs: two sensors at one place and time, or seasons of one place; lazy."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.periods import read_span
from xcontrast.errors import DataError, problem
from xcontrast.requirements import require_places
from xcontrast.sampling.identity import image_of, name_images
from xcontrast.sampling.images import stack_images
from xcontrast.sampling.matching import match_times
from xcontrast.sampling.orbits import keep_orbit, keep_pairs, keep_passes
from xcontrast.sampling.seasons import pair_dates, pair_seasons
from xcontrast.sampling.validity import keep_valid
from xcontrast.sensors import S1, S2, SENSORS, Sensor

__all__ = ["pairs"]

KINDS = ("cross-sensor", "seasonal", "both")
MATCHES = ("nearest", "one-to-one", "all", "paper")


def pairs(
    cube: xr.Dataset,
    *,
    kind: Literal["cross-sensor", "seasonal", "both"] = "cross-sensor",
    tolerance: str | pd.Timedelta = "3D",
    match: Literal["nearest", "one-to-one", "all", "paper"] = "nearest",
    orbit: str | int | None = None,
    max_cloud: float | None = None,
    min_valid: float | None = None,
    gap: str | pd.Timedelta = "60D",
    replace: bool = False,
) -> xr.Dataset:
    """Find the positive pairs of a cube or a collection.

    Lazy: nothing is read unless `min_valid` is given. ``pairs.contrast`` prints what was matched
    and rejected.

    Parameters
    ----------
    cube : Dataset
        A cube: ``s1 (s1_time, s1_band, y, x)`` and ``s2 (s2_time, s2_band, y, x)`` on one grid;
        or a collection with a leading ``location`` and perhaps ``date``.
    kind : {"cross-sensor", "seasonal", "both"}
        What makes images positive pairs: two sensors at one place and time, one sensor at one
        place and several dates, or both at once.
    tolerance : str or Timedelta, default "3D"
        Cross-sensor: largest absolute time between the two, inclusive.
    match : {"nearest", "one-to-one", "all", "paper"}
        Cross-sensor, of a cube. "nearest": each Sentinel-2 date takes its nearest Sentinel-1 pass,
        which may serve several. "one-to-one": each at most once, as many pairs as can be and
        then the least total lag. "all": whatever lies within the tolerance. "paper": the latest
        of both in the window of `tolerance` before a moment, for all moments; ``duration`` tells
        for how long. A collection is aligned already: its entries become pairs one by one, kept
        where their true times, if they are there, lie within the tolerance.
    orbit : {"ascending", "descending", "same"} or int, optional
        Only Sentinel-1 passes of a direction, of a relative orbit, or ("same") of the one
        relative orbit that gives the most pairs (of a collection: at each place). Seasonal pairs
        of Sentinel-1 are of one direction, by default that of the most passes, where
        ``s1_orbit_state`` tells.
    max_cloud : float, optional
        Leave out Sentinel-2 dates with a higher ``s2_cloud_cover``, percent.
    min_valid : float, optional
        Keep a pair only if at least this share of its pixels, 0..1, is valid in all its images.
        Reads ``s1_valid`` and ``s2_valid``, or else the first band of each.
    gap : str or Timedelta, default "60D"
        Seasonal and both: least time between two dates of a place; two dates at least, of
        which seco takes three.
    replace : bool, default False
        Seasonal: whether views of a place are later drawn with replacement, as Seasonal
        Contrast's code does, which makes one date its own positive now and then.

    Returns
    -------
    Dataset
        Cross-sensor: ``s1 (pair, s1_band, y, x)`` and ``s2 (pair, s2_band, y, x)``; on ``pair``
        ``s1_time``, ``s2_time``, ``lag`` (S1 minus S2, timedelta64[ns]), the other coords of both
        time axes, ``valid_fraction`` (1) if `min_valid` is given, and
        ``s1_image`` and ``s2_image``, numbers that tell lazy images apart. Seasonal:
        ``s2 (pair, date, s2_band, y, x)`` (or s1, in a cube without s2) with ``s2_time (pair,
        date)``; of a cube the dates make as many pairs as fit without using one twice. Both:
        ``s1`` and ``s2 (pair, date, band, y, x)``, cross-sensor pairs gathered by their place.
        ``attrs["pairing"]`` is a JSON text with counts of what was matched and rejected.

    Raises
    ------
    DataError
        If a sensor or every place is missing, an option is out of its range, no acquisitions lie
        within the tolerance or far enough apart, or no pair is valid enough.

    References
    ----------
    Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks,
    section 3: an S1 and an S2 image of one place and time are a positive pair. The paper's
    30-day window before a random timestamp is ``match="paper", tolerance="30D"``. Mañas et al.
    (2021), Seasonal Contrast, section 3: dates of one place are positives up to the season.

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
    _check_options(kind, match, max_cloud, min_valid)
    require_places(cube)
    collection = "location" in cube.dims
    if max_cloud is not None:
        cube, n_cloudy = _drop_cloudy(cube, max_cloud)
    facts: dict[str, Any] = {"kind": kind}
    if max_cloud is not None:
        facts |= {"max_cloud": max_cloud, "rejected_by_cloud": n_cloudy}
    if kind == "seasonal":
        cube, passes = keep_passes(cube, orbit)
        matched, told = pair_seasons(cube, read_span(gap, "gap"), min_valid)
        matched, own = _sift(matched, orbit, collection)
        facts |= passes | told | own | {"replace": replace, "matched": matched.sizes["pair"]}
    else:
        limit = read_span(tolerance, "tolerance")
        _check_sensors(cube)
        if orbit is not None and not collection:
            cube, told = keep_orbit(cube, orbit, limit, match)
            facts |= told
        if kind == "both":
            found = cube if collection else _match_cube(cube, limit, match)
            matched, told = pair_dates(found, read_span(gap, "gap"), limit)
            facts |= told | {"replace": replace}
        elif collection:
            matched = _stack_collection(cube, limit)
        else:
            matched = _match_cube(cube, limit, match)
        matched, told = _sift(matched, orbit, collection)
        facts |= told | {
            "tolerance": str(limit),
            "match": "aligned" if collection else match,
            "matched": matched.sizes["pair"],
            "rejected_by_validity": 0,
        }
        if kind == "cross-sensor":
            facts["rejected_by_time"] = _count_unmatched(cube, matched, collection)
            facts["rejected_by_time"] -= told.get("rejected_by_orbit", 0)
        if min_valid is not None:
            matched = keep_valid(matched, min_valid)
            facts["rejected_by_validity"] = facts["matched"] - matched.sizes["pair"]
    matched.attrs = {**cube.attrs, "pairing": json.dumps(facts)}
    return matched


def _sift(
    matched: xr.Dataset, orbit: str | int | None, collection: bool
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Keep the pairs of an orbit of a collection; of a cube its passes are sifted before."""
    return keep_pairs(matched, orbit) if collection and orbit is not None else (matched, {})


def _check_options(kind: str, match: str, max_cloud: float | None, min_valid: float | None) -> None:
    wrong = []
    if kind not in KINDS:
        wrong.append(f"kind={kind!r}")
    if match not in MATCHES:
        wrong.append(f"match={match!r}")
    if max_cloud is not None and not 0 <= max_cloud <= 100:
        wrong.append(f"max_cloud={max_cloud}")
    if min_valid is not None and not 0 <= min_valid <= 1:
        wrong.append(f"min_valid={min_valid}")
    if wrong:
        raise DataError(
            problem(
                expected=f"kind {' or '.join(map(repr, KINDS))}, match {', '.join(MATCHES)}, "
                "max_cloud in 0..100 percent, min_valid in 0..1",
                received=", ".join(wrong),
                do="leave them out for the defaults",
            )
        )


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
        if sensor.time not in cube.coords:
            raise DataError(
                problem(
                    expected=f"{sensor.name} with times, the coord {sensor.time!r}",
                    received=f"coords {sorted(map(str, cube.coords))}",
                    do=f"assign them: cube.assign_coords({sensor.time}=...)",
                )
            )


def _count_unmatched(cube: xr.Dataset, matched: xr.Dataset, collection: bool) -> int:
    if collection:
        n = int(cube.sizes["location"] * cube.sizes.get("date", 1))
        return n - matched.sizes["pair"]
    return int(cube.sizes[S2.time]) - len(np.unique(matched[S2.time]))


def _drop_cloudy(cube: xr.Dataset, max_cloud: float) -> tuple[xr.Dataset, int]:
    """Leave out dates by the cloud cover that their items state; nothing is read."""
    if "s2_cloud_cover" not in cube.coords or S2.time not in cube.dims:
        raise DataError(
            problem(
                expected="a cube with s2_cloud_cover on s2_time",
                received=f"coords {sorted(map(str, cube.coords))}",
                do="use min_valid, which looks at the pixels",
            )
        )
    # Items that do not say are kept.
    clear = ~(cube["s2_cloud_cover"].values > max_cloud)
    return cube.isel({S2.time: clear}), int((~clear).sum())


def _match_cube(cube: xr.Dataset, limit: pd.Timedelta, match: str) -> xr.Dataset:
    t1, t2 = cube[S1.time].values, cube[S2.time].values
    i2, i1, durations = match_times(t2, t1, limit=limit, rule=match)
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
    for sensor, index in ((S1, i1), (S2, i2)):
        names = name_images(cube[sensor.name], index)
        matched = matched.assign_coords({image_of(sensor): ("pair", names)})
    if durations is not None:
        matched = matched.assign_coords(duration=("pair", durations))
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
    stacked = stack_images(cube)
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
