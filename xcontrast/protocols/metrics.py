"""The papers' metrics, in percent: each pooled over all pixels or images of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.legends import Legend

__all__ = ["change_scores", "count_pairs", "iou_of", "micro_precision", "overall_accuracy"]

PART = 16
"""Places that are computed and counted at once: a map of all would not fit into memory."""


def count_pairs(
    label: xr.DataArray, truth: xr.DataArray, *, legend: Legend
) -> npt.NDArray[np.int64]:
    """Count the pixels of each pair of categories, some places at a time.

    Parameters
    ----------
    label, truth : DataArray (location, y, x), uint8
        Map and truth, perhaps lazy; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.

    Returns
    -------
    ndarray (K, K), int64
        Rows are the truth's.
    """
    k = len(legend.codes)
    number = np.full(256, k)
    number[list(legend.codes)] = np.arange(k)
    counts = np.zeros((k + 1) ** 2, np.int64)
    for first in range(0, truth.sizes["location"], PART):
        own = {"location": slice(first, first + PART)}
        rows, cols = (number[array.isel(own).values] for array in (truth, label))
        counts += np.bincount((rows * (k + 1) + cols).ravel(), minlength=(k + 1) ** 2)
    return counts.reshape(k + 1, k + 1)[:k, :k]


def iou_of(label: xr.DataArray, truth: xr.DataArray, *, legend: Legend, category: str) -> float:
    """Give the intersection over union of one category, which is no mean of several.

    Parameters
    ----------
    label, truth : DataArray (location, y, x), uint8
        Map and truth; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.
    category : str
        Which.

    Returns
    -------
    float
        Percent; NaN where neither has the category.
    """
    counts = count_pairs(label, truth, legend=legend)
    k = legend.names.index(category)
    return _percent(counts[k, k], counts[k].sum() + counts[:, k].sum() - counts[k, k])


def overall_accuracy(label: xr.DataArray, truth: xr.DataArray, *, legend: Legend) -> float:
    """Give the share of known pixels that are right.

    Parameters
    ----------
    label, truth : DataArray (location, y, x), uint8
        Map and truth; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.

    Returns
    -------
    float
        Percent.
    """
    counts = count_pairs(label, truth, legend=legend)
    return _percent(np.trace(counts), counts.sum())


def change_scores(
    label: xr.DataArray, truth: xr.DataArray, *, legend: Legend, category: str
) -> dict[str, float]:
    """Give precision, recall and F1 of one category.

    Parameters
    ----------
    label, truth : DataArray (location, y, x), uint8
        Map and truth; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.
    category : str
        Which.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``F1``, percent; NaN where undefined.
    """
    counts = count_pairs(label, truth, legend=legend)
    k = legend.names.index(category)
    hit, true, found = counts[k, k], counts[k].sum(), counts[:, k].sum()
    return {
        "precision": _percent(hit, found),
        "recall": _percent(hit, true),
        "F1": _percent(2 * hit, true + found),
    }


def _percent(part: Any, whole: Any) -> float:
    return 100 * float(part) / float(whole) if whole else float("nan")


def micro_precision(
    truth: npt.NDArray[np.uint8], scores: npt.NDArray[Any], *, batch_size: int | None = None
) -> float:
    """Give the micro-averaged average precision of several labels an image.

    Parameters
    ----------
    truth : ndarray (N, K)
        0 or 1.
    scores : ndarray (N, K)
        Higher where likelier.
    batch_size : int, optional
        As Seasonal Contrast's code has it: the mean over whole batches of so many images, the
        rest left out. By default all images together.

    Returns
    -------
    float
        Percent.
    """
    from sklearn.metrics import average_precision_score

    size = len(truth) if batch_size is None else min(batch_size, len(truth))
    found = [
        average_precision_score(
            truth[first : first + size], scores[first : first + size], average="micro"
        )
        for first in range(0, len(truth) - size + 1, size)
    ]
    return 100 * float(np.mean(found))
