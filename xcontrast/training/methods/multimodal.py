"""The dual encoder: two sensors at one place and time are the positive pair.

Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks. Two
encoders with unshared weights, two projection heads, one space; NT-Xent with same-sensor
negatives; independent crop and resize and no other augmentation.

Departures: features of all levels down to ``out_stride`` are pooled and concatenated before the
projector (the paper pools the last level of a ResNet-50), so that the projector also applies to
each cell of a dense embedding; windows that show the same ground are never negatives of each
other (the paper's global archive hardly has any); a dense term, in which cells of both sensors
that show one point are positives and other cells negatives. ``preset="paper"`` takes all three
back.

Beyond the paper, each off unless asked for: a seasonal term (one sensor at two dates, in a space
of its own, so that the joint one stays sensitive to change), VICReg in place of negatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from xcontrast.model import SensorCard
from xcontrast.nn.dense import sample_levels
from xcontrast.nn.encoders import pool_levels
from xcontrast.nn.losses import nt_xent, vicreg
from xcontrast.training.ground import find_near, find_near_points
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.points import draw_points
from xcontrast.training.methods.views import Images, View, Views
from xcontrast.training.options import PretrainOptions

__all__ = ["Multimodal"]

N_POINTS = 8
"""Points of the dense term a chip."""


class Multimodal(Method):
    """One encoder and one projector a sensor."""

    spaces: tuple[str, ...] = ("joint",)

    def __init__(
        self, sensors: Mapping[str, SensorCard], *, encoder: str, options: PretrainOptions
    ) -> None:
        if options.seasonal_weight:
            self.spaces = ("joint", "invariant")
            self.n_dates = 2
        super().__init__(sensors, encoder=encoder, options=options)

    def make_views(self, images: Images, *, size: int, generator: torch.Generator) -> Views:
        """Cut both sensors by their own boxes, and again at another date for the seasonal term."""
        views = {
            name: self.cut(images, name, date=0, size=size, generator=generator)
            for name in self.sensors
        }
        if self.options.dense_weight:
            views = draw_points(views, n=N_POINTS, generator=generator)
        if self.n_dates > 1:
            views |= {
                f"{name}.later": self.cut(images, name, date=1, size=size, generator=generator)
                for name in self.sensors
            }
        return views

    def project(self, views: Views) -> dict[str, Tensor]:
        """Give the projections of each sensor, of its points, and of its other date."""
        projected = {}
        for name in self.sensors:
            pooled, cells = self._look(name, views[name])
            # One pass of both: the projector's batch norm knows chips and cells.
            joint = self.projector("joint", name)(torch.cat([pooled, cells])).float()
            projected[name] = joint[: len(pooled)]
            if len(cells):
                points = views[name].points
                assert points is not None
                rows = joint[len(pooled) :].view(*points.shape[:2], -1)
                projected[f"{name}.points"] = torch.cat([rows, points[..., 2:].float()], dim=2)
            if self.n_dates > 1:
                later, _ = self._look(name, views[f"{name}.later"])
                both = self.projector("invariant", name)(torch.cat([pooled, later])).float()
                projected[f"{name}.one"], projected[f"{name}.other"] = both.chunk(2)
        return projected

    def _look(self, sensor: str, view: View) -> tuple[Tensor, Tensor]:
        """Give features of the chips (B, F), and of their points (B * P, F)."""
        maps = self.look(sensor, view)
        pooled = pool_levels(self.choose_levels(maps), view.valid)
        if view.points is None:
            return pooled, pooled[:0]
        chosen = self.choose_levels(maps)
        levels = self.levels[-len(chosen) :]
        cells = sample_levels(chosen, levels, view.points[..., :2], size=view.values.shape[-1])
        return pooled, cells.flatten(0, 1)

    def loss(
        self, projected: Mapping[str, Tensor], keys: Mapping[str, Tensor], ground: Tensor
    ) -> Tensor:
        """Both sensors against each other, and the terms beyond the paper that are on."""
        del keys
        options = self.options
        near = find_near(ground, ground, options.min_distance)
        one, two = self.sensors
        total = self._contrast(projected[one], projected[two], near)
        if options.dense_weight:
            dense = self._contrast_points(projected, near)
            total = total + options.dense_weight * dense
        if options.seasonal_weight and self.n_dates > 1:
            for name in self.sensors:
                dates = projected[f"{name}.one"], projected[f"{name}.other"]
                total = total + options.seasonal_weight / 2 * self._contrast(*dates, near)
        return total

    def has_negatives(self, ground: Tensor) -> bool:
        """Cells of one chip are negatives of each other too."""
        return self.options.dense_weight > 0 or super().has_negatives(ground)

    def _contrast(self, a: Tensor, b: Tensor, near: Tensor | None) -> Tensor:
        if self.options.negatives == "none":
            return vicreg(a, b)
        return nt_xent(
            a,
            b,
            temperature=self.options.temperature,
            exclude=near,
            cross_only=self.options.negatives == "cross",
        )

    def _contrast_points(self, projected: Mapping[str, Tensor], near: Tensor | None) -> Tensor:
        a, b = (projected[f"{name}.points"] for name in self.sensors)
        # Their last columns are row and column in the chip, and validity.
        kept = (a[..., -1] * b[..., -1] > 0.5).flatten()
        if int(kept.sum()) < 2:
            return a.sum() * 0
        exclude = find_near_points(a[..., -3:-1].detach(), near)[kept][:, kept]
        one, two = (x.flatten(0, 1)[kept, :-3] for x in (a, b))
        return self._contrast(one, two, exclude)

    @torch.no_grad()
    def watch(self, images: Images) -> dict[str, tuple[Tensor, Tensor]]:
        """Give the same chips of both sensors, their middle cells, and one sensor at two dates."""
        chips: dict[str, Any] = {}
        cells: dict[str, Any] = {}
        pairs = {}
        for name in self.sensors:
            view = self.whole(images, name)
            centre = view.values.new_full((len(view.values), 1, 5), 0.5)
            pooled, middle = self._look(name, View(view.values, view.valid, view.boxes, centre))
            chips[name], cells[name] = (
                self.projector("joint", name)(x).float() for x in (pooled, middle)
            )
            if self.n_dates > 1 and images[name][0].shape[1] > 1:
                later, _ = self._look(name, self.whole(images, name, 1))
                project = self.projector("invariant", name)
                pairs[f"{name} dates"] = project(pooled).float(), project(later).float()
        one, two = self.sensors
        return {"sensors": (chips[one], chips[two]), "cells": (cells[one], cells[two]), **pairs}
