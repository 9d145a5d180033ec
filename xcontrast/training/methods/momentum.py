"""Momentum contrast and Seasonal Contrast: a query against keys of a slower encoder and queues.

He et al. (2020), Momentum contrast; Chen et al. (2020), MoCo-v2; Manas et al. (2021), Seasonal
Contrast, section 3.2, and its public code. Which views there are, and which of them are positives
and negatives in which space, is a :class:`Recipe`; MoCo, MoCo with temporal positives and Seasonal
Contrast differ in nothing else.

Departures: the batch is not shuffled between devices for the keys' batch norm (the paper's code
does so only under DDP, and was run on one device); samples that show the same ground are never
negatives of each other, in the queues too, unless ``min_distance`` is None.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcontrast.model import SensorCard
from xcontrast.nn.encoders import Encoder, Projector, pool_levels
from xcontrast.nn.losses import key_logits
from xcontrast.nn.queues import NOWHERE, Queue
from xcontrast.training.ground import find_near
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import Images, View, Views, prepare
from xcontrast.training.options import PretrainOptions

__all__ = ["MOCO", "MOCO_TP", "SECO", "Momentum", "Recipe", "Shot"]


@dataclass(frozen=True)
class Shot:
    """One view: of which of the dates drawn, and whether it is changed artificially."""

    date: int
    artificial: bool


@dataclass(frozen=True)
class Recipe:
    """Views and spaces of a method."""

    query: Shot
    keys: tuple[Shot, ...]
    positives: Mapping[str, int]
    """By space: the key that is its positive, and that its queue holds."""
    negatives: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By space: keys of the batch, of every sample, that are negatives beside the queue."""


MOCO = Recipe(Shot(0, True), (Shot(0, True),), {"artificial": 0})
MOCO_TP = Recipe(Shot(0, True), (Shot(1, True),), {"invariant": 0})
SECO = Recipe(
    Shot(0, False),
    (Shot(1, True), Shot(2, False), Shot(0, True)),
    {"invariant": 0, "season": 1, "artificial": 2},
    {"season": (0, 2), "artificial": (0, 1)},
)


class Momentum(Method):
    """A query encoder that is trained, a key encoder that follows it, a queue a space.

    Parameters
    ----------
    sensors : mapping of str to SensorCard
        Bands and scaling of each sensor.
    encoder : str
        timm name.
    options : PretrainOptions
        All the rest; ``queue`` must be a number.
    recipe : Recipe
        Which method.
    """

    batch_norm = False
    blur_first = True
    watched = ("query", "0")

    def __init__(
        self,
        sensors: Mapping[str, SensorCard],
        *,
        encoder: str,
        options: PretrainOptions,
        recipe: Recipe,
    ) -> None:
        self.recipe = recipe
        self.spaces = tuple(recipe.positives)
        self.n_dates = 1 + max(shot.date for shot in (recipe.query, *recipe.keys))
        super().__init__(sensors, encoder=encoder, options=options)
        self.key_encoders = copy.deepcopy(self.encoders).requires_grad_(False)
        self.key_projectors = copy.deepcopy(self.projectors).requires_grad_(False)
        assert options.queue is not None
        self.queues = nn.ModuleDict(
            {space: nn.ModuleDict({name: Queue(options.queue, options.n_projected)
                                   for name in sensors})
             for space in self.spaces}
        )  # fmt: skip

    def queue(self, space: str, sensor: str) -> Queue:
        """Give the queue of one space."""
        return cast(Queue, cast(nn.ModuleDict, self.queues[space])[sensor])

    def make_views(self, images: Images, *, size: int, generator: torch.Generator) -> Views:
        """Cut the query and the keys of each sensor, each by boxes of its own."""
        shots = {"query": self.recipe.query, **{f"{k}": s for k, s in enumerate(self.recipe.keys)}}
        return {
            f"{name}.{role}": self.cut(
                images,
                name,
                date=shot.date,
                size=size,
                generator=generator,
                augmentation=self.options.augmentation(name) if shot.artificial else None,
            )
            for name in self.sensors
            for role, shot in shots.items()
        }

    def project(self, views: Views) -> dict[str, Tensor]:
        """Give the query in every space."""
        projected = {}
        for name in self.sensors:
            pooled = self.pool(name, views[f"{name}.query"])
            for space in self.spaces:
                projected[f"{name}.{space}"] = self.projector(space, name)(pooled).float()
        return projected

    @torch.no_grad()
    def keys(self, views: Views) -> dict[str, Tensor]:
        """Give each space its own key, and those of the others that it needs as negatives."""
        keys = {}
        for name in self.sensors:
            pooled = [
                self._pool_key(name, views[f"{name}.{k}"]) for k in range(len(self.recipe.keys))
            ]
            for space, own in self.recipe.positives.items():
                head = cast(Projector, cast(nn.ModuleDict, self.key_projectors[space])[name])
                for k in (own, *self.recipe.negatives.get(space, ())):
                    keys[f"{name}.{space}.{k}"] = F.normalize(head(pooled[k]).float(), dim=1)
        return keys

    def _pool_key(self, sensor: str, view: View) -> Tensor:
        encoder = cast(Encoder, self.key_encoders[sensor])
        return pool_levels(self.choose_levels(encoder(prepare(view.values))), view.valid)

    def loss(
        self, projected: Mapping[str, Tensor], keys: Mapping[str, Tensor], ground: Tensor
    ) -> Tensor:
        """Add the cross entropies of all spaces."""
        terms = []
        for name in self.sensors:
            for space in self.spaces:
                logits = self.logits(projected, keys, ground, name, space)
                terms.append(F.cross_entropy(logits, logits.new_zeros(len(logits)).long()))
        return torch.stack(terms).sum()

    def logits(
        self,
        projected: Mapping[str, Tensor],
        keys: Mapping[str, Tensor],
        ground: Tensor,
        sensor: str,
        space: str,
    ) -> Tensor:
        """Give one space's logits: (N, 1 + K), and 2N more where the batch gives negatives."""
        distance = self.options.min_distance
        queue = self.queue(space, sensor)
        near = find_near(ground, ground, distance)
        if near is not None:
            # A sample's own keys of the other kinds are what its space tells apart.
            near = near & ~torch.eye(len(near), dtype=torch.bool, device=near.device)
        negatives = [(queue.keys, find_near(ground, queue.ground, distance))]
        others = self.recipe.negatives.get(space, ())
        negatives += [(keys[f"{sensor}.{space}.{k}"], near) for k in others]
        return key_logits(
            projected[f"{sensor}.{space}"],
            keys[f"{sensor}.{space}.{self.recipe.positives[space]}"],
            negatives,
            temperature=self.options.temperature,
        )

    def align_keys(self) -> None:
        """Give the key encoders and their heads the query's weights, and its buffers."""
        self.key_encoders.load_state_dict(self.encoders.state_dict())
        self.key_projectors.load_state_dict(self.projectors.state_dict())

    @torch.no_grad()
    def begin_step(self) -> None:
        """Move the key encoder and its heads towards the query's; its buffers are its own."""
        m = self.options.key_momentum
        for own, other in (
            (self.key_encoders, self.encoders),
            (self.key_projectors, self.projectors),
        ):
            keys: list[Tensor] = list(own.parameters())
            queries: list[Tensor] = list(other.parameters())
            torch._foreach_lerp_(keys, queries, 1 - m)

    @torch.no_grad()
    def end_step(self, keys: Mapping[str, Tensor], ground: Tensor) -> None:
        """Put the keys of each space into its queue, and no others."""
        for name in self.sensors:
            for space, own in self.recipe.positives.items():
                self.queue(space, name).push(keys[f"{name}.{space}.{own}"], ground)

    def has_negatives(self, ground: Tensor) -> bool:
        """Of the queue only keys count, not the random directions that it begins with."""
        if self.recipe.negatives:
            return True  # A sample's own keys of the other kinds.
        past = self.queue(self.spaces[0], self.sensors[0]).ground
        near = find_near(ground, past[past[:, 0] != NOWHERE], self.options.min_distance)
        return near is None or not bool(near.all())
