"""Whole training steps as functions of a batch, for benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import torch

import xcontrast as xc
from xcontrast.model import SensorCard
from xcontrast.sampling.batches import Batch
from xcontrast.sampling.statistics import Statistics
from xcontrast.training.gradients import send_back
from xcontrast.training.methods import BUILDERS
from xcontrast.training.optimisers import build_optimiser

VIEW = 96


def build_step(
    name: str,
    bands: dict[str, tuple[str, ...]],
    statistics: dict[str, Statistics],
    device: torch.device,
    *,
    encoder: str = "resnet18",
    bf16: bool = True,
    compiled: bool = False,
    **options: object,
) -> Callable[[Batch, int], None]:
    """Give a method's whole step: scale, augment, project, loss, backward, update."""
    torch.manual_seed(0)
    cards = {
        sensor: SensorCard(bands=bands[sensor], units="1", gsd=10.0, mean=own.mean, std=own.std)
        for sensor, own in statistics.items()
    }
    told = xc.PretrainOptions(queue=1024, **options)
    method = BUILDERS[name](cards, encoder=encoder, options=told)
    method = method.to(device, memory_format=torch.channels_last)
    optimiser = build_optimiser(method, told)
    if compiled:
        for sensor in method.sensors:
            method.encoder(sensor).body.compile()

    def encode(function, given):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return function(given)

    def step(batch: Batch, k: int) -> None:
        method.begin_step()
        generator = torch.Generator().manual_seed(k)
        views = method.make_views(method.scale(batch), size=VIEW, generator=generator)
        optimiser.zero_grad()
        ground = torch.cat([batch["location"][:, None], batch["footprint"]], dim=1)
        _, keys, ground = send_back(method, views, ground, encode=encode)
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimiser.step()
        method.end_step(keys, ground)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
