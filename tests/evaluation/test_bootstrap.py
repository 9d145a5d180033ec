from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from xcontrast.evaluation.bootstrap import (
    draw_weights,
    mean_of_groups,
    measure_interval,
    resample,
)
from xcontrast.evaluation.ratios import ratios_of


def groups(n: int = 25, k: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (n, k, k)) + np.eye(k, dtype=int) * rng.integers(0, 400, (n, 1, 1))


def test_weights_draw_each_group_as_often_as_any_other() -> None:
    weights = draw_weights(7, n_draws=20_000, seed=1)
    assert (weights.sum(1) == 7).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.03)
    np.testing.assert_array_equal(weights, draw_weights(7, n_draws=20_000, seed=1))


def test_intervals_equal_scipy() -> None:
    counts = groups()
    weights = draw_weights(len(counts), n_draws=8000, seed=0)
    ours = measure_interval(ratios_of(resample(counts, weights))["iou"])
    hit = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(1) + counts.sum(2) - hit
    for c in range(3):
        theirs = bootstrap(
            (hit[:, c].astype(float), union[:, c].astype(float)),
            lambda h, u, axis: h.sum(axis) / u.sum(axis),
            paired=True, vectorized=True, method="percentile", n_resamples=8000,
            rng=np.random.default_rng(1),
        ).confidence_interval  # fmt: skip
        width = theirs.high - theirs.low
        np.testing.assert_allclose(ours[c], [theirs.low, theirs.high], atol=0.05 * width)


def test_resampling_equals_a_slow_loop() -> None:
    counts = groups(6)
    stacked = np.stack([counts, counts[::-1]])
    weights = draw_weights(6, n_draws=5, seed=2)
    fast = resample(stacked, weights)
    for b in range(5):
        for v in range(2):
            slow = sum(int(weights[b, g]) * stacked[v, g] for g in range(6))
            np.testing.assert_array_equal(fast[b, v], slow)


def test_means_of_groups_leave_out_those_without_a_value() -> None:
    values = np.array([[0.2, np.nan], [0.4, 0.5], [np.nan, np.nan]])
    weights = np.array([[1.0, 1, 1], [2, 1, 0], [0, 0, 3]])
    expected = [[0.3, 0.5], [0.8 / 3, 0.5], [np.nan, np.nan]]
    np.testing.assert_allclose(mean_of_groups(values, weights), expected)


def test_an_interval_ignores_draws_without_a_value() -> None:
    draws = np.array([[np.nan, np.nan], [0.0, np.nan], [1.0, np.nan]])
    np.testing.assert_allclose(measure_interval(draws), [[0.025, 0.975], [np.nan, np.nan]])


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        # 40 scenes, each with its own share of right cells, 0.7 on average.
        right = rng.binomial(200, rng.beta(7, 3, 40))
        counts = np.zeros((40, 2, 2))
        counts[:, 0, 0], counts[:, 0, 1] = right, 200 - right
        draws = ratios_of(resample(counts, draw_weights(40, n_draws=300, seed=trial)))["accuracy"]
        low, high = measure_interval(draws)
        inside += low <= 0.7 <= high
    assert inside / 200 == pytest.approx(0.95, abs=0.05)
