"""Whether an embedding shows the borders of the windows that it was made in."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["seam_score"]


def seam_score(embedding: xr.DataArray, *, every: int | None = None) -> float:
    """Compare the steps between neighbouring cells across borders with those elsewhere.

    Parameters
    ----------
    embedding : DataArray (…, y, x), float32
        An embedding or any other layer; NaN where invalid.
    every : int, optional
        Cells between borders along y and x, from the first cell; by default the borders of the
        dask chunks, which are the blocks that an embedding was made in.

    Returns
    -------
    float
        Mean absolute step across borders over that inside: 1 where nothing shows.

    Raises
    ------
    DataError
        If there are no borders along y or x, or no valid steps.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> tiles = np.kron([[0.0, 3.0], [3.0, 0.0]], np.ones((8, 8)))
    >>> slope = np.arange(16.0) + np.arange(16.0)[:, None]
    >>> seam_score(xr.DataArray(slope, dims=("y", "x")), every=8)
    1.0
    >>> seam_score(xr.DataArray(slope + tiles, dims=("y", "x")), every=8) > 2
    True
    """
    across, inside = [], []
    profiles = {
        dim: [d for d in embedding.dims if d != dim] for dim in ("y", "x") if dim in embedding.dims
    }
    steps = xr.Dataset(
        {
            dim: abs(embedding.drop_vars(dim, errors="ignore").diff(dim)).mean(others)
            for dim, others in profiles.items()
        }
    ).compute()
    for dim in profiles:
        values = steps[dim].values
        border = np.zeros(len(values), bool)
        border[_find_borders(embedding, dim, every)] = True
        known = np.isfinite(values)
        across.append(values[border & known])
        inside.append(values[~border & known])
    crossed, normal = np.concatenate(across), np.concatenate(inside)
    if not len(crossed) or not len(normal):
        raise DataError(
            problem(
                expected="an embedding of several blocks, with valid cells",
                received=f"{len(crossed)} borders and {len(normal)} steps elsewhere",
                do="give `every`, the cells between borders, or a larger embedding",
            )
        )
    return float(crossed.mean() / normal.mean())


def _find_borders(embedding: xr.DataArray, dim: str, every: int | None) -> list[int]:
    """Give the steps along a dim that cross a border."""
    n = embedding.sizes[dim]
    if every is not None:
        return list(range(every - 1, n - 1, every))
    chunks = embedding.chunksizes.get(dim, (n,))
    return [edge - 1 for edge in accumulate(chunks[:-1])]
