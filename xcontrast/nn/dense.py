"""Dense features: every level of an encoder brought to one grid of cells, where it truly looks.

A strided convolution with odd kernels centres its cell i on pixel ``stride * i``, not on the
middle of the pixels it stands for: at stride 16 that is 7.5 pixels aside. Levels are therefore
resampled by their measured positions. Letters: B batch, F features, H W pixels, h w cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.nn.levels import Level

__all__ = ["dense_features", "halo_of", "sample_levels"]


def halo_of(levels: tuple[Level, ...]) -> int | None:
    """Give the margin that makes the features of a block independent of what lies beyond.

    Parameters
    ----------
    levels : tuple of Level
        As measured.

    Returns
    -------
    int or None
        Pixels, a multiple of the deepest stride; None when a level sees the whole image.
    """
    margins = []
    for level in levels:
        if level.radius is None:
            return None
        # Interpolation between cells looks one cell farther.
        margins.append(level.radius + abs(level.offset) + level.stride)
    deepest = max(level.stride for level in levels)
    return -(-int(max(margins)) // deepest) * deepest


def dense_features(
    maps: list[Tensor],
    levels: tuple[Level, ...],
    *,
    stride: int,
    start: tuple[int, int],
    shape: tuple[int, int],
) -> Tensor:
    """Bring all levels to one grid and concatenate them.

    Parameters
    ----------
    maps : list of Tensor (B, F_l, h_l, w_l)
        What an encoder gave for an image.
    levels : tuple of Level
        Their geometry.
    stride : int
        Pixels a cell of the result.
    start : tuple of int
        First row and column of the result in the image, pixels.
    shape : tuple of int
        Rows and columns of the result, cells.

    Returns
    -------
    Tensor (B, F, shape[0], shape[1]), float32
    """
    features = []
    for level_map, level in zip(maps, levels, strict=True):
        step, offset = level.stride, level.offset
        level_map = level_map.float()
        if step < stride:
            factor = stride // step
            level_map = F.avg_pool2d(level_map, factor)
            offset, step = offset + step * (factor - 1) / 2, step * factor
        for dim, first, n in zip((2, 3), start, shape, strict=True):
            level_map = _interpolate(level_map, dim, step, offset, stride, first, n)
        features.append(level_map)
    return torch.cat(features, dim=1)


def _interpolate(
    level_map: Tensor, dim: int, step: int, offset: float, stride: int, start: int, n: int
) -> Tensor:
    """Linear interpolation along one dim at the centres of n cells."""
    centre = start + stride * torch.arange(n, device=level_map.device) + (stride - 1) / 2
    position = ((centre - offset) / step).clamp(0, level_map.shape[dim] - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=level_map.shape[dim] - 1)
    weight = position - low
    if bool((weight == 0).all()):
        return level_map.index_select(dim, low)
    view = [1, 1, 1, 1]
    view[dim] = n
    below, above = level_map.index_select(dim, low), level_map.index_select(dim, high)
    return torch.lerp(below, above, weight.to(level_map.dtype).view(view))


def sample_levels(
    maps: list[Tensor], levels: tuple[Level, ...], points: Tensor, *, size: int
) -> Tensor:
    """Read all levels at points, bilinearly where their cells look, and concatenate them.

    Parameters
    ----------
    maps : list of Tensor (B, F_l, h_l, w_l)
        What an encoder gave.
    levels : tuple of Level
        Their geometry.
    points : Tensor (B, P, 2), float
        Row and column as shares of the image.
    size : int
        Side of the image, pixels.

    Returns
    -------
    Tensor (B, P, F), float32
    """
    sampled = []
    for level_map, level in zip(maps, levels, strict=True):
        position = (points.float() * size - 0.5 - level.offset) / level.stride
        sampled.append(_read(level_map, position))
    return torch.cat(sampled, dim=2)


def _read(level_map: Tensor, position: Tensor) -> Tensor:
    """Read (B, F, h, w) bilinearly at positions (B, P, 2) in cells: (B, P, F), float32."""
    last = torch.tensor(level_map.shape[-2:], device=position.device) - 1
    position = torch.minimum(position.clamp(min=0), last)
    low = position.floor().long()
    high = torch.minimum(low + 1, last)
    rest = position - low
    corners, weights = [], []
    for row in (0, 1):
        for col in (0, 1):
            rows, cols = (high, low)[1 - row][..., 0], (high, low)[1 - col][..., 1]
            corners.append(rows * level_map.shape[3] + cols)
            shares = (rest if row else 1 - rest)[..., 0], (rest if col else 1 - rest)[..., 1]
            weights.append(shares[0] * shares[1])
    # All corners in one gather: going back, each gather writes a gradient as large as the map.
    index = torch.cat(corners, dim=1)[:, None].expand(-1, level_map.shape[1], -1)
    values = level_map.flatten(2).gather(2, index).float()
    values = values.view(*values.shape[:2], 4, position.shape[1])
    read: Tensor = (values * torch.stack(weights, dim=1)[:, None]).sum(2)
    return read.transpose(1, 2)
