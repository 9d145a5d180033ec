"""From a head and an embedding to a map: categories and probabilities, lazily."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.features import IDENTITY, join_features
from xcontrast.heads.head import Head
from xcontrast.heads.interpolation import ToCells, interpolate
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.version import __version__

__all__ = ["as_map", "predict"]


def predict(
    embedding: xr.DataArray | xr.Dataset, head: Head, *, like: Any | None = None
) -> xr.Dataset:
    """Map categories and their probabilities, lazily.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, y, x)``, or ``(…, feature)`` of whole images or points, of the model, space
        and sensors that the head was fitted on.
    head : Head
        From :func:`fit`.
    like : GeoBox or georeferenced DataArray or Dataset, optional
        Grid of the map: probabilities are interpolated bilinearly onto it, and the label is the
        most probable there. By default the embedding's grid.

    Returns
    -------
    Dataset
        ``label (…, y, x)`` uint8, 255 where the embedding is invalid, with CF ``flag_values``,
        ``flag_meanings``, ``flag_colors`` and ``nodata``; ``probability (…, category, y, x)``
        float32, calibrated, and ``entropy (…, y, x)`` float32, of the probabilities: 0 where one
        category is sure, 1 where all are alike; both NaN there.

    Raises
    ------
    DataError
        If the head was fitted on another model, space, sensor or number of features.
    """
    features, facts = join_features(embedding)
    _check_head(head, facts, features.sizes["feature"])
    probability = _map_probability(features, head)
    if like is not None:
        if "y" not in probability.dims:
            raise DataError(
                problem(
                    expected="an embedding with y and x, to bring its map onto a grid",
                    received=f"dims {features.dims}",
                    do="leave `like` out",
                )
            )
        probability = _bring_onto(probability, like)
    provenance = {"model_digest": str(head.facts["model_digest"]), "head_kind": head.kind}
    return as_map(probability, head.legend, provenance)


def _check_head(head: Head, facts: dict[str, Any], n_features: int) -> None:
    for key in (*IDENTITY, "sensors"):
        if head.facts[key] != facts[key] and not (key == "sensors" and facts["space"] == "joint"):
            raise DataError(
                problem(
                    expected=f"an embedding with {key} {head.facts[key]!r}, as the head was fitted",
                    received=repr(facts[key]),
                    do="embed with the same model, space and sensor; only the space 'joint' is "
                    "shared by the sensors",
                )
            )
    if head.facts["n_features"] != n_features:
        raise DataError(
            problem(
                expected=f"{head.facts['n_features']} features",
                received=str(n_features),
                do="embed as the head was fitted",
            )
        )


def _map_probability(features: xr.DataArray, head: Head) -> xr.DataArray:
    axis = features.get_axis_num("feature")
    kernel = partial(_probability_np, head=head, axis=axis)
    n = len(head.legend.codes)
    if features.chunks is None:
        values: Any = kernel(features.values)
    else:
        import dask.array

        source = features.data.rechunk({axis: -1})
        chunks = (*source.chunks[:axis], (n,), *source.chunks[axis + 1 :])
        meta = np.empty((0,) * features.ndim, np.float32)
        values = dask.array.map_blocks(kernel, source, chunks=chunks, dtype="float32", meta=meta)
    dims = ["category" if dim == "feature" else dim for dim in features.dims]
    coords = {k: v for k, v in features.coords.items() if "feature" not in v.dims}
    coords["category"] = ("category", np.array(head.legend.names, object))
    return xr.DataArray(values, coords, dims, "probability")


def _probability_np(
    features: npt.NDArray[np.float32], *, head: Head, axis: int
) -> npt.NDArray[np.float32]:
    """Turn axis F into K, NaN where a feature is."""
    cells = np.moveaxis(features, axis, -1)
    flat = np.ascontiguousarray(cells.reshape(-1, cells.shape[-1]))
    valid = np.isfinite(flat).all(1)
    result = np.full((len(flat), head.classifier.n_categories), np.nan, np.float32)
    if valid.any():
        result[valid] = head.probability(flat[valid])
    return np.moveaxis(result.reshape(*cells.shape[:-1], -1), -1, axis)


def _bring_onto(probability: xr.DataArray, like: Any) -> xr.DataArray:
    """Interpolate onto the grid of `like`: by CRS or, where neither has one, by counting pixels."""
    import odc.geo.xr

    labelled = isinstance(like, xr.DataArray | xr.Dataset)
    target = _geobox(like) if labelled else like
    source = _geobox(probability)
    coords: dict[Any, Any]
    to_cells: ToCells
    if source is not None and target is not None:
        to_cells = partial(_to_cells, source, target)
        shape = tuple(target.shape)
        coords = dict(odc.geo.xr.xr_coords(target, dims=("y", "x")))
    elif source is None and target is None and labelled and {"y", "x"} <= set(like.dims):
        shape = (like.sizes["y"], like.sizes["x"])
        to_cells = partial(_divide, factor=_factor(shape, probability))
        coords = {d: like[d] for d in ("y", "x") if d in like.coords}
    else:
        raise _no_grid(f"like={type(like).__name__}")
    values = interpolate(probability.data, to_cells, shape)
    kept = {k: c for k, c in probability.coords.items() if not {"y", "x"} & set(c.dims)}
    return xr.DataArray(values, {**kept, **coords}, probability.dims, "probability")


def _geobox(obj: xr.DataArray | xr.Dataset) -> Any:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    box = obj.odc.geobox if "spatial_ref" in obj.coords else None
    return box if box is not None and box.crs is not None else None


def _to_cells(source: Any, target: Any, column: Any, row: Any) -> tuple[Any, Any]:
    """Give the cell, as (row, column), at pixel positions of another grid; infinite if nowhere."""
    a, b, c, d, e, f = tuple(target.affine)[:6]
    x, y = a * column + b * row + c, d * column + e * row + f
    if source.crs != target.crs:
        x, y = (np.asarray(v) for v in target.crs.transformer_to_crs(source.crs)(x, y))
    a, b, c, d, e, f = tuple(~source.affine)[:6]
    with np.errstate(invalid="ignore"):
        return d * x + e * y + f, a * x + b * y + c


def _divide(column: Any, row: Any, *, factor: int) -> tuple[Any, Any]:
    return row / factor, column / factor


def _factor(fine: tuple[int, int], probability: xr.DataArray) -> int:
    cells = probability.sizes["y"], probability.sizes["x"]
    factor = -(-fine[0] // cells[0])
    if tuple(-(-n // factor) for n in fine) != cells:
        raise _no_grid(f"{fine[0]} x {fine[1]} pixels for {cells[0]} x {cells[1]} cells")
    return factor


def _no_grid(received: str) -> DataError:
    return DataError(
        problem(
            expected="`like` as a GeoBox or georeferenced array for a georeferenced embedding, "
            "or the pixels that it was made of, where neither has a CRS",
            received=received,
            do="leave `like` out, or georeference both",
        )
    )


def as_map(probability: xr.DataArray, legend: Legend, provenance: dict[str, str]) -> xr.Dataset:
    """Put categories, their probabilities and the entropy side by side.

    Parameters
    ----------
    probability : DataArray (…, category, y, x), float32
        NaN where invalid; lazy or not.
    legend : Legend
        What the categories are.
    provenance : dict
        attrs that say what made it.

    Returns
    -------
    Dataset
        As of :func:`predict`.
    """
    codes = np.array(legend.codes, np.uint8)
    label = _over_categories(partial(_label_np, codes=codes), probability, np.uint8)
    entropy = _over_categories(_entropy_np, probability, np.float32)
    provenance = {**provenance, "xcontrast": __version__}
    label.attrs = {**legend.attrs, **provenance}
    probability.attrs = {"long_name": f"probability of {legend.title}", "units": "1"}
    entropy.attrs = {"long_name": f"uncertainty of {legend.title}", "units": "1"}
    layers = {"label": label, "probability": probability, "entropy": entropy}
    return xr.Dataset(layers, attrs=provenance)


def _over_categories(
    function: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]],
    probability: xr.DataArray,
    dtype: type,
) -> xr.DataArray:
    mapped: xr.DataArray = xr.apply_ufunc(
        function,
        probability,
        input_core_dims=[["category"]],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    return mapped


def _entropy_np(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(…, K) -> (…): of the distribution, 0 to 1, NaN where invalid."""
    # Floored, not masked: 0 times the logarithm of 0 is 0.
    total = (probability * np.log(np.maximum(probability, np.float32(1e-30)))).sum(-1)
    entropy: npt.NDArray[np.float32] = (-total / np.float32(np.log(probability.shape[-1]))).clip(0)
    return entropy


def _label_np(
    probability: npt.NDArray[np.float32], *, codes: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """(…, K) -> (…): the most probable code, 255 where invalid."""
    invalid = np.isnan(probability).any(-1)
    best = codes[np.nan_to_num(probability).argmax(-1)]
    return np.where(invalid, np.uint8(NO_LABEL), best)
