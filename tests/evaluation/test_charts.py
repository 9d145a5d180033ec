from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from tallies import tally

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.evaluation.results import describe_scores


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def scores() -> xr.Dataset:
    return describe_scores(tally(), xc.FLOOD, n_draws=50, seed=0)


def test_lines_are_the_scores_with_their_intervals(scores: xr.Dataset) -> None:
    ax = scores.contrast.plot()
    assert ax.get_title(loc="left") == "IoU of flood, 8 blocks, 2 folds"
    wet = scores.sel(category="flood")
    for k, drawn in enumerate(ax.containers):
        line, _, (bars,) = drawn
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), wet.iou.isel(variant=k))
        ends = np.array(bars.get_segments())[..., 1]
        np.testing.assert_allclose(ends, wet.iou_interval.isel(variant=k))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == scores.variant.values.tolist()


def test_one_share_of_labels_is_a_row_a_variant(scores: xr.Dataset) -> None:
    ax = scores.isel(fraction=[1]).contrast.plot(score="accuracy")
    assert [t.get_text() for t in ax.get_yticklabels()] == scores.variant.values.tolist()
    told = [t.get_text() for t in ax.texts]
    assert told == [f"{v:.3f}" for v in scores.accuracy.isel(fraction=1).values]


@pytest.mark.parametrize(
    "wrong", [{"score": "auc"}, {"score": "iou", "category": "snow"}, {"score": "ece"}]
)
def test_scores_that_are_not_there(scores: xr.Dataset, wrong: dict) -> None:
    with pytest.raises(DataError, match=r"a score with intervals, iou, .*category='flood'"):
        scores.contrast.plot(**wrong)


def test_a_confusion_matrix_shows_shares_of_the_truth() -> None:
    truth = xr.DataArray([[0, 0, 0, 1]], dims=("y", "x"))
    ax = xc.score(1 - truth, truth,
                  legend=xc.FLOOD).contrast.plot()  # fmt: skip
    assert [t.get_text() for t in ax.texts] == ["0%\n0", "100%\n3", "100%\n1", "0%\n0"]


def test_reliability_is_of_the_second_of_two_categories_or_of_what_is_mapped() -> None:
    rng = np.random.default_rng(0)
    wet = rng.random((40, 50))
    truth = xr.DataArray((rng.random(wet.shape) < wet).astype("uint8"), dims=("y", "x"))
    p = xr.DataArray(np.stack([1 - wet, wet]), dims=("category", "y", "x"))
    table = xc.calibration(p, truth, legend=xc.FLOOD, n_bins=5)
    ax = table.contrast.plot()
    assert ax.get_xlabel() == "probability of flood"
    curve = ax.get_lines()[1]
    np.testing.assert_allclose(curve.get_xdata(), table.probability.sel(category="flood"))
    np.testing.assert_allclose(curve.get_ydata(), table.frequency.sel(category="flood"))
    three = xc.Legend(title="t", codes=(0, 1, 2), names=("a", "b", "c"), colors=("#000",) * 3)
    more = xr.concat([p * 0.9, p[:1] * 0 + 0.1], "category")
    ax = xc.calibration(more, truth, legend=three).contrast.plot()
    assert ax.get_xlabel() == "probability of the most probable category"
