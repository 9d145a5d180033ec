"""Artificial changes of a batch of images: colour jitter, grey, blur, flips; each image its own.

Letters: B batch, C bands, H W pixels. Random numbers are drawn on the CPU, so that every device
makes the same views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from xcontrast.nn.augmentation import Augmentation
from xcontrast.nn.scaling import Scaling

__all__ = ["change", "flip", "shift_hue"]

RADIUS = 6
"""Of the blur's kernel in pixels: three times its widest default."""
LUMA = (0.299, 0.587, 0.114)


def change(
    scaled: Tensor,
    augmentation: Augmentation,
    *,
    scaling: Scaling,
    generator: torch.Generator,
    rgb: Sequence[int | None] = (),
) -> Tensor:
    """Jitter, grey and blur each image by chance.

    Parameters
    ----------
    scaled : Tensor (B, C, H, W), float
        As the encoder takes them.
    augmentation : Augmentation
        How strongly.
    scaling : Scaling
        That made them so: jitter works on 0 to 1.
    generator : torch.Generator
        Source of randomness, on the CPU.
    rgb : sequence of int or None
        Channels of red, green and blue; empty for radar, which has no colours.

    Returns
    -------
    Tensor (B, C, H, W)

    References
    ----------
    torchvision's ``ColorJitter``, ``RandomGrayscale`` and ``GaussianBlur`` are what both papers'
    code uses. Departure: the order of the four jitters is drawn once a batch, not once an image.
    """
    n, device = len(scaled), scaled.device

    def draw(p: float) -> Tensor:
        return (torch.rand(n, generator=generator) < p).to(device)

    unit = scaling.to_unit(scaled)
    jittered = _jitter(unit, augmentation, rgb, generator)
    unit = torch.where(draw(augmentation.p_jitter).view(-1, 1, 1, 1), jittered, unit)
    grey = draw(augmentation.p_grey if rgb else 0.0).view(-1, 1, 1, 1)
    unit = torch.where(grey, _grey_of(unit, rgb), unit)
    low, high = augmentation.blur
    sigma = low + (high - low) * torch.rand(n, generator=generator)
    blurred = draw(augmentation.p_blur).nonzero()[:, 0]
    if len(blurred):
        soft = _blur(unit[blurred], sigma.to(device)[blurred])
        unit = unit.index_copy(0, blurred, soft.to(unit.dtype))
    return scaling.from_unit(unit)


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


def _jitter(
    unit: Tensor, augmentation: Augmentation, rgb: Sequence[int | None], g: torch.Generator
) -> Tensor:
    def turn(strength: float) -> Tensor:
        drawn = strength * (2 * torch.rand(len(unit), generator=g) - 1)
        return drawn.to(unit.device).view(-1, 1, 1, 1)

    def factor(strength: float) -> Tensor:
        return (1 + turn(strength)).clamp(min=0)

    steps: list[Callable[[Tensor], Tensor]] = [
        partial(torch.mul, factor(augmentation.brightness)),
        partial(_blend, lambda x: _grey_of(x, rgb).mean((2, 3), keepdim=True),
                factor(augmentation.contrast)),
        partial(_blend, lambda x: _grey_of(x, rgb), factor(augmentation.saturation if rgb else 0)),
    ]  # fmt: skip
    hue, colours = turn(augmentation.hue), [c for c in rgb if c is not None]
    if augmentation.hue and unit.shape[1] == len(colours) == 3:
        back = [colours.index(k) for k in range(3)]
        steps.append(lambda x: shift_hue(x[:, colours], hue)[:, back])
    for k in torch.randperm(len(steps), generator=g).tolist():
        unit = steps[k](unit)
    return unit


def _blend(other: Callable[[Tensor], Tensor], factor: Tensor, x: Tensor) -> Tensor:
    return torch.lerp(other(x), x, factor)


def _grey_of(x: Tensor, rgb: Sequence[int | None]) -> Tensor:
    """Luma of red, green and blue, or the mean of the bands where there are others: (B, 1, …)."""
    if x.shape[1] == 3 and len(rgb) == 3 and None not in rgb:
        weights = torch.tensor(LUMA, device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
        return (x[:, list(rgb)] * weights).sum(1, keepdim=True)
    return x.mean(1, keepdim=True)


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


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, each image by its own width: two passes of a grouped convolution."""
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
