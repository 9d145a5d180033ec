"""The pixels of chips brought together: in memory, or on disk where a stopped call goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.progress import track
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.identity import find_images
from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.reading import (
    cut_windows,
    find_scale,
    group_pairs,
    read_blocks,
)
from xcontrast.sampling.windows import Indices
from xcontrast.sensors import Sensor

__all__ = ["ATTRS", "Gathered", "check_memory", "coords_alone", "gather", "read_chips"]

ATTRS = ("units", "long_name")
"""Of a sensor's variable, that chips keep."""


def read_chips(chips: Chips, *, progress: bool = True) -> Chips:
    """Read chips into memory; see :meth:`Chips.load`."""
    check_memory(chips.n_bytes)
    slot = np.arange(len(chips))
    shapes = {s.name: _shape(chips, s) for s in chips.sensors}
    gathered = Gathered(None, {name: np.empty(shape, np.int16) for name, shape in shapes.items()})
    pixels = gather(chips, slot, gathered, progress=progress)
    return replace(chips, pairs=coords_alone(chips), pixels=pixels)


def check_memory(n_bytes: int) -> None:
    """Refuse to read more than fits.

    Parameters
    ----------
    n_bytes : int
        To be held, as int16.

    Raises
    ------
    DataError
        If that is more than four fifths of the free memory.
    """
    import psutil

    free = psutil.virtual_memory().available
    if n_bytes > 0.8 * free:
        raise DataError(
            problem(
                expected=f"chips that fit into the {free / 1e9:.1f} GB of free memory",
                received=f"{n_bytes / 1e9:.1f} GB",
                do="write them with chips.save(path), which training reads as it goes; or use "
                "fewer dates, a smaller area or a larger stride",
            )
        )


def coords_alone(chips: Chips) -> xr.Dataset:
    """Keep what is known of the pairs, without pixels."""
    small = {"pair", "date", "y", "x", *(sensor.band for sensor in chips.sensors)}
    coords = {
        name: coord
        for name, coord in chips.pairs.coords.items()
        if set(coord.dims) <= small and not {"y", "x"} < set(coord.dims)
    }
    for dim in ("y", "x", *(sensor.band for sensor in chips.sensors)):
        coords.setdefault(dim, xr.DataArray(np.arange(chips.pairs.sizes[dim]), dims=dim))
    known = xr.Dataset(coords=coords, attrs=chips.pairs.attrs).compute()
    # An index of pairs or dates may be missing, but their number must not.
    return known.assign_coords(
        {
            dim: np.arange(chips.pairs.sizes[dim])
            for dim in ("pair", "date")
            if dim in chips.pairs.dims and dim not in known.dims
        }
    )


@dataclass(frozen=True)
class Gathered:
    """Raw pixels as they come in; on disk what came in is remembered."""

    folder: Path | None
    arrays: Mapping[str, npt.NDArray[np.int16]]

    @classmethod
    def begin(cls, folder: Path, chips: Chips, plan: str) -> Gathered:
        """Make the arrays on disk, or find those that the same call began."""
        note = folder / "plan.json"
        same = note.is_file() and note.read_text() == plan
        if not same:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        arrays = {
            s.name: np.memmap(
                folder / f"{s.name}.raw", np.int16, "r+" if same else "w+", shape=_shape(chips, s)
            )
            for s in chips.sensors
        }
        note.write_text(plan)
        return cls(folder, arrays)

    def there(self, name: str) -> set[str]:
        """Give the groups that came in whole, by the name of :func:`_name_group`."""
        note = self.folder / f"{name}.done" if self.folder is not None else None
        return set(note.read_text().split()) if note and note.is_file() else set()

    def keep(self, name: str, group: str) -> None:
        """Remember that a group came in whole."""
        if self.folder is None:
            return
        self.arrays[name].flush()  # type: ignore[attr-defined]
        with (self.folder / f"{name}.done").open("a") as note:
            note.write(f"{group}\n")


def gather(chips: Chips, slot: Indices, gathered: Gathered, *, progress: bool) -> Pixels:
    """Bring the pixels of all chips to their slots, each source chunk read once.

    Parameters
    ----------
    chips : Chips
        Of lazy or loaded pairs, or saved ones.
    slot : ndarray (n,), intp
        Where each chip goes.
    gathered : Gathered
        Where they come in.
    progress : bool
        Show a bar.

    Returns
    -------
    Pixels
        Over the arrays of `gathered`.
    """
    scale: dict[str, float] = {}
    attrs: dict[str, Mapping[str, Any]] = {}
    with track(
        total=chips.n_bytes, what="gathering chips", unit="B", unit_scale=True, on=progress
    ) as bar:
        for sensor in chips.sensors:
            if chips.pixels is None:
                values = chips.pairs[sensor.name]
                scale[sensor.name] = find_scale(values, sensor)
                attrs[sensor.name] = values.attrs
                _cut_all(chips, sensor, scale[sensor.name], slot, gathered, bar)
            else:
                scale[sensor.name] = chips.pixels.scale[sensor.name]
                attrs[sensor.name] = chips.pixels.attrs[sensor.name]
                _copy_all(chips, sensor, slot, gathered.arrays[sensor.name], bar)
    kept = {name: {k: own[k] for k in ATTRS if k in own} for name, own in attrs.items()}
    return Pixels(gathered.arrays, scale, kept, slot)


def _cut_all(
    chips: Chips,
    sensor: Sensor,
    scale: float,
    slot: Indices,
    gathered: Gathered,
    bar: Any,
) -> None:
    values = chips.pairs[sensor.name]
    used, pair = np.unique(chips.pair, return_inverse=True)
    used, of_pair = find_images(chips.pairs, sensor, used)
    image = of_pair[pair]
    groups = group_pairs(values, used, values.nbytes / 2 / max(1, values.sizes["pair"]))
    owner = np.searchsorted([group.start for group in groups], image, side="right") - 1
    names = [_name_group(np.flatnonzero(owner == k), scale) for k in range(len(groups))]
    there = gathered.there(sensor.name)
    left = [group for group, name in zip(groups, names, strict=True) if name not in there]
    per_chip = gathered.arrays[sensor.name][0].nbytes
    n_left = np.bincount(owner, minlength=len(groups))
    bar.update(
        per_chip * int(sum(n for n, name in zip(n_left, names, strict=True) if name in there))
    )
    blocks = read_blocks(values, sensor, used, scale, left)
    number = {group.start: k for k, group in enumerate(groups)}
    for group, which, windows in cut_windows(blocks, image, chips.row, chips.col, chips.size):
        gathered.arrays[sensor.name][slot[which]] = windows
        bar.update(windows.nbytes)
        k = number[group.start]
        n_left[k] -= len(which)
        if not n_left[k]:
            gathered.keep(sensor.name, names[k])


def _name_group(own: Indices, scale: float) -> str:
    """Name a group by its chips, as another call may cut the pairs into other groups."""
    return hashlib.sha256(own.astype(np.int64).tobytes() + str(scale).encode()).hexdigest()[:16]


def _copy_all(
    chips: Chips, sensor: Sensor, slot: Indices, out: npt.NDArray[np.int16], bar: Any
) -> None:
    pixels = chips.pixels
    assert pixels is not None
    order = np.argsort(pixels.slot)
    step = 8 * (pixels.chunk or 32)
    for part in np.array_split(order, max(1, len(order) // step)):
        windows = pixels.read(sensor.name, pixels.slot[part])
        out[slot[part]] = windows
        bar.update(windows.nbytes)


def _shape(chips: Chips, sensor: Sensor) -> tuple[int, ...]:
    dates = (chips.pairs.sizes["date"],) if "date" in chips.pairs.dims else ()
    return (len(chips), *dates, chips.size, chips.size, chips.pairs.sizes[sensor.band])
