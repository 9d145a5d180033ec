"""What a device has room for, and which of several this is."""

from __future__ import annotations

import psutil
import torch

__all__ = ["find_rank", "fits"]


def fits(n_bytes: int, device: str | torch.device) -> bool:
    """Say whether pixels fit in half of what a device has free.

    Parameters
    ----------
    n_bytes : int
        Of the pixels.
    device : str or device
        Where they would lie.

    Returns
    -------
    bool
    """
    if torch.device(device).type == "cuda":
        return n_bytes < torch.cuda.mem_get_info(device)[0] / 2
    return bool(n_bytes < psutil.virtual_memory().available / 2)


def find_rank() -> tuple[int, int]:
    """Give the rank of this process and how many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
