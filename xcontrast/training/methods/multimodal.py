"""The dual encoder: two sensors at one place and time are the positive pair.

Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks. Two
encoders with unshared weights, two projection heads, one space; NT-Xent with same-sensor
negatives; independent crop and resize and no other augmentation.

Departures: features of all levels down to ``out_stride`` are pooled and concatenated before the
projector (the paper pools the last level of a ResNet-50), so that the projector also applies to
each cell of a dense embedding; windows that show the same ground are never negatives of each
other (the paper's global archive hardly has any).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from xcontrast.nn.augment import crop_boxes, resize_crops
from xcontrast.nn.encoders import Encoder, Projector
from xcontrast.nn.losses import nt_xent

__all__ = ["Multimodal"]


class Multimodal(nn.Module):
    """One encoder and one projector a sensor.

    Parameters
    ----------
    n_bands : dict of str to int
        Bands of each sensor.
    encoder : str
        timm name.
    out_stride, n_hidden, n_projected : int
        See :class:`xcontrast.PretrainOptions`.
    temperature : float
        Of the loss.
    """

    def __init__(
        self,
        n_bands: dict[str, int],
        *,
        encoder: str,
        out_stride: int,
        n_hidden: int,
        n_projected: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.encoders = nn.ModuleDict()
        self.projectors = nn.ModuleDict()
        for name, n in n_bands.items():
            own = Encoder(encoder, n, out_stride=out_stride)
            self.encoders[name] = own
            self.projectors[name] = Projector(
                own.n_features, n_hidden=n_hidden, n_projected=n_projected
            )

    def encoder(self, sensor: str) -> Encoder:
        """Give one sensor's encoder."""
        return cast(Encoder, self.encoders[sensor])

    def augment(
        self,
        batch: dict[str, tuple[Tensor, Tensor]],
        *,
        size: int,
        scale: tuple[float, float],
        generator: torch.Generator,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Crop and resize each sensor by its own boxes: (B, C, H, W) -> (B, C, size, size)."""
        views = {}
        for name, (values, valid) in batch.items():
            boxes = crop_boxes(len(values), scale=scale, generator=generator)
            both = resize_crops(torch.cat([values, valid], dim=1), boxes, size=size)
            views[name] = both[:, :-1], both[:, -1:]
        return views

    def project(self, views: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Give each sensor's projection: (B, C, H, W) -> (B, D)."""
        return {
            name: self.projectors[name](self.encoder(name).pool(values, valid)).float()
            for name, (values, valid) in views.items()
        }

    def loss(self, projected: dict[str, Tensor], same_ground: Tensor) -> Tensor:
        """NT-Xent over both sensors."""
        a, b = projected["s1"], projected["s2"]
        return nt_xent(a, b, temperature=self.temperature, exclude=same_ground)

    def state(self) -> dict[str, Tensor]:
        """Give the weights by ``{sensor}.encoder.…`` and ``{sensor}.projector.…``."""
        weights: dict[str, Tensor] = {}
        for name in self.encoders:
            for part, module in (
                ("encoder", self.encoders[name]),
                ("projector", self.projectors[name]),
            ):
                weights |= {f"{name}.{part}.{k}": v for k, v in module.state_dict().items()}
        return weights
