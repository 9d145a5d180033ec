from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import xarray as xr
from torchmetrics.functional.classification import multiclass_calibration_error

import xcontrast as xc
from xcontrast.errors import DataError

LAND = xc.Legend(title="land", codes=(1, 2, 5), names=("a", "b", "c"), colors=("#000",) * 3)


def draw(k: int, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray, np.ndarray]:
    """Give probabilities (category, y, x), a truth, and where both are known."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.6), (30, 40)).astype("float32")
    p = 0.98 * p + 0.02 / k  # Away from 0, where each library clips logs in its own way.
    p[rng.random((30, 40)) < 0.1] = np.nan
    codes = np.array([*(LAND if k == 3 else xc.FLOOD).codes, 255])
    truth = codes[rng.integers(0, k + 1, (30, 40))]
    known = np.isfinite(p).all(-1) & (truth != 255)
    return (
        xr.DataArray(np.moveaxis(p, -1, 0), dims=("category", "y", "x")),
        xr.DataArray(truth, dims=("y", "x")),
        known,
    )


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_errors_equal_torchmetrics_and_scikit_learn(k: int, n_bins: int) -> None:
    legend = LAND if k == 3 else xc.FLOOD
    probability, truth, known = draw(k)
    got = xc.calibration(probability, truth, legend=legend, n_bins=n_bins)
    p = np.moveaxis(probability.values, 0, -1)[known]
    y = np.searchsorted(legend.codes, truth.values[known])
    theirs = multiclass_calibration_error(
        torch.from_numpy(p), torch.from_numpy(y), num_classes=k, n_bins=n_bins, norm="l1"
    )
    assert float(got.ece) == pytest.approx(float(theirs), abs=1e-6)
    rows = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    assert float(got.log_loss) == pytest.approx(sk.log_loss(y, rows, labels=range(k)), abs=1e-5)
    brier = ((p - np.eye(k)[y]) ** 2).sum(1).mean() / (2 if k == 2 else 1)
    assert float(got.brier) == pytest.approx(brier, abs=1e-6)
    if k == 2:
        assert float(got.brier) == pytest.approx(sk.brier_score_loss(y, rows[:, 1]), abs=1e-5)
    assert int(got["count"].sum()) == got.attrs["n_cells"] == known.sum()
    assert (got.category_count.sum("bin") == known.sum()).all()


def test_the_table_equals_a_slow_loop() -> None:
    probability, truth, known = draw(3)
    got = xc.calibration(probability, truth, legend=LAND, n_bins=4)
    p = np.moveaxis(probability.values, 0, -1)[known]
    y = np.searchsorted(LAND.codes, truth.values[known])
    for m in range(4):
        for c in range(3):
            own = [i for i in range(len(p)) if m / 4 <= p[i, c] < (m + 1) / 4]
            cell = got.isel(category=c, bin=m)
            assert int(cell.category_count) == len(own)
            if own:
                assert float(cell.probability) == pytest.approx(np.mean(p[own, c]), abs=1e-5)
                assert float(cell.frequency) == pytest.approx(np.mean(y[own] == c), abs=1e-6)


def test_planted_probabilities_are_found_calibrated_and_too_sure_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    wet = rng.beta(0.5, 0.5, (300, 300))
    truth = xr.DataArray((rng.random(wet.shape) < wet).astype("uint8"), dims=("y", "x"))

    def ece(p: np.ndarray) -> float:
        both = xr.DataArray(np.stack([1 - p, p]), dims=("category", "y", "x"))
        return float(xc.calibration(both, truth, legend=xc.FLOOD).ece)

    assert ece(wet) < 0.01
    assert ece(np.clip(1.5 * wet - 0.25, 0, 1)) > 0.05


def test_certainty_is_in_the_last_bin_and_costs_a_finite_loss() -> None:
    p = xr.DataArray(np.array([[[1.0, 1.0]], [[0.0, 0.0]]], "float32"), dims=("category", "y", "x"))
    got = xc.calibration(p, xr.DataArray([[0, 1]], dims=("y", "x")), legend=xc.FLOOD, n_bins=10)
    assert int(got["count"][-1]) == 2
    assert np.isfinite(got.log_loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t: (p.isel(category=[0]), t), "a dim category with dry, flood"),
        (lambda p, t: (p.assign_coords(category=["flood", "dry"]), t), r"\['flood', 'dry'\]"),
        (lambda p, t: (p * np.nan, t), "cells with a probability"),
        (lambda p, t: (p, t[1:]), "on one grid"),
    ],
)
def test_what_cannot_be_judged(change, message: str) -> None:
    probability, truth, _ = draw(2)
    with pytest.raises(DataError, match=message):
        xc.calibration(*change(probability, truth), legend=xc.FLOOD)
    with pytest.raises(DataError, match="0 bins"):
        xc.calibration(probability, truth, legend=xc.FLOOD, n_bins=0)
