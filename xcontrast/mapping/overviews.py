"""Coarser levels of a finished map in the same store, for tools that look from afar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.conventions import describe_levels, drop_levels
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.grids import zoom_out
from xcontrast.legends import NO_LABEL
from xcontrast.mapping.running import Order, run_tiles
from xcontrast.regions import RegionStore

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["halve", "write_overviews"]

SMALL = 512
"""Cells of the larger side of a level that needs no coarser one."""
REGION_BYTES = 1e8
"""Values that are written at once, about."""


def write_overviews(
    store: RegionStore, *, client: Client | None = None, progress: bool = True
) -> list[str]:
    """Write levels of 2, 4, 8, ... cells a side, each from the one before.

    Parameters
    ----------
    store : RegionStore
        All of its regions are done.
    client : distributed.Client, optional
        The cluster; by default this process, with dask's threads.
    progress : bool, default True
        Show a bar for each level.

    Returns
    -------
    list of str
        Groups of the store, from fine to coarse, as ``xr.open_zarr(path, group=...)`` takes
        them; the last has at most 512 cells along its larger side.

    Raises
    ------
    SourceError
        If regions are not done, or a level cannot be written.
    DataError
        If the store holds packed embeddings.

    Notes
    -----
    Codes are the most frequent valid one of each four cells, numbers the mean of those that are
    not NaN. Called again, after a kill too, it makes what is missing. The store names its levels
    (GeoZarr's ``multiscales``) once all are whole.
    """
    store.require_whole()
    finest = finer = xr.open_zarr(store.path)
    _check_averageable(finest)
    levels = {"": finest}
    while max(finer.sizes["y"], finer.sizes["x"]) > SMALL:
        name = f"overview_{2 ** len(levels)}"
        lazy = halve(finer)
        level = RegionStore.open(
            lazy, store.path / name, steps=_choose_steps(lazy, store), stated={"overview": name}
        )
        if level.pending():
            report = run_tiles(Order(lazy, level), client=client, progress=progress)
            _check_whole(name, report.failed)
        levels[name] = finer = xr.open_zarr(level.path)
    if len(levels) == 1:
        return []
    gridded = [str(name) for name in finest.data_vars if {"y", "x"} <= set(finest[name].dims)]
    methods = {name: _method(finest[name].dtype) for name in gridded}
    store.describe(describe_levels(levels, methods))
    return [name for name in levels if name]


def _check_averageable(data: xr.Dataset) -> None:
    if {"packed", "scale"} <= set(data.data_vars):
        raise DataError(
            problem(
                expected="labels, probabilities or embeddings as floats",
                received="a packed embedding, each cell with a scale of its own",
                do="plan it without `packed` for overviews, or leave them out",
            )
        )


def halve(data: xr.Dataset) -> xr.Dataset:
    """Give a Dataset on cells twice as wide, lazily.

    Parameters
    ----------
    data : Dataset (…, y, x)
        Lazy; whole numbers are codes, invalid where they equal their attribute ``nodata`` (255
        where they have none).

    Returns
    -------
    Dataset
        Types and attributes as before. Where a side is odd, the last cells reach beyond the
        source and are made of what is there.
    """
    coarse = {
        name: _halve_variable(variable) if {"y", "x"} <= set(variable.dims) else variable.compute()
        for name, variable in data.variables.items()
        if name not in ("y", "x", "spatial_ref")
    }
    names = [name for name in data.coords if name in coarse]
    attrs = drop_levels(data.attrs)
    return xr.Dataset(coarse, attrs=attrs).set_coords(names).assign_coords(zoom_out(data, 2))


def _halve_variable(variable: xr.Variable) -> xr.Variable:
    import dask.array

    variable = variable.transpose(..., "y", "x")
    kernel: Callable[..., npt.NDArray[Any]] = _mean_np
    options = {}
    if _method(variable.dtype) == "mode":
        kernel, options = _mode_np, {"nodata": variable.attrs.get("nodata", NO_LABEL)}
    # A block must begin at an even cell, or its cells would not be those of the coarse grid.
    even = {axis: sizes[0] * (1 + sizes[0] % 2) for axis, sizes in enumerate(variable.data.chunks)}
    last = (variable.ndim - 2, variable.ndim - 1)
    source = variable.data.rechunk({axis: even[axis] for axis in last})
    halves = (tuple(-(-n // 2) for n in source.chunks[axis]) for axis in last)
    meta = np.empty((0,) * variable.ndim, variable.dtype)
    values = dask.array.map_blocks(
        kernel, source, chunks=(*source.chunks[:-2], *halves), meta=meta, **options
    )
    return xr.Variable(variable.dims, values, variable.attrs)


def _method(dtype: np.dtype[Any]) -> str:
    return "average" if dtype.kind == "f" else "mode"


def _mean_np(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(…, y, x) -> (…, ⌈y/2⌉, ⌈x/2⌉): the mean of what is not NaN."""
    four = _fours(values, np.nan)
    valid = ~np.isnan(four)
    total = np.where(valid, four, 0).sum(0, dtype=values.dtype)
    with np.errstate(invalid="ignore"):
        mean: npt.NDArray[Any] = total / valid.sum(0, dtype=values.dtype)
    return mean


def _mode_np(values: npt.NDArray[Any], *, nodata: int) -> npt.NDArray[Any]:
    """(…, y, x) -> (…, ⌈y/2⌉, ⌈x/2⌉): the most frequent valid code, of equals the first."""
    four = _fours(values, nodata)
    votes = np.stack([(four == code).sum(0, dtype=np.uint8) for code in four])
    votes[four == nodata] = 0
    best: npt.NDArray[Any] = np.take_along_axis(four, votes.argmax(0)[None], 0)[0]
    return best


def _fours(values: npt.NDArray[Any], empty: float) -> npt.NDArray[Any]:
    """Lay the four cells of each coarse cell over each other: (4, …, ⌈y/2⌉, ⌈x/2⌉)."""
    odd = [(0, 0)] * (values.ndim - 2) + [(0, n % 2) for n in values.shape[-2:]]
    padded = np.pad(values, odd, constant_values=empty)
    return np.stack([padded[..., row::2, column::2] for row in (0, 1) for column in (0, 1)])


def _choose_steps(lazy: xr.Dataset, store: RegionStore) -> dict[str, int]:
    """Take the map's own regions, divided where many features would fill the memory."""
    steps = {dim: min(step, lazy.sizes[dim]) for dim, step in store.steps.items()}

    def count_bytes() -> int:
        sizes: dict[Any, int] = {**lazy.sizes, **steps}
        gridded = (v for v in lazy.variables.values() if v.chunks is not None)
        return sum(int(np.prod([sizes[d] for d in v.dims])) * v.dtype.itemsize for v in gridded)

    while count_bytes() > REGION_BYTES and max(steps["y"], steps["x"]) > 64:
        steps |= {dim: -(-steps[dim] // 2) for dim in ("y", "x")}
    return steps


def _check_whole(name: str, failed: dict[str, str]) -> None:
    if not failed:
        return
    reason = next(iter(failed.values()))
    raise SourceError(
        problem(
            expected=f"the level {name} written whole",
            received=f"{len(failed)} regions that failed, the first by {reason}",
            do="mend the cause and call it again; only what is missing is made",
        )
    )
