"""Folds of labelled cells by the place that they lie in: a neighbour of a cell is no test of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from xcontrast.heads.classifiers.classifier import Codes

__all__ = ["hold_out_places"]

N_FOLDS = 3


def hold_out_places(y: Codes, groups: Codes, seed: int) -> Iterator[tuple[Codes, Codes]]:
    """Split cells so that each place is held out once, its categories shared out evenly.

    Parameters
    ----------
    y : ndarray (N,), intp
        Category numbers.
    groups : ndarray (N,), intp
        Places.
    seed : int
        Of the draw.

    Yields
    ------
    tuple of ndarray, intp
        Cells to fit on, of two categories or more, and held-out cells whose category is among
        them. Nothing where there are too few places.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    n_folds = min(N_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        return
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    rows, shared = np.arange(len(y)), np.zeros_like(y) if _is_scarce(y, n_folds) else y
    with warnings.catch_warnings():
        # That a category has fewer cells than folds: what is not among those fitted on is left out.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(folds.split(rows, shared, groups))
    for train, held in parts:
        known = held[np.isin(y[held], y[train])]
        if len(np.unique(y[train])) >= 2 and len(known):
            yield train, known


def _is_scarce(y: Codes, n_folds: int) -> bool:
    """Say whether no category has a cell for each fold, which scikit-learn refuses to share out."""
    return bool(np.bincount(y).max() < n_folds)
