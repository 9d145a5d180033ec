"""SimCLR: two artificial views of one image are the positive pair; one encoder a sensor.

Chen et al. (2020), A simple framework for contrastive learning of visual representations; the
baseline of the dual-encoder paper, with flips, colour jitter and blur on crops, and its variant
tuned for radar, which is the default augmentation of Sentinel-1 here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from xcontrast.nn.losses import nt_xent, vicreg
from xcontrast.training.ground import find_near
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import Images, Views

__all__ = ["SimCLR"]


class SimCLR(Method):
    """Each sensor by itself: the losses are added."""

    spaces = ("artificial",)
    watched = ("0", "1")

    def make_views(self, images: Images, *, size: int, generator: torch.Generator) -> Views:
        """Cut each image twice, changed artificially both times."""
        return {
            f"{name}.{k}": self.cut(
                images,
                name,
                date=0,
                size=size,
                generator=generator,
                augmentation=self.options.augmentation(name),
            )
            for name in self.sensors
            for k in (0, 1)
        }

    def project(self, views: Views) -> dict[str, Tensor]:
        """Give the projection of each view."""
        projected = {}
        for key, view in views.items():
            name = key.split(".")[0]
            pooled = self.pool(name, view)
            projected[key] = self.projector("artificial", name)(pooled).float()
        return projected

    def loss(
        self, projected: Mapping[str, Tensor], keys: Mapping[str, Tensor], ground: Tensor
    ) -> Tensor:
        """Both views of each sensor against each other."""
        del keys
        options = self.options
        near = find_near(ground, ground, options.min_distance)
        terms = []
        for name in self.sensors:
            a, b = projected[f"{name}.0"], projected[f"{name}.1"]
            if options.negatives == "none":
                terms.append(vicreg(a, b))
                continue
            terms.append(
                nt_xent(
                    a,
                    b,
                    temperature=options.temperature,
                    exclude=near,
                    cross_only=options.negatives == "cross",
                )
            )
        return torch.stack(terms).sum()
