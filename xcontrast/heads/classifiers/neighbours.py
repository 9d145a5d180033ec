"""The nearest labelled cells. Letters: N cells, F features, K categories, M cells in the bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from xcontrast.heads.classifiers.classifier import Codes, Floats, standardise, to_unit

__all__ = ["NeighbourClassifier"]

BANK = 5_000
"""Cells of a category that are kept, at most."""
K = 15
"""Neighbours that vote."""
STEP_BYTES = 32 * 2**20
"""That similarities and their order take in a step: several tasks of a map run at a time."""
TEMPERATURE = 0.1
"""Of the votes: near neighbours weigh more, as in the kNN protocols of contrastive work."""


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
    k: npt.NDArray[np.int64]
    """(1,): neighbours."""
    n: npt.NDArray[np.int64]
    """(1,): K."""

    weighs_alike: ClassVar[bool] = False

    @property
    def n_categories(self) -> int:
        """K."""
        return int(self.n[0])

    @classmethod
    def fit(
        cls,
        x: Floats,
        y: Codes,
        groups: Codes,
        *,
        n_categories: int,
        seed: int = 0,
        like: NeighbourClassifier | None = None,
    ) -> NeighbourClassifier:
        """Keep a seeded, category-wise capped bank of features and their categories."""
        del groups, like  # Neighbours have nothing to choose.
        rng = np.random.default_rng(seed)
        keep = np.sort(
            np.concatenate(
                [rng.permutation(np.flatnonzero(y == c))[:BANK] for c in range(n_categories)]
            )
        )
        mean, std = standardise(x[keep])
        bank = to_unit((x[keep] - mean) / std)
        k = np.array([min(K, len(keep))], np.int64)
        return cls(mean, std, bank, y[keep].astype(np.int64), k, np.array([n_categories]))

    def probability(self, x: Floats) -> Floats:
        """Give ``(N, K)`` probabilities of ``(N, F)`` features."""
        k = int(self.k[0])
        result = np.empty((len(x), self.n_categories), np.float32)
        # A similarity, its negative and an index of eight bytes, of each cell in the bank.
        step = min(4096, max(1, STEP_BYTES // (16 * len(self.bank))))
        for first in range(0, len(x), step):
            part = to_unit((x[first : first + step] - self.mean) / self.std)
            similarity = part @ self.bank.T  # (n, M)
            nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            member = self.member[nearest]
            vote = np.exp(np.take_along_axis(similarity, nearest, 1) / TEMPERATURE)
            votes = np.zeros((len(part), self.n_categories), np.float32)
            rows = np.repeat(np.arange(len(part)), k)
            np.add.at(votes, (rows, member.ravel()), vote.ravel())
            result[first : first + step] = votes / votes.sum(1, keepdims=True)
        return result
