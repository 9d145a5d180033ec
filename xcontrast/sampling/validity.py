"""How much of a pair is seen: read from the validity alone."""

from __future__ import annotations

from functools import reduce
from operator import and_

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.progress import track
from xcontrast.sampling.reading import group_pairs
from xcontrast.sampling.windows import Indices, sum_table, window_sum
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["keep_valid", "measure_valid", "seen_by"]


def seen_by(pairs: xr.Dataset, sensor: Sensor) -> xr.DataArray:
    """Give where a sensor sees the ground: as its cube tells, or else where its first band is.

    Parameters
    ----------
    pairs : Dataset
        With the sensor's variable and perhaps its ``{sensor}_valid``.
    sensor : Sensor
        Which.

    Returns
    -------
    DataArray, bool
        The dims of the variable but the bands; as lazy.
    """
    if sensor.valid in pairs:
        return pairs[sensor.valid]
    first = pairs[sensor.name].isel({sensor.band: 0}, drop=True)
    seen: xr.DataArray = xr.apply_ufunc(np.isfinite, first, dask="allowed")
    return seen


def _seen_by_all(pairs: xr.Dataset) -> xr.DataArray:
    """Give where all sensors see the ground, at all dates: (pair, y, x)."""
    seen = reduce(and_, (seen_by(pairs, s) for s in SENSORS if s.name in pairs))
    return seen.all("date") if "date" in seen.dims else seen


def measure_valid(
    pairs: xr.Dataset, row: Indices, col: Indices, size: int
) -> npt.NDArray[np.float32]:
    """Measure the valid share of windows; reads the validity once.

    Parameters
    ----------
    pairs : Dataset
        Pairs of any kind.
    row, col : ndarray (n,), intp
        First row and column of each window.
    size : int
        Side, pixels.

    Returns
    -------
    ndarray (pair, n), float32
        Share of pixels, 0..1, that every sensor sees at every date.
    """
    seen = _seen_by_all(pairs)
    n_pairs = pairs.sizes["pair"]
    groups = group_pairs(seen, np.arange(n_pairs), seen.nbytes / max(n_pairs, 1))
    shares = np.empty((n_pairs, len(row)), np.float32)
    lazy = seen.chunks is not None
    with track(total=n_pairs, what="reading validity", on=lazy, leave=False) as bar:
        for group in groups:
            for i, mask in enumerate(seen.isel(pair=group).values, start=group.start):
                shares[i] = window_sum(sum_table(mask), row, col, size) / size**2
                bar.update()
    return shares


def keep_valid(matched: xr.Dataset, min_valid: float) -> xr.Dataset:
    """Keep the pairs of which enough is valid in all images; reads the validity.

    Parameters
    ----------
    matched : Dataset
        Pairs of any kind.
    min_valid : float
        Least share of pixels, 0..1.

    Returns
    -------
    Dataset
        With the coord ``valid_fraction`` on ``pair``.

    Raises
    ------
    DataError
        If no pair is valid enough.
    """
    fraction = _seen_by_all(matched).mean(("y", "x")).astype("float32").compute()
    kept = matched.assign_coords(valid_fraction=("pair", fraction.values))
    kept = kept.isel(pair=fraction.values >= min_valid)
    if not kept.sizes["pair"]:
        raise DataError(
            problem(
                expected=f"a pair with at least {min_valid:.0%} of its pixels valid in all images",
                received=f"{matched.sizes['pair']} pairs, the best {float(fraction.max()):.0%}",
                do="lower `min_valid`, or look for a clearer period",
            )
        )
    return kept
