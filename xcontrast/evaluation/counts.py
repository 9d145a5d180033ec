"""Counts of truth against map, by group: what all scores are ratios of.

Letters: N cells, G groups, K categories.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import are_close, order_alike
from xcontrast.legends import NO_LABEL, Legend

__all__ = ["Numbers", "count_pairs", "name_groups", "number_categories", "require_one_grid"]

Numbers: TypeAlias = npt.NDArray[np.integer[Any]]
STRIP = 1 << 22
"""Cells that are counted at a time, so that their 64-bit numbers stay small."""


def number_categories(codes: npt.NDArray[Any], legend: Legend) -> npt.NDArray[np.uint8]:
    """Give the place of each code in the legend, K where it is not in it.

    Parameters
    ----------
    codes : ndarray, integer or floating
        NaN, 255 and what is not in the legend is unknown.
    legend : Legend
        With K categories.

    Returns
    -------
    ndarray of the same shape, uint8
    """
    n = len(legend.codes)
    numbers = np.full(256, n, np.uint8)
    numbers[list(legend.codes)] = np.arange(n)
    if codes.dtype != np.uint8:
        # A code between two codes is none of them.
        whole = (codes >= 0) & (codes < NO_LABEL) & (codes == np.floor(codes))
        codes = np.where(whole, codes, NO_LABEL).astype(np.uint8)
    result: npt.NDArray[np.uint8] = numbers[codes]
    return result


def count_pairs(
    truth: Numbers, mapped: Numbers, group: Numbers, *, n_groups: int, n_categories: int
) -> npt.NDArray[np.int64]:
    """Count cells by group, true and mapped category.

    Parameters
    ----------
    truth, mapped : ndarray (N,)
        Category numbers; cells with K or more in either are left out.
    group : ndarray (N,)
        Group numbers; cells below 0 are left out.
    n_groups, n_categories : int
        G and K.

    Returns
    -------
    ndarray (G, K, K), int64
    """
    n = n_categories
    counts = np.zeros(n_groups * n * n, np.int64)
    for first in range(0, len(truth), STRIP):
        part = slice(first, first + STRIP)
        known = (truth[part] < n) & (mapped[part] < n) & (group[part] >= 0)
        own, found = (v[part][known].astype(np.int64) for v in (truth, mapped))
        index = (group[part][known].astype(np.int64) * n + own) * n + found
        counts += np.bincount(index, minlength=len(counts))
    return counts.reshape(n_groups, n, n)


def require_one_grid(label: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Give the truth in the map's order, dims and leading dims, its cells being the same.

    Parameters
    ----------
    label, truth : DataArray (…, y, x)
        A map and a truth.

    Returns
    -------
    DataArray

    Raises
    ------
    DataError
        If sizes or coordinates differ.
    """
    same = set(label.dims) == set(truth.dims) and dict(label.sizes) == dict(truth.sizes)
    other = [d for d in label.dims if same and not _are_same(label, truth, str(d))]
    if not same or other:
        raise DataError(
            problem(
                expected="a map and a truth on one grid",
                received=f"{dict(label.sizes)} and {dict(truth.sizes)}"
                + (f" with other {' and '.join(map(str, other))}" if other else ""),
                do="predict with like=truth, or bring the truth to the map's grid",
            )
        )
    return order_alike(truth, label, what="truth").transpose(*label.dims)


def _are_same(one: xr.DataArray, two: xr.DataArray, dim: str) -> bool:
    """Say whether coords along a dim agree: in space in their order, elsewhere in any."""
    if dim not in one.coords or dim not in two.coords:
        return True
    if dim in ("y", "x"):
        return are_close(one[dim], two[dim])
    own, other = one.indexes[dim], two.indexes[dim]
    return own.equals(other) or (own.is_unique and set(own) == set(other))


def name_groups(
    groups: xr.DataArray | str, label: xr.DataArray, truth: xr.DataArray
) -> tuple[Numbers, npt.NDArray[Any]]:
    """Give each cell the number of its group.

    Parameters
    ----------
    groups : DataArray or str
        Numbers or names on some of the map's dims, brought into its order by their coords; or the
        name of such a coord of either.
    label, truth : DataArray
        A map and a truth.

    Returns
    -------
    tuple of ndarray
        Numbers in the shape of the map, -1 where there is no group (NaN, None); and their names,
        sorted.

    Raises
    ------
    DataError
        If there is no such coord, its dims are not the map's, or they lie elsewhere.
    """
    if isinstance(groups, str):
        owner = next((v for v in (truth, label) if groups in v.coords), None)
        if owner is None:
            raise DataError(
                problem(
                    expected="groups as a DataArray, or the name of a coord of the map or truth",
                    received=f"{groups!r}, with coords "
                    f"{sorted({str(c) for v in (label, truth) for c in v.coords})}",
                    do="assign it: truth.assign_coords(scene=('location', scenes))",
                )
            )
        groups = owner[groups]
    sizes = dict(label.sizes)
    if set(groups.dims) <= set(sizes):
        groups = order_alike(groups, label, what="groups")
    if not groups.dims or any(sizes.get(d) != n for d, n in groups.sizes.items()):
        raise DataError(
            problem(
                expected=f"groups on dims of the map: {sizes}",
                received=str(dict(groups.sizes)),
                do="give a group for each location, or for each y and x",
            )
        )
    moved = [d for d in ("y", "x") if d in groups.dims and not _are_same(groups, label, d)]
    if moved:
        raise DataError(
            problem(
                expected="groups on the map's own grid",
                received=f"others in {' and '.join(moved)}",
                do="bring them onto it: groups.reindex_like(truth, method='nearest')",
            )
        )
    numbers, names = pd.factorize(groups.values.ravel(), sort=True)
    # Of a whole scene half the memory of 64 bits.
    own = xr.DataArray(numbers.astype(np.int32).reshape(groups.shape), dims=groups.dims)
    like = xr.DataArray(np.broadcast_to(np.int8(0), label.shape), dims=label.dims)
    return own.broadcast_like(like).transpose(*label.dims).values, np.asarray(names)
