"""Dense features: every level of an encoder brought to one grid of cells, where it truly looks.

A strided convolution with odd kernels centres its cell i on pixel ``stride * i``, not on the
middle of the pixels it stands for: at stride 16 that is 7.5 pixels aside. Levels are therefore
resampled by their measured positions. Letters: B batch, F features, H W pixels, h w cells.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.nn.levels import Level

__all__ = ["dense_features", "halo_of", "join_levels", "sample_levels"]


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
    deepest = max(level.stride for level in levels)
    margins = []
    for level in levels:
        if level.radius is None:
            return None
        # Interpolation at the first and last pixel of a deepest cell takes the level's cells
        # around it, which lie beyond.
        before = math.floor(-level.offset / level.stride) * level.stride + level.offset
        steps = math.ceil((deepest - 1 - level.offset) / level.stride)
        after = steps * level.stride + level.offset - (deepest - 1)
        margins.append(level.radius + max(-before, after))
    return math.ceil(max(margins) / deepest) * deepest


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
        Channels last in memory, as heads and projectors read it.
    """
    n_features = sum(level_map.shape[1] for level_map in maps)
    result = maps[0].new_empty((len(maps[0]), *shape, n_features), dtype=torch.float32)
    first = 0
    for level_map, level in zip(maps, levels, strict=True):
        level_map, step, offset = _pool(level_map, level, stride)
        cells = level_map.permute(0, 2, 3, 1).float()
        own = result[..., first : first + cells.shape[-1]]
        first += cells.shape[-1]
        low, high = ((at + (stride - 1) / 2 - offset) / step for at in start)
        # Rows first: they are spread over the few columns of the level.
        rows = cells.new_empty((len(cells), shape[0], *cells.shape[2:]))
        _spread(cells, rows, dim=1, position=low, ratio=step // stride)
        _spread(rows, own, dim=2, position=high, ratio=step // stride)
    return result.permute(0, 3, 1, 2)


def join_levels(maps: list[Tensor], levels: tuple[Level, ...], *, stride: int) -> Tensor:
    """Give :func:`dense_features` of whole images, by plain operations that other runtimes have.

    Nothing is written in place and no number of cells is known when the graph is traced; the
    sides of an image are multiples of the deepest stride.

    Parameters
    ----------
    maps : list of Tensor (B, F_l, h_l, w_l)
        What an encoder gave for an image.
    levels : tuple of Level
        Their geometry.
    stride : int
        Pixels a cell of the result.

    Returns
    -------
    Tensor (B, F, H / stride, W / stride), float32
    """
    joined = []
    for level_map, level in zip(maps, levels, strict=True):
        pooled, step, offset = _pool(level_map, level, stride)
        cells, position = pooled.float(), ((stride - 1) / 2 - offset) / step
        for dim in (2, 3):
            cells = _interleave(cells, dim=dim, position=position, ratio=step // stride)
        joined.append(cells)
    return torch.cat(joined, dim=1)


def _pool(level_map: Tensor, level: Level, stride: int) -> tuple[Tensor, int, float]:
    """Give a level's cells, none finer than the stride, with their own stride and offset."""
    step, offset = level.stride, level.offset
    if step >= stride:
        return level_map, step, offset
    factor = stride // step
    return F.avg_pool2d(level_map, factor), stride, offset + step * (factor - 1) / 2


def _interleave(cells: Tensor, *, dim: int, position: float, ratio: int) -> Tensor:
    """Interpolate as :func:`_spread` does, to exactly `ratio` times as many cells."""
    places = [position + phase / ratio for phase in range(ratio)]
    before, after = max(0, -math.floor(places[0])), max(0, math.floor(places[-1]) + 1)
    n, none, margin = cells.shape[dim], (0, 0), (before, after)
    cells = F.pad(cells, margin + none if dim == 3 else none + margin, mode="replicate")
    phases = []
    for at in places:
        low = math.floor(at)
        below, above = (cells.narrow(dim, k + before, n) for k in (low, low + 1))
        phases.append(torch.lerp(below, above, at - low))
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)


def _spread(cells: Tensor, result: Tensor, *, dim: int, position: float, ratio: int) -> None:
    """Interpolate linearly along a dim, into a result with `ratio` as many cells.

    `position` is that of the result's first cell, in cells. All cells that lie alike between two
    of the level's have one weight, so that each such phase is a slice. Beyond the first and last
    cell their value holds.
    """
    n = result.shape[dim]
    lowest, highest = math.floor(position), math.floor(position + (n - 1) / ratio) + 1
    before = max(0, -lowest)
    cells = _extend(cells, dim, before, max(0, highest - cells.shape[dim] + 1))
    for phase in range(min(ratio, n)):
        at = position + phase / ratio
        low, count = math.floor(at), len(range(phase, n, ratio))
        begin = low + before
        below, above = (cells.narrow(dim, k, count) for k in (begin, begin + 1))
        into = result[(slice(None),) * dim + (slice(phase, None, ratio),)]
        torch.lerp(below, above, at - low, out=into)


def _extend(cells: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Repeat the first and last cell along a dim."""
    if not before and not after:
        return cells
    n = cells.shape[dim]
    index = torch.arange(-before, n + after, device=cells.device).clamp_(0, n - 1)
    return cells.index_select(dim, index)


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
