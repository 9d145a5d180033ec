"""Whether probabilities mean what they say: of cells mapped with 0.8, eight of ten right.

Letters: N cells, K categories, M bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.evaluation.counts import number_categories, require_one_grid
from xcontrast.legends import Legend
from xcontrast.requirements import require_legend

__all__ = ["calibration", "error_of_bins", "sum_bins"]

Floats = npt.NDArray[np.floating]
EPS = float(np.finfo(np.float32).eps)
"""Least probability in a log: float32 knows none nearer to 1."""


def calibration(
    probability: xr.DataArray, truth: xr.DataArray, *, legend: Legend, n_bins: int = 15
) -> xr.Dataset:
    """Compare probabilities with how often they come true.

    Parameters
    ----------
    probability : DataArray (…, category, y, x), floating
        As in ``predict(...).probability``, categories in the order of the legend; cells with NaN
        are left out.
    truth : DataArray (…, y, x), integer
        Codes of the legend on the same grid; other cells are left out.
    legend : Legend
        What the codes mean.
    n_bins : int, default 15
        Bins of equal width from 0 to 1.

    Returns
    -------
    Dataset
        A reliability table of the most probable category: ``confidence (bin)``, its mean
        probability, ``accuracy (bin)``, the share that is right, and ``count (bin)``. The same of
        each category's own probability: ``probability``, ``frequency``, ``category_count
        (category, bin)``. Expected calibration errors ``ece`` and ``category_ece (category)``: the
        mean of the absolute differences, weighted by count. ``brier``, the mean squared error of
        the probabilities, summed over categories (halved for two, as is usual: 0 to 1), and
        ``log_loss`` (nats). ``bin`` is the middle of each bin. Empty bins are NaN.

    Raises
    ------
    DataError
        If grids or categories differ, no cell is known in both, or there is no bin.

    References
    ----------
    Guo et al. (2017), On Calibration of Modern Neural Networks, section 2. Brier (1950).

    Examples
    --------
    >>> import numpy as np, xarray as xr, xcontrast as xc
    >>> sure = xr.DataArray(np.array([[[1.0, 1.0]], [[0.0, 0.0]]]), dims=("category", "y", "x"))
    >>> half = xr.DataArray(np.array([[0, 1]]), dims=("y", "x"))
    >>> float(xc.calibration(sure, half, legend=xc.FLOOD).ece)
    0.5
    """
    require_legend(legend)
    p, y = _known_cells(probability, truth, legend, n_bins)
    n, k = p.shape
    rows = np.arange(n)
    best = p.argmax(1)
    top = sum_bins(p[rows, best], best == y, n_bins)
    own = np.stack([sum_bins(p[:, i], y == i, n_bins) for i in range(k)])
    square = (p.astype(float) ** 2).sum(1) - 2 * p[rows, y] + 1
    middle = (np.arange(n_bins) + 0.5) / n_bins
    count, confidence, accuracy = _means(top)
    counts, mean, frequency = _means(own)
    return xr.Dataset(
        {
            "count": ("bin", count),
            "confidence": ("bin", confidence),
            "accuracy": ("bin", accuracy),
            "category_count": (("category", "bin"), counts),
            "probability": (("category", "bin"), mean),
            "frequency": (("category", "bin"), frequency),
            "ece": error_of_bins(top),
            "category_ece": ("category", error_of_bins(own)),
            "brier": square.mean() / (2 if k == 2 else 1),
            "log_loss": -np.log(p[rows, y].clip(EPS, 1).astype(float)).mean(),
        },
        {"bin": middle, "category": np.array(legend.names, object)},
        {"legend": legend.title, "n_cells": n},
    )


def _known_cells(
    probability: xr.DataArray, truth: xr.DataArray, legend: Legend, n_bins: int
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Give (N, K) probabilities and (N,) category numbers where both are known."""
    names = probability["category"] if "category" in probability.coords else None
    if (
        n_bins < 1
        or probability.sizes.get("category") != len(legend.codes)
        or (names is not None and tuple(map(str, names.values)) != legend.names)
    ):
        found = [] if names is None else list(map(str, names.values))
        n = probability.sizes.get("category", 0)
        raise DataError(
            problem(
                expected=f"a dim category with {', '.join(legend.names)}, and 1 bin or more",
                received=f"{n} categories {found} and {n_bins} bins",
                do="give the probability of predict, and the legend of its head",
            )
        )
    cells = probability.transpose(..., "category")
    truth = require_one_grid(cells.isel(category=0), truth)
    p: Floats = cells.values.reshape(-1, len(legend.codes))
    y = number_categories(truth.values, legend).ravel().astype(np.intp)
    known = (y < len(legend.codes)) & np.isfinite(p).all(1)
    if not known.any():
        raise DataError(
            problem(
                expected="cells with a probability and a code of the legend",
                received="none",
                do="check the legend and the overlap",
            )
        )
    return p[known], y[known]


def sum_bins(
    confidence: Floats, right: npt.NDArray[np.bool_], n_bins: int
) -> npt.NDArray[np.float64]:
    """Sum by bin: number of cells, confidence, and cells that are right.

    Parameters
    ----------
    confidence : ndarray (N,)
        0 to 1.
    right : ndarray (N,), bool
        Whether it came true.
    n_bins : int
        M, of equal width, each without its upper edge but for the last.

    Returns
    -------
    ndarray (3, M), float64
        Sums of parts add up.
    """
    edges = np.linspace(0, 1, n_bins + 1).astype(confidence.dtype)
    index = (np.searchsorted(edges, confidence, side="right") - 1).clip(0, n_bins - 1)
    weights = (None, confidence, right)
    return np.stack([np.bincount(index, w, n_bins).astype(float) for w in weights])


def error_of_bins(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the expected calibration error of summed bins: (…, 3, M) -> (…)."""
    count, confidence, right = np.moveaxis(sums, -2, 0)
    with np.errstate(invalid="ignore"):
        error: npt.NDArray[np.float64] = np.abs(confidence - right).sum(-1) / count.sum(-1)
    return error


def _means(sums: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    count, confidence, right = np.moveaxis(sums, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return count.astype(np.int64), confidence / count, right / count
