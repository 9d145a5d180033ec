"""Stacked images of several sensors and dates: taken apart, scaled, and disturbed for training.

Letters: B batch, L layers, D dates, C bands, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from xcontrast.nn.scaling import Scaling

__all__ = ["LayerScaling", "disturb", "drop_sensors"]


class LayerScaling(nn.Module):
    """From a stack of layers to what each sensor's encoder takes.

    Layers are ordered by sensor, then date, then band.

    Parameters
    ----------
    scalings : mapping of str to Scaling
        One a sensor, in the order of the layers.
    n_dates : int
        D, of every sensor.
    """

    def __init__(self, scalings: Mapping[str, Scaling], n_dates: int) -> None:
        super().__init__()
        self.scalings = nn.ModuleDict(scalings)
        self.n_dates = n_dates

    def forward(self, layers: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take apart and scale.

        Parameters
        ----------
        layers : Tensor (B, L, H, W), float32
            In the sensors' units, NaN where invalid.

        Returns
        -------
        tuple of dict of str to Tensor
            ``(B, D, C, H, W)``, 0 where a date is not valid in all bands, and ``(B, D, 1, H, W)``
            float, 1 where it is.
        """
        images, valid, first = {}, {}, 0
        n, height, width = len(layers), *layers.shape[-2:]
        for name, scaling in self.named():
            n_bands = scaling.mean.shape[1]
            own = layers[:, first : first + self.n_dates * n_bands]
            first += self.n_dates * n_bands
            own = own.reshape(n * self.n_dates, n_bands, height, width)
            seen = torch.isfinite(own.sum(1, keepdim=True))
            scaled = scaling(torch.where(seen, own, 0.0), seen.float())
            images[name] = scaled.view(n, self.n_dates, n_bands, height, width)
            valid[name] = seen.float().view(n, self.n_dates, 1, height, width)
        return images, valid

    @property
    def sensors(self) -> tuple[str, ...]:
        """Their names, in the order of the layers."""
        return tuple(self.scalings)

    def named(self) -> list[tuple[str, Scaling]]:
        """Give the scaling of each sensor."""
        return [(name, cast(Scaling, own)) for name, own in self.scalings.items()]

    @staticmethod
    def see(valid: Mapping[str, Tensor]) -> Tensor:
        """Say where a pixel can be named: a sensor sees it at each date. (B, H, W), bool."""
        return torch.stack([own.amin((1, 2)) > 0 for own in valid.values()]).any(0)


def disturb(
    images: Tensor,
    valid: Tensor,
    scaling: Scaling,
    *,
    gain: float = 0.0,
    noise: float = 0.0,
    brightness: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """Change the values of images as instruments and weather do, each image and date its own way.

    Strengths are shares of the range that the scaling maps to 0 to 1: four standard deviations
    (about 20 dB), or the curve's.

    Parameters
    ----------
    images : Tensor (B, D, C, H, W), float
        Scaled.
    valid : Tensor (B, D, 1, H, W), float
        1 where valid.
    scaling : Scaling
        That made them.
    gain : float
        Standard deviation of an offset to all bands: calibration and incidence, of radar in dB.
    noise : float
        Standard deviation of an offset to each value: speckle, of radar in dB.
    brightness : float
        Factors from 1 - x to 1 + x on all bands: light and haze, of reflectance.
    generator : torch.Generator
        Source of randomness, on the CPU.

    Returns
    -------
    Tensor (B, D, C, H, W)
    """
    factor, offset = (own.view(-1, 1, 1) for own in scaling.unit(images))
    one = (*images.shape[:2], 1, 1, 1)
    if brightness:
        times = 1 + brightness * (2 * torch.rand(one, generator=generator) - 1)
        times = times.to(images.device)
        images = images * times + offset * (times - 1) / factor
    if gain:
        images = images + gain * torch.randn(one, generator=generator).to(images.device) / factor
    if noise:
        drawn = torch.randn(images.shape, generator=generator).to(images.device)
        images = images + noise * drawn / factor
    return scaling.clamp(images.flatten(0, 1)).view_as(images) * valid


def drop_sensors(
    images: Mapping[str, Tensor],
    valid: Mapping[str, Tensor],
    share: float,
    *,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take one sensor away from a share of the images, as clouds and gaps do.

    Parameters
    ----------
    images, valid : mapping of str to Tensor
        As of :class:`LayerScaling`.
    share : float
        0 to 1; nothing is done where there is one sensor only.
    generator : torch.Generator
        Source of randomness, on the CPU.

    Returns
    -------
    tuple of dict of str to Tensor
        As given, zeros where taken away.
    """
    if len(images) < 2 or not share:
        return dict(images), dict(valid)
    n = len(next(iter(images.values())))
    lost = torch.rand(n, generator=generator) < share
    which = torch.randint(len(images), (n,), generator=generator)
    keep = [(~lost | (which != k)).float().view(-1, 1, 1, 1, 1) for k in range(len(images))]
    kept = {name: own.to(images[name].device) for name, own in zip(images, keep, strict=True)}
    return (
        {name: own * kept[name] for name, own in images.items()},
        {name: own * kept[name] for name, own in valid.items()},
    )
