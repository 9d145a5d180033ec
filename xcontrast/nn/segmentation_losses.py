"""Losses of labelled pixels, pure functions; what is not labelled counts nothing.

Letters: B batch, K categories, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.legends import NO_LABEL

__all__ = ["build_loss", "cross_entropy", "dice", "focal"]


def cross_entropy(logits: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Cross entropy of labelled pixels.

    Parameters
    ----------
    logits : Tensor (B, K, H, W), float
        Before the softmax.
    target : Tensor (B, H, W), int64
        Category numbers, 255 where not labelled.
    weight : Tensor (K,), optional
        Of each category; the mean is weighted.

    Returns
    -------
    Tensor (), float32
        0 where nothing is labelled.

    Examples
    --------
    >>> import torch
    >>> round(float(cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]]))), 4)
    0.6931
    """
    return _mean(_surprise(logits, target), target, weight)


def focal(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, weight: Tensor | None = None
) -> Tensor:
    """Cross entropy in which pixels that are right already count less.

    Parameters
    ----------
    logits, target, weight
        As for :func:`cross_entropy`.
    gamma : float, default 2.0
        A pixel counts by ``(1 - p) ** gamma``, p the probability of its label.

    Returns
    -------
    Tensor (), float32

    References
    ----------
    Lin et al. (2017), Focal loss for dense object detection, equation 4, with a softmax.
    """
    surprise = _surprise(logits, target)
    # 1 - exp(-s), exact for small s.
    return _mean((-torch.expm1(-surprise)) ** gamma * surprise, target, weight)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One less the soft Dice coefficient, over the batch, mean of the categories it holds.

    Parameters
    ----------
    logits, target
        As for :func:`cross_entropy`.

    Returns
    -------
    Tensor (), float32
        0 where nothing is labelled.

    References
    ----------
    Milletari et al. (2016), V-Net, with sums in place of squares in the denominator.
    """
    known = (target != NO_LABEL)[:, None]
    numbers = torch.where(known[:, 0], target, 0)
    truth = F.one_hot(numbers, logits.shape[1]).permute(0, 3, 1, 2) * known
    # Not a product: what is nowhere labelled may be anything.
    p = logits.float().softmax(1).where(known, 0.0)
    shared, sizes = ((p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3)))
    there = truth.sum((0, 2, 3)) > 0
    lost = (1 - 2 * shared / sizes.clamp(min=1e-7)) * there
    return lost.sum() / there.sum().clamp(min=1)


def build_loss(kind: str, weight: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """Give a loss by its name.

    Parameters
    ----------
    kind : {"ce", "focal", "dice", "ce+dice"}
        Which.
    weight : Tensor (K,), optional
        Of the categories, in the terms that are means over pixels.

    Returns
    -------
    callable
        ``loss(logits, target)``.
    """
    if kind == "dice":
        return dice
    if kind == "focal":
        return partial(focal, weight=weight)
    if kind == "ce":
        return partial(cross_entropy, weight=weight)
    return lambda logits, target: (
        cross_entropy(logits, target, weight=weight) + dice(logits, target)
    )


def _surprise(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), target, ignore_index=NO_LABEL, reduction="none")


def _mean(lost: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    known = target != NO_LABEL
    if weight is None:
        return lost.sum() / known.sum().clamp(min=1)
    own = torch.where(known, weight[torch.where(known, target, 0)], 0.0)
    return (lost * own).sum() / own.sum().clamp(min=1e-12)
