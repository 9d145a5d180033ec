"""What a batch is made of: values and validity from stored integers, and where chips lie.

Letters: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xcontrast.sampling.chips import Chips
from xcontrast.sensors import STORED_NODATA

__all__ = ["Batch", "describe_chips", "to_values"]

Batch = dict[str, Tensor]


def to_values(stored: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Make values and validity of stored integers.

    Parameters
    ----------
    stored : Tensor (B, C, H, W), int16
        -32768 is invalid.
    scale : float
        Units of one step.

    Returns
    -------
    tuple of Tensor
        Values ``(B, C, H, W)`` float32, 0 where invalid, and validity ``(B, 1, H, W)`` float32, 1
        where all bands are valid; in the memory format of `stored`.
    """
    if stored.device.type != "cpu":
        bad = stored == STORED_NODATA
        values = stored.float().mul_(scale).masked_fill_(bad, 0)
        return values, (~bad).all(1, keepdim=True).float()
    values = stored.float().mul_(scale)
    valid = torch.ones_like(values[:, :1])
    # Most chips have no gap: only the others are looked at pixel by pixel.
    lowest = stored.permute(0, 2, 3, 1).flatten(1).amin(1)
    holed = (lowest == STORED_NODATA).nonzero()[:, 0]
    if len(holed):
        gaps = stored[holed] == STORED_NODATA
        values[holed] = values[holed].masked_fill_(gaps, 0)
        valid[holed] = (~gaps).all(1, keepdim=True).float()
    return values, valid


def describe_chips(chips: Chips) -> Batch:
    """Give what is known of each chip.

    Parameters
    ----------
    chips : Chips
        All that a loader gives.

    Returns
    -------
    dict of str to Tensor
        ``location (n,)``, ``footprint (n, 4)``, and the times of each sensor that has some
        ``(n, [D])``; int64.
    """
    footprint = np.stack(
        [chips.row, chips.col, chips.row + chips.size, chips.col + chips.size], axis=1
    )
    facts = {
        "location": torch.from_numpy(chips.location.astype(np.int64)),
        "footprint": torch.from_numpy(footprint.astype(np.int64)),
    }
    for sensor in chips.sensors:
        if sensor.time in chips.pairs.coords:
            times = chips.pairs[sensor.time].values.astype("datetime64[ns]").astype(np.int64)
            facts[sensor.time] = torch.from_numpy(times[chips.pair])
    return facts
