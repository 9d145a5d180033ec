"""The ground that a segmenter is trained on: labels matched, some held out, pixels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, ModelError, problem
from xcontrast.heads.labels import match_labels
from xcontrast.heads.segmenting.crops import Plot, lay_plots, read_plots
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.heads.segmenting.splits import Numbers, split_labels
from xcontrast.heads.segmenting.stacking import arrays_of, stack_layers
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.model import Model, SensorCard

__all__ = ["Ground", "read_ground"]


@dataclass(frozen=True)
class Ground:
    """Labelled ground, read."""

    train: list[Plot]
    held: list[Plot]
    how: str
    """What is held out, in words."""
    counts: dict[str, int]
    """Pixels trained on, by category."""
    crop: int
    n_dates: int
    sensors: dict[str, SensorCard]


def read_ground(
    cube: xr.Dataset | xr.DataArray,
    labels: Any,
    model: Model,
    options: FinetuneOptions,
    *,
    legend: Legend,
    column: str | None,
    event: str | pd.Timestamp | None,
) -> Ground:
    """Match the labels, hold some out, and read the pixels around them.

    Parameters
    ----------
    cube, labels, model, options, legend, column, event
        As for :func:`xcontrast.finetune`.

    Returns
    -------
    Ground

    Raises
    ------
    DataError
        If labels, bands, units or dates do not fit, or fewer than two categories are labelled on
        pixels that a sensor sees.
    ModelError
        If model and cube share no sensor.
    """
    arrays = arrays_of(cube)
    sensors = _shared_sensors(arrays, model)
    layers, n_dates = stack_layers(arrays, sensors, event=event)
    crop = _choose_crop(layers, model.card.out_stride, options)
    codes = match_labels(labels, layers, legend=legend, column=column)
    numbers = _number(codes, layers, legend)
    sizes = [n_dates * len(card.bands) for card in sensors.values()]
    train, held, how = _read_parts(numbers, layers, sizes, crop, options)
    return Ground(train, held, how, _count(train, legend), crop, n_dates, sensors)


def _read_parts(
    numbers: Numbers, layers: xr.DataArray, sizes: list[int], crop: int, options: FinetuneOptions
) -> tuple[list[Plot], list[Plot], str]:
    """Give the ground to train on, that held out, and in words how it was chosen."""
    while True:
        split = split_labels(numbers, layers.isel(layer=0), crop=crop, options=options)
        train = lay_plots(split.train, crop)
        held = [] if split.held is None else lay_plots(split.held, crop)
        # In one go: the two may lie in one block of a lazy cube.
        read = read_plots([*train, *held], layers, sizes)
        mine = {id(plot) for plot in train}
        train, held = ([p for p in read if (id(p) in mine) == own] for own in (True, False))
        if split.held is None or (train and held):
            return train, held, split.how
        # Only reading tells what a sensor sees. Where that is nothing of a part, its labels are
        # none, and what is held out is chosen of the others.
        for labels, plots in ((split.train, train), (split.held, held)):
            if not plots:
                numbers = np.where(labels == NO_LABEL, numbers, np.uint8(NO_LABEL))


def _shared_sensors(arrays: dict[str, xr.DataArray], model: Model) -> dict[str, SensorCard]:
    shared = {name: model.card.sensors[name] for name in arrays if name in model.sensors}
    if not shared:
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {' or '.join(arrays)}",
                received=f"one for {', '.join(model.sensors)}",
                do="choose a model of a sensor that the cube has",
            )
        )
    return shared


def _choose_crop(layers: xr.DataArray, deepest: int, options: FinetuneOptions) -> int:
    side = min(layers.shape[-2:])
    if side < max(16, deepest):
        raise DataError(
            problem(
                expected=f"a scene of {max(16, deepest)} pixels a side or more",
                received=f"{layers.shape[-2]} x {layers.shape[-1]}",
                do="give a larger area",
            )
        )
    return options.crop_size if options.crop_size <= side else side // deepest * deepest


def _number(codes: xr.DataArray, layers: xr.DataArray, legend: Legend) -> npt.NDArray[np.uint8]:
    """Give category numbers for codes, 255 where there is none."""
    lead = layers.dims[:-3]
    if codes.dims != (*lead, "y", "x"):
        raise DataError(
            problem(
                expected=f"labels with the dims {(*lead, 'y', 'x')}",
                received=str(codes.dims),
                do="give labels for each of the cube's leading dims, and no others",
            )
        )
    table = np.full(256, NO_LABEL, np.uint8)
    table[list(legend.codes)] = np.arange(len(legend.codes))
    return np.asarray(table[codes.values])


def _count(plots: Sequence[Plot], legend: Legend) -> dict[str, int]:
    n = len(legend.codes)
    counts = sum((np.bincount(p.numbers[p.own], minlength=n) for p in plots), np.zeros(n, int))
    present = {name: int(k) for name, k in zip(legend.names, counts, strict=True) if k}
    if len(present) < 2:
        raise DataError(
            problem(
                expected="at least two categories on pixels that a sensor sees",
                received=", ".join(present) or "none",
                do="label a second category, or labels where the cube is valid",
            )
        )
    return present
