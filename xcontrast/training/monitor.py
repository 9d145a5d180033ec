"""What a run watches: held-out retrieval, and whether the representation is collapsing.

A contrastive loss that falls says little; retrieval on held-out ground needs no labels and says
whether the two sensors have found each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.errors import TrainingError, problem
from xcontrast.sampling.chips import Chips

__all__ = [
    "alignment",
    "check_health",
    "check_negatives",
    "choose_watched",
    "effective_rank",
    "feature_spread",
    "measure_retrieval",
    "summarise",
    "uniformity",
]


def choose_watched(chips: Chips, *, seed: int, n_max: int = 512) -> Chips:
    """Choose held-out chips of which no two share more than half their ground.

    Parameters
    ----------
    chips : Chips
        Held out.
    seed : int
        Draws them.
    n_max : int, default 512
        At most so many.

    Returns
    -------
    Chips
    """
    windows = np.stack([chips.location, chips.row, chips.col], axis=1)
    kept: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(windows)):
        if len(kept) == n_max:
            break
        place, row, col = windows[index]
        other = windows[kept]
        near = (other[:, 0] == place) & (
            np.maximum(abs(other[:, 1] - row), abs(other[:, 2] - col)) < chips.size // 2
        )
        if not near.any():
            kept.append(int(index))
    return chips.take(np.array(kept))


def measure_retrieval(a: Tensor, b: Tensor) -> dict[str, float]:
    """Measure how well each view finds its partner among all of the other sensor's.

    Parameters
    ----------
    a, b : Tensor (N, D), float
        Projections; row i of both belongs together.

    Returns
    -------
    dict of str to float
        ``recall_at_1``, ``recall_at_5``, ``median_rank`` (1 is best), each the mean of both
        directions, with ``chance_recall_at_1`` and ``n_val``. Ties count against the model, so
        that a collapsed representation scores 0.

    Examples
    --------
    >>> import torch
    >>> measure_retrieval(torch.eye(4), torch.eye(4))["recall_at_1"]
    1.0
    """
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    similarity = a @ b.T
    rows = []
    for matrix in (similarity, similarity.T):
        own = matrix.diagonal()[:, None]
        better = (matrix >= own).sum(1)  # Counts itself, so the best rank is 1.
        ranks = better.float()
        rows.append([(ranks <= 1).float().mean(), (ranks <= 5).float().mean(), ranks.median()])
    first, fifth, rank = torch.tensor(rows).mean(0).tolist()
    return {
        "recall_at_1": first,
        "recall_at_5": fifth,
        "median_rank": rank,
        "chance_recall_at_1": 1 / len(a),
        "n_val": float(len(a)),
    }


def feature_spread(z: Tensor) -> float:
    """Give the standard deviation of unit-norm features times sqrt(D): 1 when spread, 0 collapsed.

    Parameters
    ----------
    z : Tensor (N, D), float

    Returns
    -------
    float
        NaN of a single one.
    """
    if len(z) < 2:
        return math.nan
    unit = F.normalize(z.float(), dim=1)
    return float(unit.std(0).mean() * unit.shape[1] ** 0.5)


def effective_rank(z: Tensor) -> float:
    """Give the exponential of the entropy of the normalised singular values.

    Parameters
    ----------
    z : Tensor (N, D), float

    Returns
    -------
    float
        Between 1 and min(N, D); NaN where a value is not finite.

    References
    ----------
    Roy and Vetterli (2007), The effective rank.
    """
    if not torch.isfinite(z).all():
        return float("nan")
    values = torch.linalg.svdvals((z - z.mean(0)).double())
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


def alignment(a: Tensor, b: Tensor) -> float:
    """Give the mean squared distance of positive pairs on the unit sphere: 0 is aligned.

    Parameters
    ----------
    a, b : Tensor (N, D), float
        Row i of both belongs together.

    Returns
    -------
    float

    References
    ----------
    Wang and Isola (2020), Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere, section 4.
    """
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    return float((a - b).square().sum(1).mean())


def uniformity(z: Tensor) -> float:
    """Give the log of the mean Gaussian potential of all pairs: lower is more evenly spread.

    Parameters
    ----------
    z : Tensor (N, D), float

    Returns
    -------
    float
        0 when collapsed, at least -4.

    References
    ----------
    Wang and Isola (2020), section 4, with t = 2.
    """
    if len(z) < 2:
        return 0.0
    return float(torch.pdist(F.normalize(z.float(), dim=1)).square().mul(-2).exp().mean().log())


def summarise(watched: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Say how held-out pairs find each other, and how their representation is spread.

    Parameters
    ----------
    watched : mapping of str to tuple of Tensor (N, D)
        By what is paired: "sensors", "cells", "s2 places", "s2 views" and so on.

    Returns
    -------
    dict of str to float
        Retrieval, alignment and uniformity, of "sensors" or else means over all kinds; the least
        spread and rank; ``{kind}_recall_at_1`` of each where there are several.
    """
    found = {kind: measure_retrieval(*pair) for kind, pair in watched.items()}
    # What a method is for comes first; of one-sensor methods all kinds are.
    main = ["sensors"] if "sensors" in watched else list(watched)
    told = {name: float(np.mean([found[kind][name] for kind in main])) for name in found[main[0]]}
    sides = [side for kind in main for side in watched[kind]]
    told |= {
        "alignment": float(np.mean([alignment(*watched[kind]) for kind in main])),
        "uniformity": float(np.mean([uniformity(side) for side in sides])),
        # numpy's minimum, unlike Python's, does not lose a NaN.
        "feature_std": float(np.min([feature_spread(side) for side in sides])),
        "effective_rank": float(np.min([effective_rank(side) for side in sides])),
    }
    if len(watched) > 1:
        told |= {f"{k.replace(' ', '_')}_recall_at_1": v["recall_at_1"] for k, v in found.items()}
    return told


def check_health(loss: float, spread: float | None, step: int) -> None:
    """Stop a run that cannot come to good.

    Parameters
    ----------
    loss : float
        Of this step.
    spread : float or None
        :func:`feature_spread` of held-out projections, where it was measured.
    step : int
        For the message.

    Raises
    ------
    TrainingError
        If the loss is not finite, or the features have collapsed to a point.
    """
    if not loss < float("inf"):
        raise TrainingError(
            problem(
                expected="a finite loss",
                received=f"{loss} at step {step}",
                do="lower learning_rate (say by 10), or look for extreme values in the data",
            )
        )
    if spread is not None and not spread >= 0.02:
        raise TrainingError(
            problem(
                expected="features that differ between places",
                received=f"a spread of {spread:.4f} at step {step} (1 is spread, 0 collapsed)",
                do="lower learning_rate, raise batch_size, or check that the pairs differ",
            )
        )


def check_negatives(found: bool, steps: int) -> None:
    """Stop a run in which nothing is told from anything else, so that its gradient is zero.

    Parameters
    ----------
    found : bool
        Whether a batch had negatives.
    steps : int
        Batches that were looked at, for the message.

    Raises
    ------
    TrainingError
        If none had.
    """
    if not found:
        raise TrainingError(
            problem(
                expected="chips of other ground in a batch, as negatives of each other",
                received=f"none in the first {steps} batches: all chips overlap or lie within "
                "min_distance",
                do="use a larger area, smaller chips or a larger batch_size, or min_distance=None",
            )
        )
