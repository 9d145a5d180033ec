"""Which place a labelled cell lies in: what is held out whole when a head is chosen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["name_places"]

SIDE = 32
"""Of the blocks of a scene, cells."""


def name_places(
    features: xr.DataArray,
    where: Mapping[Hashable, npt.NDArray[np.intp]],
    groups: str | None = None,
) -> npt.NDArray[np.str_]:
    """Name the place of each labelled cell.

    Parameters
    ----------
    features : DataArray (…, feature, y, x) or (…, feature)
        An embedding.
    where : mapping of dim to ndarray (N,), intp
        The cells.
    groups : str, optional
        Coord whose value is the place's name.

    Returns
    -------
    ndarray (N,), str
        Equal for cells of one place: of one value of `groups`; else of one location or image; else
        of one block of 32 x 32 cells.

    Raises
    ------
    DataError
        If there is no such coord on one leading dim.
    """
    if groups is not None:
        coord = features.coords.get(groups)
        if coord is None or coord.ndim != 1 or coord.dims[0] not in where:
            raise DataError(
                problem(
                    expected="`groups` as the name of a coord on a leading dim of the embedding",
                    received=f"{groups!r} of {sorted(map(str, features.coords))}",
                    do="assign it, as in embedding.assign_coords(scene=('location', names))",
                )
            )
        return np.asarray(coord.values[where[coord.dims[0]]]).astype(str)
    if "point" in where:
        point = where["point"]
        rows, cols = (features[name].values[point] // SIDE for name in ("row", "column"))
        return _join(rows, cols)
    lead = [index for dim, index in where.items() if dim not in ("y", "x")]
    if lead:
        return _join(*lead)
    return _join(where["y"] // SIDE, where["x"] // SIDE)


def _join(*numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.str_]:
    """Turn rows of numbers into names."""
    unique, inverse = np.unique(np.stack(numbers), axis=1, return_inverse=True)
    names = np.array([" ".join(map(str, row)) for row in unique.T])
    return names[inverse.ravel()]
