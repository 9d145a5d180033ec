"""The usual scores as ratios of counts, for any number of confusion matrices at once.

Letters: K categories.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BY_CATEGORY", "OVERALL", "iou_of", "ratios_of"]

BY_CATEGORY = ("iou", "f1", "precision", "recall")
"""Scores of each category."""
OVERALL = ("accuracy", "kappa", "mean_iou", "mean_f1")
"""Scores of all categories together."""
Floats = npt.NDArray[np.float64]


def ratios_of(counts: npt.NDArray[Any]) -> dict[str, Floats]:
    """Give all scores of confusion matrices.

    Parameters
    ----------
    counts : ndarray (…, K, K)
        Truth in rows, map in columns.

    Returns
    -------
    dict of str to ndarray
        `BY_CATEGORY` (…, K) and `OVERALL` (…), NaN where undefined: 0 of 0. Means over categories
        are of those that occur in truth or map.

    References
    ----------
    Jaccard (1912) for IoU, Cohen (1960) for kappa.
    """
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    true, mapped = counts.sum(-1), counts.sum(-2)
    total = counts.sum((-2, -1)).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        scores = {
            "iou": hit / (true + mapped - hit),
            "f1": 2 * hit / (true + mapped),
            "precision": hit / mapped,
            "recall": hit / true,
            "accuracy": hit.sum(-1) / total,
        }
        by_chance = (true / total[..., None] * (mapped / total[..., None])).sum(-1)
        # Where one category is all there is, agreement by chance is whole, and kappa 0 of 0.
        beyond = np.where(by_chance < 1 - 1e-12, 1 - by_chance, np.nan)
        scores["kappa"] = (scores["accuracy"] - by_chance) / beyond
        scores["mean_iou"] = np.nanmean(scores["iou"], axis=-1)
        scores["mean_f1"] = np.nanmean(scores["f1"], axis=-1)
    return scores


def iou_of(counts: npt.NDArray[Any]) -> Floats:
    """Give the IoU of each category alone: (…, K, K) -> (…, K)."""
    return ratios_of(counts)["iou"]
