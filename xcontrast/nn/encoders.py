"""Encoders and projectors.

Letters: B batch, C channels, H W pixels, h w cells, F features, D projected dimensions.
"""

from __future__ import annotations

from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcontrast.errors import ModelError, problem
from xcontrast.nn.stems import replace_stem

__all__ = ["Encoder", "Projector", "is_whole", "pool_levels"]

TRIALS: tuple[dict[str, bool], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""How timm's families are told to take images of any size: most take them as they are."""


class Encoder(nn.Module):
    """A timm network's feature pyramid down to a stride.

    Parameters
    ----------
    name : str
        Any timm model with ``features_only`` that takes images of any size.
    in_channels : int
        Number of bands.
    out_stride : int, default 16
        Deepest level used, pixels a cell; deeper stages are not built. Of several levels with
        one stride, as in a plain transformer, the deepest is used.
    stem : {"own", "3x3"}, default "own"
        ``3x3``: two convolutions of 3 x 3 in place of a residual network's first of 7 x 7, as in
        the dual-encoder paper (section 3).

    Raises
    ------
    ModelError
        If timm has no such network, or it gives no level fine enough.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        *,
        out_stride: int = 16,
        stem: Literal["own", "3x3"] = "own",
    ) -> None:
        super().__init__()
        told, reductions = _try_out(name, in_channels)
        levels = {stride: i for i, stride in enumerate(reductions) if stride <= out_stride}
        if not levels or any(stride & (stride - 1) for stride in levels):
            raise ModelError(
                problem(
                    expected=f"levels of {name!r} at powers of two, {out_stride} px or finer",
                    received=f"strides {reductions}",
                    do="use a larger out_stride or another encoder, such as 'resnet18'",
                )
            )
        self.name, self.stem = name, stem
        self.body: Any = timm.create_model(
            name,
            features_only=True,
            in_chans=in_channels,
            out_indices=tuple(levels.values()),
            **told,
        )
        if stem == "3x3":
            replace_stem(self.body, name)
        self.channels: list[int] = list(self.body.feature_info.channels())
        self.strides: list[int] = list(self.body.feature_info.reduction())
        self._channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")

    @property
    def n_features(self) -> int:
        """Channels of all levels together."""
        return sum(self.channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give the levels, finest first: (B, C, H, W) -> [(B, F_l, h_l, w_l)]."""
        levels: list[Tensor] = self.body(x)
        return [level.permute(0, 3, 1, 2) for level in levels] if self._channels_last else levels


class Projector(nn.Module):
    """Linear, batch norm, ReLU, linear: from features to a contrastive space.

    The head's depth and width are not stated in the dual-encoder paper; this is SimCLR's
    two-layer head with batch norm on its hidden layer. Seasonal Contrast's has none.

    Parameters
    ----------
    n_features : int
        What it takes: the last ones of what it is given, which are the deepest.
    n_hidden, n_projected : int
        Widths.
    batch_norm : bool, default True
        On the hidden layer.
    """

    def __init__(
        self, n_features: int, *, n_hidden: int, n_projected: int, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.n_features = n_features
        norm: list[nn.Module] = [nn.BatchNorm1d(n_hidden)] if batch_norm else []
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_hidden, bias=not batch_norm),
            *norm,
            nn.ReLU(inplace=True),
            nn.Linear(n_hidden, n_projected),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D), not normalised."""
        projected: Tensor = self.layers(features[:, -self.n_features :])
        return projected


def _try_out(name: str, in_channels: int) -> tuple[dict[str, bool], list[int]]:
    """Find how a network is told to take any size, and the strides of its levels."""
    told: list[str] = []
    for extra in TRIALS:
        try:
            probe = timm.create_model(name, features_only=True, in_chans=in_channels, **extra)
            with torch.inference_mode():
                # Two sizes that are no network's own.
                for side in (96, 160):
                    probe.eval()(torch.zeros(1, in_channels, side, side))
        except (RuntimeError, AttributeError, TypeError, KeyError, AssertionError) as error:
            told.append(str(error))
            continue
        return extra, list(probe.feature_info.reduction())
    raise ModelError(
        problem(
            expected="a timm model that gives a feature pyramid of images of any size, "
            "such as 'resnet18'",
            received=f"{name!r} ({told[0]})",
            do="choose a name from timm.list_models(); convolutional ones are best",
        )
    )


def is_whole(valid: Tensor) -> bool:
    """Say whether all is valid, where it costs nothing to know: a GPU would have to be waited for.

    Nor is it known when a graph is traced.

    Parameters
    ----------
    valid : Tensor, float
        1 where valid.

    Returns
    -------
    bool
        Never True on a GPU or in a graph.
    """
    known = valid.device.type == "cpu" and not torch.compiler.is_compiling()
    return known and bool(valid.amin() > 0.999)


def pool_levels(levels: list[Tensor], valid: Tensor) -> Tensor:
    """Average each level over the valid part and concatenate.

    Parameters
    ----------
    levels : list of Tensor (B, F_l, h_l, w_l)
        What an encoder gave.
    valid : Tensor (B, 1, H, W), float
        1 where the image is valid.

    Returns
    -------
    Tensor (B, F), float32
    """
    kind = torch.promote_types(levels[0].dtype, torch.float32)
    if is_whole(valid):
        return torch.cat([level.mean((2, 3), dtype=kind) for level in levels], dim=1)
    pooled = []
    for level in levels:
        rows, cols = level.shape[-2:]
        weight = F.adaptive_avg_pool2d(valid, (rows, cols))[:, 0].to(level.dtype)
        total = _weigh(level, weight, kind)
        pooled.append(total / weight.to(kind).sum((1, 2)).clamp(min=1e-6)[:, None])
    return torch.cat(pooled, dim=1)


def _weigh(level: Tensor, weight: Tensor, kind: torch.dtype) -> Tensor:
    """Sum a level by weight: (B, F, h, w), (B, h, w) -> (B, F); what is kept, in float32.

    Rounded to bfloat16, an image's vector would depend on whether its batch is whole.
    """
    if level.dtype == kind or torch.is_grad_enabled():
        return torch.einsum("bfhw,bhw->bf", level, weight).to(kind)
    if level.device.type == "cpu":
        # One by one: a float32 copy of the finest level would be larger than all else.
        pairs = zip(level, weight, strict=True)
        return torch.stack([torch.einsum("fhw,hw->f", x.to(kind), w.to(kind)) for x, w in pairs])
    return (level * weight[:, None]).sum((2, 3), dtype=kind)
