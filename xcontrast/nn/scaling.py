"""From the sensor's units to what an encoder takes.

Letters: B batch, C bands, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from xcontrast.nn.encoders import is_whole

__all__ = ["Scaling"]


class Scaling(nn.Module):
    """A curve for each band, then mean and standard deviation.

    Parameters
    ----------
    mean, std : sequence of float
        One a band, taken off and divided by after the curve.
    curve : {"none", "clip", "sigmoid"}, default "none"
        ``clip``: `low` to `high` becomes 0 to 1, and what lies beyond is cut off. ``sigmoid``:
        reflectance r becomes ``sigmoid(5 (log(1 + 50 r) - low) / (high - low) - 1)``, so that
        clouds do not eat the range (Dynamic World).
    low, high : sequence of float
        One a band, where the curve needs them.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 3: dB clipped to -20..5; logarithmic scaling of
    Sentinel-2 as in Dynamic World (Brown et al. 2022, and its public notebook).
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        curve: Literal["none", "clip", "sigmoid"] = "none",
        low: Sequence[float] = (),
        high: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.curve = curve
        for name, numbers in (("mean", mean), ("std", std), ("low", low), ("high", high)):
            tensor = torch.tensor(tuple(numbers), dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """Give (B, C, H, W) of about unit scale; 0 where not valid."""
        if self.curve == "sigmoid":
            share = (torch.log1p(50 * values.clamp(min=0)) - self.low) / (self.high - self.low)
            values = torch.sigmoid(5 * share - 1)
        elif self.curve == "clip":
            values = ((values - self.low) / (self.high - self.low)).clamp(0, 1)
        # One pass over the pixels.
        scaled = torch.addcmul(-self.mean / self.std, values, 1 / self.std)
        return scaled.mul_(valid) if not is_whole(valid) else scaled

    def undo(self, scaled: Tensor) -> Tensor:
        """Give values in the sensor's units that scale to these: (B, C, H, W).

        What no value scales to becomes the nearest that one does.
        """
        values = scaled * self.std + self.mean
        if self.curve == "none":
            return values
        if self.curve == "clip":
            return values.clamp(0, 1) * (self.high - self.low) + self.low
        share = (torch.logit(values, eps=1e-3) + 1) / 5
        return torch.expm1(share * (self.high - self.low) + self.low).clamp(min=0) / 50

    def to_unit(self, scaled: Tensor) -> Tensor:
        """Give what colour jitter works on, about 0 to 1: the mean is .5 and two std are 0 and 1.

        After a curve it is what the curve gave.
        """
        if self.curve == "none":
            return scaled / 4 + 0.5
        return scaled * self.std + self.mean

    def unit(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Give factor and offset of :meth:`to_unit`: (C,) each, on the device of another."""
        if self.curve == "none":
            n = self.mean.shape[1]
            return like.new_full((n,), 0.25), like.new_full((n,), 0.5)
        return self.std.flatten().to(like), self.mean.flatten().to(like)

    def clamp(self, scaled: Tensor) -> Tensor:
        """Cut off what no curve gives."""
        if self.curve == "none":
            return scaled
        low, high = -self.mean / self.std, (1 - self.mean) / self.std
        return torch.minimum(torch.maximum(scaled, low.to(scaled)), high.to(scaled))

    def from_unit(self, unit: Tensor) -> Tensor:
        """Undo :meth:`to_unit`."""
        if self.curve == "none":
            return (unit - 0.5) * 4
        return (unit.clamp(0, 1) - self.mean) / self.std
