"""From a head or segmenter to a map: categories and probabilities, lazily."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import find_factors, geobox_of, positions_in
from xcontrast.heads.decision import weigh_categories
from xcontrast.heads.features import IDENTITY, join_features
from xcontrast.heads.flags import as_map
from xcontrast.heads.head import Head
from xcontrast.heads.interpolation import ToCells, interpolate
from xcontrast.heads.segmenting.maps import segment
from xcontrast.heads.segmenting.segmenter import Segmenter

__all__ = ["predict"]


def predict(
    obj: xr.DataArray | xr.Dataset,
    head: Head | Segmenter,
    *,
    like: Any | None = None,
    event: str | pd.Timestamp | None = None,
) -> xr.Dataset:
    """Map categories and their probabilities, lazily.

    Parameters
    ----------
    obj : DataArray or Dataset
        For a head an embedding ``(…, feature, y, x)``, or ``(…, feature)`` of whole images or
        points, of the model, space and sensors that it was fitted on; for a segmenter a cube with
        the sensors and number of dates that it was trained on.
    head : Head or Segmenter
        From :func:`fit` or :func:`finetune`.
    like : GeoBox or georeferenced DataArray or Dataset, optional
        Grid of the map: probabilities are interpolated bilinearly onto it, and the label is
        chosen there. By default the grid of `obj`.
    event : str or Timestamp, optional
        For a segmenter of two dates: images before it, and from it on, are averaged. May be left
        out where there are exactly two.

    Returns
    -------
    Dataset
        ``label (…, y, x)`` uint8, the most probable category; of a head, the rarer weighing more
        (`balance` of :func:`fit`; ``category_weights`` in the attrs, 0 of what it was never
        shown); 255 where the embedding is invalid, or where no sensor of a segmenter sees the
        pixel in all bands at each date, with CF ``flag_values``, ``flag_meanings``,
        ``flag_colors`` and ``nodata``; ``probability (…, category, y, x)`` float32, calibrated,
        and ``entropy (…, y, x)`` float32, of the probabilities: 0 where one category is sure, 1
        where all are alike; both NaN there.

    Raises
    ------
    DataError
        If the head was fitted on another model, space, sensor or number of features, or bands,
        units or dates are not a segmenter's.

    Examples
    --------
    >>> head = xc.fit(emb.s1, labels, legend=xc.FLOOD)
    >>> mapped = xc.predict(emb.s1, head, like=cube)
    >>> mapped.label.dtype, mapped.label.attrs["flag_meanings"], dict(mapped.probability.sizes)
    (dtype('uint8'), 'dry flood', {'category': 2, 'y': 96, 'x': 96})
    """
    if isinstance(head, Segmenter):
        probability = segment(obj, head, event=event)
        kind = {"head_kind": f"segmenter, {head.card.decoder}", "segmenter_digest": head.digest}
        shown = head.facts["n_pixels"]
        weights = weigh_categories([shown.get(name, 0) for name in head.legend.names], 0)
    else:
        _check_no_event(event)
        features, facts = join_features(obj)
        _check_head(head, facts, features.sizes["feature"])
        probability = _map_probability(features, head)
        kind, weights = {"head_kind": head.kind}, head.weights
    if like is not None:
        if "y" not in probability.dims:
            raise DataError(
                problem(
                    expected="an embedding with y and x, to bring its map onto a grid",
                    received=f"dims {obj.dims}",
                    do="leave `like` out",
                )
            )
        probability = _bring_onto(probability, like)
    provenance = {"model_digest": str(head.facts["model_digest"]), **kind}
    return as_map(probability, head.legend, provenance, weights=weights)


def _check_no_event(event: object) -> None:
    if event is not None:
        raise DataError(
            problem(
                expected="an event for a segmenter of two dates only",
                received=f"event={event!r} for a head on embeddings",
                do="call xc.before_after(embedding, event=...) and predict from that",
            )
        )


def _check_head(head: Head, facts: dict[str, Any], n_features: int) -> None:
    fitted, given = (told["composite"] for told in (head.facts, facts))
    if fitted != given:
        do = "give the embedding of one time itself"
        if fitted:
            do = "give xc.before_after(embedding, event=...), as the head was fitted on"
        raise DataError(
            problem(
                expected=f"features of {fitted or 'one time'}, as the head was fitted",
                received=given or "those of single times",
                do=do,
            )
        )
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
    # Without a CRS nothing else says how many pixels a cell has.
    attrs = {k: features.attrs[k] for k in ("stride",) if k in features.attrs}
    return xr.DataArray(values, coords, dims, "probability", attrs)


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
    target = geobox_of(like) if labelled else like
    source = geobox_of(probability)
    coords: dict[Any, Any]
    to_cells: ToCells
    if source is not None and target is not None:
        to_cells = partial(positions_in, source, target)
        shape = tuple(target.shape)
        coords = dict(odc.geo.xr.xr_coords(target, dims=("y", "x")))
    elif source is None and target is None and labelled and {"y", "x"} <= set(like.dims):
        shape = (like.sizes["y"], like.sizes["x"])
        to_cells = partial(_divide, factor=_factor(like, probability))
        coords = {d: like[d] for d in ("y", "x") if d in like.coords}
    else:
        raise _no_grid(f"like={type(like).__name__}")
    values = interpolate(probability.data, to_cells, shape)
    kept = {k: c for k, c in probability.coords.items() if not {"y", "x"} & set(c.dims)}
    return xr.DataArray(values, {**kept, **coords}, probability.dims, "probability")


def _divide(column: Any, row: Any, *, factor: int) -> tuple[Any, Any]:
    return row / factor, column / factor


def _factor(fine: xr.DataArray | xr.Dataset, probability: xr.DataArray) -> int:
    factors = find_factors(fine, probability)
    if len(factors) != 1:
        sizes = (f"{v.sizes['y']} x {v.sizes['x']}" for v in (fine, probability))
        raise _no_grid("{} pixels for {} cells".format(*sizes))
    return factors[0]


def _no_grid(received: str) -> DataError:
    return DataError(
        problem(
            expected="`like` as a GeoBox or georeferenced array for a georeferenced embedding, "
            "or the pixels that it was made of, in their order, where neither has a CRS",
            received=received,
            do="leave `like` out, or georeference both",
        )
    )
