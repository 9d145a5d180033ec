"""Counts as a probe leaves them, with a planted answer."""

from __future__ import annotations

import numpy as np

from xcontrast.evaluation.results import Tally


def tally(n_blocks: int = 8, seed: int = 0) -> Tally:
    """Give three variants: two that are alike, and one with more errors in every block."""
    rng = np.random.default_rng(seed)
    made = Tally.empty(
        ("embedding", "same", "worse"), (0.1, 1.0), np.arange(n_blocks), np.arange(n_blocks) % 2,
        n_categories=2, n_bins=5,
    )  # fmt: skip
    first = rng.integers(1, 100, (2, n_blocks, 2, 2))
    made.counts[0], made.counts[1] = first, first
    made.counts[2] = first + np.array([[0, 60], [60, 0]])
    return made
