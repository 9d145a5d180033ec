"""What the loop asks of a contrastive method, and what all of them share.

A step is: ``begin_step``, ``make_views``, ``keys`` and ``project`` (of each chip by itself),
``loss`` (of the whole batch, on every device), ``end_step``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from xcontrast.model import ProjectorCard, SensorCard
from xcontrast.nn.augment import crop_boxes, resize_crops
from xcontrast.nn.augmentation import Augmentation
from xcontrast.nn.encoders import Encoder, Projector, is_whole, pool_levels
from xcontrast.nn.intensity import blur, draw_change, flip, mix
from xcontrast.nn.levels import measure_levels
from xcontrast.nn.scaling import Scaling
from xcontrast.training.ground import find_near
from xcontrast.training.methods.views import Images, View, Views, find_rgb, prepare
from xcontrast.training.options import PretrainOptions

__all__ = ["Method"]


class Method(nn.Module):
    """One encoder a sensor, unshared, and one projector a sensor and space.

    Parameters
    ----------
    sensors : mapping of str to SensorCard
        Bands and scaling of each sensor.
    encoder : str
        timm name.
    options : PretrainOptions
        All the rest.
    """

    spaces: tuple[str, ...] = ()
    """Names of the projected spaces."""
    n_dates: int = 1
    """Dates of a place that a step takes; where chips have but one, all views are of it."""
    batch_norm: bool = True
    """In the projectors."""
    blur_first: bool = False
    """Blur the image and then crop it, as Seasonal Contrast's code, not the other way round."""
    watched: tuple[str, str] = ("", "")
    """Two of a sensor's views that should find each other, where there is but one date."""

    def __init__(
        self, sensors: Mapping[str, SensorCard], *, encoder: str, options: PretrainOptions
    ) -> None:
        super().__init__()
        self.options = options
        self.encoders, self.scalings = nn.ModuleDict(), nn.ModuleDict()
        for name, card in sensors.items():
            self.encoders[name] = Encoder(
                encoder, len(card.bands), out_stride=options.out_stride, stem=options.stem
            )
            self.scalings[name] = card.scaling()
        self.bands = {name: card.bands for name, card in sensors.items()}
        self.rgb = {name: find_rgb(name, card.bands) for name, card in sensors.items()}
        self.levels = measure_levels(self.encoder(self.sensors[0]))
        self.projector_card = self._describe_projector()
        self.projectors = nn.ModuleDict(
            {space: nn.ModuleDict({name: self._projector() for name in sensors})
             for space in self.spaces}
        )  # fmt: skip

    def _describe_projector(self) -> ProjectorCard:
        first = cast(Encoder, next(iter(self.encoders.values())))
        n = first.n_features if self.options.pooled == "all" else first.channels[-1]
        return ProjectorCard(
            n_features=n,
            n_hidden=self.options.n_hidden or n,
            n_projected=self.options.n_projected,
            batch_norm=self.batch_norm,
        )

    def _projector(self) -> Projector:
        card = self.projector_card
        return Projector(
            card.n_features,
            n_hidden=card.n_hidden,
            n_projected=card.n_projected,
            batch_norm=card.batch_norm,
        )

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors."""
        return tuple(self.encoders)

    def encoder(self, sensor: str) -> Encoder:
        """Give one sensor's encoder."""
        return cast(Encoder, self.encoders[sensor])

    def scaling(self, sensor: str) -> Scaling:
        """Give one sensor's scaling."""
        return cast(Scaling, self.scalings[sensor])

    def projector(self, space: str, sensor: str) -> Projector:
        """Give the projector of one sensor into one space."""
        return cast(Projector, cast(nn.ModuleDict, self.projectors[space])[sensor])

    def scale(self, batch: Mapping[str, Tensor]) -> Images:
        """Scale a loader's batch, and give it a dim for dates where it has none."""
        images = {}
        for name in self.sensors:
            values, valid = batch[name], batch[f"{name}_valid"]
            if values.ndim == 4:
                values, valid = values[:, None], valid[:, None]
            flat = self.scaling(name)(values.flatten(0, 1), valid.flatten(0, 1))
            images[name] = flat.view_as(values), valid
        return images

    def cut(
        self,
        images: Images,
        sensor: str,
        *,
        date: int,
        size: int,
        generator: torch.Generator,
        augmentation: Augmentation | None = None,
    ) -> View:
        """Make one view: of a date, by random boxes, changed artificially or not.

        Parameters
        ----------
        images : mapping
            Of :meth:`scale`.
        sensor : str
            Which.
        date : int
            Which of those drawn; the only one where there is one.
        size : int
            Side in pixels.
        generator : torch.Generator
            Source of randomness, on the CPU.
        augmentation : Augmentation, optional
            None leaves values as they are, and does not flip.

        Returns
        -------
        View
        """
        values, valid = (x[:, min(date, x.shape[1] - 1)] for x in images[sensor])
        boxes = crop_boxes(len(values), scale=self.options.crop_scale, generator=generator)
        if augmentation is None:
            return View(*self._crop(values, valid, boxes, size), boxes)
        scaling, rgb = self.scaling(sensor), self.rgb[sensor]
        mean = scaling.to_unit(values.mean((2, 3))[..., None, None])[..., 0, 0]
        change = draw_change(mean, augmentation, generator=generator, rgb=rgb)
        boxes = flip(boxes, augmentation, generator=generator)
        crop, seen = self._crop(values, valid, boxes, size)
        blurred = change.sigma.nonzero()[:, 0]
        if len(blurred):
            rows, sigma = blurred.to(crop.device), change.sigma[blurred].to(crop.device)
            if self.blur_first:
                soft = blur(values[rows], sigma)
                crop[rows] = resize_crops(soft, boxes[blurred], size=size)
            else:
                crop[rows] = blur(crop[rows], sigma)
        mixed = mix(crop, change, scaling=scaling, rgb=rgb)
        return View(mixed if is_whole(seen) else mixed * seen, seen, boxes)

    @staticmethod
    def _crop(values: Tensor, valid: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
        crop = resize_crops(values, boxes, size=size)
        if is_whole(valid):
            return crop, torch.ones_like(crop[:, :1])
        return crop, resize_crops(valid, boxes, size=size)

    def whole(self, images: Images, sensor: str, date: int = 0) -> View:
        """Give the whole chip as a view, as it is embedded later."""
        values, valid = (x[:, min(date, x.shape[1] - 1)] for x in images[sensor])
        boxes = torch.tensor([[0.5, 0.5, 1.0, 1.0]]).expand(len(values), 4)
        return View(values, valid, boxes)

    def look(self, sensor: str, view: View) -> list[Tensor]:
        """Give the levels of a view."""
        levels: list[Tensor] = self.encoder(sensor)(prepare(view.values))
        return levels

    def pool(self, sensor: str, view: View) -> Tensor:
        """Give one vector of features a chip, as its projectors take it: (B, F)."""
        return pool_levels(self.choose_levels(self.look(sensor, view)), view.valid)

    def choose_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """Give those that are projected."""
        return levels if self.options.pooled == "all" else levels[-1:]

    def make_views(self, images: Images, *, size: int, generator: torch.Generator) -> Views:
        """Make all views of a step."""
        raise NotImplementedError

    def project(self, views: Views) -> dict[str, Tensor]:
        """Give what gradients flow to, one row a chip."""
        raise NotImplementedError

    def keys(self, views: Views) -> dict[str, Tensor]:
        """Give what no gradient flows to, one row a chip."""
        del views
        return {}

    def loss(
        self, projected: Mapping[str, Tensor], keys: Mapping[str, Tensor], ground: Tensor
    ) -> Tensor:
        """Give the loss of a whole batch; `ground` (B, 5) is location and footprint."""
        raise NotImplementedError

    def align_keys(self) -> None:
        """Have what follows the encoders begin where they are, once they have their weights."""

    def begin_step(self) -> None:
        """Do what comes before a step."""

    def end_step(self, keys: Mapping[str, Tensor], ground: Tensor) -> None:
        """Do what comes after a step, with the keys of all devices."""

    def has_negatives(self, ground: Tensor) -> bool:
        """Say, after a step on `ground` (B, 5), whether anything was told from anything else."""
        if self.options.negatives == "none":
            return True
        near = find_near(ground, ground, self.options.min_distance)
        return near is None or not bool(near.all())

    @torch.no_grad()
    def watch(self, images: Images) -> dict[str, tuple[Tensor, Tensor]]:
        """Give held-out pairs whose rows should find each other, by what they are.

        Parameters
        ----------
        images : mapping
            Of :meth:`scale`.

        Returns
        -------
        dict of str to tuple of Tensor (B, D)
            Of each sensor each place at two dates, or where there is one date two views of it.
        """
        generator = torch.Generator().manual_seed(0)
        pairs = {}
        for name in self.sensors:
            if images[name][0].shape[1] > 1:
                kind, seen = "places", [self.whole(images, name, date) for date in (0, 1)]
            else:
                size = images[name][0].shape[-1]
                with torch.autocast(images[name][0].device.type, enabled=False):
                    views = self.make_views(images, size=size, generator=generator)
                kind, seen = "views", [views[f"{name}.{role}"] for role in self.watched]
            project = self.projector(self.spaces[0], name)
            a, b = (project(self.pool(name, view)).float() for view in seen)
            pairs[f"{name} {kind}"] = a, b
        return pairs

    def state(self) -> dict[str, Tensor]:
        """Give the weights by ``{sensor}.encoder.…`` and ``{sensor}.{space}.…``."""
        weights: dict[str, Tensor] = {}
        for name in self.sensors:
            parts: dict[str, nn.Module] = {"encoder": self.encoder(name)}
            parts |= {space: self.projector(space, name) for space in self.spaces}
            for part, module in parts.items():
                weights |= {f"{name}.{part}.{k}": v for k, v in module.state_dict().items()}
        return weights
