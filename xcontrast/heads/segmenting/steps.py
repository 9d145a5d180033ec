"""One step of fine-tuning, and one look at what is held out, on a device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xcontrast.heads.segmenting.crops import Crops, Plot, draw_crops
from xcontrast.heads.segmenting.optimisers import build_optimiser, build_schedule
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.legends import NO_LABEL
from xcontrast.nn.layers import LayerScaling, disturb, drop_sensors
from xcontrast.nn.precision import choose_device, choose_precision
from xcontrast.nn.segmentation import SegmentationNetwork
from xcontrast.nn.segmentation_losses import build_loss

__all__ = ["Plan", "Stepper"]


@dataclass(frozen=True)
class Plan:
    """How long and on what."""

    max_steps: int
    batch_size: int
    crop: int
    """Pixels a side."""
    turns: bool
    """Turn crops by quarters."""
    weight: tuple[float, ...] | None = None
    """Of each category in the loss."""


class Stepper:
    """Train a network step by step.

    Parameters
    ----------
    network : SegmentationNetwork
        Moved to the device; its weights are changed, those that need a gradient.
    scaling : LayerScaling
        Of its layers; moved too.
    plan : Plan
        How long and on what.
    options : FinetuneOptions
        The rest.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        scaling: LayerScaling,
        plan: Plan,
        options: FinetuneOptions,
    ) -> None:
        self.device = choose_device(options.device)
        self.precision = choose_precision(options.precision, self.device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self._scaling = scaling.to(self.device)
        self._plan, self._options = plan, options
        weight = None if plan.weight is None else torch.tensor(plan.weight, device=self.device)
        self._loss = build_loss(options.loss, weight)
        self._optimiser = build_optimiser(network, options)
        self._schedule = build_schedule(self._optimiser, options, plan.max_steps)
        self._averaged = _begin_average(network, options.average) if options.average else None

    @property
    def result(self) -> SegmentationNetwork:
        """The network as it would be kept: with averaged weights, if they are averaged."""
        return self.network if self._averaged is None else self._averaged.module

    def step(self, plots: list[Plot], number: int) -> Tensor:
        """Draw crops, disturb, name, compare, go back; a function of the seed and the number."""
        told, plan = self._options, self._plan
        rng = np.random.default_rng((told.seed, number))
        batch = draw_crops(
            plots, plan.batch_size, size=plan.crop, rng=rng, flips=told.flips, turns=plan.turns
        )
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        images, valid, target = self._prepare(batch)
        images, valid = self._disturb(images, valid, generator)
        self.network.train()
        self._optimiser.zero_grad()
        loss = self._loss(self._name(images, self.network), self._forget(target, valid))
        loss.backward()  # type: ignore[no-untyped-call]
        if told.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), told.clip)
        self._optimiser.step()
        self._schedule.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)
        return loss.detach()

    @torch.no_grad()
    def look(self, held: Crops) -> dict[str, float]:
        """Score what is held out, undisturbed: the loss, and the mean IoU of the categories."""
        network = self.result.eval()
        k, size = network.classifier.out_channels, self._plan.batch_size
        counts = torch.zeros(k, k, dtype=torch.int64)
        lost = 0.0
        for first in range(0, len(held[0]), size):
            part = slice(first, first + size)
            images, valid, target = self._prepare((held[0][part], held[1][part]))
            target = self._forget(target, valid)
            logits = self._name(images, network)
            known = target != NO_LABEL
            pairs = target[known] * k + logits.argmax(1)[known]
            counts += torch.bincount(pairs, minlength=k * k).view(k, k).cpu()
            lost += int(known.sum()) * float(self._loss(logits, target))
        hit, total = counts.diagonal(), int(counts.sum())
        union = counts.sum(0) + counts.sum(1) - hit
        iou = float((hit / union)[union > 0].mean()) if total else math.nan
        return {"val_loss": lost / total if total else math.nan, "val_iou": iou}

    def _prepare(self, batch: Crops) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        layers, target = (torch.from_numpy(v).to(self.device) for v in batch)
        return (*self._scaling(layers), target)

    def _disturb(
        self, images: dict[str, Tensor], valid: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        told = self._options
        strengths: dict[str, dict[str, float]] = {
            "s1": {"gain": told.gain, "noise": told.noise},
            "s2": {"brightness": told.brightness},
        }
        images = {
            name: disturb(
                images[name], valid[name], scaling, generator=generator, **strengths[name]
            )
            for name, scaling in self._scaling.named()
        }
        return drop_sensors(images, valid, told.drop_sensor, generator=generator)

    def _forget(self, target: Tensor, valid: dict[str, Tensor]) -> Tensor:
        """Take away the labels of what no sensor sees."""
        return torch.where(self._scaling.see(valid), target, NO_LABEL)

    def _name(self, images: dict[str, Tensor], network: SegmentationNetwork) -> Tensor:
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=bf16):
            logits: Tensor = network(images)
        return logits.float()


def _begin_average(network: SegmentationNetwork, memory: float) -> Any:
    """Average weights over steps, those of long ago ever less; norms' statistics too."""
    from torch.optim.swa_utils import AveragedModel

    def blend(mean: Tensor, new: Tensor, n: Tensor | int) -> Tensor:
        # The first weights, which are random, are forgotten faster.
        share = max(1 - memory, 9 / (int(n) + 10))
        return mean + (new - mean) * share if mean.is_floating_point() else new

    return AveragedModel(network, avg_fn=blend, use_buffers=True)
