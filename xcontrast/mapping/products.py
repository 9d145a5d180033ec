"""What a plan writes: embeddings, what a head makes of them, or what a segmenter maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import xarray as xr

from xcontrast.embedding.composites import TIMES, before_after
from xcontrast.embedding.embed import embed
from xcontrast.embedding.packing import pack
from xcontrast.heads.head import Head
from xcontrast.heads.maps import predict
from xcontrast.heads.segmenting.segmenter import Segmenter
from xcontrast.mapping.effort import count_work, probe_rate, probe_segmenter
from xcontrast.model import Model

__all__ = ["Product", "embed_and_predict", "segment_images"]


@dataclass(frozen=True)
class Product:
    """What is written, lazily, and what it takes."""

    lazy: xr.Dataset
    cell: int
    """Pixels a side of a cell."""
    block: int
    """Pixels a side of what one task makes."""
    stated: dict[str, Any]
    """Makes two plans the same, or not."""
    work: float
    """Pixels that are encoded, halos included."""
    probe: Callable[[], float]
    """Encodes noise: pixels a second, on this machine."""
    network: Model | Segmenter
    """What workers must have."""


def embed_and_predict(
    cube: xr.Dataset,
    model: Model,
    *,
    head: Head | None,
    event: str | None,
    space: str,
    stride: int | None,
    packed: bool,
) -> Product:
    """Embed the sensors of a cube, and apply a head if there is one.

    Parameters
    ----------
    cube : Dataset
        With the sensors that are embedded, and no others.
    model : Model
    head : Head or None
    event, space, stride, packed
        As for :func:`plan_map`.

    Returns
    -------
    Product
    """
    names = [str(name) for name in cube.data_vars]
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
        **_state_grid(one, list(parts.values())),
    }  # fmt: skip
    work = {name: count_work(cube[name], model.card.halo, block) for name in names}
    probe = partial(_probe_all, model, work, kept, cell)
    lazy = _apply(parts, head, event, packed=packed)
    return Product(lazy, cell, block, stated, sum(work.values()), probe, model)


def segment_images(cube: xr.Dataset, segmenter: Segmenter, *, event: str | None) -> Product:
    """Apply a segmenter to the pixels of a cube.

    Parameters
    ----------
    cube : Dataset
        With the sensors that the segmenter needs.
    segmenter : Segmenter
    event : str or None
        As for :func:`plan_map`.

    Returns
    -------
    Product
    """
    lazy = predict(cube, segmenter, event=event).drop_vars("entropy")
    block = max(*lazy.chunksizes["y"], *lazy.chunksizes["x"])
    arrays = [cube[str(name)] for name in segmenter.card.sensors]
    stated = {
        "segmenter": segmenter.digest, "sensor": ", ".join(segmenter.card.sensors),
        "event": event, **_state_grid(lazy.label, arrays),
    }  # fmt: skip
    # Each date passes the encoder of its sensor.
    images = arrays[0].isel({d: 0 for d in arrays[0].dims if d in TIMES})
    halo = 0 if block >= max(lazy.sizes["y"], lazy.sizes["x"]) else None
    work = count_work(images, halo, block)
    return Product(lazy, 1, block, stated, work, partial(probe_segmenter, segmenter), segmenter)


def _state_grid(one: xr.DataArray, dated: list[xr.DataArray]) -> dict[str, Any]:
    return {
        "crs": _name_crs(one),
        "corners": [float(one[d][k]) for k in (0, -1) for d in ("y", "x") if d in one.coords],
        "times": [str(t) for part in dated for d in part.dims if d in TIMES
                  and d in part.coords for t in part[d].values],
    }  # fmt: skip


def _probe_all(model: Model, work: dict[str, float], space: str, cell: int) -> float:
    rates = {name: probe_rate(model, name, space, cell) for name in work}
    return sum(work.values()) / sum(n / rates[name] for name, n in work.items())


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


def _name_crs(array: xr.DataArray) -> str | None:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    crs = array.odc.crs if "spatial_ref" in array.coords else None
    return None if crs is None else str(crs)
