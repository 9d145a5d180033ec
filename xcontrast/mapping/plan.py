"""What a map of a region will take, before any of it is done; and doing it, tile by tile."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.conventions import drop_levels
from xcontrast.heads.segmenting.segmenter import Segmenter
from xcontrast.mapping.cog import select_layer, to_cog
from xcontrast.mapping.overviews import write_overviews
from xcontrast.mapping.running import MapReport, Order, run_tiles
from xcontrast.model import Model, share
from xcontrast.regions import Region, RegionStore
from xcontrast.sensors import SENSORS
from xcontrast.sheets import Described, Sheet, say_bytes

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["MapPlan"]

STORED = 2
"""Bytes of a number in the archive."""


@dataclass(frozen=True, repr=False)
class MapPlan(Described):
    """A map that can be made tile by tile, and gone on with.

    Examples
    --------
    >>> plan = xc.plan_map(
    ...     store=folder / "s1.zarr", model=model, cube=cube, sensor="s1", probe=False
    ... )
    >>> len(plan.pending()), plan.facts["tiles"]
    (2, 2)
    >>> _ = plan.run(progress=False)
    >>> len(plan.pending()), dict(plan.open().sizes)
    (0, {'s1_time': 2, 'feature': 512, 'y': 24, 'x': 24})
    >>> plan.write_overviews(progress=False)
    []
    >>> plan.to_cog(folder / "s1.tif", time="2023-04-01").name
    's1.tif'
    """

    lazy: xr.Dataset = field(repr=False)
    """What is written."""
    cube: xr.Dataset = field(repr=False)
    """What is read."""
    store: RegionStore
    """Where, and which tiles are done."""
    rate: float
    """Pixels a second that this machine encodes, by a probe; 0 where it was not asked for."""
    work: float
    """Pixels that are encoded, of all tiles, halos included."""
    network: Model | Segmenter = field(repr=False)
    """What workers must have."""

    def pending(self) -> list[Region]:
        """Give the tiles that are not done."""
        return self.store.pending()

    def run(
        self, client: Client | None = None, *, accept_gaps: bool = False, progress: bool = True
    ) -> MapReport:
        """Make the tiles that are not done.

        A tile that fails is tried once more at the end, and again when the plan is run again. On
        a cluster a tile is one task: a worker that is killed costs one tile.

        Parameters
        ----------
        client : distributed.Client, optional
            The cluster, whose workers get the network by :func:`share`; by default this process,
            with dask's threads.
        accept_gaps : bool, default False
            Count a tile as done although files of it are missing or damaged, which leaves it with
            what others show, or NaN. By default it is written and told, and made anew when the
            plan is run again. (Where access or the network fails a tile fails: it has no gaps.)
        progress : bool, default True
            Show a bar.

        Returns
        -------
        MapReport

        Raises
        ------
        ModelError
            If the model's folder is gone, or a worker can keep no copy of it.
        """
        if client is not None:
            share(self.network, client)
        order = Order(self.lazy, self.store.absolute(), accept_gaps)
        return run_tiles(order, client=client, progress=progress)

    def open(self) -> xr.Dataset:
        """Open what there is so far; a tile that was never written is empty (NaN, 255)."""
        data: xr.Dataset = xr.open_zarr(self.store.path)
        data.attrs = drop_levels(data.attrs)
        return data

    def write_overviews(self, client: Client | None = None, *, progress: bool = True) -> list[str]:
        """Write coarser levels of the finished map into its store.

        Parameters
        ----------
        client, progress
            As for :meth:`run`.

        Returns
        -------
        list of str
            Groups of the store, each of cells twice as wide as the one before, as
            ``xr.open_zarr(store, group=...)`` takes them: codes by the most frequent valid one,
            numbers by the mean. None where the map has at most 512 cells a side.
        """
        return write_overviews(self.store.absolute(), client=client, progress=progress)

    def to_cog(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        time: Any = None,
        overwrite: bool = False,
    ) -> Path:
        """Write one variable of the finished map as a cloud-optimised GeoTIFF.

        It is held in memory twice, uncompressed: 0.8 GB for a label of 20 000 x 20 000 cells,
        that times 4 and the number of bands for probabilities or features.

        Parameters
        ----------
        path, overwrite
            As for :func:`to_cog`.
        name : str, optional
            The variable; by default ``label``, or the only one.
        time : str or datetime, optional
            A day or an instant that there is; not needed where there is one time, and refused
            where there is none.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            If it is not clear which variable or time.
        SourceError
            If tiles are not done, or the file is there and `overwrite` is not set.
        """
        self.store.require_whole()
        layer = select_layer(self.open(), name=name, time=time)
        return to_cog(layer, path, overwrite=overwrite)

    @property
    def facts(self) -> dict[str, Any]:
        """What it will take, as numbers."""
        n_tiles, n_pending = len(self.store), len(self.pending())
        share = n_pending / n_tiles
        read = sum(self.cube[s.name].size for s in SENSORS if s.name in self.cube) * STORED
        return {
            "tiles": n_tiles,
            "pending": n_pending,
            "pixels": float(np.prod([self.cube.sizes[d] for d in ("y", "x")])),
            "bytes_to_read": read * share,
            "bytes_to_write": sum(v.nbytes for v in self.lazy.data_vars.values()) * share,
            "seconds_to_encode": self.work * share / self.rate if self.rate else float("nan"),
        }

    def _sheet(self) -> Sheet:
        told = self.facts
        cells = " x ".join(str(self.lazy.sizes[d]) for d in ("y", "x"))
        times = [f"{n} {d}" for d, n in self.lazy.sizes.items() if str(d).endswith("time")]
        held = ", ".join([f"{cells} cells", *times])
        alone = "on this machine alone, reading not counted"
        rows = [
            ("store", str(self.store.path)),
            ("holds", f"{', '.join(map(str, self.lazy.data_vars))}: {held}"),
            ("tiles", f"{told['tiles']}, {told['pending']} not done"),
            ("to read", f"{say_bytes(told['bytes_to_read'])}, uncompressed, without halos"),
            ("to write", f"{say_bytes(told['bytes_to_write'])}, uncompressed"),
            ("to encode", f"{_say_time(told['seconds_to_encode'])} {alone}" if self.rate
             else "not probed"),
        ]  # fmt: skip
        return Sheet("xcontrast.MapPlan", rows)


def _say_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
