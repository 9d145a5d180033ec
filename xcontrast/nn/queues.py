"""A queue of past keys: negatives beyond the batch.

Letters: K length, D projected dimensions, N keys a step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NOWHERE", "Queue"]

NOWHERE = -1
"""Location of what was in a queue before the first key."""


class Queue(nn.Module):
    """The last keys, unit norm, with the ground that each one shows.

    It begins filled with random directions, as in MoCo.

    Parameters
    ----------
    length : int
        Keys held.
    n_projected : int
        Their dimensions.

    References
    ----------
    He et al. (2020), MoCo, section 3.2.
    """

    def __init__(self, length: int, n_projected: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, n_projected), dim=1))
        self.register_buffer("ground", torch.full((length, 5), NOWHERE))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    keys: Tensor
    """(K, D)"""
    ground: Tensor
    """(K, 5) location, first row, first column, and the ends; location -1 is none"""
    position: Tensor

    @torch.no_grad()
    def push(self, keys: Tensor, ground: Tensor) -> None:
        """Put keys in place of the oldest ones.

        Parameters
        ----------
        keys : Tensor (N, D), float
            Normalised here; of more than the queue holds, the last ones stay.
        ground : Tensor (N, 5), int64
            Of each.
        """
        length = len(self.keys)
        keys, ground = keys[-length:], ground[-length:]
        where = (self.position + torch.arange(len(keys), device=keys.device)) % length
        self.keys[where] = F.normalize(keys.to(self.keys.dtype), dim=1)
        self.ground[where] = ground
        self.position.copy_((self.position + len(keys)) % length)
