"""Artificial changes of a batch of images: colour jitter, grey, blur, flips; each image its own.

Brightness, contrast, saturation and grey are affine in the bands, so that all of them are one small
matrix an image, applied in one pass to the crop alone. Letters: B batch, C bands, H W pixels.
Random numbers are drawn on the CPU, so that every device makes the same views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.nn.augmentation import Augmentation
from xcontrast.nn.scaling import Scaling

__all__ = ["Change", "blur", "draw_change", "flip", "mix", "shift_hue"]

RADIUS = 6
"""Of the blur's kernel in pixels: three times its widest default."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Change:
    """What is done to each image of a batch."""

    matrix: Tensor
    """(B, C, C) of the bands, each 0 to 1"""
    offset: Tensor
    """(B, C)"""
    turns: Tensor | None
    """(B,) of the hue, after the matrix; None for images that are not in colour"""
    grey: Tensor
    """(B,) bool, of those in colour that become grey at last"""
    sigma: Tensor
    """(B,) of the blur in pixels; 0 is none"""


def draw_change(
    mean: Tensor,
    augmentation: Augmentation,
    *,
    generator: torch.Generator,
    rgb: Sequence[int | None] = (),
) -> Change:
    """Draw how each image changes.

    Parameters
    ----------
    mean : Tensor (B, C), float
        Of each image's bands, 0 to 1: contrast is about it.
    augmentation : Augmentation
        How strongly.
    generator : torch.Generator
        Source of randomness, on the CPU.
    rgb : sequence of int or None
        Channels of red, green and blue; empty for radar, which has no colours.

    Returns
    -------
    Change

    References
    ----------
    torchvision's ``ColorJitter``, ``RandomGrayscale`` and ``GaussianBlur`` are what both papers'
    code uses. Departures: the order of brightness, contrast and saturation is drawn once a batch
    and hue comes last, where torchvision draws the order of all four for each image; values are
    cut to 0..1 once at the end.
    """
    n, n_bands = mean.shape
    device = mean.device

    def draw(p: float) -> Tensor:
        return torch.rand(n, generator=generator) < p

    def turn(strength: float, where: Tensor) -> Tensor:
        drawn = strength * (2 * torch.rand(n, generator=generator) - 1)
        return torch.where(where, drawn, 0.0).to(device)

    jittered = draw(augmentation.p_jitter)
    strengths = {
        "brightness": augmentation.brightness,
        "contrast": augmentation.contrast,
        "saturation": augmentation.saturation if rgb else 0.0,
    }
    factors = {k: (1 + turn(v, jittered)).clamp(min=0) for k, v in strengths.items()}
    luma = _weigh(n_bands, rgb).to(mean)
    matrix = torch.eye(n_bands, device=device).expand(n, -1, -1)
    offset = torch.zeros(n, n_bands, device=device)
    names = list(strengths)
    for k in torch.randperm(len(names), generator=generator).tolist():
        factor = factors[names[k]]
        own, rest = factor.view(-1, 1, 1), (1 - factor).view(-1, 1, 1)
        grey = (luma @ matrix)[:, None], (offset @ luma)[:, None]
        matrix, offset = matrix * own, offset * own[:, 0]
        if names[k] == "contrast":
            level = (grey[0][:, 0] * mean).sum(1, keepdim=True) + grey[1]
            offset = offset + rest[:, 0] * level
        elif names[k] == "saturation":
            matrix, offset = matrix + rest * grey[0], offset + rest[:, 0] * grey[1]
    coloured = n_bands == 3 and len(rgb) == 3 and None not in rgb
    turns = turn(augmentation.hue, jittered) if coloured and augmentation.hue else None
    greyed = draw(augmentation.p_grey if rgb else 0.0).to(device)
    if turns is None:
        matrix = torch.where(greyed.view(-1, 1, 1), (luma @ matrix)[:, None], matrix)
        offset = torch.where(greyed[:, None], (offset @ luma)[:, None], offset)
    low, high = augmentation.blur
    sigma = low + (high - low) * torch.rand(n, generator=generator)
    sigma = torch.where(draw(augmentation.p_blur), sigma, 0.0)
    return Change(matrix, offset, turns, greyed, sigma)


def mix(
    scaled: Tensor, change: Change, *, scaling: Scaling, rgb: Sequence[int | None] = ()
) -> Tensor:
    """Apply the matrices, hues and greys of a change.

    Parameters
    ----------
    scaled : Tensor (B, C, H, W), float
        As the encoder takes them.
    change : Change
        Of each image.
    scaling : Scaling
        That made them so: a change is of 0 to 1.
    rgb : sequence of int or None
        As it was drawn with.

    Returns
    -------
    Tensor (B, C, H, W)
    """
    factor, offset = scaling.unit(scaled)  # unit = factor * scaled + offset, by band
    matrix = change.matrix * factor / factor[:, None]
    bias = ((change.matrix @ offset) + change.offset - offset) / factor
    flat = scaled.reshape(*scaled.shape[:2], -1)
    mixed = torch.baddbmm(bias[:, :, None].to(flat), matrix.to(flat), flat).view_as(scaled)
    if change.turns is not None:
        colours = [c for c in rgb if c is not None]
        back = [colours.index(k) for k in range(3)]
        unit = scaling.to_unit(mixed)
        turned = shift_hue(unit[:, colours], change.turns.view(-1, 1, 1, 1))[:, back]
        luma = _weigh(3, rgb).to(unit).view(1, 3, 1, 1)
        grey = (turned * luma).sum(1, keepdim=True)
        mixed = scaling.from_unit(torch.where(change.grey.view(-1, 1, 1, 1), grey, turned))
    return scaling.clamp(mixed)


def flip(boxes: Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Flip crops by chance: a negative width or height.

    Parameters
    ----------
    boxes : Tensor (B, 4), float
        Of :func:`xcontrast.nn.augment.crop_boxes`.
    augmentation : Augmentation
        With the chances.
    generator : torch.Generator
        Source of randomness, on the CPU.

    Returns
    -------
    Tensor (B, 4)
    """
    drawn = torch.rand(len(boxes), 2, generator=generator)
    chance = torch.tensor([augmentation.p_upside_down, augmentation.p_flip])
    sign = torch.where(drawn < chance, -1.0, 1.0)
    return torch.cat([boxes[:, :2], boxes[:, 2:] * sign], dim=1)


def _weigh(n_bands: int, rgb: Sequence[int | None]) -> Tensor:
    """Luma of red, green and blue, or the mean of the bands where there are others: (C,)."""
    if n_bands == 3 and len(rgb) == 3 and None not in rgb:
        weights = torch.zeros(3)
        weights[[c for c in rgb if c is not None]] = torch.tensor(LUMA)
        return weights
    return torch.full((n_bands,), 1 / n_bands)


def shift_hue(rgb: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of images in HSV.

    Parameters
    ----------
    rgb : Tensor (B, 3, H, W), float
        0 to 1; what is below 0 or above 1 is cut off, for it has no hue.
    turns : Tensor (B, 1, 1, 1), float
        Of the colour circle.

    Returns
    -------
    Tensor (B, 3, H, W)
    """
    rgb = rgb.clamp(0, 1)
    value, which = rgb.max(1)
    low = rgb.amin(1)
    chroma = value - low
    safe = chroma.clamp(min=1e-8)
    r, g, b = rgb.unbind(1)
    sector = torch.stack([(g - b) / safe, 2 + (b - r) / safe, 4 + (r - g) / safe])
    hue = sector.gather(0, which[None])[0] / 6 + turns[:, 0]
    # Smith (1978) without branches: each channel is the value less what its sector takes away.
    offset = torch.tensor([5.0, 3.0, 1.0], device=rgb.device).view(1, 3, 1, 1)
    k = (offset + hue[:, None] * 6) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by a Gaussian of its own width: two passes of a grouped convolution.

    Parameters
    ----------
    images : Tensor (B, C, H, W), float
        Reflected at their edges.
    sigma : Tensor (B,), float
        Standard deviations in pixels, above 0; the kernel ends 6 pixels from its middle.

    Returns
    -------
    Tensor (B, C, H, W)
    """
    n, c, h, w = images.shape
    steps = torch.arange(-RADIUS, RADIUS + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None].to(images)
    flat = images.reshape(1, n * c, h, w)
    pad = min(RADIUS, h - 1, w - 1)
    cut = kernel[..., RADIUS - pad : RADIUS + pad + 1]
    flat = F.pad(flat, (pad, pad, pad, pad), mode="reflect")
    flat = F.conv2d(flat, cut[:, :, :, None], groups=n * c)
    flat = F.conv2d(flat, cut[:, :, None, :], groups=n * c)
    return flat.reshape(n, c, h, w)
