"""What every classifier on frozen features can do, and what several of them need.

Letters: N cells, F features, K categories.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Classifier", "Codes", "Floats", "standardise", "to_unit", "weigh"]

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.intp]


class Classifier(Protocol):
    """Plain arrays that say what a cell is; all attributes are arrays, and are what is saved."""

    @property
    def n_categories(self) -> int:
        """K."""
        ...

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        balance: bool = False,
        seed: int = 0,
        like: Self | None = None,
    ) -> Self:
        """Fit on ``(N, F)`` features and ``(N,)`` category numbers, of ``(N,)`` places.

        With `balance` every category weighs alike. What would be chosen by cross-validation over
        places is taken from `like`, if given.
        """
        ...

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        ...


def standardise(x: Floats) -> tuple[Floats, Floats]:
    """Give the mean and standard deviation of each feature; 1 for one that does not vary."""
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    std = x.std(0, dtype=np.float64).astype(np.float32)
    return mean, np.where(std > 1e-6, std, np.float32(1))


def to_unit(x: Floats) -> Floats:
    """Scale each row to unit length."""
    unit: Floats = x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)
    return unit


def weigh(y: Codes, n_categories: int, balance: bool) -> Floats:
    """Give each category's weight ``(K,)``: 1, or inverse to its share, 1 on average over cells."""
    counts = np.bincount(y, minlength=n_categories)
    if not balance:
        return np.ones(n_categories, np.float32)
    n_present = (counts > 0).sum()
    weights: Floats = (len(y) / (n_present * counts.clip(min=1))).astype(np.float32)
    return weights
