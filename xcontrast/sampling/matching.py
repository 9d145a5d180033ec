"""Which times belong together: arrays of times in, indices out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "choose_apart",
    "match_all",
    "match_latest",
    "match_nearest",
    "match_one_to_one",
    "match_times",
]

Times = npt.NDArray[np.datetime64]
Indices = npt.NDArray[np.intp]
Matches = tuple[Indices, Indices]


def match_times(
    times: Times, candidates: Times, *, limit: pd.Timedelta, rule: str
) -> tuple[Indices, Indices, npt.NDArray[np.timedelta64] | None]:
    """Match times by one of the rules.

    Parameters
    ----------
    times : ndarray (n,), datetime64
        Of Sentinel-2.
    candidates : ndarray (m,), datetime64
        Of Sentinel-1.
    limit : Timedelta
        Tolerance, or window, inclusive.
    rule : {"nearest", "one-to-one", "all", "paper"}
        As for :func:`xcontrast.pairs`.

    Returns
    -------
    tuple of ndarray (k,)
        Indices into `times` and into `candidates`; with "paper", for how long each pair is the
        latest, else None.
    """
    if rule == "paper":
        return match_latest(times, candidates, window=limit)
    if rule == "all":
        return *match_all(times, candidates, tolerance=limit), None
    if rule == "one-to-one":
        return *match_one_to_one(times, candidates, tolerance=limit), None
    return *match_nearest(times, candidates, tolerance=limit), None


def match_nearest(times: Times, candidates: Times, *, tolerance: pd.Timedelta) -> Matches:
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


def match_all(times: Times, candidates: Times, *, tolerance: pd.Timedelta) -> Matches:
    """Find all candidates of each time within a tolerance.

    Parameters
    ----------
    times, candidates : ndarray, datetime64
        In any order.
    tolerance : Timedelta
        Largest absolute difference, inclusive.

    Returns
    -------
    tuple of ndarray (k,), intp
        Indices into `times` and into `candidates`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> days = np.array(["2023-01-01", "2023-01-02"], "datetime64[ns]")
    >>> match_all(days, days, tolerance=pd.Timedelta("1D"))
    (array([0, 0, 1, 1]), array([0, 1, 0, 1]))
    """
    lags = np.abs(times[:, None] - candidates[None, :])
    first, second = np.nonzero(lags <= tolerance.to_timedelta64())
    return first, second


def match_one_to_one(times: Times, candidates: Times, *, tolerance: pd.Timedelta) -> Matches:
    """Match times and candidates, each once at most: as many as can be, at the least total lag.

    Parameters
    ----------
    times, candidates : ndarray, datetime64
        In any order.
    tolerance : Timedelta
        Largest absolute difference, inclusive.

    Returns
    -------
    tuple of ndarray (k,), intp
        Indices into `times` and into `candidates`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> times = np.array(["2023-01-01", "2023-01-02"], "datetime64[ns]")
    >>> match_one_to_one(times, times[1:], tolerance=pd.Timedelta("1D"))
    (array([1]), array([0]))
    """
    if not len(times) or not len(candidates):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    from scipy.optimize import linear_sum_assignment

    lags = np.abs(times[:, None] - candidates[None, :])
    allowed = lags <= tolerance.to_timedelta64()
    seconds = lags / np.timedelta64(1, "s")
    # Dearer than any number of allowed ones, so that leaving one out never pays.
    forbidden = (tolerance.total_seconds() + 1) * (min(lags.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, seconds, forbidden))
    kept = allowed[rows, columns]
    return rows[kept].astype(np.intp), columns[kept].astype(np.intp)


def match_latest(
    times: Times, candidates: Times, *, window: pd.Timedelta
) -> tuple[Indices, Indices, npt.NDArray[np.timedelta64]]:
    """Find the pairs that some moment gives: the latest of each kind in the window before it.

    Parameters
    ----------
    times, candidates : ndarray, datetime64
        In any order; of equal ones the first counts.
    window : Timedelta
        Length of the window, inclusive.

    Returns
    -------
    tuple of ndarray (k,)
        Indices into `times` and into `candidates`, and for how long a moment gives that pair:
        with moments drawn uniformly, how often each is drawn. In order of time, each pair once.

    Notes
    -----
    Which pair a moment gives changes only when something is acquired or falls out of the window;
    so all moments are covered by one look at each acquisition.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> one = np.array(["2023-01-01", "2023-01-13"], "datetime64[ns]")
    >>> two = np.array(["2023-01-03"], "datetime64[ns]")
    >>> match_latest(one, two, window=pd.Timedelta("30D"))[:2]
    (array([0, 1]), array([0, 0]))
    """
    first, second, durations = [], [], []
    span = window.to_timedelta64()
    events = np.unique(np.concatenate([times, candidates]))
    for k, moment in enumerate(events):
        latest = [_latest(kind, moment) for kind in (times, candidates)]
        if min(latest) < 0:
            continue
        oldest = min(times[latest[0]], candidates[latest[1]])
        until = oldest + span
        if k + 1 < len(events):
            until = min(until, events[k + 1])
        if until >= moment and moment - oldest <= span:
            first.append(latest[0])
            second.append(latest[1])
            durations.append(until - moment)
    return (
        np.array(first, np.intp),
        np.array(second, np.intp),
        np.array(durations, "timedelta64[ns]"),
    )


def _latest(times: Times, moment: np.datetime64) -> int:
    """Give the index of the latest time up to a moment; -1 if there is none."""
    known = np.flatnonzero(times <= moment)
    return int(known[times[known].argmax()]) if len(known) else -1


def choose_apart(times: Times, *, gap: pd.Timedelta, n: int | None = None) -> list[Indices]:
    """Choose sets of times that lie at least a gap apart, no time twice.

    Parameters
    ----------
    times : ndarray, datetime64
        In any order.
    gap : Timedelta
        Least time between two of a set.
    n : int, optional
        Times of a set; by default as many as one set can have.

    Returns
    -------
    list of ndarray, intp
        Indices of each set, in order of time; all of length `n`.

    Notes
    -----
    Taking the earliest that is far enough, again and again, gives the longest set that there is.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> days = np.datetime64("2023-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D")
    >>> choose_apart(days, gap=pd.Timedelta("3D"))
    [array([0, 3]), array([1, 4]), array([2, 5])]
    """
    free = np.argsort(times, kind="stable")
    span = gap.to_timedelta64()
    sets: list[Indices] = []
    while len(free):
        chosen = [0]
        for k in range(1, len(free)):
            if times[free[k]] - times[free[chosen[-1]]] >= span:
                chosen.append(k)
        n = n or len(chosen)
        if len(chosen) < n:
            break
        sets.append(free[chosen[:n]].astype(np.intp))
        free = np.delete(free, chosen[:n])
    return sets
