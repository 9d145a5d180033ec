"""Logistic regression. Letters: N cells, F features, K categories."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xcontrast.heads.classifiers.calibration import LEAST, fit_temperature
from xcontrast.heads.classifiers.classifier import Codes, Floats, standardise
from xcontrast.heads.classifiers.places import hold_out_places

__all__ = ["LinearClassifier"]

STRENGTHS = (1e-3, 1e-2, 1e-1)
"""Inverse regularisation tried by cross-validation.

Held-out places of few would often choose less, and maps of other places be the worse for it: see
``tests/benchmarks/strength.py``.
"""
N_TRIED = 5_000
"""Cells that rank the strengths, at most: as well as all do, in a fraction of the time."""


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
    strength: npt.NDArray[np.float64]
    """(1,): the inverse of the regularisation."""

    weighs_alike: ClassVar[bool] = False

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.bias)

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        seed: int = 0,
        like: LinearClassifier | None = None,
    ) -> LinearClassifier:
        """Fit; the strength is the one with the least log loss on held-out places, once calibrated.

        Never on cells drawn at random, which neighbour the cells fitted on; and with a temperature,
        as a head's probabilities are given: regularisation is not to pay for doubt.
        """
        mean, std = standardise(x)
        z = (x - mean) / std
        strength = like.strength[0] if like else _choose_strength(z, y, groups, seed)
        model = _regress(z, y, strength, 300)
        weights = np.zeros((x.shape[1], n_categories), np.float32)
        bias = np.full(n_categories, -1e4, np.float32)  # A category never seen is never given.
        if len(model.classes_) == 2:
            # scikit-learn keeps one row for two categories: the second against the first.
            weights[:, model.classes_[1]] = model.coef_[0]
            bias[model.classes_] = 0, model.intercept_[0]
        else:
            weights[:, model.classes_] = model.coef_.T
            bias[model.classes_] = model.intercept_
        return cls(mean, std, weights, bias, np.array([strength]))

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        # Standardisation folded into the weights: one product, no copy of the features.
        weights = self.weights / self.std[:, None]
        logits = x @ weights + (self.bias - self.mean @ weights)
        logits -= logits.max(1, keepdims=True)
        np.exp(logits, out=logits)
        result: Floats = logits / logits.sum(1, keepdims=True)
        return result


def _regress(z: Floats, y: Codes, strength: float, max_iter: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=max_iter)
    with warnings.catch_warnings():
        # It advises options that are not the caller's; weights that still creep map the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(z, y)


def _choose_strength(z: Floats, y: Codes, groups: Codes, seed: int) -> float:
    few = np.random.default_rng(seed).permutation(len(y))[:N_TRIED]
    z, y, groups = z[few], y[few], groups[few]
    folds = list(hold_out_places(y, groups, seed))
    if not folds:
        return 1e-2
    truth = np.concatenate([y[held] for _, held in folds])
    best, least = STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        logs = [
            _log_probability(_regress(z[train], y[train], strength, 200), z[held], y.max())
            for train, held in folds
        ]
        _, loss = fit_temperature(np.concatenate(logs), truth)
        # From strong to weak, which takes ever longer: once it is worse, it stays so.
        if loss >= least:
            break
        best, least = strength, loss
    return best


def _log_probability(model: Any, z: Floats, last: int) -> npt.NDArray[np.float64]:
    """Give ``(N, K)`` for the categories up to the last, of which some may not have been seen."""
    probability = np.zeros((len(z), last + 1))
    probability[:, model.classes_] = model.predict_proba(z)
    logs: npt.NDArray[np.float64] = np.log(probability.clip(LEAST))
    return logs
