"""Several maps of one ground made one: of other heads, passes or sensors, each where it sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.classifiers.classifier import Floats
from xcontrast.heads.decision import choose_codes
from xcontrast.heads.features import shared_coords
from xcontrast.heads.flags import as_map
from xcontrast.legends import Legend

__all__ = ["combine"]

LEAST = 1e-6
"""Taken for a probability of 0, whose logarithm would silence all other maps."""


def combine(maps: Sequence[xr.Dataset], *, weights: Sequence[float] | None = None) -> xr.Dataset:
    """Combine maps of one ground into one, lazily: at each pixel those that are valid there.

    Logarithms of probabilities are averaged, and so are those of the weights by which a map leans
    to rarer categories. Where a single map is valid it stays as it is. A map whose head was never
    shown a category says nothing of it: there the others decide. Maps that err differently gain
    most: of a head, of a segmenter, of boosted pixels, of several passes.

    Parameters
    ----------
    maps : sequence of Dataset
        Two or more of :func:`predict`, of one legend and on the same pixels; `like` of
        :func:`predict` brings them there.
    weights : sequence of float, optional
        How much each counts, above 0. All alike by default.

    Returns
    -------
    Dataset
        ``label (…, y, x)`` uint8, 255 where no map is valid, ``probability (…, category, y, x)``
        and ``entropy (…, y, x)`` float32, NaN there; as of :func:`predict`.

    Raises
    ------
    DataError
        If there are fewer than two maps, one is not of :func:`predict`, pixels, dims or legends
        differ, or a weight is not above 0.

    References
    ----------
    Genest and Zidek (1986), Combining probability distributions: a critique and an annotated
    bibliography, Statistical Science 1(1): the logarithmic opinion pool.

    Examples
    --------
    >>> kinds = ("linear", "forest")
    >>> heads = [xc.fit(emb.s1, labels, legend=xc.FLOOD, kind=kind) for kind in kinds]
    >>> flood = xc.combine([xc.predict(emb.s1, head) for head in heads])
    >>> flood.label.attrs["head_kind"]
    'linear + forest'
    >>> flood.label.attrs["flag_meanings"], dict(flood.probability.sizes)
    ('dry flood', {'category': 2, 'y': 24, 'x': 24})
    """
    trust = _check_weights(weights, len(maps))
    legend = _shared_legend(maps)
    labels, parts = ([found[name] for found in maps] for name in ("label", "probability"))
    _check_pixels(parts)
    bare = [part.drop_vars([k for k in part.coords if k not in part.dims]) for part in parts]
    joined = xr.concat(bare, "map", join="override")
    leans = np.stack([_lean(label, len(legend.codes)) for label in labels])
    pooled, label = xr.apply_ufunc(
        partial(_combine_np, trust=trust, leans=leans, codes=legend.codes),
        joined,
        input_core_dims=[["map", "category"]],
        output_core_dims=[["category"], []],
        dask="parallelized",
        output_dtypes=[np.float32, np.uint8],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs="override",  # Of coords too, and with them the CRS.
    )
    coords = shared_coords(parts)
    flat = {name: coord for name, coord in coords.items() if name != "category"}
    told = {
        # Each once, in their order.
        key: " + ".join(dict.fromkeys(str(a.attrs[key]) for a in labels if key in a.attrs))
        for key in ("model_digest", "head_kind")
    }
    return as_map(
        pooled.transpose(*parts[0].dims).assign_coords(coords).rename("probability"),
        legend,
        told,
        label=label.assign_coords(flat),
    )


def _check_weights(weights: Sequence[float] | None, n: int) -> Floats:
    if n < 2:
        raise DataError(
            problem(
                expected="two maps or more",
                received=str(n),
                do="call predict with each head, and combine what it gives",
            )
        )
    trust = np.ones(n) if weights is None else np.asarray(weights, float)
    if trust.shape != (n,) or not (np.isfinite(trust) & (trust > 0)).all():
        raise DataError(
            problem(
                expected=f"a weight above 0 for each of {n} maps",
                received=repr(weights),
                do="leave `weights` out, or the map that shall not count",
            )
        )
    return trust.astype(np.float32)


def _shared_legend(maps: Sequence[xr.Dataset]) -> Legend:
    for found in maps:
        if not {"label", "probability"} <= set(found.data_vars):
            raise DataError(
                problem(
                    expected="maps of xc.predict, with label and probability",
                    received=f"variables {sorted(map(str, found.data_vars))}",
                    do="give the Datasets as predict returned them",
                )
            )
    first, *others = (Legend.from_attrs(found["label"].attrs) for found in maps)
    for other in others:
        if (other.codes, other.names) != (first.codes, first.names):
            raise DataError(
                problem(
                    expected=f"maps of one legend: {', '.join(first.names)}",
                    received=", ".join(other.names),
                    do="fit every head with the same legend",
                )
            )
    return first


def _check_pixels(parts: Sequence[xr.DataArray]) -> None:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    first, *others = parts
    for other in others:
        same = other.dims == first.dims and other.shape == first.shape
        same = same and all(np.array_equal(other[d], first[d]) for d in first.dims)
        known = other.odc.crs is not None and first.odc.crs is not None
        if not same or (known and other.odc.crs != first.odc.crs):
            raise DataError(
                problem(
                    expected=f"maps of the same pixels: {_sizes(first)}",
                    received=f"{_sizes(other)}"
                    + (" elsewhere" if other.sizes == first.sizes else ""),
                    do="choose one time of each, and bring them onto one grid: "
                    "predict(..., like=cube)",
                )
            )


def _sizes(part: xr.DataArray) -> str:
    return ", ".join(f"{dim} {n}" for dim, n in part.sizes.items() if dim != "category")


def _lean(label: xr.DataArray, n: int) -> Floats:
    """Give the weights that a map's label was chosen with."""
    return np.asarray(label.attrs.get("category_weights", [1.0] * n), np.float32)


def _average(values: Floats, valid: Any, trust: Floats, known: Any = True) -> Floats:
    """(…, M, K) -> (…, K): over the maps that are valid and know the category, NaN if none."""
    share = (valid * trust)[..., None] * known
    with np.errstate(invalid="ignore"):
        mean: Floats = (share * values).sum(-2) / share.sum(-2)
    return mean


def _fill_unknown(logs: Floats, valid: Any, trust: Floats, known: Any) -> Floats:
    """(…, M, K): give each map the others' opinion of what it was never shown, and scale its own.

    Without it a probability of 0 that means "never heard of" would silence all other maps.
    """
    told = np.nan_to_num(np.exp(_average(logs, valid, trust, known)))
    others = told[..., None, :] * ~known
    left = np.log((1 - others.sum(-1, keepdims=True)).clip(LEAST))
    filled: Floats = np.where(known, logs + left, np.log(others.clip(LEAST)))
    return filled


def _combine_np(
    probability: Floats, *, trust: Floats, leans: Floats, codes: tuple[int, ...]
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """(…, M, K) -> (…, K) and the code of each."""
    valid = np.isfinite(probability).all(-1)
    known = leans > 0
    logs = np.log(np.nan_to_num(probability).clip(LEAST))
    if not known.all():
        logs = _fill_unknown(logs, valid, trust, known)
    pooled = np.exp(_average(logs, valid, trust)) * known.any(0)
    pooled = (pooled / pooled.sum(-1, keepdims=True)).astype(np.float32)
    lean = np.exp(_average(np.log(leans.clip(LEAST)), valid, trust, known))
    return pooled, choose_codes(pooled, codes=codes, weights=np.nan_to_num(lean))
