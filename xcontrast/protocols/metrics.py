"""The papers' metrics, in percent: each pooled over all pixels or images of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.heads.scores import score
from xcontrast.legends import Legend

__all__ = ["iou_of", "micro_precision", "overall_accuracy"]


def iou_of(label: xr.DataArray, truth: xr.DataArray, *, legend: Legend, category: str) -> float:
    """Give the intersection over union of one category, which is no mean of several.

    Parameters
    ----------
    label, truth : DataArray (…, y, x), integer
        Map and truth; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.
    category : str
        Which.

    Returns
    -------
    float
        Percent.
    """
    return 100 * float(score(label, truth, legend=legend).iou.sel(category=category))


def overall_accuracy(label: xr.DataArray, truth: xr.DataArray, *, legend: Legend) -> float:
    """Give the share of known pixels that are right.

    Parameters
    ----------
    label, truth : DataArray (…, y, x), integer
        Map and truth; other codes than the legend's do not count.
    legend : Legend
        What the codes mean.

    Returns
    -------
    float
        Percent.
    """
    return 100 * float(score(label, truth, legend=legend).accuracy)


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
