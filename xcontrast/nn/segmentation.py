"""Networks that name every pixel: an encoder a sensor, a decoder for all, a classifier.

Letters: B batch, D dates, C bands, H W pixels, K categories, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from xcontrast.errors import ModelError, problem
from xcontrast.nn.encoders import Encoder

__all__ = ["DeepLab", "SegmentationNetwork", "Unet", "choose_trained"]

WIDTHS = (256, 128, 64, 32, 16)
"""Of a U-Net's blocks, the last at full resolution: smp's."""
N_DEEPLAB = 256
"""Features of DeepLabV3+: its paper's."""


class Unet(nn.Module):
    """smp's U-Net decoder on any levels at powers of two, out at full resolution.

    Parameters
    ----------
    channels, strides : list of int
        Of the levels, finest first. Where a power of two has no level, nothing is skipped to.
    """

    def __init__(self, channels: list[int], strides: list[int]) -> None:
        super().__init__()
        n_blocks = strides[-1].bit_length() - 1
        have = dict(zip(strides, channels, strict=True))
        pyramid = [0, *(have.get(2**k, 0) for k in range(1, n_blocks + 1))]
        widths = (WIDTHS[0],) * (n_blocks - len(WIDTHS)) + WIDTHS[-n_blocks:]
        self.strides = strides
        self.n_features = widths[-1]
        self.body = UnetDecoder(pyramid, widths, n_blocks=n_blocks)

    def forward(self, levels: list[Tensor], shape: tuple[int, int]) -> Tensor:
        """Give (B, F, *shape)."""
        have = dict(zip(self.strides, levels, strict=True))
        features = []
        for k in range(self.strides[-1].bit_length()):
            step = 2**k
            rows, cols = (-(-n // step) for n in shape)
            # The first stands for the image: smp takes its shape alone.
            own = have.get(step) if k else None
            features.append(
                levels[0].new_empty(len(levels[0]), 0, rows, cols) if own is None else own
            )
        decoded: Tensor = self.body(features)
        return decoded


class DeepLab(DeepLabV3PlusDecoder):  # type: ignore[misc]
    """smp's DeepLabV3+ decoder on levels of any depth, out at full resolution.

    Atrous rates are 6, 12, 18 for a deepest level at 16 px, as its paper has them, and shrink as
    it grows coarser: 3, 6, 9 at 32 px, as in the dual-encoder paper.

    Parameters
    ----------
    channels, strides : list of int
        Of the levels, finest first; one is at 4 px.

    Raises
    ------
    ModelError
        If none is at 4 px, or none is deeper.
    """

    def __init__(self, channels: list[int], strides: list[int]) -> None:
        if 4 not in strides or strides[-1] == 4:
            raise ModelError(
                problem(
                    expected="an encoder with a level at 4 px and a deeper one, for DeepLabV3+",
                    received=f"levels at {', '.join(map(str, strides))} px",
                    do="use decoder='unet', or an encoder such as 'resnet18'",
                )
            )
        rate = max(1, 96 // strides[-1])
        fine = strides.index(4)
        super().__init__(
            [0, 0, channels[fine], channels[-1]],
            encoder_depth=3,
            out_channels=N_DEEPLAB,
            atrous_rates=(rate, 2 * rate, 3 * rate),
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.5,
        )
        # What smp enlarges by is fixed by its own encoders.
        del self.up
        self.fine, self.factor = fine, strides[-1] // 4
        self.n_features = N_DEEPLAB

    def forward(self, levels: list[Tensor], shape: tuple[int, int]) -> Tensor:
        """Give (B, F, *shape)."""
        fine = self.block1(levels[self.fine])
        deep = _enlarge(self.aspp(levels[-1]), self.factor, tuple(fine.shape[-2:]))
        return _enlarge(self.block2(torch.cat([deep, fine], dim=1)), 4, shape)


def _enlarge(x: Tensor, factor: int, shape: tuple[int, ...]) -> Tensor:
    """Interpolate so that cell i lies at pixel ``factor * i``, as strided convolutions leave it.

    The paper's crops of 32 n + 1 pixels with corners aligned, for any size.
    """
    rows, cols = ((n - 1) * factor + 1 for n in x.shape[-2:])
    x = F.interpolate(x, size=(rows, cols), mode="bilinear", align_corners=True)
    return F.pad(x, (0, shape[1] - cols, 0, shape[0] - rows), mode="replicate")


class SegmentationNetwork(nn.Module):
    """Encoders, their levels joined over sensors and dates, a decoder, a classifier of pixels.

    Both dates of a sensor pass one encoder. Where a level has more than one part, a convolution
    of 1 x 1 brings it back to the encoder's own width; a single part reaches the decoder as it is.

    Parameters
    ----------
    encoders : mapping of str to Encoder
        One a sensor, of one kind.
    n_categories : int
        K.
    n_dates : {1, 2}
        Before and after, if two.
    temporal : {"both", "difference"}
        How two dates are joined: before, after and their absolute difference, or that alone.
    decoder : {"unet", "deeplabv3plus"}
        Which.
    dropout : float
        Share of the decoder's features that are dropped in training.
    adapt_norms : bool
        Whether batch norms of the encoders use, and follow, the statistics of training batches.

    References
    ----------
    Ronneberger et al. (2015), U-Net; Chen et al. (2018), DeepLabV3+; Daudt et al. (2018), and
    Manas et al. (2021), section 4.4, for the difference of siamese features.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        n_categories: int,
        n_dates: int = 1,
        temporal: Literal["both", "difference"] = "both",
        decoder: Literal["unet", "deeplabv3plus"] = "unet",
        dropout: float = 0.1,
        adapt_norms: bool = False,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.temporal = temporal
        self.adapt_norms = adapt_norms
        first = next(iter(encoders.values()))
        channels, strides = first.channels, first.strides
        n_parts = len(encoders) * (3 if n_dates == 2 and temporal == "both" else 1)
        self.joints = nn.ModuleList(
            nn.Identity() if n_parts == 1 else _squeeze(n_parts * n, n) for n in channels
        )
        kind: type[Unet | DeepLab] = Unet if decoder == "unet" else DeepLab
        self.decoder = kind(channels, strides)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(self.decoder.n_features, n_categories, 1)

    def train(self, mode: bool = True) -> SegmentationNetwork:
        """Set the mode, but for the norms of encoders that do not adapt."""
        super().train(mode)
        if not self.adapt_norms:
            self.encoders.eval()
        return self

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Give logits: {sensor: (B, D, C, H, W)} -> (B, K, H, W)."""
        parts: list[list[Tensor]] = []
        for name, encoder in self.encoders.items():
            parts += self._encode(encoder, images[name])
        shape = next(iter(images.values())).shape[-2:]
        levels = [
            joint(torch.cat(own, dim=1))
            for joint, own in zip(self.joints, zip(*parts, strict=True), strict=True)
        ]
        decoded = self.decoder(levels, (int(shape[0]), int(shape[1])))
        logits: Tensor = self.classifier(self.dropout(decoded))
        return logits

    def _encode(self, encoder: nn.Module, images: Tensor) -> list[list[Tensor]]:
        """Give what one sensor adds to each level, a list of levels a part."""
        n, n_dates = images.shape[:2]
        flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        levels = [level.unflatten(0, (n, n_dates)) for level in encoder(flat)]
        if n_dates == 1:
            return [[level[:, 0] for level in levels]]
        change = [(level[:, 1] - level[:, 0]).abs() for level in levels]
        if self.temporal == "difference":
            return [change]
        return [[level[:, k] for level in levels] for k in (0, 1)] + [change]


def _squeeze(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)
    )


def choose_trained(encoder: Encoder, part: Literal["none", "deepest", "all"]) -> None:
    """Say which weights of an encoder are trained.

    Parameters
    ----------
    encoder : Encoder
        Changed in place.
    part : {"none", "deepest", "all"}
        ``deepest``: what the deepest level is made by, and no finer one.

    Raises
    ------
    ModelError
        If there is no finer level to leave alone.
    """
    own = list(encoder.parameters())
    for parameter in own:
        parameter.requires_grad_(part != "none")
    if part != "deepest":
        return
    if len(encoder.channels) < 2:
        raise ModelError(
            problem(
                expected="an encoder with two levels or more, to train the deepest alone",
                received=f"{encoder.name!r} with one",
                do="use trained='all' or trained='none'",
            )
        )
    # Names do not tell where a level begins; gradients do.
    probe = torch.zeros(1, next(p for p in own if p.ndim == 4).shape[1], 128, 128)
    was_training = encoder.training
    # Or the probe would be part of the statistics of batch norms.
    encoder.eval()
    with torch.enable_grad():
        total = torch.stack([level.sum() for level in encoder(probe)[:-1]]).sum()
    encoder.train(was_training)
    reached = torch.autograd.grad(total, own, allow_unused=True)
    for parameter, gradient in zip(own, reached, strict=True):
        parameter.requires_grad_(gradient is None)
