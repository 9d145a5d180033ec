"""From counts by variant, fraction and block to a Dataset of scores, intervals and gains.

Letters: V variants, S label fractions, B blocks, K categories, M bins, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.evaluation.bootstrap import (
    draw_weights,
    mean_of_groups,
    measure_interval,
    resample,
)
from xcontrast.evaluation.calibration import error_of_bins
from xcontrast.evaluation.ratios import iou_of, ratios_of
from xcontrast.legends import Legend

__all__ = ["GAINS", "Tally", "describe_scores"]

GAINS = ("iou", "iou_over_blocks", "accuracy", "mean_iou")
"""Scores whose difference to each baseline is given."""


@dataclass(frozen=True)
class Tally:
    """What was counted, fold by fold."""

    variants: tuple[str, ...]
    fractions: tuple[float, ...]
    blocks: npt.NDArray[Any]
    """(B,): names."""
    fold: npt.NDArray[np.intp]
    """(B,): in which each block was tested."""
    counts: npt.NDArray[np.int64]
    """(V, S, B, K, K): truth in rows, map in columns."""
    bins: npt.NDArray[np.float64]
    """(V, S, 3, M): cells, confidence and cells that are right, summed by bin."""
    n_train: npt.NDArray[np.int64]
    """(folds, S): labelled pixels fitted on."""
    n_dropped: npt.NDArray[np.int64]
    """(folds,): labelled pixels in the buffer."""
    n_unjudged: npt.NDArray[np.int64]
    """(folds,): labelled pixels that some variant leaves without a category."""

    @classmethod
    def empty(
        cls,
        variants: tuple[str, ...],
        fractions: tuple[float, ...],
        blocks: npt.NDArray[Any],
        fold: npt.NDArray[np.intp],
        *,
        n_categories: int,
        n_bins: int,
    ) -> Tally:
        """Begin with nothing."""
        n_folds, k = int(fold.max()) + 1, n_categories
        lead = (len(variants), len(fractions))
        return cls(
            variants=variants,
            fractions=fractions,
            blocks=blocks,
            fold=fold,
            counts=np.zeros((*lead, len(blocks), k, k), np.int64),
            bins=np.zeros((*lead, 3, n_bins)),
            n_train=np.zeros((n_folds, len(fractions)), np.int64),
            n_dropped=np.zeros(n_folds, np.int64),
            n_unjudged=np.zeros(n_folds, np.int64),
        )


def describe_scores(tally: Tally, legend: Legend, *, n_draws: int, seed: int) -> xr.Dataset:
    """Give scores, their intervals, and what the first variant gains on each other.

    Parameters
    ----------
    tally : Tally
        What was counted.
    legend : Legend
        Names the categories.
    n_draws, seed : int
        Of the bootstrap over blocks: the same draws for all, so that differences are paired.

    Returns
    -------
    Dataset
        See :func:`xcontrast.probe`.
    """
    judged = tally.counts[0, 0].any((1, 2))
    counts = tally.counts[:, :, judged]
    weights = draw_weights(int(judged.sum()), n_draws=n_draws, seed=seed)
    ones = np.ones((1, weights.shape[1]))
    by_block = np.moveaxis(iou_of(counts), 2, 0)
    scores = ratios_of(counts.sum(2)) | {"iou_over_blocks": mean_of_groups(by_block, ones)[0]}
    draws = ratios_of(resample(counts, weights)) | {
        "iou_over_blocks": mean_of_groups(by_block, weights)
    }
    result = _frame(tally, legend, judged, counts)
    for name, values in scores.items():
        dims = ("variant", "fraction", "category")[: values.ndim]
        result[name] = (dims, values, {"units": "1"})
        result[f"{name}_interval"] = ((*dims, "bound"), measure_interval(draws[name]))
        if name in GAINS and len(tally.variants) > 1:
            # (V, …) and (D, V, …): the first variant less each.
            drawn = draws[name][:, :1] - draws[name]
            result[f"{name}_gain"] = (dims, values[:1] - values)
            result[f"{name}_gain_interval"] = ((*dims, "bound"), measure_interval(drawn))
    result["ece"] = (("variant", "fraction"), error_of_bins(tally.bins))
    return result


def _frame(
    tally: Tally,
    legend: Legend,
    judged: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
) -> xr.Dataset:
    names = np.array(legend.names, object)
    blocks = tally.blocks[judged]
    lead = ("variant", "fraction")
    cells = {"long_name": "pixels"}
    return xr.Dataset(
        {
            "confusion": ((*lead, "truth", "predicted"), counts.sum(2), cells),
            "block_confusion": ((*lead, "block", "truth", "predicted"), counts, cells),
            "n_train": (("fold", "fraction"), tally.n_train),
            "n_dropped": ("fold", tally.n_dropped),
            "n_unjudged": ("fold", tally.n_unjudged),
        },
        {
            "variant": np.array(tally.variants, object),
            "fraction": np.array(tally.fractions, float),
            "category": names,
            "truth": names,
            "predicted": names,
            "bound": np.array(["low", "high"], object),
            "block": blocks.astype(object) if blocks.dtype.kind in "USO" else blocks,
            "block_fold": ("block", tally.fold[judged]),
        },
    )
