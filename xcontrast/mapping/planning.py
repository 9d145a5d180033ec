"""From a region and a model to a plan: what is read, embedded, mapped and written, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import xarray as xr

from xcontrast.cubes.cube import open_cube
from xcontrast.cubes.sources import Box, SourceLike
from xcontrast.cubes.zones import split_zones
from xcontrast.embedding.composites import TIMES, before_after
from xcontrast.embedding.embed import embed
from xcontrast.embedding.packing import pack
from xcontrast.errors import DataError, problem
from xcontrast.heads.head import Head
from xcontrast.heads.maps import predict
from xcontrast.mapping.effort import count_work, probe_rate
from xcontrast.mapping.plan import MapPlan
from xcontrast.model import Model
from xcontrast.regions import RegionStore

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["plan_map"]


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
    packed: bool = False,
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
        Which to embed; by default the model's only one. A head has its own, one or both.
    space, stride
        As for :func:`embed`; a head has its own space.
    packed : bool, default False
        Write embeddings as one byte a feature, a quarter of the size; see :func:`pack`. Their
        store is opened by ``plan.open().contrast.unpack()``.
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
    names = _choose_sensors(model, head, sensor)
    if cube is None:
        cube = _open(model, names, bbox, geobox, datetime, source)
    cube = cube[list(names)]
    kept = str(head.facts["space"]) if head is not None else space
    parts = {
        name: embed(cube[name], model, space=kept, stride=stride)  # type: ignore[arg-type]
        for name in names
    }
    one = parts[names[0]]
    cell = int(one.attrs["stride"])
    block = cell * max(*one.chunksizes["y"], *one.chunksizes["x"])
    stated = {
        "model": model.digest, "sensor": ", ".join(names), "space": kept, "stride": cell,
        "head": None if head is None else head.digest, "event": event, "packed": packed,
        "crs": _name_crs(one),
        "first": [float(one[d][0]) for d in ("y", "x") if d in one.coords],
        "times": [str(t) for part in parts.values() for d in part.dims if d in TIMES
                  for t in part[d].values],
    }  # fmt: skip
    lazy = _apply(parts, head, event, packed=packed)
    side = -(-max(tile or block, 1) // block) * block // cell
    steps = {d: 1 for d in lazy.dims if d in (*TIMES, "location")}
    steps |= {d: min(side, lazy.sizes[d]) for d in ("y", "x")}
    regions = RegionStore.open(lazy, Path(store), steps=steps, stated=stated)
    work = {name: count_work(cube[name], model, block) for name in names}
    total, rate = sum(work.values()), 0.0
    if probe:
        rates = {name: probe_rate(model, name, kept, cell) for name in names}
        rate = total / sum(work[name] / rates[name] for name in names)
    return MapPlan(lazy, cube, regions, rate, total, model)


def _apply(
    parts: dict[str, xr.DataArray], head: Head | None, event: str | None, *, packed: bool
) -> xr.Dataset:
    """Give what is written: embeddings, or what a head makes of them."""
    if head is None:
        ((name, embedding),) = parts.items()
        embedding = embedding.rename(name)
        return pack(embedding) if packed else embedding.to_dataset()
    if head.facts.get("composite"):
        parts = {name: before_after(part, event=event) for name, part in parts.items()}
    if len(parts) == 1:
        mapped = predict(next(iter(parts.values())), head)
    else:
        # valid_fraction differs between the sensors, so that one Dataset cannot hold both.
        bare = {k: v.drop_vars("valid_fraction", errors="ignore") for k, v in parts.items()}
        mapped = predict(xr.Dataset(bare), head)
    # It follows from the probabilities, and would be four more bytes a cell.
    return mapped.drop_vars("entropy")


def _name_crs(embedding: xr.DataArray) -> str | None:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    crs = embedding.odc.crs if "spatial_ref" in embedding.coords else None
    return None if crs is None else str(crs)


def _choose_sensors(model: Model, head: Head | None, sensor: str | None) -> tuple[str, ...]:
    if head is not None:
        needed = tuple(str(name) for name in head.facts["sensors"])
        if sensor is not None and needed != (sensor,):
            raise DataError(
                problem(
                    expected=f"what the head was fitted on: {', '.join(needed)}",
                    received=f"sensor={sensor!r}",
                    do="leave `sensor` out",
                )
            )
        return needed
    asked: Sequence[str] = [sensor] if sensor else model.sensors
    if len(asked) != 1:
        raise DataError(
            problem(
                expected="one sensor to embed",
                received=", ".join(asked),
                do="give sensor='s1' or 's2'; both are two plans, as their times differ",
            )
        )
    return (asked[0],)


def _open(
    model: Model,
    names: tuple[str, ...],
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
    bands = {name: model.card.sensors[name].bands for name in names}
    return open_cube(
        bbox=bbox, geobox=geobox, datetime=datetime, sensors=names, bands=bands, source=source
    )
