"""From a cube to dense embeddings: lazy, labelled, on the cube's grid zoomed out by a stride."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import xarray as xr

from xcontrast.blocks import map_blocks_with_halo
from xcontrast.embedding.blending import OVERLAP, STEP, halo_of_windows
from xcontrast.embedding.inputs import select_bands, sensor_of
from xcontrast.embedding.kernel import EmbedKernel, count_valid
from xcontrast.embedding.points import find_cells, plan_windows, take_cells
from xcontrast.embedding.pooling import PoolKernel, pool_images
from xcontrast.errors import DataError, problem
from xcontrast.grids import zoom_out
from xcontrast.model import Model
from xcontrast.model.checks import check_model, check_precision, check_stride
from xcontrast.sensors import SENSORS, Sensor

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["embed"]

T = TypeVar("T", xr.Dataset, xr.DataArray)

BLOCK = 2048
"""Pixels a side of the blocks that are embedded by one task, at most."""
BLOCK_STEP = 256
"""Pixels: block sides are multiples of it."""
BLOCK_BYTES = 320e6
"""Of the features of a block, at most."""
VALID = {"long_name": "valid share"}
LARGE = 100e9
"""Bytes from which building an embedding warns."""


def embed(
    obj: T,
    model: Model,
    *,
    space: Literal["encoder", "joint", "invariant", "season", "artificial"] = "encoder",
    stride: int | None = None,
    at: Any = None,
    min_valid: float = 0.5,
    pool: bool = False,
    precision: Literal["auto", "32", "bf16"] = "auto",
    device: str = "auto",
) -> T:
    """Embed every pixel of a cube, lazily.

    Each block is read with a halo as wide as the encoder's measured receptive field, so that the
    result does not depend on chunks and has no seams. Encoders that see the whole image run on
    windows of 384 pixels fixed to the grid, which overlap by 128 and fade into each other.
    Edges are embedded as the network pads them for the scene in one piece.

    Parameters
    ----------
    obj : Dataset or DataArray
        ``s1 (…, s1_band, y, x)`` dB and/or ``s2 (…, s2_band, y, x)`` reflectance, float32 with
        NaN where invalid: a cube, a collection, pairs, or one of their variables.
    model : Model
        With an encoder for each sensor given. Its bands are picked by name and put in order.
    space : {"encoder", "joint", "invariant", "season", "artificial"}, default "encoder"
        ``encoder``: features of the sensor's own encoder, not comparable across sensors. The
        others are projected, unit norm, applied to each cell; a model has those of its method.
        ``joint``: what both sensors share, comparable across them. ``invariant``, ``season``,
        ``artificial``: Seasonal Contrast's Z0, Z1 and Z2, in which images are alike whatever the
        date and artificial changes, whatever the date, and whatever artificial changes.
    stride : int, optional
        Pixels a cell, a power of two; by default 4 (40 m at 10 m pixels). All feature levels are
        brought to this grid and concatenated.
    at : GeoDataFrame or other points, optional
        Embed only the cells that hold these, in windows around them: ``(…, feature, point)``, in
        their order, with the cell's ``row`` and ``column`` on ``point``. The values are those of
        the whole embedding.
    min_valid : float, default 0.5
        A cell is NaN when a smaller share of its pixels is valid in all bands.
    pool : bool, default False
        One vector for each image instead of one for each cell, pooled as in training: for chips
        and collections, of 2,048 px a side at most. `stride` has no meaning then.
    precision : {"auto", "32", "bf16"}, default "auto"
        Of the encoder; auto is bfloat16 where the device that computes has units for it, float32
        elsewhere. Features are float32 either way; bfloat16 moves them by .3 to .9 % of their
        spread (rms), and a flood map on .02 % of its pixels at most.
    device : str, default "auto"
        Where blocks are computed; auto is the GPU if there is one.

    Returns
    -------
    Dataset or DataArray
        As given: ``embedding (…, feature, y, x)`` float32, or ``(…, feature)`` if pooled, or
        ``(…, feature, point)``, or a Dataset with one variable a sensor; dask-backed. The coord
        ``valid_fraction (…, y, x)`` says how much of each cell is valid. attrs name the model's
        digest, the sensor, space and stride, the encoder's own, and the ``halo`` of blocks or the
        ``window``, pixels.

    Raises
    ------
    DataError
        If dims, bands or units are not what the model was trained on, there is no date or pixel,
        or no image to pool, the stride is no power of two up to the deepest level's, the precision
        is another, or a point lies outside.
    ModelError
        If the model has no encoder for the sensor or no such space.

    Warns
    -----
    UserWarning
        If the result would be larger than 100 GB.

    Examples
    --------
    >>> lazy = xc.embed(cube, model)
    >>> lazy.s1.shape, lazy.s1.chunks is not None
    ((2, 512, 24, 24), True)
    >>> xc.embed(cube, model, space="joint", stride=8).s2.shape
    (2, 128, 12, 12)
    >>> xc.embed(cube.s1, model, at=points).dims
    ('s1_time', 'feature', 'point')
    """
    options = (space, stride, at, min_valid, pool, precision, device)
    if isinstance(obj, xr.DataArray):
        return _embed_array(obj, model, sensor_of(obj), *options)
    names = [s for s in SENSORS if s.name in obj.data_vars]
    if not names:
        raise DataError(
            problem(
                expected="a Dataset with 's1' and/or 's2'",
                received=f"variables {sorted(map(str, obj.data_vars))}",
                do="make the cube with xc.open_cube or xc.as_cube",
            )
        )
    parts = {s.name: _embed_array(obj[s.name], model, s, *options) for s in names}
    # valid_fraction differs between the sensors, so that one Dataset cannot hold both.
    renamed = {
        name: part.rename(valid_fraction=f"{name}_valid_fraction") for name, part in parts.items()
    }
    return xr.Dataset(renamed, attrs=obj.attrs)


def _embed_array(
    array: xr.DataArray,
    model: Model,
    sensor: Sensor,
    space: str,
    stride: int | None,
    at: Any,
    min_valid: float,
    pool: bool,
    precision: str,
    device: str,
) -> xr.DataArray:
    check_model(model, sensor, space)
    check_precision(precision)
    card = model.card
    # As measured: the encoder may have no level at the stride that it was asked for.
    deepest = max(level.stride for level in card.geometry())
    step = check_stride(stride, deepest)
    selected = select_bands(array, card.sensors[sensor.name], sensor)
    n_features = card.n_features
    if space != "encoder" and card.projector is not None:
        n_features = card.projector.n_projected
    network = (
        str(model.path.resolve()), model.digest, sensor.name, space, device, precision, min_valid
    )  # fmt: skip
    attrs: dict[str, Any] = {
        "long_name": f"{sensor.title} embedding, {space} space",
        "sensor": sensor.name,
        "space": space,
        "precision": precision,
        "model_digest": model.digest,
        "model_method": card.method,
        "model_encoder": card.encoder,
        "xcontrast": card.xcontrast,
    }
    if pool:
        result = _pool(selected, PoolKernel(*network), sensor, n_features)
        return result.assign_attrs({**attrs, "pooled": 1})
    tile = None if card.halo is not None else STEP
    halo = card.halo if card.halo is not None else halo_of_windows(STEP, OVERLAP)
    kernel = EmbedKernel(*network, step, tile)
    if at is None:
        result = _map_cells(selected, kernel, sensor, n_features, halo)
    else:
        result = _map_points(selected, kernel, sensor, n_features, halo, at, tile or deepest)
    seen = {"halo": halo} if tile is None else {"window": STEP + OVERLAP}
    return result.assign_attrs({**attrs, "stride": step, "encoder_stride": deepest, **seen})


def _pool(
    selected: xr.DataArray, kernel: PoolKernel, sensor: Sensor, n_features: int
) -> xr.DataArray:
    lead = selected.dims[:-3]
    images = selected.drop_vars(list(selected.coords))
    values = pool_images(images, kernel, n_features=n_features)
    seen: xr.DataArray = xr.apply_ufunc(np.isfinite, images, dask="allowed")
    share = seen.all(sensor.band).mean(("y", "x"), dtype="float32")
    coords = _coords(selected, sensor, lead) | {"valid_fraction": share.assign_attrs(VALID)}
    return values.assign_coords(coords).rename("embedding")


def _map_cells(
    selected: xr.DataArray, kernel: EmbedKernel, sensor: Sensor, n_features: int, halo: int
) -> xr.DataArray:
    lead, step = selected.dims[:-3], kernel.stride
    block = _choose_block(n_features, step)
    source = _as_dask(selected, block)
    values = _map(source, kernel, block=block, halo=halo, stride=step, n_out=n_features)
    share = _map(source, count_valid, block=block, halo=0, stride=step, n_out=None)
    _warn_of_size(values)
    coords = _coords(selected, sensor, lead) | zoom_out(selected, step)
    coords["valid_fraction"] = ((*lead, "y", "x"), share, VALID)
    return xr.DataArray(values, coords, (*lead, "feature", "y", "x"), "embedding")


def _map_points(
    selected: xr.DataArray,
    kernel: EmbedKernel,
    sensor: Sensor,
    n_features: int,
    halo: int,
    points: Any,
    step: int,
) -> xr.DataArray:
    lead, stride = selected.dims[:-3], kernel.stride
    cells = find_cells(selected, points, stride=stride)
    places = plan_windows(cells, stride=stride, halo=halo, step=step)
    take = partial(take_cells, _as_dask(selected, BLOCK_STEP), cells=cells, stride=stride)
    values = take(kernel, places=places, halo=halo, n_out=n_features)
    # Without a halo: each cell by itself.
    alone = plan_windows(cells, stride=stride, halo=0, step=stride)
    share = take(count_valid, places=alone, halo=0, n_out=None)
    grid = zoom_out(selected, stride)
    coords = _coords(selected, sensor, lead) | {
        "y": ("point", grid["y"].values[cells[0]]),
        "x": ("point", grid["x"].values[cells[1]]),
        "row": ("point", cells[0]),
        "column": ("point", cells[1]),
        "spatial_ref": grid["spatial_ref"],
        "valid_fraction": ((*lead, "point"), share, VALID),
    }
    return xr.DataArray(values, coords, (*lead, "feature", "point"), "embedding")


def _choose_block(n_features: int, stride: int) -> int:
    """Give the side of a block, pixels: the larger, the less of the work is halo."""
    side = stride * (BLOCK_BYTES / (4 * n_features)) ** 0.5
    return int(min(max(side // BLOCK_STEP, 1) * BLOCK_STEP, BLOCK))


def _map(source: Any, kernel: Any, *, block: int, halo: int, stride: int, n_out: int | None) -> Any:
    from dask.base import tokenize

    name = f"embed-{tokenize(source.name, kernel, halo, stride, block)}"
    return map_blocks_with_halo(
        source,
        kernel,
        block=block,
        halo=halo,
        stride=stride,
        n_out=n_out,
        dtype="float32",
        name=name,
    )


def _as_dask(array: xr.DataArray, block: int) -> Any:
    if array.chunks is not None:
        return array.data
    import dask.array

    return dask.array.from_array(array.values, chunks=(1,) * (array.ndim - 3) + (-1, block, block))


def _coords(array: xr.DataArray, sensor: Sensor, lead: tuple[Hashable, ...]) -> dict[str, Any]:
    """Keep what describes the leading dims; y, x and the grid mapping are made anew."""
    return {
        str(name): coord
        for name, coord in array.coords.items()
        if name not in (sensor.band, "y", "x", "spatial_ref") and set(coord.dims) <= set(lead)
    }


def _warn_of_size(values: Any) -> None:
    if values.nbytes > LARGE:
        warnings.warn(
            f"this embedding is {values.nbytes / 1e9:.0f} GB when computed; a larger stride, "
            "fewer dates, or a head applied to it before writing makes it smaller",
            stacklevel=4,
        )
