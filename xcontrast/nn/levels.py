"""Where the cells of an encoder's feature levels look, measured.

Letters: C channels, H W pixels.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from xcontrast.nn.encoders import Encoder

__all__ = ["Level", "measure_levels"]


_KNOWN: dict[tuple[object, ...], tuple[Level, ...]] = {}
"""What this process has measured: all networks of a kind look alike, whatever their weights."""


@dataclass(frozen=True)
class Level:
    """One level of an encoder's feature pyramid, as its geometry was measured."""

    channels: int
    stride: int
    """Pixels between neighbouring cells."""
    offset: float
    """Pixel position of the centre of what cell 0 sees; ``(stride - 1) / 2`` is the cell's own."""
    radius: int | None
    """Farthest pixel from that centre that a cell sees; None when it sees the whole image."""


def measure_levels(encoder: Encoder, *, largest: int = 1024) -> tuple[Level, ...]:
    """Measure where the cells of each level look, by the support of a gradient.

    Parameters
    ----------
    encoder : Encoder
        Any; it is left unchanged.
    largest : int, default 1024
        A level whose support still fills an image of this side is said to see the whole image.

    Returns
    -------
    tuple of Level
        One a level, finest first.

    Notes
    -----
    Names do not tell whether a network is local: squeeze-and-excitation or group norm look at
    the whole image. The gradient of a central cell with respect to the image does. It is measured
    once a process for each kind of network.
    """
    kind = (encoder.name, encoder.stem, *encoder.strides, *encoder.channels, largest)
    if kind not in _KNOWN:
        _KNOWN[kind] = _measure(encoder, largest)
    return _KNOWN[kind]


def _measure(encoder: Encoder, largest: int) -> tuple[Level, ...]:
    probe = _without_zeros(encoder)
    side = min(256, largest)
    levels = _measure_at(probe, side)
    while levels[-1].radius is None and side < largest:
        side *= 2
        levels = _measure_at(probe, side)
    return levels


def _without_zeros(encoder: Encoder) -> Encoder:
    """Copy the encoder so that no branch is silent: many residual branches start at zero."""
    probe = copy.deepcopy(encoder).float().cpu().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in probe.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return probe


def _measure_at(probe: Encoder, side: int) -> tuple[Level, ...]:
    seen = _gradient_support(probe, side)
    levels = []
    for channels, stride, touched in zip(probe.channels, probe.strides, seen, strict=True):
        where = touched.nonzero()
        first, last = int(where.min()), int(where.max())
        if first == 0 or last == side - 1:
            levels.append(Level(channels, stride, (stride - 1) / 2, None))
            continue
        offset = (first + last) / 2 - (side // 2) // stride * stride
        levels.append(Level(channels, stride, offset, (last - first + 1) // 2))
    return tuple(levels)


def _gradient_support(probe: Encoder, side: int) -> list[Tensor]:
    """Which rows or columns, (side,) bool, the central cell of each level sees."""
    generator = torch.Generator().manual_seed(0)
    n_bands = next(p for p in probe.parameters() if p.ndim == 4).shape[1]
    seen = [torch.zeros(side, dtype=torch.bool) for _ in probe.strides]
    # Max pooling and ReLU hide some inputs of one image; the union over a few shows all.
    for _ in range(3):
        image = torch.randn(1, n_bands, side, side, generator=generator).requires_grad_()
        for index, level in enumerate(levels := probe(image)):
            cell = (side // 2) // probe.strides[index]
            (gradient,) = torch.autograd.grad(
                level[0, :, cell, cell].square().sum(), image, retain_graph=level is not levels[-1]
            )
            touched = gradient[0].abs().sum(0) > 0
            seen[index] |= touched.any(0) | touched.any(1)
    return seen
