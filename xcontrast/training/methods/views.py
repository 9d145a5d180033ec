"""What an encoder is shown, and how it is handed over.

Letters: B batch, D dates, C bands, H W pixels, S side of a view, P points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xcontrast.sensors import S2

__all__ = ["Images", "View", "Views", "find_rgb", "prepare"]

Images = Mapping[str, tuple[Tensor, Tensor]]
"""By sensor: scaled values (B, D, C, H, W) and validity (B, D, 1, H, W)."""


@dataclass(frozen=True)
class View:
    """What an encoder is shown of each chip."""

    values: Tensor
    """(B, C, S, S)"""
    valid: Tensor
    """(B, 1, S, S)"""
    boxes: Tensor
    """(B, 4), of :func:`crop_boxes`"""
    points: Tensor | None = None
    """(B, P, 5), rows and columns as shares of the view and of the chip, and 1 where valid"""

    def __getitem__(self, rows: slice) -> View:
        points = None if self.points is None else self.points[rows]
        return View(self.values[rows], self.valid[rows], self.boxes[rows], points)


Views = Mapping[str, View]


def prepare(values: Tensor) -> Tensor:
    """Bring images into the order and precision that a network takes them in, in one pass."""
    device = values.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype
    return values.to(dtype=kind, memory_format=torch.channels_last)


def find_rgb(sensor: str, bands: tuple[str, ...]) -> tuple[int | None, ...]:
    """Find the channels of red, green and blue; radar has none.

    Parameters
    ----------
    sensor : str
        ``"s1"`` or ``"s2"``.
    bands : tuple of str
        Canonical names, in channel order.

    Returns
    -------
    tuple of int or None
        Empty for radar.

    Examples
    --------
    >>> find_rgb("s2", ("B11", "B08", "B03")), find_rgb("s1", ("vv", "vh"))
    ((None, 2, None), ())
    """
    if sensor != S2.name:
        return ()
    return tuple(bands.index(band) if band in bands else None for band in S2.display)
