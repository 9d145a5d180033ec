"""Labels and embeddings in time: labels have a time, or the embedding has one."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.periods import read_span
from xcontrast.errors import DataError, problem

__all__ = ["pair_by_time"]

Embedding: TypeAlias = xr.DataArray | xr.Dataset
TIMES = ("s1_time", "s2_time", "date")
"""Dims of which an embedding has one step, unless the labels have times."""


def pair_by_time(
    embedding: Embedding, labels: Any, *, tolerance: str | pd.Timedelta
) -> list[tuple[Embedding, Any]]:
    """Bring labels and the embedding nearest in time together.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, …)`` with any time dims.
    labels : DataArray or GeoDataFrame
        With times (a dim, coord or column ``time``) or without.
    tolerance : str or Timedelta
        Longest time between the two.

    Returns
    -------
    list of tuple
        Embeddings without a time dim, each with the labels that belong to it.

    Raises
    ------
    DataError
        If labels have no time and the embedding several, or none is near enough.
    """
    longest = read_span(tolerance, "tolerance")
    known = [name for name in TIMES if _is_dated(embedding, name)]
    dated = _split_labels(labels) if known else None
    if dated is None:
        _check_one_time(embedding)
        return [(embedding.squeeze([d for d in TIMES if d in embedding.dims]), labels)]
    # A date that was chosen is no dim any more, and still a date.
    embedding = embedding.expand_dims([name for name in known if name not in embedding.dims])
    pairs, gaps = [], []
    for time, own, points in dated:
        part = embedding if "point" not in embedding.dims else embedding.isel(point=points)
        gap = pd.Timedelta(0)
        for dim in known:
            distance = np.abs(pd.DatetimeIndex(part[dim].values) - time)
            gap = max(gap, distance.min())
            part = part.isel({dim: int(distance.argmin())})
        gaps.append(gap)
        if gap <= longest:
            pairs.append((part, own))
    if not pairs:
        raise DataError(
            problem(
                expected=f"labels within {longest} of a time of the embedding",
                received=f"the nearest is {min(gaps)} away" if gaps else "none with a time",
                do="embed the dates of the labels, or raise `tolerance`",
            )
        )
    return pairs


def _is_dated(embedding: Embedding, name: str) -> bool:
    """Say whether times are known along a dim, or of the one that was chosen."""
    if name not in embedding.coords or embedding[name].dims not in ((), (name,)):
        return False
    return np.issubdtype(embedding[name].dtype, np.datetime64)


def _split_labels(labels: Any) -> list[tuple[pd.Timestamp, Any, Any]] | None:
    """Give each time with its labels and, of a frame, their rows; None for labels without."""
    if isinstance(labels, xr.DataArray):
        if "time" not in labels.coords:
            return None
        if labels.time.dims not in ((), ("time",)):
            raise _no_times(f"times along {labels.time.dims}")
        steps = labels if "time" in labels.dims else labels.expand_dims("time")
        times = _read_times(steps.time.values)
        return [(t, steps.isel(time=i, drop=True), None) for i, t in enumerate(times) if t == t]
    if "time" not in getattr(labels, "columns", ()):
        return None
    times = _read_times(labels["time"])
    # What has no time belongs to no embedding.
    each = times.dropna().unique()
    return [(t, labels[times == t], np.flatnonzero(times == t)) for t in each]


def _read_times(values: Any) -> pd.DatetimeIndex:
    try:
        return pd.DatetimeIndex(pd.to_datetime(values, utc=True)).tz_localize(None)
    except (ValueError, TypeError) as error:
        raise _no_times(str(error).partition(". ")[0]) from None


def _no_times(received: str) -> DataError:
    return DataError(
        problem(
            expected="labels with a `time` of each, or one of all, that pandas.to_datetime reads",
            received=received,
            do="mend the times, or fit the labels of each time as a frame or along a dim `time`",
        )
    )


def _check_one_time(embedding: Embedding) -> None:
    for dim in TIMES:
        if embedding.sizes.get(dim, 1) > 1:
            raise DataError(
                problem(
                    expected="an embedding with one time, as the labels have none",
                    received=f"{embedding.sizes[dim]} steps of {dim}",
                    do=f".sel({dim}=..., method='nearest'), .isel({dim}=0), "
                    "xc.before_after(embedding, event=...), or give the labels a `time`",
                )
            )
