from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from xcontrast.errors import TrainingError
from xcontrast.training.monitor import (
    check_health,
    effective_rank,
    feature_spread,
    measure_retrieval,
)


def test_retrieval_equals_scikit_learn() -> None:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(60, 16, generator=g)
    b = a + 1.5 * torch.randn(60, 16, generator=g)
    measured = measure_retrieval(a, b)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a.numpy(), b.numpy())]
    scores = unit[0] @ unit[1].T
    for k in (1, 5):
        expected = np.mean(
            [top_k_accuracy_score(np.arange(60), s, k=k) for s in (scores, scores.T)]
        )
        assert measured[f"recall_at_{k}"] == pytest.approx(expected)
    assert 0.2 < measured["recall_at_1"] < 1
    assert measured["chance_recall_at_1"] == 1 / 60


def test_a_collapsed_representation_retrieves_nothing_and_stops_the_run() -> None:
    point = torch.ones(20, 8)
    assert measure_retrieval(point, point)["recall_at_1"] == 0
    assert feature_spread(point) < 1e-3
    with pytest.raises(TrainingError, match=r"Expected features that differ.*step 7.*lower"):
        check_health(1.0, feature_spread(point), 7)
    with pytest.raises(TrainingError, match="Expected a finite loss; received nan at step 3"):
        check_health(float("nan"), None, 3)
    check_health(1.0, 0.5, 1)


def test_spread_and_rank_of_known_clouds() -> None:
    g = torch.Generator().manual_seed(0)
    round_cloud = torch.randn(4000, 10, generator=g)
    assert feature_spread(round_cloud) == pytest.approx(1, abs=0.02)
    assert np.isnan(feature_spread(round_cloud[:1]))
    assert effective_rank(round_cloud) == pytest.approx(10, abs=0.1)
    flat = round_cloud * torch.tensor([1.0, 1.0] + [0.0] * 8)
    assert effective_rank(flat) == pytest.approx(2, abs=0.05)
