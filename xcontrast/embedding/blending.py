"""Networks that see the whole image, run on windows of a fixed size and blended.

Windows overlap and fade into each other, so that no cell's value jumps from one to the next. They
are anchored half a step before the array's first pixel: a block, whose sides are multiples of the
step, ends in the middle of a window on each side and needs one more of them a side, not two.
Letters: C channels, F features, S side of a window in pixels, m in cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from xcontrast.model.card import WINDOW

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OVERLAP", "STEP", "blend_windows", "halo_of_windows"]

OVERLAP = 128
"""Pixels that two neighbouring windows share."""
STEP = WINDOW - OVERLAP
"""Pixels between windows."""
AT_ONCE = 8
"""Windows that are encoded in one batch."""


def halo_of_windows(step: int, overlap: int) -> int:
    """Give the margin that the windows of a block need, pixels."""
    return (step + overlap) // 2


def blend_windows(
    values: Tensor,
    encode: Callable[[Tensor], Tensor],
    *,
    stride: int,
    cells: tuple[int, int],
    step: int,
    overlap: int,
) -> Tensor:
    """Encode a block in windows, and blend them.

    Parameters
    ----------
    values : Tensor (1, C, rows, cols)
        The block with the margin of :func:`halo_of_windows`.
    encode : callable
        ``(n, C, S, S) -> (n, F, m, m)``.
    stride : int
        Pixels a cell; `step` and half of `overlap` are multiples of it.
    cells : tuple of int
        Rows and columns of the result.
    step, overlap : int
        Pixels.

    Returns
    -------
    Tensor (rows, cols, F), float32
    """
    import torch

    side = step + overlap
    margin, m, move = halo_of_windows(step, overlap) // stride, side // stride, step // stride
    # Windows that reach into the block: they end half a step and half an overlap beyond it.
    down, across = (-(-n // move) + 1 for n in cells)
    fade = _fade(m, overlap // stride, values.device)
    weight = (fade[:, None] * fade)[..., None]
    lines = [values[:, :, i * step : i * step + side] for i in range(down)]
    windows = [line[..., j * step : j * step + side] for line in lines for j in range(across)]
    result = None
    for first in range(0, len(windows), AT_ONCE):
        features = encode(torch.cat(windows[first : first + AT_ONCE])).permute(0, 2, 3, 1)
        if result is None:
            shape = (down - 1) * move + m, (across - 1) * move + m, features.shape[-1]
            result = features.new_zeros(shape)
        for k, own in enumerate(features, first):
            i, j = (k // across) * move, (k % across) * move
            result[i : i + m, j : j + m] += own * weight
    assert result is not None
    return result[margin : margin + cells[0], margin : margin + cells[1]]


def _fade(m: int, overlap: int, device: object) -> Tensor:
    """Give the weight of a window's cells along one side; over the windows it adds up to 1."""
    import torch

    position = torch.arange(m, device=device) + 0.5  # type: ignore[call-overload]
    inside = torch.minimum(position, m - position) / overlap
    fade: Tensor = torch.sin(inside.clamp(max=1) * torch.pi / 2) ** 2
    return fade
