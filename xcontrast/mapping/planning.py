"""From a region and a model to a plan: what is read, embedded, mapped and written, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from xcontrast.cubes.cube import open_cube
from xcontrast.cubes.options import CubeOptions, state_options
from xcontrast.cubes.reports import READS
from xcontrast.cubes.sources import Box, SourceLike, name_source
from xcontrast.cubes.zones import split_zones
from xcontrast.embedding.composites import TIMES
from xcontrast.errors import DataError, problem
from xcontrast.heads.head import Head
from xcontrast.heads.segmenting.segmenter import Segmenter
from xcontrast.mapping.plan import MapPlan
from xcontrast.mapping.products import embed_and_predict, segment_images
from xcontrast.model import Model
from xcontrast.regions import RegionStore

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["plan_map"]

OPENED = "as open_cube gives them"


def plan_map(
    *,
    store: str | os.PathLike[str],
    model: Model | None = None,
    cube: xr.Dataset | None = None,
    bbox: Box | None = None,
    geobox: GeoBox | None = None,
    datetime: str | None = None,
    source: SourceLike = None,
    options: CubeOptions | None = None,
    head: Head | Segmenter | None = None,
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
    store : path
        The Zarr store, ``something.zarr``: new, or one begun with the same plan.
    model : Model, optional
        Whose embeddings they are; a segmenter needs none.
    cube : Dataset, optional
        From :func:`open_cube` or :func:`as_cube`; instead of `bbox`, `geobox`, `datetime`,
        `source` and `options`.
    bbox, geobox, datetime, source, options
        As for :func:`open_cube`. A box over several UTM zones is several plans: see
        :func:`split_zones`. A change wants one orbit: ``options=CubeOptions(relative_orbit=95)``.
    head : Head or Segmenter, optional
        Write its categories and their probabilities in the same pass; by default embeddings.
    event : str, optional
        Where it was trained on before and after: the date between them.
    sensor : {"s1", "s2"}, optional
        Which to embed; by default the model's only one. A head has its own, one or both.
    space, stride
        As for :func:`embed`; a head has its own space, and a segmenter maps every pixel.
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

    Examples
    --------
    >>> plan = xc.plan_map(
    ...     store=folder / "s1.zarr", model=model, cube=cube, sensor="s1", probe=False
    ... )
    >>> plan.facts["bytes_to_write"]
    2359296.0
    """
    network = head if isinstance(head, Segmenter) else model
    if network is None:
        raise _unclear("a model, or a segmenter as `head`", "neither", "give model=...")
    if packed and head is not None:
        raise _unclear("embeddings, to pack them", "a head", "leave `packed` out")
    names = _choose_sensors(network, head, sensor)
    area: dict[str, Any] = {
        "bbox": bbox, "geobox": geobox, "datetime": datetime, "source": source,
        "options": options,
    }  # fmt: skip
    if cube is None:
        read = state_options(options or CubeOptions())
        stated = {"pixels": OPENED, "source": name_source(source), "options": read}
        cube = _select(_open(network, names, **area), names)
    elif given := [name for name, value in area.items() if value is not None]:
        received = f"a cube and {', '.join(given)}"
        raise _unclear("a cube, or an area to open", received, "leave out one of the two")
    else:
        cube = _select(cube, names)
        stated = _state_pixels(cube, names)
    if isinstance(network, Segmenter):
        product = segment_images(cube, network, event=event)
    else:
        assert not isinstance(head, Segmenter)
        product = embed_and_predict(
            cube, network, head=head, event=event, space=space, stride=stride, packed=packed
        )
    lazy, block = product.lazy, product.block
    side = -(-max(tile or block, 1) // block) * block // product.cell
    steps = {d: 1 for d in lazy.dims if d in (*TIMES, "location")}
    steps |= {d: min(side, lazy.sizes[d]) for d in ("y", "x")}
    # First, as it finds out whether the model is there: no store is begun that none can fill.
    rate = product.probe() if probe else 0.0
    regions = RegionStore.open(lazy, Path(store), steps=steps, stated=product.stated | stated)
    return MapPlan(lazy, cube, regions, rate, product.work, product.network)


def _choose_sensors(
    network: Model | Segmenter, head: Head | Segmenter | None, sensor: str | None
) -> tuple[str, ...]:
    if head is not None:
        told = network.card.sensors if isinstance(network, Segmenter) else head.facts["sensors"]
        needed = tuple(str(name) for name in told)
        if sensor is not None and needed != (sensor,):
            expected = f"what the head was fitted on: {', '.join(needed)}"
            raise _unclear(expected, f"sensor={sensor!r}", "leave `sensor` out")
        return needed
    asked: Sequence[str] = [sensor] if sensor else tuple(network.card.sensors)
    if len(asked) != 1:
        do = "give sensor='s1' or 's2'; both are two plans, as their times differ"
        raise _unclear("one sensor to embed", ", ".join(asked), do)
    return (asked[0],)


def _open(
    network: Model | Segmenter,
    names: tuple[str, ...],
    bbox: Box | None,
    geobox: GeoBox | None,
    datetime: str | None,
    source: SourceLike,
    options: CubeOptions | None,
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
    bands = {name: network.card.sensors[name].bands for name in names}
    return open_cube(
        bbox=bbox, geobox=geobox, datetime=datetime, sensors=names, bands=bands, source=source,
        options=options,
    )  # fmt: skip


def _select(cube: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    if missing := [name for name in names if name not in cube.data_vars]:
        received = f"variables {', '.join(sorted(map(str, cube.data_vars)))}"
        do = "give a cube of xc.open_cube or xc.as_cube that has the sensor, or map another one"
        raise _unclear(f"a cube with {', '.join(missing)}", received, do)
    return cube[list(names)]


def _state_pixels(cube: xr.Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    """Say what the pixels of a given cube are: their digest in memory, that of the graph if lazy.

    Not of what :func:`open_cube` gave: its chunks, and with them its graph, depend on how much
    memory is free, and a plan must be gone on with.
    """
    from dask.base import tokenize

    if READS in cube.attrs:
        return {"pixels": OPENED}
    return {"pixels": {name: tokenize(cube[name].data) for name in names}}


def _unclear(expected: str, received: str, do: str) -> DataError:
    return DataError(problem(expected=expected, received=received, do=do))
