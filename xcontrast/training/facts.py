"""What a run says of itself: to go on with it, and in the card of its model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.model import SensorCard, load_model
from xcontrast.sampling.chips import Chips
from xcontrast.training.options import PretrainOptions
from xcontrast.training.presets import publish_scaling

if TYPE_CHECKING:
    from xcontrast.sampling.statistics import Statistics
    from xcontrast.training.loop import Run

__all__ = ["describe_options", "describe_run", "describe_sensors", "describe_training"]


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
    told = describe_options(options)
    for name in ("progress", "device", "checkpoint_seconds", "tensorboard"):
        told.pop(name)
    data = {name: asdict(own) for name, own in statistics.items()}
    return {**called, **told, "n_chips": len(train_chips), "data": data}


def describe_options(options: PretrainOptions) -> dict[str, Any]:
    """Give the options in a JSON-able form."""
    told = asdict(options)
    for name in ("weights", "tensorboard"):
        if told[name] is not None:
            told[name] = os.fspath(told[name])
    return told


def describe_sensors(
    windows: Chips, statistics: Mapping[str, Statistics], method: str, options: PretrainOptions
) -> dict[str, SensorCard]:
    """Describe what each encoder takes, and how it is scaled.

    Parameters
    ----------
    windows : Chips
        With the bands and units.
    statistics : mapping of str to Statistics
        The normaliser of each sensor.
    method : str
        Whose paper's scaling is meant, where options ask for it.
    options : PretrainOptions
        Says which scaling.

    Returns
    -------
    dict of str to SensorCard

    Raises
    ------
    DataError
        If the paper scales other bands or units, or there is no model to scale as.
    """
    cards = {}
    for sensor in windows.sensors:
        bands = tuple(map(str, windows.pairs[sensor.band].values))
        units = windows.units(sensor)
        known = _known_scaling(options).get(sensor.name)
        if options.scaling == "paper":
            scaling = publish_scaling(method, sensor, bands, units)
        elif known is not None and known.units == units and set(bands) <= set(known.bands):
            scaling = _pick_bands(known, bands)
        else:
            scaling = asdict(statistics[sensor.name])
        gsd = _pixel_size(windows.pairs, sensor.gsd)
        cards[sensor.name] = SensorCard(bands=bands, units=units, gsd=gsd, **scaling)
    return cards


def _known_scaling(options: PretrainOptions) -> dict[str, SensorCard]:
    if options.scaling != "weights":
        return {}
    if options.weights is None or not Path(options.weights).is_dir():
        raise DataError(
            problem(
                expected="the folder of a model as `weights`, for scaling='weights'",
                received=repr(options.weights),
                do="give one, as xc.import_weights or pretrain writes it, or leave `scaling` out",
            )
        )
    return load_model(options.weights).card.sensors


def _pick_bands(card: SensorCard, bands: tuple[str, ...]) -> dict[str, Any]:
    """Give the scaling of some bands of a card, as its fields."""
    own = [card.bands.index(band) for band in bands]
    fields = {
        name: tuple(numbers[k] for k in own) if (numbers := getattr(card, name)) else ()
        for name in ("mean", "std", "low", "high")
    }
    return {"curve": card.curve, **fields}


def _pixel_size(pairs: xr.Dataset, default: float) -> float:
    x = pairs.coords.get("x")
    if x is None or x.size < 2 or "spatial_ref" not in pairs.coords:
        return default
    step = float(abs(x[1] - x[0]))
    return step if step > 0.1 else default  # Degrees: keep the sensor's own.


def _find_bbox(pairs: xr.Dataset) -> list[float] | None:
    """Give west, south, east and north in degrees: of the scene, or of the places' centres."""
    if {"lon", "lat"} <= set(pairs.coords):
        lon, lat = (np.asarray(pairs[name].values, "float64") for name in ("lon", "lat"))
        bounds = [lon.min(), lat.min(), lon.max(), lat.max()]
    elif "spatial_ref" in pairs.coords:
        import odc.geo.xr  # noqa: F401

        geobox = pairs.odc.geobox
        if geobox is None or geobox.crs is None:
            return None
        bounds = list(geobox.geographic_extent.boundingbox)
    else:
        return None
    return [round(float(bound), 5) for bound in bounds]


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

    from xcontrast.sampling.devices import find_rank

    dates = {
        s.time: [str(t)[:10] for t in np.sort(windows.pairs[s.time].values.ravel())[[0, -1]]]
        for s in windows.sensors
        if s.time in windows.pairs.coords
    }
    return {
        "steps": run.steps,
        "interrupted": run.interrupted,
        "batch_size": batch_size,
        "n_devices": find_rank()[1],
        "n_pairs": int(windows.pairs.sizes["pair"]),
        "n_train_chips": len(train_chips),
        "n_held_out_chips": len(held_chips),
        "chip_size": windows.size,
        "dates": dates,
        "bbox": _find_bbox(windows.pairs),
        "held_out": run.held_out,
        "seconds": round(run.seconds, 1),
        "device": run.device,
        "precision": run.precision,
        "options": describe_options(options),
        "versions": {m.__name__: m.__version__ for m in (torch, timm, lightning)},
    }
