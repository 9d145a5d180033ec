"""Augmentation on the device: one batched resampling for a whole batch of crops.

Letters: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["crop_boxes", "resize_crops"]


def crop_boxes(
    n: int,
    *,
    scale: tuple[float, float] = (0.25, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw random crops: area uniform in `scale`, aspect log-uniform in `ratio`, place uniform.

    Parameters
    ----------
    n : int
        How many.
    scale : tuple of float
        Least and largest share of the area.
    ratio : tuple of float
        Least and largest width over height.
    generator : torch.Generator, optional
        Source of randomness, on the CPU.

    Returns
    -------
    Tensor (n, 4), float32
        Centre row, centre column, height and width as shares of the image, all inside 0..1.

    References
    ----------
    Szegedy et al. (2015), section 6, as in SimCLR; the dual-encoder paper crops each sensor
    independently and uses no other augmentation (section 3).
    """
    draw = torch.rand(n, 4, generator=generator)
    area = scale[0] + draw[:, 0] * (scale[1] - scale[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + draw[:, 1] * (high - low))
    # A crop cannot be longer than the image: near full area the aspect gives way.
    height = torch.sqrt(area / aspect).clamp(max=1)
    width = torch.sqrt(area * aspect).clamp(max=1)
    row = height / 2 + draw[:, 2] * (1 - height)
    col = width / 2 + draw[:, 3] * (1 - width)
    return torch.stack([row, col, height, width], dim=1)


def resize_crops(images: Tensor, boxes: Tensor, *, size: int) -> Tensor:
    """Cut one box from each image and resample it bilinearly to a square.

    Parameters
    ----------
    images : Tensor (B, C, H, W), float
        One image a box.
    boxes : Tensor (B, 4), float
        From :func:`crop_boxes`.
    size : int
        Side of the result in pixels.

    Returns
    -------
    Tensor (B, C, size, size)
        Same dtype, device and memory format.
    """
    boxes = boxes.to(images.device, images.dtype)
    row, col, height, width = boxes.unbind(1)
    theta = torch.zeros(len(images), 2, 3, device=images.device, dtype=images.dtype)
    theta[:, 0, 0], theta[:, 0, 2] = width, 2 * col - 1
    theta[:, 1, 1], theta[:, 1, 2] = height, 2 * row - 1
    shape = [len(images), images.shape[1], size, size]
    grid = F.affine_grid(theta, shape, align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
