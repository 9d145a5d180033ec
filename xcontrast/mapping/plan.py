"""What a map of a region will take, before any of it is done; and doing it, tile by tile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xcontrast.conventions import drop_levels
from xcontrast.cubes.cube import open_cube
from xcontrast.cubes.sources import Box, SourceLike
from xcontrast.cubes.zones import split_zones
from xcontrast.embedding.composites import before_after
from xcontrast.embedding.embed import embed
from xcontrast.errors import DataError, problem
from xcontrast.heads.head import Head
from xcontrast.heads.maps import predict
from xcontrast.mapping.cog import select_layer, to_cog
from xcontrast.mapping.effort import count_work, probe_rate
from xcontrast.mapping.overviews import write_overviews
from xcontrast.mapping.running import MapReport, Order, run_tiles
from xcontrast.model import Model, share
from xcontrast.regions import Region, RegionStore
from xcontrast.sensors import SENSORS

if TYPE_CHECKING:
    from distributed import Client
    from odc.geo.geobox import GeoBox

__all__ = ["MapPlan", "plan_map"]

STORED = 2
"""Bytes of a number in the archive."""


@dataclass(frozen=True)
class MapPlan:
    """A map that can be made tile by tile, and gone on with."""

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
    model: Model = field(repr=False)
    """Whose embeddings they are."""

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
            The cluster, whose workers get the model by :func:`share`; by default this process,
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
            share(self.model, client)
        order = Order(self.lazy, self.store, accept_gaps)
        return run_tiles(order, client=client, progress=progress)

    def open(self) -> xr.Dataset:
        """Open what there is so far; a tile that is not done is empty (NaN, 255)."""
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
        return write_overviews(self.store, client=client, progress=progress)

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
            A day or an instant that there is; not needed where there is one time or none.

        Returns
        -------
        Path
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

    def __repr__(self) -> str:
        told = self.facts
        cells = " x ".join(str(self.lazy.sizes[d]) for d in ("y", "x"))
        times = [f"{n} {d}" for d, n in self.lazy.sizes.items() if str(d).endswith("time")]
        rows = {
            "store": self.store.path,
            "holds": f"{', '.join(map(str, self.lazy.data_vars))}: {cells} cells"
            + "".join(f", {t}" for t in times),
            "tiles": f"{told['tiles']}, {told['pending']} not done",
            "to read": f"{told['bytes_to_read'] / 1e9:.2f} GB, uncompressed, without halos",
            "to write": f"{told['bytes_to_write'] / 1e9:.2f} GB, uncompressed",
            "to encode": f"{told['seconds_to_encode'] / 60:.1f} min on this machine alone, reading "
            "not counted" if self.rate else "not probed",
        }  # fmt: skip
        lines = "\n".join(f"  {name:<10} {value}" for name, value in rows.items())
        return f"<xcontrast.MapPlan>\n{lines}"


def plan_map(
    *,
    model: Model,
    store: str | os.PathLike[str],
    cube: xr.Dataset | None = None,
    bbox: Box | None = None,
    geobox: GeoBox | None = None,
    datetime: str | None = None,
    source: SourceLike = None,
    head: Head | None = None,
    event: str | None = None,
    sensor: Literal["s1", "s2"] | None = None,
    space: str = "encoder",
    stride: int | None = None,
    tile: int | None = None,
    probe: bool = True,
) -> MapPlan:
    """Plan a map of a region: what it takes, and what of it is done.

    Parameters
    ----------
    model : Model
        Whose embeddings they are.
    store : path
        The Zarr store, ``something.zarr``: new, or one begun with the same plan.
    cube : Dataset, optional
        From :func:`open_cube` or :func:`as_cube`; instead of `bbox`, `geobox`, `datetime` and
        `source`.
    bbox, geobox, datetime, source
        As for :func:`open_cube`. A box over several UTM zones is several plans: see
        :func:`split_zones`.
    head : Head, optional
        Write its categories and their probabilities in the same pass; by default embeddings.
    event : str, optional
        Where the head was fitted on before, after and their difference: the date between them.
    sensor : {"s1", "s2"}, optional
        Which to embed; by default the head's, or the model's only one.
    space, stride
        As for :func:`embed`; a head has its own space.
    tile : int, optional
        Pixels a side of a tile, made a whole number of the embedding's blocks; by default one.
    probe : bool, default True
        Encode one window of noise, to tell how long it will take.

    Returns
    -------
    MapPlan
        Its ``run()`` makes what is missing; printed, it says what it takes. Nothing but the
        catalog has been read, and nothing but the store's description written.

    Raises
    ------
    DataError
        If it is not clear what to map, or the inputs do not fit each other.
    SourceError
        If the store holds something else, or was begun with another plan.
    """
    name = _choose_sensor(model, head, sensor)
    if cube is None:
        cube = _open(model, name, bbox, geobox, datetime, source)
    cube = cube[[name]]
    kept = str(head.facts["space"]) if head is not None else space
    emb = embed(cube[name], model, space=kept, stride=stride)  # type: ignore[arg-type]
    block = int(emb.attrs["stride"]) * max(*emb.chunksizes["y"], *emb.chunksizes["x"])
    stated = {
        "model": model.digest, "sensor": name, "space": kept, "stride": emb.attrs["stride"],
        "head": None if head is None else head.digest, "event": event,
        "crs": _name_crs(emb),
        "first": [float(emb[d][0]) for d in ("y", "x") if d in emb.coords],
        "times": [str(t) for d in emb.dims if d in (f"{name}_time", "date") for t in emb[d].values],
    }  # fmt: skip
    work = count_work(cube[name], model, block)
    if head is None:
        lazy = emb.rename(name).to_dataset()
    else:
        if head.facts.get("composite"):
            emb = before_after(emb, event=event)
        lazy = predict(emb, head)
    side = -(-max(tile or block, 1) // block) * block // int(stated["stride"])
    steps = {d: 1 for d in lazy.dims if d in (f"{name}_time", "date", "location")}
    steps |= {d: min(side, lazy.sizes[d]) for d in ("y", "x")}
    regions = RegionStore.open(lazy, Path(store), steps=steps, stated=stated)
    rate = probe_rate(model, name, kept, int(stated["stride"])) if probe else 0.0
    return MapPlan(lazy, cube, regions, rate, work, model)


def _name_crs(embedding: xr.DataArray) -> str | None:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    crs = embedding.odc.crs if "spatial_ref" in embedding.coords else None
    return None if crs is None else str(crs)


def _choose_sensor(model: Model, head: Head | None, sensor: str | None) -> str:
    asked: Sequence[str] = [sensor] if sensor else model.sensors
    if head is not None and sensor is None:
        asked = head.facts["sensors"]
    if len(asked) != 1:
        raise DataError(
            problem(
                expected="one sensor to map",
                received=", ".join(asked),
                do="give sensor='s1' or 's2'; a head on both maps with xc.predict",
            )
        )
    return asked[0]


def _open(
    model: Model,
    name: str,
    bbox: Box | None,
    geobox: GeoBox | None,
    datetime: str | None,
    source: SourceLike,
) -> xr.Dataset:
    if datetime is None or (bbox is None) == (geobox is None):
        raise DataError(
            problem(
                expected="a cube, or datetime and one of bbox and geobox",
                received=f"datetime={datetime!r}, bbox={bbox!r}, geobox={geobox!r}",
                do="give the area and the period",
            )
        )
    if bbox is not None and len(zones := split_zones(bbox)) > 1:
        raise DataError(
            problem(
                expected="a box in one UTM zone",
                received=f"one over {', '.join(f'EPSG:{code}' for code in zones)}",
                do="plan a map for each box of xc.split_zones(bbox), or give a geobox",
            )
        )
    bands = {name: model.card.sensors[name].bands}
    return open_cube(
        bbox=bbox, geobox=geobox, datetime=datetime, sensors=(name,), bands=bands, source=source
    )
