"""torchgeo's SimCLR trainer on the same chips, steps and encoder as ours, for `floods.py`.

An encoder a sensor, each with `SimCLRTask` under Lightning, as its documentation runs it: version 2
(whose schedule is made for so few epochs; version 1 warms up for ten), its own augmentations to
64 px, .3 x batch / 256 as the learning rate, no memory bank (its 64,000 negatives would be the same
few thousand chips many times over). Values from 0 to 1, as its augmentations cut off what is not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, IterableDataset

import xcontrast as xc
from xcontrast.model import build_encoder, write_model
from xcontrast.model.filling import fill_encoder

VIEW = 64
BATCH = 64
RANGE = {"s1": 255.0, "s2": 1.0}
"""Largest value of OMBRIA's sensors."""


class Batches(IterableDataset[dict[str, Any]]):
    """Batches of one sensor's chips, in a new order each epoch."""

    def __init__(self, chips: xc.Chips, sensor: str, seed: int) -> None:
        self._loader = chips.loader(batch_size=BATCH, seed=seed, progress=False)
        self._sensor = sensor

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._loader:
            image = batch[self._sensor] * batch[f"{self._sensor}_valid"] / RANGE[self._sensor]
            yield {"image": image}


def pretrain(chips: xc.Chips, like: xc.Model, path: Path, *, steps: int, seed: int) -> xc.Model:
    """Train torchgeo's task a sensor, and write what it learnt as a model of the same encoders."""
    state = load_file(like.path / "weights.safetensors")
    sensors = {}
    for name, card in like.card.sensors.items():
        n_bands = len(card.bands)
        zero, whole = (0.0,) * n_bands, (RANGE[name],) * n_bands
        sensors[name] = replace(card, mean=zero, std=whole, curve="none", low=(), high=())
        encoder = build_encoder(like.card, name)
        fill_encoder(encoder, train(chips, name, like.card.encoder, n_bands, steps, seed))
        state |= {f"{name}.encoder.{k}": v for k, v in encoder.state_dict().items()}
    state = {k: v for k, v in state.items() if ".encoder." in k}
    card = replace(
        like.card, method="torchgeo simclr", sensors=sensors, projected=(), projector=None,
        training={"steps": steps, "seed": seed},
    )  # fmt: skip
    return write_model(path, card, state)


def train(
    chips: xc.Chips, sensor: str, encoder: str, n_bands: int, steps: int, seed: int
) -> dict[str, torch.Tensor]:
    """Train one encoder, and give its weights by timm's names."""
    from lightning.pytorch import Trainer, seed_everything
    from torchgeo.trainers import SimCLRTask

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    seed_everything(seed, verbose=False)
    task = SimCLRTask(
        model=encoder, in_channels=n_bands, version=2, layers=3, memory_bank_size=0,
        lr=0.3 * BATCH / 256, size=VIEW,
    )  # fmt: skip
    batches = Batches(chips, sensor, seed)
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-(-steps // len(batches)), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, DataLoader(batches, batch_size=None))
    if trainer.global_step != steps:
        raise RuntimeError(f"torchgeo made {trainer.global_step} steps of {steps}")
    return task.backbone.state_dict()
