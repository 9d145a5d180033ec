"""The one bridge from xarray to torch: chips in, normalised tensors on a device out.

Pixels stay int16 (nodata -32768) until they are on the device; validity, units and normalisation
are made there. Letters: T acquisitions, B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from tqdm.auto import tqdm

from xcontrast.errors import DataError, problem
from xcontrast.sampling.chips import Chips
from xcontrast.sensors import STORED_NODATA, Sensor

__all__ = ["BatchOrder", "ChipStore", "Statistics", "measure_statistics", "store_chips"]


@dataclass(frozen=True)
class Statistics:
    """Global mean and standard deviation of each band, in the sensor's units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class _Stack:
    images: Tensor
    """(T, H, W, C) int16, channels last so that a window is one contiguous run a row."""
    scale: float
    """Units of one step of `images`."""
    acquisition: Tensor
    """(n,) int64, the acquisition of each chip."""

    def windows(self, size: int, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Copy windows that begin at (acquisition, row, col): (B, size, size, C) int16."""
        if self.images.device.type == "cpu":
            # numpy copies a window's lines whole; torch goes pixel by pixel, ten times slower.
            view = sliding_window_view(self.images.numpy(), (size, size), axis=(1, 2))
            return torch.from_numpy(view.transpose(0, 1, 2, 4, 5, 3)[tuple(a.numpy() for a in at)])
        n, height, width, bands = self.images.shape
        strides = self.images.stride()
        shape = (n, height - size + 1, width - size + 1, size, size, bands)
        return self.images.as_strided(shape, (*strides[:3], *strides[1:]))[at]


@dataclass(frozen=True)
class ChipStore:
    """All chips' pixels, whole acquisitions kept once, cut into batches by index on a device."""

    stacks: dict[str, _Stack]
    size: int
    row: Tensor
    """(n,) int64."""
    col: Tensor
    """(n,) int64."""
    place: Tensor
    """(n,) int64, number of the place; windows of one place may overlap."""
    weight: Tensor
    """(n,) float32, how often a chip is drawn, against the others."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def n_bytes(self) -> int:
        """Size of the pixels, bytes."""
        return sum(stack.images.nbytes for stack in self.stacks.values())

    def to(self, device: torch.device) -> ChipStore:
        """Copy to a device."""
        stacks = {
            name: _Stack(s.images.to(device), s.scale, s.acquisition.to(device))
            for name, s in self.stacks.items()
        }
        moved = (tensor.to(device) for tensor in (self.row, self.col, self.place, self.weight))
        return ChipStore(stacks, self.size, *moved)

    def gather(self, index: Tensor) -> dict[str, Tensor]:
        """Gather the stored integers of one batch of chips.

        Parameters
        ----------
        index : Tensor (B,), int64
            Which chips.

        Returns
        -------
        dict of str to Tensor
            For each sensor ``(B, C, size, size)`` int16, channels-last.
        """
        index = index.to(self.row.device)
        row, col = self.row[index], self.col[index]
        batch = {}
        for name, stack in self.stacks.items():
            at = (stack.acquisition[index], row, col)
            batch[name] = stack.windows(self.size, at).permute(0, 3, 1, 2)
        return batch

    def cut(self, index: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Cut one batch of chips.

        Parameters
        ----------
        index : Tensor (B,), int64
            Which chips.

        Returns
        -------
        dict of str to tuple of Tensor
            For each sensor the values ``(B, C, size, size)`` float32 in the sensor's units, 0
            where invalid, and validity ``(B, 1, size, size)`` float32, 1 where all bands are
            valid. Both are channels-last.
        """
        return {
            name: _to_values(stored, self.stacks[name].scale)
            for name, stored in self.gather(index).items()
        }

    def same_ground(self, index: Tensor) -> Tensor:
        """Say which chips of a batch overlap on the ground.

        Parameters
        ----------
        index : Tensor (B,), int64
            Which chips.

        Returns
        -------
        Tensor (B, B), bool
            True where both lie at one place and their windows overlap; the diagonal is True.
        """
        index = index.to(self.row.device)
        row, col, place = self.row[index], self.col[index], self.place[index]
        near = (row[:, None] - row).abs().maximum((col[:, None] - col).abs()) < self.size
        return near & (place[:, None] == place)


def _to_values(stored: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Give values, 0 where invalid, and validity of stored integers (B, C, H, W)."""
    values = stored.float().mul_(scale)
    bad = stored == STORED_NODATA
    if stored.device.type != "cpu":
        return values.masked_fill_(bad, 0), (~bad).all(1, keepdim=True).float()
    valid = torch.ones_like(values[:, :1])
    # Most chips have no gap: only the others are looked at pixel by pixel.
    holed = bad.permute(0, 2, 3, 1).reshape(len(bad), -1).any(1).nonzero()[:, 0]
    if len(holed):
        gaps = bad[holed]
        values[holed] = values[holed].masked_fill_(gaps, 0)
        valid[holed] = (~gaps).all(1, keepdim=True).float()
    return values, valid


@dataclass
class BatchOrder:
    """Index batches for a number of steps; the order is a function of seed, epoch and step.

    An epoch draws chips without replacement: all of them, or with weights as many as the heaviest
    would be drawn once each, so that a chip of half the weight comes about every other epoch.

    Examples
    --------
    >>> order = BatchOrder(n_chips=5, batch_size=2, n_steps=3, seed=0)
    >>> [len(batch) for batch in order], len(order)
    ([2, 2, 2], 3)
    """

    n_chips: int
    batch_size: int
    n_steps: int
    seed: int
    weights: npt.NDArray[np.float32] | None = None

    @property
    def n_epoch(self) -> int:
        """Chips of an epoch."""
        if self.weights is None:
            return self.n_chips
        drawn = round(float(self.weights.sum(dtype=float) / self.weights.max()))
        return int(np.clip(drawn, min(self.batch_size, self.n_chips), self.n_chips))

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[Tensor]:
        per_epoch = self.n_epoch // self.batch_size
        for step in range(self.n_steps):
            epoch, at = divmod(step, per_epoch)
            if at == 0:
                order = self._order(epoch)
            yield torch.from_numpy(order[at * self.batch_size : (at + 1) * self.batch_size])

    def _order(self, epoch: int) -> npt.NDArray[np.intp]:
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is None:
            return rng.permutation(self.n_chips)
        # Efraimidis and Spirakis (2006): the smallest of exponential waits, one after the other.
        waits = rng.exponential(size=self.n_chips) / self.weights
        return waits.argsort()[: self.n_epoch]


def store_chips(chips: Chips, *, progress: bool = True) -> ChipStore:
    """Read the pixels that chips need, once, as int16.

    Parameters
    ----------
    chips : Chips
        What to read; lazy pairs are computed acquisition by acquisition.
    progress : bool, default True
        Show a bar while lazy data are read.

    Returns
    -------
    ChipStore
        On the CPU.

    Raises
    ------
    DataError
        If the pairs are seasonal.
    """
    if "date" in chips.pairs.dims:
        raise DataError(
            problem(
                expected="chips of one image a sensor",
                received=f"seasonal pairs of {chips.pairs.sizes['date']} dates",
                do="pair across sensors, pairs(kind='cross-sensor'), or select one date",
            )
        )
    stacks = {s.name: _read_stack(chips, s, progress) for s in chips.sensors}
    known = (chips.row, chips.col, chips.location, chips.weight)
    return ChipStore(stacks, chips.size, *(torch.from_numpy(array) for array in known))


def _read_stack(chips: Chips, sensor: Sensor, progress: bool) -> _Stack:
    used, pair_of_chip = np.unique(chips.pair, return_inverse=True)
    first, acquisition_of_pair = _distinct_acquisitions(chips.pairs, sensor, used)
    values = chips.pairs[sensor.name].transpose("pair", "y", "x", sensor.band)
    scale = _stored_scale(values, sensor, first)
    images = np.empty((len(first), *values.shape[1:]), np.int16)
    show = progress and values.chunks is not None
    for i, pair in enumerate(tqdm(first, desc=f"reading {sensor.title}", disable=not show)):
        images[i] = _to_stored(values.isel(pair=int(pair)).values, scale)
    acquisition = torch.from_numpy(acquisition_of_pair[pair_of_chip])
    return _Stack(torch.from_numpy(images), scale, acquisition)


def _distinct_acquisitions(
    pairs: xr.Dataset, sensor: Sensor, used: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find the first pair of each distinct image, as several pairs may share one."""
    if "location" in pairs.coords or sensor.time not in pairs.coords:
        return used, np.arange(len(used))
    times = pairs[sensor.time].values[used]
    _, first, inverse = np.unique(times, return_index=True, return_inverse=True)
    return used[first], inverse


def _stored_scale(values: xr.DataArray, sensor: Sensor, first: npt.NDArray[np.intp]) -> float:
    if values.attrs.get("units") == sensor.units:
        return sensor.stored_scale
    # Unknown units: one step for all, so that the largest value met still fits, with room to spare.
    largest = max(float(np.abs(values.isel(pair=int(i))).max()) for i in first)
    return largest / 30_000 if largest > 0 else 1.0


def _to_stored(values: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.int16]:
    steps = np.rint(values / np.float32(scale)).clip(STORED_NODATA + 1, 32_767)
    return np.where(np.isfinite(values), steps, STORED_NODATA).astype(np.int16)


def measure_statistics(
    store: ChipStore, *, n_max: int = 2048, seed: int = 0
) -> dict[str, Statistics]:
    """Measure the global mean and standard deviation of each band over the chips' valid pixels.

    Parameters
    ----------
    store : ChipStore
        The training chips only.
    n_max : int, default 2048
        At most so many chips are read, drawn by `seed`.
    seed : int, default 0
        Draws them.

    Returns
    -------
    dict of str to Statistics
        One a sensor; a band that never varies gets the standard deviation 1.
    """
    chosen = torch.from_numpy(np.random.default_rng(seed).permutation(len(store))[:n_max])
    totals: dict[str, list[Tensor]] = {}
    for part in torch.split(chosen, 64):
        for name, (values, valid) in store.cut(part).items():
            x = values.double()
            sums = [(x * valid).sum((0, 2, 3)), (x**2 * valid).sum((0, 2, 3)), valid.sum().double()]
            old = totals.get(name, [torch.zeros_like(total) for total in sums])
            totals[name] = [a + b for a, b in zip(old, sums, strict=True)]
    statistics = {}
    for name, (first, second, n) in totals.items():
        mean = first / n.clamp(min=1)
        std = (second / n.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        std = torch.where(std > 0, std, 1.0)
        statistics[name] = Statistics(tuple(mean.tolist()), tuple(std.tolist()))
    return statistics
