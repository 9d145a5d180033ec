"""The features that a head sees: one array with all of them, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["IDENTITY", "join_features", "shared_coords"]

IDENTITY = ("model_digest", "space", "composite")
"""attrs of an embedding that a head is bound to."""


def join_features(embedding: xr.DataArray | xr.Dataset) -> tuple[xr.DataArray, dict[str, Any]]:
    """Give one array with all features, and which model and sensors they are of.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, y, x)``, or ``(…, feature)`` of whole images or points; the sensors of a
        Dataset are joined along ``feature``.

    Returns
    -------
    tuple
        The array, ``feature`` before ``y, x`` or last, and a dict with `IDENTITY` and ``sensors``.

    Raises
    ------
    DataError
        If the dims are not an embedding's, the sensors are not of one model, space and composite,
        or both have times of their own.
    """
    arrays = (
        [embedding]
        if isinstance(embedding, xr.DataArray)
        else [a for a in embedding.data_vars.values() if "feature" in a.dims]
    )
    if not arrays or any(not _is_embedding(a) for a in arrays):
        raise DataError(
            problem(
                expected="an embedding with the dims feature, y and x, or pooled with feature",
                received=f"dims {getattr(embedding, 'dims', ())}",
                do="call cube.contrast.embed(model) first",
            )
        )
    facts = _identify(arrays)
    facts["sensors"] = [str(a.attrs.get("sensor", "")) for a in arrays]
    if len(arrays) == 1:
        joined = arrays[0]
    else:
        times = [d for a in arrays for d in a.dims if d in ("s1_time", "s2_time")]
        if times:
            raise DataError(
                problem(
                    expected="both sensors at one time, to join their features",
                    received=f"the time dims {times}",
                    do="select a time of each, or give one sensor",
                )
            )
        shared = shared_coords(arrays)
        bare = [a.reset_coords(drop=True).assign_coords(shared) for a in arrays]
        joined = xr.concat(bare, "feature", coords="minimal", compat="override", join="exact")
    space = [d for d in ("y", "x") if d in joined.dims]
    return joined.transpose(..., "feature", *space), facts


def _identify(arrays: Sequence[xr.DataArray]) -> dict[str, Any]:
    """Give `IDENTITY`, on which all sensors must agree: a card names one model, and one space."""
    facts = {key: [a.attrs.get(key, "") for a in arrays] for key in IDENTITY}
    for key, values in facts.items():
        if any(value != values[0] for value in values):
            raise DataError(
                problem(
                    expected=f"sensors of one {key}",
                    received=" and ".join(map(repr, values)),
                    do="embed them with the same model and space, and take xc.before_after of all "
                    "or of none; or give one sensor",
                )
            )
    return {key: values[0] for key, values in facts.items()}


def _is_embedding(array: xr.DataArray) -> bool:
    return "feature" in array.dims and ("y" in array.dims) == ("x" in array.dims)


def shared_coords(arrays: Sequence[xr.DataArray]) -> dict[str, xr.Variable]:
    """Keep where cells, images or points are and what groups them: what all arrays agree on.

    Parameters
    ----------
    arrays : sequence of DataArray
        On the same cells.

    Returns
    -------
    dict of str to Variable
        The coords, but for those of features: a pass's own time is not that of all.
    """
    first, *others = arrays
    # Variables: a coord would bring its own coords along, and be compared with them.
    own = {str(name): coord.variable for name, coord in first.coords.items()}
    return {
        name: variable
        for name, variable in own.items()
        if variable.ndim <= 1
        and "feature" not in variable.dims
        and all(name in a.coords and _is_same(variable, a[name].variable) for a in others)
    }


def _is_same(one: xr.Variable, two: xr.Variable) -> bool:
    """Say whether values agree; of lazy ones whether they are made alike, so that none is made."""
    if one.chunks is None and two.chunks is None:
        return bool(one.equals(two))  # type: ignore[no-untyped-call]
    return one.dims == two.dims and getattr(one.data, "name", 1) == getattr(two.data, "name", 2)
