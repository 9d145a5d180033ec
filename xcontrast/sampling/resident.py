"""Pixels of chips held whole on a device, cut into batches by index.

Letters: T images, D dates (seasonal chips alone), B batch, C channels, H W pixels, S a chip's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xcontrast.progress import track
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.gathering import check_memory
from xcontrast.sampling.identity import find_images
from xcontrast.sampling.reading import (
    find_scale,
    group_pairs,
    read_blocks,
    view_windows,
)
from xcontrast.sampling.windows import Indices
from xcontrast.sensors import Sensor

__all__ = ["ChipStore", "store_chips"]


@dataclass(frozen=True)
class _Stack:
    images: Tensor
    """(T, H, W, C) int16, channels last so that a window is one contiguous run a row."""
    scale: float
    """Units of one step of `images`."""
    image: Tensor
    """(n,) or (n, D) int64, the image of each chip and date."""

    def to(self, device: torch.device) -> _Stack:
        return _Stack(self.images.to(device), self.scale, self.image.to(device))

    def windows(self, size: int, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Copy windows that begin at (image, row, col): (B, [D,] S, S, C) int16."""
        if self.images.device.type == "cpu":
            # numpy copies a window's lines whole; torch goes pixel by pixel, ten times slower.
            view = view_windows(self.images.numpy(), size)
            return torch.from_numpy(view[tuple(a.numpy() for a in at)])
        return all_windows(self.images, size)[at]


@dataclass(frozen=True)
class ChipStore:
    """All chips' pixels; an image that several chips are cut from is held once."""

    stacks: dict[str, _Stack]
    size: int
    row: Tensor
    """(n,) int64, in the image."""
    col: Tensor
    """(n,) int64, in the image."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def n_bytes(self) -> int:
        """Size of the pixels, bytes."""
        return sum(stack.images.nbytes for stack in self.stacks.values())

    def to(self, device: torch.device) -> ChipStore:
        """Copy to a device."""
        stacks = {name: stack.to(device) for name, stack in self.stacks.items()}
        return ChipStore(stacks, self.size, self.row.to(device), self.col.to(device))

    def gather(self, index: Tensor, dates: Tensor | None = None) -> dict[str, Tensor]:
        """Gather the stored integers of one batch of chips.

        Parameters
        ----------
        index : Tensor (B,), int64
            Which chips.
        dates : Tensor (B, D), int64, optional
            Seasonal chips: which dates of each; all of them by default.

        Returns
        -------
        dict of str to Tensor
            For each sensor ``(B, [D,] S, S, C)`` int16.
        """
        index = index.to(self.row.device)
        row, col = self.row[index], self.col[index]
        batch = {}
        for name, stack in self.stacks.items():
            image = stack.image[index]
            if image.ndim == 2:
                if dates is not None:
                    image = image.gather(1, dates.to(image.device))
                at = (image, row[:, None].expand_as(image), col[:, None].expand_as(image))
            else:
                at = (image, row, col)
            batch[name] = stack.windows(self.size, at)
        return batch


def store_chips(chips: Chips, *, progress: bool = True) -> ChipStore:
    """Read the pixels that chips need, once, as int16.

    Parameters
    ----------
    chips : Chips
        What to read; lazy pairs are computed block by block.
    progress : bool, default True
        Show a bar while lazy data are read.

    Returns
    -------
    ChipStore
        On the CPU.

    Raises
    ------
    DataError
        If lazy data do not fit into memory.
    """
    if chips.pixels is None:
        stacks = {s.name: _read_images(chips, s, progress) for s in chips.sensors}
        return ChipStore(stacks, chips.size, _tensor(chips.row), _tensor(chips.col))
    stacks = {s.name: _read_windows(chips, s) for s in chips.sensors}
    corner = torch.zeros(len(chips), dtype=torch.int64)
    return ChipStore(stacks, chips.size, corner, corner)


def all_windows(images: Tensor, size: int) -> Tensor:
    """View all windows: (T, H, W, C) -> (T, H - S + 1, W - S + 1, S, S, C), no copy."""
    n, height, width, bands = images.shape
    strides = images.stride()
    shape = (n, height - size + 1, width - size + 1, size, size, bands)
    return images.as_strided(shape, (*strides[:3], *strides[1:]))


def _tensor(numbers: Indices) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers))


def _read_images(chips: Chips, sensor: Sensor, progress: bool) -> _Stack:
    """Read whole images of all pairs that have a chip."""
    values = chips.pairs[sensor.name]
    used, pair = np.unique(chips.pair, return_inverse=True)
    first, image = find_images(chips.pairs, sensor, used)
    scale = find_scale(values.isel(pair=first), sensor)
    groups = group_pairs(values, first, values.nbytes / 2 / values.sizes["pair"])
    n_dates = values.sizes.get("date", 1)
    shape = (len(first), n_dates, *(values.sizes[d] for d in ("y", "x", sensor.band)))
    if values.chunks is not None:
        check_memory(2 * int(np.prod(shape)))
    images = np.empty(shape, np.int16)
    quiet = not progress or values.chunks is None
    with track(total=len(first), what=f"reading {sensor.title}", on=not quiet) as bar:
        for block in read_blocks(values, sensor, first, scale, groups):
            rows = slice(block.row, block.row + block.stored.shape[-3])
            own = images[block.group, :, rows]
            own[...] = block.stored.reshape(own.shape)
            bar.update(own.shape[0] * own.shape[2] / shape[2])
    number = image[pair]
    if "date" in values.dims:
        number = number[:, None] * n_dates + np.arange(n_dates)
    return _Stack(torch.from_numpy(images.reshape(-1, *shape[2:])), scale, _tensor(number))


def _read_windows(chips: Chips, sensor: Sensor) -> _Stack:
    """Read chips that are cut out already; what is in memory is shared."""
    pixels = chips.pixels
    assert pixels is not None
    in_memory = pixels.chunk is None
    number = pixels.slot if in_memory else np.arange(len(chips))
    windows = pixels.arrays[sensor.name] if in_memory else pixels.read(sensor.name, pixels.slot)
    if windows.ndim == 5:
        n_dates = windows.shape[1]
        number = number[:, None] * n_dates + np.arange(n_dates)
        windows = windows.reshape(-1, *windows.shape[2:])
    return _Stack(torch.from_numpy(windows), pixels.scale[sensor.name], _tensor(number))
