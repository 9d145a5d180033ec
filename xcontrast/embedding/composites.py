"""Embeddings of two periods side by side: before, after, and what changed."""

from __future__ import annotations

import warnings
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.periods import read_instant
from xcontrast.errors import DataError, problem

__all__ = ["ORBIT", "TIMES", "before_after", "compare_orbits", "split_periods"]

T = TypeVar("T", xr.Dataset, xr.DataArray)
TIMES = ("s1_time", "s2_time", "date")
ORBIT = "s1_relative_orbit"


def before_after(embedding: T, *, event: str | pd.Timestamp | None = None) -> T:
    """Put what came before an event, what came after and their difference along ``feature``.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, s1_time | s2_time | date, …, feature, y, x)`` float32, NaN where invalid.
    event : str or Timestamp, optional
        All times before it are averaged into one, all times from it on into another, NaN-safe.
        End the period soon after the event: six weeks of dry fields after a flood of one week
        hide it. May be left out when there are exactly two times.

    Returns
    -------
    DataArray or Dataset
        As given, lazy, without the time dim and with three times the features.

    Raises
    ------
    DataError
        If there is no time dim, or no time on one side of the event.

    Warns
    -----
    UserWarning
        If the Sentinel-1 passes are of more than one relative orbit: each sees another side of
        the slopes, so that a mean mixes views and a difference shows a change where there is none.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> two = xr.DataArray(np.array([[[[1.0]]], [[[4.0]]]]), dims=("date", "feature", "y", "x"))
    >>> before_after(two).values.ravel()
    array([1., 4., 3.])
    """
    if isinstance(embedding, xr.Dataset):
        parts = {str(k): before_after(v, event=event) for k, v in embedding.data_vars.items()}
        return xr.Dataset(parts, attrs=embedding.attrs)
    dim = next((d for d in TIMES if d in embedding.dims), None)
    if dim is None:
        raise DataError(
            problem(
                expected=f"an embedding with a time dim: {', '.join(TIMES)}",
                received=f"dims {embedding.dims}",
                do="embed a cube, and give the whole embedding",
            )
        )
    before, after = split_periods(embedding, dim, event=event)
    joined = xr.concat([before, after, after - before], "feature", coords="minimal")
    joined.attrs = {**embedding.attrs, "composite": "before, after, difference"}
    if event is not None:
        joined.attrs["event"] = str(event)
    return joined.transpose(*(d for d in embedding.dims if d != dim)).rename(embedding.name)


def split_periods(
    array: xr.DataArray, dim: str, *, event: str | pd.Timestamp | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Average what came before an event, and what came at and after it, NaN-safe.

    Parameters
    ----------
    array : DataArray
        Of embeddings or images.
    dim : str
        Its time dim, of two where `event` is None.
    event : str or Timestamp or None
        When.

    Returns
    -------
    tuple of DataArray
        Before and after, without the time dim.

    Raises
    ------
    DataError
        If there is no time on one side of the event.

    Warns
    -----
    UserWarning
        If Sentinel-1 passes of more than one relative orbit take part.
    """
    early = _is_before(array, dim, event)
    compare_orbits(array.isel({dim: early}), array.isel({dim: ~early}))
    return _mean(array, dim, early), _mean(array, dim, ~early)


def compare_orbits(before: xr.DataArray, after: xr.DataArray) -> None:
    """Warn where what is compared was seen from more than one relative orbit of Sentinel-1.

    Parameters
    ----------
    before, after : DataArray
        Where they carry no relative orbits along a dim of times, nothing is said.

    Warns
    -----
    UserWarning
        If more than one orbit takes part, on one side or the other.
    """
    if any(ORBIT not in array.coords or array[ORBIT].ndim != 1 for array in (before, after)):
        return
    early, late = ({int(n) for n in array[ORBIT].values if n > 0} for array in (before, after))
    if len(early | late) > 1:
        told = [", ".join(map(str, sorted(own))) or "unknown" for own in (early, late)]
        warnings.warn(
            f"passes before are of relative orbit {told[0]}, and after of {told[1]}: each orbit "
            "sees another side of the slopes, which looks like a change and blurs a mean; keep to "
            f"one orbit, by CubeOptions(relative_orbit=...) or a choice of times by {ORBIT!r}",
            stacklevel=4,
        )


def _is_before(embedding: xr.DataArray, dim: str, event: str | pd.Timestamp | None) -> np.ndarray:
    n = embedding.sizes[dim]
    if n == 0:
        raise _no_times(dim)
    if event is None:
        if n != 2:
            raise DataError(
                problem(
                    expected="exactly two times, or an event date",
                    received=f"{n} times and no event",
                    do="give event='2023-05-16', or select two times",
                )
            )
        values = embedding[dim].values if dim in embedding.coords else np.arange(2)
        return np.asarray(values == values.min())
    if dim not in embedding.coords or not np.issubdtype(embedding[dim].dtype, np.datetime64):
        raise DataError(
            problem(
                expected=f"dates on {dim!r}, to set the event against",
                received="none",
                do="leave `event` out if there are two times",
            )
        )
    times = pd.DatetimeIndex(embedding[dim].values)
    early = np.asarray(times < read_instant(event))
    if early.all() or not early.any():
        raise DataError(
            problem(
                expected="times on both sides of the event",
                received=f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}, event {event}",
                do="choose an event within, or a longer period",
            )
        )
    return early


def _no_times(dim: str) -> DataError:
    choose = "select times that there are, or open a longer period"
    if dim == "s1_time":
        choose = f"select by an orbit that the cube has: np.unique(cube.{ORBIT}) lists them"
    return DataError(
        problem(
            expected="times on both sides of the event",
            received=f"no {dim} at all: the selection holds nothing",
            do=choose,
        )
    )


def _mean(embedding: xr.DataArray, dim: str, which: np.ndarray) -> xr.DataArray:
    chosen = embedding.isel({dim: np.flatnonzero(which)})
    # Coords of single times (orbit, cloud cover, valid fraction) do not describe a mean.
    single = [name for name in chosen.coords if dim in chosen[name].dims]
    mean: xr.DataArray = chosen.drop_vars(single).mean(dim, skipna=True)
    return mean
