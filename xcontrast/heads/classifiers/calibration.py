"""Probabilities that mean what they say: one temperature, from cells of places held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xcontrast.heads.classifiers.classifier import Classifier, Codes, Floats
from xcontrast.heads.classifiers.places import hold_out_places

__all__ = ["LEAST", "find_temperature", "fit_temperature", "soften"]

LEAST = 1e-6
"""Probability that none is below: trees and neighbours give zeros."""
N_TRIED = 5_000
"""Cells that it is found with, at most: neighbours are nearly copies, and more cost more time."""
DOUBT = 2.0
"""Weight of the prior at a temperature of 1, cells: a few held-out cells say little."""


def find_temperature(
    classifier: Classifier,
    x: Floats,
    y: Codes,
    groups: Codes,
    *,
    seed: int = 0,
) -> tuple[float, int]:
    """Find the temperature that makes the probabilities of held-out places most likely.

    Parameters
    ----------
    classifier : Classifier
        As fitted on all cells; it is fitted anew on parts of them.
    x : ndarray (N, F), float32
    y, groups : ndarray (N,), intp
        Category numbers and places.
    seed : int
        Of the folds.

    Returns
    -------
    tuple
        The temperature, and the number of held-out cells that it was found on; 1 and 0 where
        there are too few places.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", section 4.2.
    """
    few = np.random.default_rng(seed).permutation(len(y))[:N_TRIED]
    x, y, groups = x[few], y[few], groups[few]
    logs, truths = [], []
    for train, held in hold_out_places(y, groups, seed):
        part = type(classifier).fit(
            x[train],
            y[train],
            groups[train],
            n_categories=classifier.n_categories,
            seed=seed,
            like=classifier,
        )
        logs.append(np.log(part.probability(x[held]).clip(LEAST)).astype(np.float64))
        truths.append(y[held])
    if not logs:
        return 1.0, 0
    temperature, _ = fit_temperature(np.concatenate(logs), np.concatenate(truths))
    return temperature, sum(map(len, truths))


def fit_temperature(log: npt.NDArray[np.float64], truth: Codes) -> tuple[float, float]:
    """Fit the temperature that makes the truth most likely.

    Parameters
    ----------
    log : ndarray (N, K), float64
        Logarithms of probabilities.
    truth : ndarray (N,), intp
        Category numbers.

    Returns
    -------
    tuple of float
        The temperature, and the log loss with it, nats a cell.

    Examples
    --------
    >>> log = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    >>> temperature, loss = fit_temperature(log, np.array([0, 0, 1]))
    >>> temperature > 1, loss < float(-log[[0, 1, 2], [0, 0, 1]].mean())
    (True, True)
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))

    def sum_loss(log_temperature: float) -> float:
        scaled = log / np.exp(log_temperature)
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((total - scaled[rows, truth]).sum())

    found = minimize_scalar(
        lambda t: sum_loss(t) + DOUBT * t**2, bounds=(np.log(0.2), np.log(20)), method="bounded"
    )
    return float(np.exp(found.x)), sum_loss(found.x) / len(truth)


def soften(probability: Floats, temperature: float, seen: npt.NDArray[np.bool_]) -> Floats:
    """Divide the logarithms of probabilities by a temperature; the order stays.

    Parameters
    ----------
    probability : ndarray (…, K), float32
    temperature : float
        Above 1 they come nearer to each other.
    seen : ndarray (K,), bool
        Categories that were fitted on; the others stay at 0.

    Returns
    -------
    ndarray (…, K), float32
    """
    powered = probability.clip(LEAST) ** np.float32(1 / temperature) * seen
    result: Floats = powered / powered.sum(-1, keepdims=True)
    return result
