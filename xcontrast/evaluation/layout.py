"""How folds lie on the ground of labels: squares of one scene, or groups that are given."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.evaluation.counts import Numbers, name_groups
from xcontrast.evaluation.folds import Folds, make_folds, make_squares
from xcontrast.evaluation.material import Material
from xcontrast.evaluation.options import ProbeOptions
from xcontrast.legends import NO_LABEL

__all__ = ["lay_folds"]

BLOCKS_A_FOLD = 5
"""Spatial blocks by default: fewer would leave a fold to chance, more would be eaten by buffers."""


def lay_folds(
    obj: xr.DataArray | xr.Dataset,
    material: Material,
    folds: xr.DataArray | str,
    n_folds: int | None,
    options: ProbeOptions,
) -> Folds:
    """Lay folds over the labels.

    Parameters
    ----------
    obj : DataArray or Dataset
        Whose coords may name groups.
    material : Material
        With the truth, and how far a prediction reaches.
    folds, n_folds
        As for :func:`xcontrast.probe`.
    options : ProbeOptions
        Side of squares, buffer and seed.

    Returns
    -------
    Folds

    Raises
    ------
    DataError
        If there are no such groups, or fewer than folds.
    """
    truth = material.truth
    labelled = truth.values != NO_LABEL
    if isinstance(folds, str) and folds == "spatial":
        groups, names = _lay_squares(truth, n_folds, options)
        apart = False
    else:
        groups, names = _find_groups(obj, truth, folds)
        # Groups of whole locations have no border along which they touch.
        apart = bool("location" in truth.dims and (groups == groups[..., :1, :1]).all())
    reach = 0 if apart else material.reach
    buffer = options.buffer if options.buffer is not None and not apart else reach
    if buffer is None:
        warnings.warn(
            "the embedding does not say how far its cells see: no buffer is kept around tested "
            "pixels; give ProbeOptions(buffer=...)",
            stacklevel=3,
        )
    laid = make_folds(
        groups, names, labelled, n_folds=n_folds, buffer=buffer or 0, seed=options.seed
    )
    _warn_of_loss(laid)
    return laid


def _lay_squares(
    truth: xr.DataArray, n_folds: int | None, options: ProbeOptions
) -> tuple[Numbers, npt.NDArray[Any]]:
    if truth.dims != ("y", "x"):
        raise DataError(
            problem(
                expected="one scene (y, x), for spatial folds",
                received=f"labels with {dict(truth.sizes)}",
                do="name a coord on location whose groups lie apart, folds='scene', or "
                "folds='location' if no two of them overlap",
            )
        )
    shape = truth.sizes["y"], truth.sizes["x"]
    n_blocks = BLOCKS_A_FOLD * (n_folds or BLOCKS_A_FOLD)
    side = options.block or max(1, math.isqrt(shape[0] * shape[1] // n_blocks))
    squares = make_squares(shape, side)
    n_cols = -(-shape[1] // side)
    names = [f"{i // n_cols}-{i % n_cols}" for i in range(int(squares.max()) + 1)]
    return squares, np.array(names, object)


def _find_groups(
    obj: xr.DataArray | xr.Dataset, truth: xr.DataArray, folds: xr.DataArray | str
) -> tuple[Numbers, npt.NDArray[Any]]:
    """Give each pixel its group by a coord, a dim or an array."""
    groups: Any = folds
    if isinstance(folds, str) and folds in obj.coords:
        groups = obj[folds]
    elif isinstance(folds, str) and folds == "location" and folds in truth.dims:
        groups = xr.DataArray(np.arange(truth.sizes[folds]), dims=folds)
    elif isinstance(folds, str) and folds not in truth.coords:
        raise DataError(
            problem(
                expected="folds='spatial', the name of a coord, or a DataArray of groups",
                received=f"{folds!r}, with coords {sorted(map(str, obj.coords))}",
                do="assign it: cube.assign_coords(scene=('location', scenes))",
            )
        )
    return name_groups(groups, truth, truth)


def _warn_of_loss(folds: Folds) -> None:
    """Say so where buffers take most of what could be fitted on."""
    if not folds.buffer:
        return
    labelled = int((folds.block >= 0).sum())
    kept, wanted = 0, 0
    for k in range(folds.n_folds):
        train, test = folds.split(k)
        kept, wanted = kept + int(train.sum()), wanted + labelled - int(test.sum())
    if kept < wanted / 2:
        warnings.warn(
            f"the buffer of {folds.buffer} pixels takes {1 - kept / wanted:.0%} of the labels that "
            "could be fitted on: larger blocks (ProbeOptions(block=...)) or more labels lose less",
            stacklevel=4,
        )
