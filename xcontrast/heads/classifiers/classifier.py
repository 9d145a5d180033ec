"""What every classifier on frozen features can do, and what several of them need.

Letters: N cells, F features, K categories.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Classifier", "Codes", "Floats", "standardise", "to_unit"]

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.intp]


class Classifier(Protocol):
    """Plain arrays that say what a cell is; all attributes are arrays, and are what is saved."""

    weighs_alike: ClassVar[bool]
    """Whether categories count alike, however many cells they have."""

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
        seed: int = 0,
        like: Self | None = None,
    ) -> Self:
        """Fit on ``(N, F)`` features and ``(N,)`` category numbers, of ``(N,)`` places.

        What would be chosen by cross-validation over places is taken from `like`, if given.
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
