"""Seasonal positives: one place at dates that lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sampling.matching import choose_apart
from xcontrast.sampling.validity import keep_valid, seen_by
from xcontrast.sensors import S1, S2, Sensor

__all__ = ["pair_dates", "pair_seasons"]

FEWEST = 2
"""Dates of a place: a query and another that its key is of; Seasonal Contrast takes a third."""


def pair_seasons(
    cube: xr.Dataset, gap: pd.Timedelta, min_valid: float | None
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Gather the dates of a place that lie at least a gap apart.

    Parameters
    ----------
    cube : Dataset
        A cube, or a collection with ``location`` and ``date``.
    gap : Timedelta
        Least time between two dates of a pair.
    min_valid : float, optional
        Of a cube: leave out dates of which less is valid. Of a collection: leave out places.

    Returns
    -------
    tuple of Dataset and dict
        ``s2 (pair, date, s2_band, y, x)`` (s1 in a cube without s2) with ``s2_time (pair, date)``;
        and counts of what was matched and rejected.

    Raises
    ------
    DataError
        If there is no sensor, or not two dates that far apart and valid enough.
    """
    sensor = next((s for s in (S2, S1) if s.name in cube), None)
    if sensor is None:
        raise DataError(
            problem(
                expected="a cube with 's2' or 's1'",
                received=f"a Dataset with {sorted(map(str, cube.data_vars))}",
                do="make it with xc.open_cube or xc.as_cube",
            )
        )
    own = cube[[name for name in (sensor.name, sensor.valid) if name in cube]]
    if "location" in cube.dims:
        return _pair_collection(own, sensor, gap, min_valid)
    return _pair_cube(own, sensor, gap, min_valid)


def pair_dates(
    pairs: xr.Dataset, gap: pd.Timedelta, limit: pd.Timedelta
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Gather cross-sensor pairs of a place whose dates lie at least a gap apart.

    Parameters
    ----------
    pairs : Dataset
        Cross-sensor pairs of a cube; or a collection of both sensors with ``location`` and
        ``date``.
    gap : Timedelta
        Least time between two dates, of Sentinel-2 where its times are known.
    limit : Timedelta
        Largest time between the sensors; a collection's places with more are left out.

    Returns
    -------
    tuple of Dataset and dict
        ``s1`` and ``s2 (pair, date, band, y, x)``, and counts of what was matched and rejected.

    Raises
    ------
    DataError
        If there are not two dates that far apart.
    """
    if "location" not in pairs.dims:
        times = pairs[S2.time].values
        sets = choose_apart(times, gap=gap)
        if not sets or len(sets[0]) < 2:
            raise _too_few_pairs(f"{len(times)} pairs, one of them so", gap)
        index = xr.DataArray(np.stack(sets), dims=("pair", "date"))
        return _order(pairs.isel(pair=index)), {
            "gap": str(gap), "matched": len(sets), "dates": len(sets[0]),
            "rejected_by_time": len(times) - index.size,
        }  # fmt: skip
    if pairs.sizes.get("date", 1) < 2:
        raise _too_few_pairs(f"dims {dict(pairs.sizes)}", gap)
    n_found = pairs.sizes["location"]
    good = np.ones(n_found, bool)
    if all(sensor.time in pairs.coords for sensor in (S1, S2)):
        one, two = (pairs[sensor.time].transpose("location", "date").values for sensor in (S1, S2))
        apart = np.diff(np.sort(two, axis=1), axis=1) >= gap.to_timedelta64()
        near = np.abs(one - two) <= limit.to_timedelta64()
        good = apart.all(1) & near.all(1)
    if not good.any():
        raise _too_few_pairs(f"{n_found} places, none of them so", gap)
    matched = _name_places(pairs.isel(location=good))
    return _order(matched), {
        "gap": str(gap), "matched": matched.sizes["pair"], "dates": matched.sizes["date"],
        "rejected_by_time": int((~good).sum()),
    }  # fmt: skip


def _name_places(collection: xr.Dataset) -> xr.Dataset:
    """Have pairs in place of locations, which stay as a coord: two places share no ground."""
    if "location" not in collection.coords:
        collection = collection.assign_coords(location=np.arange(collection.sizes["location"]))
    matched = collection.rename(location="pair")
    return matched.rename(pair="location").swap_dims(location="pair")


def _order(matched: xr.Dataset) -> xr.Dataset:
    return matched.transpose("pair", "date", S1.band, S2.band, "y", "x", ...)


def _too_few_pairs(received: str, gap: pd.Timedelta) -> DataError:
    return DataError(
        problem(
            expected=f"two or more pairs of both sensors at a place, at least {gap} apart",
            received=received,
            do="lower `gap`, widen `tolerance`, or open a longer period",
        )
    )


def _pair_cube(
    cube: xr.Dataset, sensor: Sensor, gap: pd.Timedelta, min_valid: float | None
) -> tuple[xr.Dataset, dict[str, Any]]:
    if sensor.time not in cube.dims:
        raise _too_few(sensor, f"dims {dict(cube.sizes)}", gap)
    n_found = cube.sizes[sensor.time]
    if min_valid is not None:
        # Date by date, so that one cloudy date costs itself and not its pair.
        share = seen_by(cube, sensor).mean(("y", "x")).compute().values
        cube = cube.isel({sensor.time: share >= min_valid})
    times = cube[sensor.time].values
    sets = choose_apart(times, gap=gap)
    if not sets or len(sets[0]) < FEWEST:
        raise _too_few(sensor, f"{len(times)} dates, {len(sets[0]) if sets else 0} so", gap)
    index = xr.DataArray(np.stack(sets), dims=("pair", "date"))
    matched = cube.isel({sensor.time: index})
    matched = matched.transpose("pair", "date", sensor.band, "y", "x", ...)
    told = {
        "gap": str(gap), "matched": len(sets), "dates": len(sets[0]),
        "rejected_by_validity": n_found - len(times),
        "rejected_by_time": len(times) - index.size,
    }  # fmt: skip
    return matched, told


def _pair_collection(
    cube: xr.Dataset, sensor: Sensor, gap: pd.Timedelta, min_valid: float | None
) -> tuple[xr.Dataset, dict[str, Any]]:
    if cube[sensor.name].sizes.get("date", 1) < FEWEST:
        raise _too_few(sensor, f"dims {dict(cube.sizes)}", gap)
    matched = _name_places(cube)
    n_found = matched.sizes["pair"]
    if sensor.time in matched.coords:
        if "pair" not in matched[sensor.time].dims:  # All places share their dates.
            times = matched[sensor.time].expand_dims(pair=n_found).copy()
            matched = matched.assign_coords({sensor.time: times})
        steps = np.diff(np.sort(matched[sensor.time].values, axis=1), axis=1)
        apart = (steps >= gap.to_timedelta64()).all(1)
        if not apart.any():
            widest = pd.Timedelta(steps.min(1).max())
            raise _too_few(sensor, f"{n_found} places, their dates at most {widest} apart", gap)
        matched = matched.isel(pair=apart)
    told: dict[str, Any] = {
        "gap": str(gap), "matched": matched.sizes["pair"], "dates": matched.sizes["date"],
        "rejected_by_time": n_found - matched.sizes["pair"], "rejected_by_validity": 0,
    }  # fmt: skip
    if min_valid is not None:
        matched = keep_valid(matched, min_valid)
        told["rejected_by_validity"] = told["matched"] - matched.sizes["pair"]
    return matched, told


def _too_few(sensor: Sensor, received: str, gap: pd.Timedelta) -> DataError:
    return DataError(
        problem(
            expected=f"{FEWEST} or more {sensor.title} dates of a place at least {gap} apart",
            received=received,
            do="lower `gap` or `min_valid`, or open a longer period",
        )
    )
