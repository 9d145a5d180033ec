"""How far an embedding moved: between dates, or between what two sensors see."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.embedding.composites import ORBIT, TIMES, before_after, compare_orbits
from xcontrast.embedding.facts import SHARED, identify
from xcontrast.errors import DataError, problem

__all__ = ["change"]


def change(
    embedding: xr.DataArray | xr.Dataset, *, event: str | pd.Timestamp | None = None
) -> xr.DataArray:
    """Map the cosine distance between dates, or between sensors, lazily.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, s1_time | s2_time | date, feature, y, x)`` float32: distances between its dates. A
        Dataset of both sensors in the space ``joint``, alike in its other dims: distances between
        the sensors.
    event : str or Timestamp, optional
        Compare the mean of the times before with the mean of those at and after it. Without it
        each time is compared with the one before.

    Returns
    -------
    DataArray (…, y, x), float32
        0, the same direction, to 2; NaN where one of the two is. Without `event` the time dim
        stays, one shorter, with the later time of each two; with it, it is gone.

    Raises
    ------
    DataError
        If there is nothing to compare, or the sensors are not in one space.

    Warns
    -----
    UserWarning
        If Sentinel-1 passes that are compared, or averaged on a side of the event, are of more
        than one relative orbit.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> dates = xr.DataArray(
    ...     np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).reshape(2, 2, 1, 2),
    ...     dims=("date", "feature", "y", "x"),
    ... )
    >>> change(dates).values.ravel()
    array([0., 1.], dtype=float32)
    """
    if isinstance(embedding, xr.Dataset):
        one, other = _two_sensors(embedding)
        return _distance(one, other, "between sensors")
    if event is not None:
        both = before_after(embedding, event=event)
        n = embedding.sizes["feature"]
        one, other = (both.isel(feature=slice(k * n, (k + 1) * n)) for k in (0, 1))
        result = _distance(one, other, f"from before to after {event}")
        result.attrs["event"] = str(event)
        return result
    dim = next((d for d in TIMES if d in embedding.dims), None)
    if dim is None or embedding.sizes[dim] < 2:
        raise DataError(
            problem(
                expected=f"an embedding of two times or more: {', '.join(TIMES)}",
                received=f"sizes {dict(embedding.sizes)}",
                do="embed a cube with several dates",
            )
        )
    _compare_passes(embedding, dim)
    later = embedding.isel({dim: slice(1, None)})
    earlier = embedding.isel({dim: slice(None, -1)})
    single = [name for name in earlier.coords if dim in earlier[name].dims]
    return _distance(earlier.drop_vars(single), later, "from the date before")


def _compare_passes(embedding: xr.DataArray, dim: str) -> None:
    """Warn, once, of the first pass whose orbit is not that of the pass before."""
    if ORBIT in embedding.coords and embedding[ORBIT].dims == (dim,):
        orbit = embedding[ORBIT].values
        another = (orbit[1:] != orbit[:-1]) & (orbit[1:] > 0) & (orbit[:-1] > 0)
        k = int(another.argmax())
        compare_orbits(embedding.isel({dim: [k]}), embedding.isel({dim: [k + 1]}))


def _two_sensors(embedding: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    arrays = [array for array in embedding.data_vars.values() if "feature" in array.dims]
    spaces = {array.attrs.get("space") for array in arrays}
    if len(arrays) != 2 or len(spaces) > 1 or not spaces <= set(SHARED):
        raise DataError(
            problem(
                expected="the embeddings of two sensors in the space 'joint'",
                received=f"{len(arrays)} in {', '.join(sorted(map(str, spaces)))}",
                do="call embed(model, space='joint'), or take one sensor to compare dates",
            )
        )
    one, other = arrays
    if one.dims != other.dims:
        raise DataError(
            problem(
                expected="both sensors alike in their dims",
                received=f"{one.dims} and {other.dims}",
                do="select a time of each, or embed pairs",
            )
        )
    kept = {str(c) for c in one.coords} & {str(c) for c in other.coords}
    return tuple(a.drop_vars([c for c in a.coords if c not in kept]) for a in arrays)  # type: ignore[return-value]


def _distance(one: xr.DataArray, other: xr.DataArray, what: str) -> xr.DataArray:
    result: xr.DataArray = xr.apply_ufunc(
        _distance_np,
        one,
        other,
        input_core_dims=[["feature"], ["feature"]],
        join="exact",
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs="override",  # Of coords too, and with them the CRS.
    )
    result.attrs = {"long_name": f"cosine distance {what}", "units": "1"} | identify(one)
    return result.rename("change")


def _distance_np(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(…, F), (…, F) -> (…)."""
    product = np.einsum("...f,...f->...", one, other)
    squares = [np.einsum("...f,...f->...", a, a) for a in (one, other)]
    similarity = product / np.sqrt(squares[0] * squares[1]).clip(min=1e-12)
    distance: npt.NDArray[np.float32] = (1 - similarity).clip(min=0).astype(np.float32)
    return distance
