"""Encoders, projectors and dense features.

Letters: B batch, C channels, H W pixels, h w cells, F features, D projected dimensions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcontrast.errors import ModelError, problem

__all__ = ["Encoder", "Level", "Projector", "measure_levels"]


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


class Encoder(nn.Module):
    """A timm network's feature pyramid down to a stride.

    Parameters
    ----------
    name : str
        Any timm model with ``features_only``.
    in_channels : int
        Number of bands.
    out_stride : int, default 16
        Deepest level used, pixels a cell; deeper stages are not built.
    """

    def __init__(self, name: str, in_channels: int, *, out_stride: int = 16) -> None:
        super().__init__()
        try:
            probe = timm.create_model(name, features_only=True, in_chans=in_channels)
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise ModelError(
                problem(
                    expected="a timm model that gives a feature pyramid, such as 'resnet18'",
                    received=f"{name!r} ({error})",
                    do="choose a name from timm.list_models(); convolutional ones are best",
                )
            ) from error
        reductions = probe.feature_info.reduction()
        wanted = tuple(i for i, stride in enumerate(reductions) if stride <= out_stride)
        if not wanted:
            raise ModelError(
                problem(
                    expected=f"a level of {name!r} at stride {out_stride} px or finer",
                    received=f"strides {reductions}",
                    do=f"use out_stride={min(reductions)} or another encoder",
                )
            )
        self.body = timm.create_model(
            name, features_only=True, in_chans=in_channels, out_indices=wanted
        )
        self.channels: list[int] = list(self.body.feature_info.channels())
        self.strides: list[int] = list(self.body.feature_info.reduction())

    @property
    def n_features(self) -> int:
        """Channels of all levels together."""
        return sum(self.channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give the levels, finest first: (B, C, H, W) -> [(B, F_l, h_l, w_l)]."""
        levels: list[Tensor] = self.body(x)
        return levels

    def pool(self, x: Tensor, valid: Tensor) -> Tensor:
        """Average each level over the valid part: (B, C, H, W), (B, 1, H, W) -> (B, F)."""
        pooled = []
        for level in self(x):
            weight = F.adaptive_avg_pool2d(valid, level.shape[-2:])
            total = (level.float() * weight).sum((2, 3))
            pooled.append(total / weight.sum((2, 3)).clamp(min=1e-6))
        return torch.cat(pooled, dim=1)


class Projector(nn.Module):
    """Linear, batch norm, ReLU, linear: from features to the contrastive space.

    The head's depth and width are not stated in the dual-encoder paper; this is SimCLR's
    two-layer head with batch norm on its hidden layer.
    """

    def __init__(self, n_features: int, *, n_hidden: int, n_projected: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_hidden, bias=False),
            nn.BatchNorm1d(n_hidden),
            nn.ReLU(inplace=True),
            nn.Linear(n_hidden, n_projected),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D), not normalised."""
        projected: Tensor = self.layers(features)
        return projected


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
    the whole image. The gradient of a central cell with respect to the image does.
    """
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
