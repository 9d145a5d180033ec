"""What a probe works on: the truth, the variants that are judged, and how far their cells see."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from xcontrast.embedding.composites import TIMES, before_after
from xcontrast.embedding.embed import embed
from xcontrast.embedding.inputs import sensor_of
from xcontrast.errors import DataError, problem
from xcontrast.evaluation.baselines import cell_statistics
from xcontrast.evaluation.options import ProbeOptions
from xcontrast.evaluation.variants import HeadVariant, PixelVariant, UnetVariant, Variant
from xcontrast.folders import cache_root
from xcontrast.grids import find_factors, geobox_of, order_alike, positions_in
from xcontrast.heads.labels import match_labels
from xcontrast.legends import Legend
from xcontrast.model import Model
from xcontrast.model.fresh import write_fresh_model
from xcontrast.sensors import SENSORS

__all__ = ["Material", "from_cube", "from_embedding"]

IMAGES = 16
"""Of which statistics are made at a time."""
PROBED = 9
"""Rows and columns of cells at which their side in pixels is measured."""
SHARE = 0.25
"""Of the memory at hand that pixels or features may take; larger ones are made anew each fold."""


@dataclass(frozen=True)
class Material:
    """What is judged against what."""

    truth: xr.DataArray
    """(…, y, x), uint8; a pooled embedding has one y and x."""
    variants: list[Variant]
    """The encoder first, then what stands beside it."""
    reach: int | None
    """Pixels of the truth that a prediction may have been made from, to each side; None where it
    is not known."""
    facts: dict[str, Any]


def from_embedding(
    embedding: xr.DataArray | xr.Dataset,
    labels: Any,
    legend: Legend,
    column: str | None,
    event: Any,
    kind: str,
    options: ProbeOptions,
) -> Material:
    """Take an embedding as it is: nothing but itself can be judged."""
    features = _with_space(_compose(embedding, event))
    labels = _with_space(labels) if isinstance(labels, xr.DataArray) else labels
    # Labels with other cells than the embedding are judged as they are.
    finer = isinstance(labels, xr.DataArray) and any(
        labels.sizes.get(d) != features.sizes[d] for d in ("y", "x")
    )
    like = order_alike(labels, features, what="labels") if finer else features
    truth = _match(labels, like, legend, column)
    variant = HeadVariant("embedding", _keep(features), truth, legend, kind, options.seed)
    return Material(truth, [variant], _find_reach(features, truth), _facts(features))


def from_cube(
    cube: xr.DataArray | xr.Dataset,
    labels: Any,
    model: Model,
    legend: Legend,
    column: str | None,
    event: Any,
    kind: str,
    options: ProbeOptions,
    stack: ExitStack,
) -> Material:
    """Embed a cube, and make the baselines that need its pixels.

    Files that they need are kept until `stack` is closed.
    """
    cube = _keep(cube)
    pooled = isinstance(labels, xr.DataArray) and not {"y", "x"} & set(labels.dims)

    def encode(own: Model) -> Any:
        found: Any = embed(cube, own, stride=options.stride, pool=pooled)  # type: ignore[type-var]
        return _with_space(_compose(found, event))

    # First, as it refuses what does not fit the model.
    features = encode(model)
    layers = _stack_layers(cube, model, event)
    labels = _with_space(labels) if isinstance(labels, xr.DataArray) else labels
    truth = _match(labels, layers.isel(y=[0], x=[0]) if pooled else layers, legend, column)

    def head(name: str, features: Any) -> HeadVariant:
        return HeadVariant(name, _keep(features), truth, legend, kind, options.seed)

    run = (options.unet_steps, options.seed)
    variants: list[Variant] = [head("embedding", features)]
    for name in options.baselines:
        if name == "statistics":
            variants.append(head(name, _statistics(layers, features, pooled, options)))
        elif name == "random":
            folder = stack.enter_context(TemporaryDirectory(dir=cache_root()))
            fresh = write_fresh_model(model.card, Path(folder) / "random", seed=options.seed)
            variants.append(head(name, encode(fresh)))
        elif name == "pixels" and not pooled:
            variants.append(PixelVariant(name, layers, legend, options.seed))
        elif name == "unet" and not pooled:
            fresh_folder = stack.enter_context(TemporaryDirectory(dir=cache_root()))
            fresh = write_fresh_model(model.card, Path(fresh_folder) / "unet", seed=options.seed)
            variants.append(UnetVariant(name, cube, fresh, legend, event, *run))
    return Material(truth, variants, _find_reach(features, truth), _facts(features))


def _match(labels: Any, like: Any, legend: Legend, column: str | None) -> xr.DataArray:
    truth = match_labels(labels, like, legend=legend, column=column)
    if "spatial_ref" in like.coords and "spatial_ref" not in truth.coords:
        truth = truth.assign_coords(spatial_ref=like.spatial_ref)
    return truth


def _one_time(obj: Any) -> Any:
    """Take away a time dim of one step; heads refuse longer ones."""
    return obj.squeeze([d for d in TIMES if obj.sizes.get(d) == 1], drop=True)


def _compose(obj: Any, event: Any) -> Any:
    """Give one time: before, after and difference where there are two sides of an event."""
    if isinstance(obj, xr.Dataset):
        return xr.Dataset({k: _compose(v, event) for k, v in obj.data_vars.items()})
    times = {d: obj.sizes[d] for d in TIMES if d in obj.dims}
    if event is not None or 2 in times.values():
        return before_after(obj, event=event)
    if any(n > 1 for n in times.values()):
        raise DataError(
            problem(
                expected="one time, two (before and after), or an event",
                received=", ".join(f"{n} steps of {d}" for d, n in times.items()),
                do="give event='2023-05-16', or select one time or two",
            )
        )
    return _one_time(obj)


def _stack_layers(cube: xr.DataArray | xr.Dataset, model: Model, event: Any) -> xr.DataArray:
    """Give what the encoders see as layers of pixels: (…, feature, y, x), the same bands."""
    arrays = (
        [cube]
        if isinstance(cube, xr.DataArray)
        else [cube[s.name] for s in SENSORS if s.name in cube.data_vars]
    )
    parts = []
    for array in arrays:
        sensor = sensor_of(array)
        bands = array.sel({sensor.band: list(model.card.sensors[sensor.name].bands)})
        dims = {str(d) for d in bands.dims}
        told = [c for c in bands.coords if c not in dims and c != "spatial_ref"]
        plain = bands.drop_vars([*told, sensor.band]).rename({sensor.band: "feature"})
        parts.append(_compose(plain, event))
    joined = xr.concat(parts, "feature", coords="minimal", compat="override", join="exact")
    layers: xr.DataArray = joined.transpose(..., "feature", "y", "x")
    return layers


def _statistics(
    layers: xr.DataArray, features: Any, pooled: bool, options: ProbeOptions
) -> xr.DataArray:
    """Give means and deviations in the cells of the embedding."""
    array = features if isinstance(features, xr.DataArray) else next(iter(features.values()))
    if pooled:
        moments = [layers.mean(("y", "x")), layers.std(("y", "x"))]
        described: xr.DataArray = _with_space(xr.concat(moments, "feature", coords="minimal"))
        return described
    # Images a few at a time: windows are made in float64, many times the layers themselves.
    if "location" in layers.dims and layers.chunks is None:
        layers = layers.chunk(location=IMAGES)
    found = cell_statistics(layers, stride=int(array.attrs["stride"]), windows=options.windows)
    grid = {name: array[name] for name in ("y", "x", "spatial_ref") if name in array.coords}
    placed: xr.DataArray = found.assign_coords(grid)
    return placed


def _with_space(obj: Any) -> Any:
    """Give what is pooled, or labels of whole images, a y and x of one cell."""
    missing = [d for d in ("y", "x") if d not in obj.dims]
    if not missing:
        return obj
    return obj.expand_dims(missing, axis=[-2, -1] if len(missing) == 2 else [-1])


def _keep(obj: Any) -> Any:
    """Compute pixels or features once where they take a part of the memory that is to spare."""
    import psutil

    lazy = obj.__dask_graph__() is not None
    if lazy and obj.nbytes < SHARE * psutil.virtual_memory().available:
        return obj.compute()
    return obj


def _find_reach(features: Any, truth: xr.DataArray) -> int | None:
    """Give the pixels of the truth, to each side, that a prediction depends on.

    What a cell sees, and two cells more: probabilities are interpolated between cells, and a label
    is fitted at the cell that holds it.
    """
    arrays = [features] if isinstance(features, xr.DataArray) else list(features.values())
    reaches: list[int] = []
    for array in arrays:
        stride = array.attrs.get("stride")
        seen = array.attrs.get("halo", array.attrs.get("window"))
        if stride is None or seen is None:
            return None
        reaches.append(math.ceil((seen / stride + 2) * _pixels_a_cell(array, truth)))
    return max(reaches)


def _pixels_a_cell(array: xr.DataArray, truth: xr.DataArray) -> float:
    """Give the side of a cell in pixels of the truth, the longer one, wherever it is longest."""
    cells, pixels = geobox_of(array), geobox_of(truth)
    if cells is None or pixels is None:
        return float(max(find_factors(truth, array), default=truth.sizes["y"]))
    middles = (np.linspace(0.5, n - 0.5, PROBED) for n in cells.shape)
    row, column = (v.ravel() for v in np.meshgrid(*middles, indexing="ij"))
    corners = [
        np.stack(positions_in(pixels, cells, column + east, row + south))
        for south in (-0.5, 0.5)
        for east in (-0.5, 0.5)
    ]
    # Of a cell that is turned or oblong there, what encloses it.
    sides = np.max(corners, axis=0) - np.min(corners, axis=0)
    return round(float(sides.max(initial=1, where=np.isfinite(sides))), 6)


def _facts(features: Any) -> dict[str, Any]:
    """Say whose features they are, as far as they do."""
    array = features if isinstance(features, xr.DataArray) else next(iter(features.values()))
    known = ("model_digest", "model_method", "model_encoder", "space", "stride", "composite")
    return {key: array.attrs[key] for key in known if key in array.attrs}
