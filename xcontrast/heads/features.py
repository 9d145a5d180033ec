"""The features that a head sees: one array with all of them, and whose they are."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["IDENTITY", "join_features"]

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
        If the dims are not an embedding's, or both sensors have times of their own.
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
    facts: dict[str, Any] = {key: arrays[0].attrs.get(key, "") for key in IDENTITY}
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
        shared = _shared(arrays)
        bare = [a.reset_coords(drop=True).assign_coords(shared) for a in arrays]
        joined = xr.concat(bare, "feature", coords="minimal", compat="override", join="exact")
    space = [d for d in ("y", "x") if d in joined.dims]
    return joined.transpose(..., "feature", *space), facts


def _is_embedding(array: xr.DataArray) -> bool:
    return "feature" in array.dims and ("y" in array.dims) == ("x" in array.dims)


def _shared(arrays: list[xr.DataArray]) -> dict[str, Any]:
    """Keep where cells, images or points are and what groups them: what all arrays agree on."""
    first, *others = arrays
    return {
        str(name): coord
        for name, coord in first.coords.items()
        if coord.ndim <= 1
        and "feature" not in coord.dims
        and all(name in a.coords and coord.equals(a.coords[name]) for a in others)
    }
