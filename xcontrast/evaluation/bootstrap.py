"""Intervals by bootstrap over groups of cells: neighbouring cells are no independent witnesses.

Letters: B draws, G groups.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "draw_weights", "mean_of_groups", "measure_interval", "resample"]

LEVEL = 0.95
"""Share of the draws within an interval."""
Floats = npt.NDArray[np.floating[Any]]


def draw_weights(n_groups: int, *, n_draws: int, seed: int) -> npt.NDArray[np.float64]:
    """Draw groups with replacement: how often each was drawn.

    Parameters
    ----------
    n_groups, n_draws : int
        G and B.
    seed : int
        Of the draws.

    Returns
    -------
    ndarray (B, G), float64
        Rows sum to G.
    """
    rng = np.random.default_rng(seed)
    share = np.full(n_groups, 1 / n_groups)
    return rng.multinomial(n_groups, share, size=n_draws).astype(np.float64)


def resample(counts: npt.NDArray[Any], weights: Floats) -> npt.NDArray[np.float64]:
    """Sum the counts of groups as they were drawn: (…, G, K, K) and (B, G) -> (B, …, K, K)."""
    summed: npt.NDArray[np.float64] = np.einsum("bg,...gij->b...ij", weights, counts)
    return summed


def mean_of_groups(values: Floats, weights: Floats) -> npt.NDArray[np.float64]:
    """Average over groups as they were drawn, without those that are NaN.

    Parameters
    ----------
    values : ndarray (G, …)
        A score of each group.
    weights : ndarray (B, G)
        From :func:`draw_weights`, or ones.

    Returns
    -------
    ndarray (B, …), float64
        NaN where no group that was drawn has a value.
    """
    known = np.isfinite(values)
    total = np.tensordot(weights, np.where(known, values, 0.0), 1)
    n = np.tensordot(weights, known.astype(float), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: npt.NDArray[np.float64] = total / n
    return mean


def measure_interval(draws: Floats) -> npt.NDArray[np.float64]:
    """Give the percentile interval of draws: (B, …) -> (…, 2).

    Draws without a value (NaN: a category that was not drawn) take no part.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    tail = (1 - LEVEL) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return np.stack([low, high], axis=-1)
