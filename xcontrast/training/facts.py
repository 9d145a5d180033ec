"""What a run says of itself: to go on with it, and in the card of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.model import SensorCard
from xcontrast.sampling.chips import Chips
from xcontrast.training.options import PretrainOptions

if TYPE_CHECKING:
    from xcontrast.sampling.statistics import Statistics
    from xcontrast.training.loop import Run

__all__ = ["describe_run", "describe_sensors", "describe_training"]


def describe_run(
    train_chips: Chips,
    statistics: Mapping[str, Statistics],
    options: PretrainOptions,
    **called: Any,
) -> dict[str, Any]:
    """Describe all that decides what a run does; the statistics stand for the pixels.

    Parameters
    ----------
    train_chips : Chips
        Those trained on.
    statistics : mapping of str to Statistics
        The normaliser of each sensor.
    options : PretrainOptions
        As given.
    **called
        What else the run was called with.

    Returns
    -------
    dict
        JSON-able.
    """
    told = asdict(options)
    for name in ("progress", "device", "checkpoint_seconds"):
        told.pop(name)
    data = {name: asdict(own) for name, own in statistics.items()}
    return {**called, **told, "n_chips": len(train_chips), "data": data}


def describe_sensors(windows: Chips, statistics: Mapping[str, Statistics]) -> dict[str, SensorCard]:
    """Describe what each encoder takes.

    Parameters
    ----------
    windows : Chips
        With the bands and units.
    statistics : mapping of str to Statistics
        The normaliser of each sensor.

    Returns
    -------
    dict of str to SensorCard
    """
    cards = {}
    for sensor in windows.sensors:
        cards[sensor.name] = SensorCard(
            bands=tuple(map(str, windows.pairs[sensor.band].values)),
            units=windows.units(sensor),
            gsd=_pixel_size(windows.pairs, sensor.gsd),
            mean=statistics[sensor.name].mean,
            std=statistics[sensor.name].std,
        )
    return cards


def _pixel_size(pairs: xr.Dataset, default: float) -> float:
    x = pairs.coords.get("x")
    if x is None or x.size < 2 or "spatial_ref" not in pairs.coords:
        return default
    step = float(abs(x[1] - x[0]))
    return step if step > 0.1 else default  # Degrees: keep the sensor's own.


def describe_training(
    windows: Chips,
    train_chips: Chips,
    held_chips: Chips,
    batch_size: int,
    options: PretrainOptions,
    run: Run,
) -> dict[str, Any]:
    """Describe a run that has ended, for the card.

    Parameters
    ----------
    windows, train_chips, held_chips : Chips
        All, those trained on, those held out.
    batch_size : int
        Chips a step.
    options : PretrainOptions
        As given.
    run : Run
        What it left.

    Returns
    -------
    dict
        JSON-able.
    """
    import lightning
    import timm
    import torch

    dates = {
        s.time: [str(t)[:10] for t in np.sort(windows.pairs[s.time].values.ravel())[[0, -1]]]
        for s in windows.sensors
        if s.time in windows.pairs.coords
    }
    return {
        "steps": run.steps,
        "interrupted": run.interrupted,
        "batch_size": batch_size,
        "n_pairs": int(windows.pairs.sizes["pair"]),
        "n_train_chips": len(train_chips),
        "n_held_out_chips": len(held_chips),
        "chip_size": windows.size,
        "dates": dates,
        "held_out": run.held_out,
        "seconds": round(run.seconds, 1),
        "device": run.device,
        "precision": run.precision,
        "options": asdict(options),
        "versions": {m.__name__: m.__version__ for m in (torch, timm, lightning)},
    }
