"""Training windows over pairs: kept, split, read into memory, saved, turned into batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.splits import number_pairs, split_chips
from xcontrast.sampling.windows import Indices
from xcontrast.sensors import SENSORS, Sensor
from xcontrast.sheets import Described, Sheet

if TYPE_CHECKING:
    from xcontrast.sampling.loader import Loader

__all__ = ["Chips"]

LAID = ("windows", "covered")


@dataclass(frozen=True, eq=False, repr=False)
class Chips(Described, Sequence[xr.Dataset]):
    """Square windows of pairs, ``size`` pixels a side; indexing gives a Dataset.

    Made by :func:`xcontrast.chips`. One window cuts both sensors, so that the two views cannot be
    misaligned.

    Examples
    --------
    >>> chips = xc.chips(xc.pairs(cube), size=32)
    >>> len(chips), dict(chips[0].sizes)
    (18, {'s1_band': 2, 'y': 32, 'x': 32, 's2_band': 4})
    >>> train, held = chips.split(fraction=0.3)
    >>> len(train) + len(held), chips.take(np.array([3, 4])).row
    (18, array([32, 32]))
    >>> saved = chips.save(folder / "chips.zarr", progress=False)
    >>> saved.units(xc.S1), len(saved.load(progress=False))
    ('dB', 18)
    >>> batch = next(iter(chips.loader(batch_size=8, progress=False)))
    >>> batch["s1"].shape
    torch.Size([8, 2, 32, 32])
    """

    pairs: xr.Dataset
    """The pairs that the windows are cut from; once saved or loaded, their coords alone."""
    size: int
    """Side of a window in pixels."""
    pair: Indices
    """Pair of each chip, shape (n,)."""
    row: Indices
    """First row of each chip, shape (n,)."""
    col: Indices
    """First column of each chip, shape (n,)."""
    valid_fraction: npt.NDArray[np.float32]
    """Share of pixels valid in every image, 0..1, shape (n,)."""
    weight: npt.NDArray[np.float32]
    """How often each chip is drawn in training, against the others, shape (n,)."""
    told: Mapping[str, float]
    """Windows laid, the share of the grid that they cover, and how many were rejected, by why."""
    pixels: Pixels | None = None
    """Once saved or loaded: the chips' own pixels as int16."""

    def __len__(self) -> int:
        return len(self.pair)

    @overload
    def __getitem__(self, index: int) -> xr.Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> Chips: ...
    def __getitem__(self, index: int | slice) -> xr.Dataset | Chips:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row, col = self.row[index], self.col[index]
        y, x = slice(row, row + self.size), slice(col, col + self.size)
        chip = self.pairs.isel(pair=self.pair[index], y=y, x=x)
        if self.pixels is None:
            return chip
        return chip.assign(self.pixels.variables(int(self.pixels.slot[index])))

    def __iter__(self) -> Iterator[xr.Dataset]:
        return (self[i] for i in range(len(self)))

    def _sheet(self) -> Sheet:
        rejected = [f"{n:,} {why}" for why, n in self.told.items() if why not in LAID and n]
        facts = [
            ("chips", f"{len(self):,} of {self.size} x {self.size} px"),
            ("pairs", f"{len(np.unique(self.pair)):,}"),
            *((s.title, ", ".join(map(str, self.pairs[s.band].values))) for s in self.sensors),
            ("valid", f"{self.valid_fraction.mean():.0%} of the pixels" if len(self) else ""),
            (
                "windows",
                f"{self.told['windows']:,} laid over {self.told['covered']:.1%} of the grid",
            ),
            ("rejected", ", ".join(rejected) or "none"),
            ("pixels", f"{self.n_bytes / 1e6:,.1f} MB as int16, {self._place()}"),
        ]
        return Sheet("xcontrast.Chips", facts)

    def _place(self) -> str:
        return "not read yet" if self.pixels is None else f"in {self.pixels.place}"

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensors that each chip holds."""
        there = self.pairs.data_vars if self.pixels is None else self.pixels.arrays
        return tuple(sensor for sensor in SENSORS if sensor.name in there)

    @property
    def n_bytes(self) -> int:
        """Size of the chips' pixels as int16, bytes; what two windows share counts twice."""
        bands = sum(self.pairs.sizes[sensor.band] for sensor in self.sensors)
        return len(self) * bands * self.size**2 * self.pairs.sizes.get("date", 1) * 2

    def units(self, sensor: Sensor) -> str:
        """Give the units of a sensor's values.

        Parameters
        ----------
        sensor : Sensor
            One of :attr:`sensors`.

        Returns
        -------
        str
            ``"dB"``, ``"1"`` or ``"unknown"``.
        """
        known = (
            self.pairs[sensor.name].attrs if self.pixels is None else self.pixels.attrs[sensor.name]
        )
        return str(known.get("units", "unknown"))

    @property
    def location(self) -> Indices:
        """Number of the place that each chip lies in, shape (n,); all zero for a cube's pairs."""
        return number_pairs(self.pairs, "location")[self.pair]

    def take(self, which: npt.NDArray[Any]) -> Chips:
        """Keep some chips.

        Parameters
        ----------
        which : ndarray (k,), int or bool
            Indices to keep in that order, or a mask of length n.

        Returns
        -------
        Chips
        """
        fields = ("pair", "row", "col", "valid_fraction", "weight")
        kept = {name: getattr(self, name)[which] for name in fields}
        pixels = None if self.pixels is None else self.pixels.take(which)
        return replace(self, **kept, pixels=pixels)

    def load(self, *, progress: bool = True) -> Chips:
        """Read the pixels into memory as int16, each source chunk once.

        Parameters
        ----------
        progress : bool, default True
            Show a bar.

        Returns
        -------
        Chips

        Raises
        ------
        DataError
            If they do not fit.
        """
        from xcontrast.sampling.gathering import read_chips

        return read_chips(self, progress=progress)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        seed: int = 0,
        overwrite: bool = False,
        progress: bool = True,
    ) -> Chips:
        """Write the pixels once, in the layout that training reads fastest; Zarr 3, int16.

        Chips lie in a shuffled order, some 8 MB of them a chunk: what comes from one chunk is a
        draw from everywhere. Each source chunk is read once. An interrupted call goes on where it
        was when it is called again.

        Parameters
        ----------
        path : path
            The store, ``something.zarr``.
        seed : int, default 0
            Of the order on disk.
        overwrite : bool, default False
            Replace a store that is there, once the new one is whole.
        progress : bool, default True
            Show a bar with the size.

        Returns
        -------
        Chips
            As :func:`xcontrast.load_chips` opens them.

        Raises
        ------
        SourceError
            If the store is there and `overwrite` is not set.
        """
        from xcontrast.sampling.saving import save_chips

        return save_chips(self, path, seed=seed, overwrite=overwrite, progress=progress)

    def loader(
        self,
        *,
        batch_size: int = 64,
        seed: int = 0,
        device: str = "cpu",
        n_workers: int = 4,
        n_dates: int = 3,
        resident: bool | None = None,
        progress: bool = True,
    ) -> Loader:
        """Give batches of tensors, shuffled anew at each pass; for a training loop of one's own.

        Parameters
        ----------
        batch_size : int, default 64
            Chips a batch. The remainder of a pass is left out, another one each time.
        seed : int, default 0
            Of the order and the dates drawn.
        device : str, default "cpu"
            Where the batches are made.
        n_workers : int, default 4
            Threads that read and decode; 0 does it in the caller's. The batches are the same.
        n_dates : int, default 3
            Seasonal chips: how many of a place's dates are drawn, anew at each visit.
        resident : bool, optional
            Hold all pixels on the device; by default where they fit in half of its free memory.
        progress : bool, default True
            Show a bar while pixels are read into memory.

        Returns
        -------
        Loader
            Of dict of Tensor, see :class:`xcontrast.sampling.loader.Loader`.

        Raises
        ------
        DataError
            If there are fewer chips than a batch, or an option is out of its range.
        """
        from xcontrast.sampling.loader import Loader

        return Loader(
            self, batch_size=batch_size, seed=seed, device=device, n_workers=n_workers,
            n_dates=n_dates, resident=resident, progress=progress,
        )  # fmt: skip

    def split(
        self,
        *,
        fraction: float = 0.2,
        by: str | None = None,
        buffer: int = 0,
        seed: int = 0,
    ) -> tuple[Chips, Chips]:
        """Split into training and held-out chips that share no ground.

        Parameters
        ----------
        fraction : float, default 0.2
            Share of the places (or of the area) held out, above 0 and below 1.
        by : str, optional
            Coord on ``pair`` whose values are kept together, such as ``"scene"``; by a time, the
            two parts share ground. By default
            ``"location"`` where the pairs have more than one, those that overlap on the ground
            (same ``epsg``, by ``x0`` and ``y0``) kept together; otherwise square blocks of the
            grid, at least two chips wide, are held out whole, and chips that lie across a border
            are dropped.
        buffer : int, default 0
            Pixels kept free around a held-out block or place.
        seed : int, default 0
            Draws the places.

        Returns
        -------
        tuple of Chips
            Training chips, held-out chips; every date of a place is on one side.

        Raises
        ------
        DataError
            If one side would be empty.
        """
        return split_chips(self, fraction=fraction, by=by, buffer=buffer, seed=seed)
