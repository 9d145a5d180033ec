"""From a head and an embedding to a map: categories and probabilities, lazily."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.classifiers import Classifier
from xcontrast.heads.features import IDENTITY, join_features
from xcontrast.heads.head import Head
from xcontrast.heads.interpolation import ToCells, interpolate
from xcontrast.legends import NO_LABEL
from xcontrast.version import __version__

__all__ = ["predict"]


def predict(
    embedding: xr.DataArray | xr.Dataset, head: Head, *, like: Any | None = None
) -> xr.Dataset:
    """Map categories and their probabilities, lazily.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, y, x)`` of the model, space and sensors that the head was fitted on.
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
        float32, NaN there.

    Raises
    ------
    DataError
        If the head was fitted on another model, space, sensor or number of features.
    """
    features, facts = join_features(embedding)
    _check_head(head, facts, features.sizes["feature"])
    probability = _map_probability(features, head)
    if like is not None:
        probability = _bring_onto(probability, like)
    return _as_map(probability, head)


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
    kernel = partial(_probability_np, classifier=head.classifier)
    n = len(head.legend.codes)
    if features.chunks is None:
        values: Any = kernel(features.values)
    else:
        import dask.array

        source = features.data.rechunk({features.ndim - 3: -1})
        chunks = (*source.chunks[:-3], (n,), *source.chunks[-2:])
        meta = np.empty((0,) * features.ndim, np.float32)
        values = dask.array.map_blocks(kernel, source, chunks=chunks, dtype="float32", meta=meta)
    dims = (*features.dims[:-3], "category", "y", "x")
    coords = {k: v for k, v in features.coords.items() if "feature" not in v.dims}
    coords["category"] = ("category", np.array(head.legend.names, object))
    return xr.DataArray(values, coords, dims, "probability")


def _probability_np(
    features: npt.NDArray[np.float32], *, classifier: Classifier
) -> npt.NDArray[np.float32]:
    """(…, F, y, x) -> (…, K, y, x), NaN where a feature is."""
    cells = np.moveaxis(features, -3, -1)
    flat = np.ascontiguousarray(cells.reshape(-1, cells.shape[-1]))
    valid = np.isfinite(flat).all(1)
    result = np.full((len(flat), classifier.n_categories), np.nan, np.float32)
    if valid.any():
        result[valid] = classifier.probability(flat[valid])
    return np.moveaxis(result.reshape(*cells.shape[:-1], -1), -1, -3)


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


def _as_map(probability: xr.DataArray, head: Head) -> xr.Dataset:
    codes = np.array(head.legend.codes, np.uint8)
    label = xr.apply_ufunc(
        partial(_label_np, codes=codes),
        probability,
        input_core_dims=[["category"]],
        dask="parallelized",
        output_dtypes=[np.uint8],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    provenance = {
        "model_digest": str(head.facts["model_digest"]),
        "head_kind": head.kind,
        "xcontrast": __version__,
    }
    label.attrs = {**head.legend.attrs, **provenance}
    probability.attrs = {"long_name": f"probability of {head.legend.title}", "units": "1"}
    return xr.Dataset({"label": label, "probability": probability}, attrs=provenance)


def _label_np(
    probability: npt.NDArray[np.float32], *, codes: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """(…, K) -> (…): the most probable code, 255 where invalid."""
    invalid = np.isnan(probability).any(-1)
    best = codes[np.nan_to_num(probability).argmax(-1)]
    return np.where(invalid, np.uint8(NO_LABEL), best)
