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
        ``(…, feature, y, x)``; the sensors of a Dataset are joined along ``feature``.

    Returns
    -------
    tuple
        The array ``(…, feature, y, x)``, and a dict with `IDENTITY` and ``sensors``.

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
    if not arrays or any(not {"feature", "y", "x"} <= set(a.dims) for a in arrays):
        raise DataError(
            problem(
                expected="an embedding with the dims feature, y and x",
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
        bare = [a.reset_coords(drop=True).assign_coords(_spatial(a)) for a in arrays]
        joined = xr.concat(bare, "feature", coords="minimal", compat="override", join="exact")
    return joined.transpose(..., "feature", "y", "x"), facts


def _spatial(array: xr.DataArray) -> dict[str, Any]:
    return {k: array.coords[k] for k in ("y", "x", "spatial_ref") if k in array.coords}
