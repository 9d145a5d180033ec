"""Two small classifiers on frozen features, as plain arrays: linear and nearest neighbours.

Letters: N cells, F features, K categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Classifier", "LinearClassifier", "NeighbourClassifier"]

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.intp]

BANK = 5_000
"""Cells of a category that a neighbour head keeps, at most."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse regularisation tried by cross-validation."""


@dataclass(frozen=True)
class LinearClassifier:
    """Multinomial logistic regression on standardised features."""

    mean: Floats
    """(F,)"""
    std: Floats
    """(F,)"""
    weights: Floats
    """(F, K)"""
    bias: Floats
    """(K,)"""

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.bias)

    @classmethod
    def fit(
        cls, x: Floats, y: Codes, groups: Codes, *, n_categories: int, seed: int
    ) -> LinearClassifier:
        """Fit on ``(N, F)`` features and ``(N,)`` category numbers.

        The strength of the regularisation is the one with the least log loss on held-out groups
        (places), never on cells drawn at random, which neighbour the cells fitted on.
        """
        from sklearn.linear_model import LogisticRegression

        mean, std = _standardiser(x)
        z = (x - mean) / std
        strength = _choose_strength(z, y, groups, seed)
        model = LogisticRegression(C=strength, max_iter=300).fit(z, y)
        weights = np.zeros((x.shape[1], n_categories), np.float32)
        bias = np.full(n_categories, -1e4, np.float32)  # A category never seen is never given.
        if len(model.classes_) == 2:
            # scikit-learn keeps one row for two categories: the second against the first.
            weights[:, model.classes_[1]] = model.coef_[0]
            bias[model.classes_] = 0, model.intercept_[0]
        else:
            weights[:, model.classes_] = model.coef_.T
            bias[model.classes_] = model.intercept_
        return cls(mean, std, weights, bias)

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        # Standardisation folded into the weights: one product, no copy of the features.
        weights = self.weights / self.std[:, None]
        logits = x @ weights + (self.bias - self.mean @ weights)
        logits -= logits.max(1, keepdims=True)
        np.exp(logits, out=logits)
        result: Floats = logits / logits.sum(1, keepdims=True)
        return result


@dataclass(frozen=True)
class NeighbourClassifier:
    """The k nearest labelled cells by cosine, weighted by it, on standardised features."""

    mean: Floats
    """(F,)"""
    std: Floats
    """(F,)"""
    bank: Floats
    """(M, F), unit norm."""
    member: npt.NDArray[np.int64]
    """(M,) category numbers."""
    shape: npt.NDArray[np.int64]
    """(2,): number of neighbours, number of categories."""

    @property
    def n_categories(self) -> int:
        """K."""
        return int(self.shape[1])

    @classmethod
    def fit(
        cls, x: Floats, y: Codes, groups: Codes, *, n_categories: int, seed: int, k: int = 15
    ) -> NeighbourClassifier:
        """Keep a seeded, category-wise capped bank of ``(N, F)`` features and their categories."""
        del groups  # Neighbours have nothing to choose.
        rng = np.random.default_rng(seed)
        keep = np.sort(
            np.concatenate(
                [rng.permutation(np.flatnonzero(y == c))[:BANK] for c in range(n_categories)]
            )
        )
        mean, std = _standardiser(x[keep])
        bank = _unit((x[keep] - mean) / std)
        shape = np.array([min(k, len(keep)), n_categories], np.int64)
        return cls(mean, std, bank, y[keep].astype(np.int64), shape)

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        k, n_categories = int(self.shape[0]), self.n_categories
        result = np.empty((len(x), n_categories), np.float32)
        for first in range(0, len(x), 4096):
            part = _unit((x[first : first + 4096] - self.mean) / self.std)
            similarity = part @ self.bank.T  # (n, M)
            nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            # exp(s / 0.1) weighs near neighbours more, as in the kNN protocols of contrastive work.
            weight = np.exp(np.take_along_axis(similarity, nearest, 1) / 0.1)
            votes = np.zeros((len(part), n_categories), np.float32)
            rows = np.repeat(np.arange(len(part)), k)
            np.add.at(votes, (rows, self.member[nearest].ravel()), weight.ravel())
            result[first : first + 4096] = votes / votes.sum(1, keepdims=True)
        return result


Classifier = LinearClassifier | NeighbourClassifier


def _standardiser(x: Floats) -> tuple[Floats, Floats]:
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    std = x.std(0, dtype=np.float64).astype(np.float32)
    return mean, np.where(std > 1e-6, std, np.float32(1))


def _unit(x: Floats) -> Floats:
    unit: Floats = x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)
    return unit


def _choose_strength(z: Floats, y: Codes, groups: Codes, seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedGroupKFold

    # A quarter of the cells ranks the strengths as well as all do, in a fraction of the time.
    few = np.random.default_rng(seed).permutation(len(y))[:5000]
    z, y, groups = z[few], y[few], groups[few]
    n_folds = min(3, len(np.unique(groups)))
    if n_folds < 2:
        return 1e-2
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    losses = np.zeros(len(STRENGTHS))
    for train, held in folds.split(z, y, groups):
        if len(np.unique(y[train])) < 2 or not len(held):
            continue
        known = np.isin(y[held], y[train])
        if not known.any():
            continue
        for i, strength in enumerate(STRENGTHS):
            model = LogisticRegression(C=strength, max_iter=200).fit(z[train], y[train])
            losses[i] += log_loss(
                y[held][known], model.predict_proba(z[held][known]), labels=model.classes_
            )
    return STRENGTHS[int(np.argmin(losses))]
