"""Embeddings as one byte a feature, a scale a cell: a quarter of the size, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["pack", "unpack"]

STEPS = 127
"""Of an int8 on each side of zero; -128 is not used."""


def pack(embedding: xr.DataArray) -> xr.Dataset:
    """Store an embedding as int8, each cell with a scale of its own.

    A feature is off by half of its cell's scale at most, which is 1/254 of the cell's largest
    feature. Nothing but the cell itself is looked at, so that it stays lazy and without seams.

    Parameters
    ----------
    embedding : DataArray (…, feature, y, x), float32
        NaN where invalid.

    Returns
    -------
    Dataset
        Lazy if the embedding is: ``packed (…, feature, y, x)`` int8 and ``scale (…, y, x)``
        float32, NaN where invalid. Attributes and coords are kept.

    Raises
    ------
    DataError
        If it is no embedding.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> cell = xr.DataArray(np.float32([[[0.5]], [[-1.0]]]), dims=("feature", "y", "x"))
    >>> pack(cell).packed.values.ravel()
    array([  64, -127], dtype=int8)
    >>> unpack(pack(cell)).values.ravel().round(2)
    array([ 0.5, -1. ], dtype=float32)
    """
    if "feature" not in embedding.dims or embedding.dtype.kind != "f":
        raise DataError(
            problem(
                expected="an embedding as floats with the dim feature",
                received=f"{embedding.dtype} with dims {embedding.dims}",
                do="call cube.contrast.embed(model) first",
            )
        )
    values, scale = xr.apply_ufunc(
        _pack_np,
        embedding,
        input_core_dims=[["feature"]],
        output_core_dims=[["feature"], []],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[np.int8, np.float32],
        keep_attrs=True,
    )
    scale.attrs = {"long_name": "of the cell's packed features", "units": "1"}
    attrs = {**embedding.attrs, "name": str(embedding.name or "embedding")}
    packed = values.transpose(*embedding.dims).assign_attrs(attrs)
    return xr.Dataset({"packed": packed, "scale": scale})


def unpack(packed: xr.Dataset) -> xr.DataArray:
    """Give the embedding that was packed.

    Parameters
    ----------
    packed : Dataset
        From :func:`pack`, or read from a store.

    Returns
    -------
    DataArray (…, feature, y, x), float32
        Lazy if `packed` is; NaN where invalid.

    Raises
    ------
    DataError
        If it is nothing that was packed.

    Examples
    --------
    >>> back = xc.unpack(xc.pack(emb.s1))
    >>> bool(abs(back - emb.s1).max() < 0.01 * abs(emb.s1).max())
    True
    """
    if not {"packed", "scale"} <= set(packed.data_vars):
        raise DataError(
            problem(
                expected="a Dataset with the variables packed and scale",
                received=f"variables {sorted(map(str, packed.data_vars))}",
                do="give what embedding.contrast.pack() made, or the store it was written to",
            )
        )
    values: xr.DataArray = packed.packed.astype("float32") * packed.scale
    attrs = dict(packed.packed.attrs)
    name = attrs.pop("name", "embedding")
    values = values.transpose(*packed.packed.dims)
    return values.rename(name).assign_attrs(attrs)


def _pack_np(features: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """(…, F) -> (…, F), (…)."""
    scale = (np.abs(features).max(-1) / np.float32(STEPS)).astype(np.float32)
    # A cell of zeros has any scale; an invalid one is stored as zeros.
    divisor = np.where(scale > 0, scale, np.float32(1))[..., None]
    steps = np.where(np.isnan(scale)[..., None], 0, np.rint(features / divisor))
    return steps.clip(-STEPS, STEPS).astype(np.int8), scale
