from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    jaccard_score,
    precision_recall_fscore_support,
)

import xcontrast as xc
from xcontrast.legends import DYNAMIC_WORLD
from xcontrast.protocols.metrics import (
    change_scores,
    count_pairs,
    iou_of,
    micro_precision,
    overall_accuracy,
)
from xcontrast.protocols.oscd import CHANGE
from xcontrast.protocols.sen1floods11 import WATER


@pytest.fixture
def maps() -> tuple[xr.DataArray, xr.DataArray]:
    """Six tiles; a seventh of the truth is not known."""
    rng = np.random.default_rng(0)
    label, truth = rng.integers(0, 2, (2, 6, 32, 32)).astype("uint8")
    truth[rng.random(truth.shape) < 1 / 7] = 255
    dims = ("location", "y", "x")
    return xr.DataArray(label, dims=dims), xr.DataArray(truth, dims=dims)


def test_water_iou_is_scikit_learns_and_no_mean_of_two(
    maps: tuple[xr.DataArray, xr.DataArray],
) -> None:
    label, truth = maps
    known = truth.values != 255
    y, z = truth.values[known], label.values[known]
    got = iou_of(label, truth, legend=WATER, category="water")
    assert got == pytest.approx(100 * jaccard_score(y, z, pos_label=1))
    assert got != pytest.approx(100 * jaccard_score(y, z, average="macro"), abs=1e-3)


def test_it_is_pooled_over_tiles_and_not_averaged(
    maps: tuple[xr.DataArray, xr.DataArray],
) -> None:
    label, truth = maps
    truth = truth.copy()
    truth[0] = 0  # A tile without water has no IoU of its own, or 0.
    got = iou_of(label, truth, legend=WATER, category="water")
    each = [iou_of(label[[k]], truth[[k]], legend=WATER, category="water") for k in range(6)]
    assert abs(got - np.mean(each)) > 0.5
    known = truth.values != 255
    pooled = jaccard_score(truth.values[known], label.values[known])
    assert got == pytest.approx(100 * pooled)


def test_accuracy_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    label, truth = rng.integers(0, 9, (2, 40, 9, 8)).astype("uint8")
    truth[:, :2] = 255
    arrays = [xr.DataArray(v, dims=("location", "y", "x")) for v in (label, truth)]
    expected = 100 * accuracy_score(truth[:, 2:].ravel(), label[:, 2:].ravel())
    assert overall_accuracy(*arrays, legend=DYNAMIC_WORLD) == pytest.approx(expected)
    lazy = [array.chunk(location=7) for array in arrays]
    assert overall_accuracy(*lazy, legend=DYNAMIC_WORLD) == pytest.approx(expected)


def test_pairs_are_xcontrasts_own_confusion(maps: tuple[xr.DataArray, xr.DataArray]) -> None:
    label, truth = maps
    label = label.copy()
    label[1, :4] = 255
    expected = xc.score(label, truth, legend=WATER).confusion
    assert (count_pairs(label, truth, legend=WATER) == expected.values).all()


def test_change_scores_are_scikit_learns(maps: tuple[xr.DataArray, xr.DataArray]) -> None:
    label, truth = maps
    known = truth.values != 255
    y, z = truth.values[known], label.values[known]
    expected = precision_recall_fscore_support(y, z, average="binary")[:3]
    got = change_scores(label, truth, legend=CHANGE, category="change")
    assert list(got) == ["precision", "recall", "F1"]
    np.testing.assert_allclose(list(got.values()), 100 * np.array(expected))
    never = change_scores(xr.zeros_like(label), truth, legend=CHANGE, category="change")
    assert np.isnan(never["precision"])
    assert (never["recall"], never["F1"]) == (0, 0)


def test_micro_precision_is_scikit_learns_whole_or_by_batches() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, (70, 19)).astype("uint8")
    scores = rng.normal(size=(70, 19)) + truth
    whole = 100 * average_precision_score(truth.ravel(), scores.ravel())
    assert micro_precision(truth, scores) == pytest.approx(whole)
    parts = [
        100 * average_precision_score(truth[k : k + 32].ravel(), scores[k : k + 32].ravel())
        for k in (0, 32)
    ]
    assert micro_precision(truth, scores, batch_size=32) == pytest.approx(np.mean(parts))
    assert micro_precision(truth, scores, batch_size=1024) == pytest.approx(whole)
