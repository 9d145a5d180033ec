"""Points that two crops of one chip both show: correspondences for free.

The sensors share one grid of pixels, so that the boxes of the crops say where a point lies in
each. Letters: B batch, P points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F

from xcontrast.training.methods.views import View

__all__ = ["draw_points"]


def draw_points(
    views: Mapping[str, View], *, n: int, generator: torch.Generator
) -> dict[str, View]:
    """Draw points uniformly where all views overlap.

    Parameters
    ----------
    views : mapping of str to View
        Of one chip each, by the same order of chips.
    n : int
        Points a chip.
    generator : torch.Generator
        Source of randomness, on the CPU.

    Returns
    -------
    dict of str to View
        With ``points (B, n, 5)``: the same points as shares of each view and of the chip, and 1
        where the view is valid there; that is 0 where the views do not overlap.
    """
    boxes = torch.stack([view.boxes for view in views.values()])  # (V, B, 4)
    half = boxes[..., 2:].abs() / 2
    first = (boxes[..., :2] - half).amax(0)
    end = (boxes[..., :2] + half).amin(0)
    overlap = (end > first).all(1)
    drawn = torch.rand(len(first), n, 2, generator=generator)
    ground = first[:, None] + drawn * (end - first).clamp(min=0)[:, None]
    marked = {}
    for name, view in views.items():
        share = (ground - view.boxes[:, None, :2]) / view.boxes[:, None, 2:] + 0.5
        share = share.to(view.values.device)
        # grid_sample wants columns first, and -1 to 1.
        grid = (share.flip(-1) * 2 - 1)[:, :, None].to(view.valid.dtype)
        seen = F.grid_sample(view.valid, grid, padding_mode="border", align_corners=False)
        good = (seen[:, 0] > 0.5) & overlap[:, None, None].to(seen.device)
        points = [share, ground.to(share.device), good.to(share.dtype)]
        marked[name] = replace(view, points=torch.cat(points, dim=2))
    return marked
