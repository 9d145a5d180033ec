"""How well a map agrees with the truth: counts first, then the usual ratios of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.evaluation.bootstrap import (
    draw_weights,
    mean_of_groups,
    measure_interval,
    resample,
)
from xcontrast.evaluation.counts import (
    Numbers,
    count_pairs,
    name_groups,
    number_categories,
    require_one_grid,
)
from xcontrast.evaluation.ratios import BY_CATEGORY, iou_of, ratios_of
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.requirements import require_legend

__all__ = ["score", "score_named"]


def score(
    label: xr.DataArray,
    truth: xr.DataArray,
    *,
    legend: Legend,
    groups: xr.DataArray | str | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Compare a map with the truth on the same grid.

    Parameters
    ----------
    label : DataArray (…, y, x), integer
        The map, as in ``predict(...).label``.
    truth : DataArray (…, y, x), integer
        Codes of the legend on the same grid; NaN, 255 and other codes are not judged.
    legend : Legend
        What the codes mean; cells with another code in either are left out.
    groups : DataArray or str, optional
        Numbers or names of independent parts (events, scenes, blocks of ground), on ``y`` and
        ``x`` or on ``location``, or the name of such a coord. Cells without a group are left out.
    n_draws : int, default 1000
        Of groups with replacement, for the intervals.
    seed : int, default 0
        Of these draws.

    Returns
    -------
    Dataset
        ``confusion (truth, predicted)`` int64 counts of cells; per ``category`` ``iou``, ``f1``,
        ``precision``, ``recall``; ``accuracy``, ``kappa``, ``mean_iou``, ``mean_f1``, whose means
        are of the categories that occur. All are shares (1), pooled over all cells, NaN where
        undefined. ``n_unmapped``: cells with a truth that the map leaves without a category.

        With `groups` also ``group_confusion (group, truth, predicted)`` and ``group_iou (group,
        category)``; ``iou_over_groups (category)``, the mean of the groups in which a category is
        there or mapped, each of one weight; and 95 % intervals by percentile bootstrap over
        groups, ``…_interval (…, bound)``.

    Raises
    ------
    DataError
        If the grids differ, no cell is known in both, groups do not fit, or `n_draws` is below 1.

    References
    ----------
    Cohen (1960) for kappa; Jaccard (1912) for IoU; Efron and Tibshirani (1993) for intervals.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xcontrast as xc
    >>> a = xr.DataArray(np.array([[0, 1], [1, 255]]), dims=("y", "x"))
    >>> b = xr.DataArray(np.array([[0, 1], [0, 1]]), dims=("y", "x"))
    >>> float(xc.score(a, b, legend=xc.FLOOD).iou.sel(category="flood"))
    0.5
    """
    truth = require_one_grid(label, truth)
    named = None if groups is None else name_groups(groups, label, truth)
    return score_named(label, truth, named, legend=legend, n_draws=n_draws, seed=seed)


def score_named(
    label: xr.DataArray,
    truth: xr.DataArray,
    groups: tuple[Numbers, npt.NDArray[Any]] | None,
    *,
    legend: Legend,
    n_draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Compare a map with the truth, where it is known which group each cell is of.

    Parameters
    ----------
    label, truth : DataArray (…, y, x), integer
        Of :func:`require_one_grid`.
    groups : tuple of ndarray or None
        As of :func:`name_groups`.
    legend, n_draws, seed
        As for :func:`score`.

    Returns
    -------
    Dataset
        As of :func:`score`.

    Raises
    ------
    DataError
        If no cell is known in both, or `n_draws` is below 1.
    """
    require_legend(legend)
    if n_draws < 1:
        raise DataError(
            problem(expected="n_draws of 1 or more", received=str(n_draws), do="leave it out")
        )
    n = len(legend.codes)
    rows, cols = (number_categories(v.values, legend).ravel() for v in (truth, label))
    numbers, names = groups or (np.broadcast_to(np.int32(0), label.shape), np.array([0]))
    group = numbers.ravel()
    counts = count_pairs(rows, cols, group, n_groups=len(names), n_categories=n)
    if not counts.any():
        raise DataError(
            problem(
                expected="cells with a code of the legend in both",
                received="none",
                do="check the legend and the overlap",
            )
        )
    pooled = counts.sum(0)
    scores = _as_dataset(pooled, legend)
    # What truth and map both ignore is nobody's fault; a map that leaves out what is hard is told.
    scores["n_unmapped"] = int(((rows < n) & (cols == n) & (group >= 0)).sum())
    if groups is not None:
        kept = counts.any((1, 2))
        scores.update(_by_group(counts[kept], names[kept], n_draws, seed))
    scores.attrs = {"legend": legend.title, "nodata": NO_LABEL}
    return scores


def _as_dataset(counts: npt.NDArray[np.int64], legend: Legend) -> xr.Dataset:
    names = np.array(legend.names, object)
    own = {
        name: (("category",) if name in BY_CATEGORY else (), values, {"units": "1"})
        for name, values in ratios_of(counts).items()
    }
    return xr.Dataset(
        {"confusion": (("truth", "predicted"), counts, {"long_name": "cells"}), **own},
        {"category": names, "truth": names, "predicted": names},
    )


def _by_group(
    counts: npt.NDArray[np.int64], names: npt.NDArray[Any], n_draws: int, seed: int
) -> xr.Dataset:
    weights = draw_weights(len(names), n_draws=n_draws, seed=seed)
    iou = iou_of(counts)
    result = xr.Dataset(
        {
            "group_confusion": (("group", "truth", "predicted"), counts, {"long_name": "cells"}),
            "group_iou": (("group", "category"), iou, {"units": "1"}),
            "iou_over_groups": ("category", mean_of_groups(iou, np.ones((1, len(names))))[0]),
        },
        {
            "group": names.astype(object) if names.dtype.kind in "US" else names,
            "bound": np.array(["low", "high"], object),
        },
    )
    draws = {
        **ratios_of(resample(counts, weights)),
        "iou_over_groups": mean_of_groups(iou, weights),
    }
    for name, drawn in draws.items():
        dims = ("category", "bound") if drawn.ndim == 2 else ("bound",)
        result[f"{name}_interval"] = (dims, measure_interval(drawn), {"units": "1"})
    return result
