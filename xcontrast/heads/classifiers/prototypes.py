"""One direction a category, for a handful of points. Letters: N cells, F features, K categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xcontrast.heads.classifiers.classifier import Codes, Floats, standardise, to_unit

__all__ = ["PrototypeClassifier"]

TEMPERATURE = 0.1
"""Divides cosines, before calibration."""


@dataclass(frozen=True)
class PrototypeClassifier:
    """The mean direction of each category's cells, by cosine, on standardised features.

    The nearest class mean of Snell et al. (2017), "Prototypical networks", section 2.3, with the
    cosine in place of the distance. Nothing is fitted beyond the means, so that five points do.
    """

    mean: Floats
    """(F,)"""
    std: Floats
    """(F,)"""
    prototypes: Floats
    """(K, F), unit norm; zero for a category never seen."""

    weighs_alike: ClassVar[bool] = True

    @property
    def n_categories(self) -> int:
        """K."""
        return len(self.prototypes)

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        seed: int = 0,
        like: PrototypeClassifier | None = None,
    ) -> PrototypeClassifier:
        """Average the directions of each category's cells; categories weigh alike by nature."""
        del groups, seed, like
        # The middle between the categories, whatever their counts: else the commoner is at zero.
        present = np.unique(y)
        mean = np.mean([x[y == c].mean(0, dtype=np.float64) for c in present], 0).astype(np.float32)
        _, std = standardise(x)
        units = to_unit((x - mean) / std)
        prototypes = np.zeros((n_categories, x.shape[1]), np.float32)
        for c in present:
            prototypes[c] = units[y == c].mean(0)
        return cls(mean, std, to_unit(prototypes))

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        cosine = to_unit((x - self.mean) / self.std) @ self.prototypes.T
        seen = np.any(self.prototypes != 0, axis=1)
        votes = np.exp((cosine - 1) / TEMPERATURE) * seen
        result: Floats = votes / votes.sum(1, keepdims=True)
        return result
