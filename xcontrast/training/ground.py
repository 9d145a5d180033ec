"""Which samples lie too near to be negatives of each other.

Letters: N samples, M others, B batch, P points.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["find_near", "find_near_points"]

POINT_GAP = 0.125
"""Points of one chip nearer than this share of its side show one thing."""


def find_near(ground: Tensor, other: Tensor, distance: float | None) -> Tensor | None:
    """Say which samples overlap on the ground or have centres within a distance.

    Parameters
    ----------
    ground : Tensor (N, 5), int64
        Location, first row, first column, and the ends.
    other : Tensor (M, 5), int64
        Likewise; a negative location is nowhere.
    distance : float or None
        Pixels; 0 is overlap alone, None says that none is near.

    Returns
    -------
    Tensor (N, M), bool, or None
        Of one location; two locations are never near.
    """
    if distance is None:
        return None
    first, end = ground[:, None, 1:3], ground[:, None, 3:5]
    first_other, end_other = other[None, :, 1:3], other[None, :, 3:5]
    near = ((first < end_other) & (first_other < end)).all(2)
    if distance:
        # Twice the centre, to stay with integers.
        apart = ((first + end) - (first_other + end_other)).double().norm(dim=2) / 2
        near = near | (apart <= distance)
    return near & (ground[:, None, 0] == other[None, :, 0])


def find_near_points(points: Tensor, near: Tensor | None) -> Tensor:
    """Say which points of a batch must not be negatives of each other.

    Parameters
    ----------
    points : Tensor (B, P, 2), float
        Row and column as shares of the chip.
    near : Tensor (B, B), bool, or None
        Which chips are near each other, the diagonal aside.

    Returns
    -------
    Tensor (B * P, B * P), bool
        True for points of chips near each other, and for those of one chip that lie within an
        eighth of its side.
    """
    n, n_points, _ = points.shape
    own = torch.eye(n, dtype=torch.bool, device=points.device)
    chips = own & False if near is None else near & ~own
    blocks = chips.repeat_interleave(n_points, 0).repeat_interleave(n_points, 1)
    close = torch.cdist(points.float(), points.float()) < POINT_GAP  # (B, P, P)
    within = torch.zeros(n, n_points, n, n_points, dtype=torch.bool, device=points.device)
    index = torch.arange(n, device=points.device)
    within[index, :, index, :] = close
    return blocks | within.view(n * n_points, n * n_points)
