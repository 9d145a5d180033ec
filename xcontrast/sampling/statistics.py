"""Global mean and standard deviation of each band: what the encoders' input is normalised by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xcontrast.errors import DataError, problem
from xcontrast.sampling.loader import Loader

__all__ = ["Statistics", "measure_statistics"]


@dataclass(frozen=True)
class Statistics:
    """Global mean and standard deviation of each band, in the sensor's units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def measure_statistics(
    loader: Loader, *, n_max: int = 2048, seed: int = 0
) -> dict[str, Statistics]:
    """Measure the global mean and standard deviation of each band over the chips' valid pixels.

    Parameters
    ----------
    loader : Loader
        Of the training chips only.
    n_max : int, default 2048
        At most so many chips are read, drawn by `seed`.
    seed : int, default 0
        Draws them.

    Returns
    -------
    dict of str to Statistics
        One a sensor; a band that never varies gets the standard deviation 1.

    Raises
    ------
    DataError
        If a sensor has no valid pixel.
    """
    chosen = np.random.default_rng(seed).permutation(len(loader.chips))[:n_max]
    if not loader.is_resident and loader.chips.pixels is not None:
        # They lie shuffled on disk: the first ones are a draw too, and few chunks.
        chosen = np.argsort(loader.chips.pixels.slot)[:n_max]
    totals: dict[str, list[Tensor]] = {}
    for part in torch.split(torch.from_numpy(chosen), 64):
        batch = loader.take(part)
        for sensor in loader.chips.sensors:
            x = batch[sensor.name].double().flatten(0, -4)
            valid = batch[sensor.valid].flatten(0, -4)
            sums = [(x * valid).sum((0, 2, 3)), (x**2 * valid).sum((0, 2, 3)), valid.sum().double()]
            old = totals.get(sensor.name, [torch.zeros_like(total) for total in sums])
            totals[sensor.name] = [a + b for a, b in zip(old, sums, strict=True)]
    empty = [name for name, (*_, n) in totals.items() if not n]
    if empty:
        raise DataError(
            problem(
                expected="pixels that are valid in all bands of each sensor",
                received=f"none of {' and '.join(empty)} in {len(chosen)} chips",
                do="leave out bands that are nowhere valid, or choose clearer dates or a higher "
                "`min_valid` of the chips",
            )
        )
    return {name: _to_statistics(*sums) for name, sums in totals.items()}


def _to_statistics(first: Tensor, second: Tensor, n: Tensor) -> Statistics:
    mean = first / n
    std = (second / n - mean**2).clamp(min=0).sqrt()
    std = torch.where(std > 0, std, 1.0)
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))
