from __future__ import annotations

import numpy as np
import xarray as xr
from tallies import tally

import xcontrast as xc
from xcontrast.evaluation.bootstrap import draw_weights
from xcontrast.evaluation.results import describe_scores


def iou(counts: np.ndarray) -> float:
    return counts[1, 1] / (counts[0, 1] + counts[1, 0] + counts[1, 1])


def test_gains_are_paired_and_equal_a_slow_loop() -> None:
    own = tally()
    scores = describe_scores(own, xc.FLOOD, n_draws=200, seed=4)
    weights = draw_weights(8, n_draws=200, seed=4).astype(int)
    for s in range(2):
        drawn = [
            [iou(sum(w[b] * own.counts[v, s, b] for b in range(8))) for v in range(3)]
            for w in weights
        ]
        by_block = [[iou(own.counts[v, s, b]) for v in range(3)] for b in range(8)]
        mean = np.array([np.average(by_block, axis=0, weights=w) for w in weights])
        at = scores.isel(fraction=s).sel(category="flood")
        for name, draws in (("iou", np.array(drawn)), ("iou_over_blocks", mean)):
            gain = draws[:, :1] - draws
            for got, slow in ((f"{name}_interval", draws), (f"{name}_gain_interval", gain)):
                expected = np.quantile(slow, [0.025, 0.975], axis=0).T
                np.testing.assert_allclose(at[got], expected, atol=1e-12)
        np.testing.assert_allclose(at.iou_over_blocks, np.mean(by_block, axis=0))
    # What is the same gains exactly nothing, however wide its own interval is.
    same = scores.sel(variant="same", category="flood")
    assert (same.iou_gain_interval == 0).all()
    assert (np.diff(same.iou_interval, axis=-1) > 0.02).all()
    assert (scores.sel(variant="worse", category="flood").iou_gain_interval > 0).all()


def test_counts_are_kept_for_whoever_draws_again() -> None:
    own = tally()
    own.counts[:, :, 3] = 0  # A block with nothing to judge is no block.
    scores = describe_scores(own, xc.FLOOD, n_draws=20, seed=0)
    assert scores.block.values.tolist() == [0, 1, 2, 4, 5, 6, 7]
    xr.testing.assert_equal(scores.block_confusion.sum("block"), scores.confusion)
    assert scores.block_fold.values.tolist() == [0, 1, 0, 0, 1, 0, 1]
