"""Whether an embedding shows the borders of the windows that it was made in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem

__all__ = ["seam_score"]


def seam_score(embedding: xr.DataArray, *, every: int | None = None) -> float:
    """Compare the steps between neighbouring cells across borders with those elsewhere.

    Cells of an encoder's deepest level are wider than those of the embedding: whether a step
    leads from one into another or stays within makes it larger or smaller, borders or not. So
    each step across a border is compared with those that lie alike in the encoder's own cells.

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
    profiles = {
        dim: [d for d in embedding.dims if d != dim] for dim in ("y", "x") if dim in embedding.dims
    }
    steps = xr.Dataset(
        {
            dim: abs(embedding.drop_vars(dim, errors="ignore").diff(dim)).mean(others)
            for dim, others in profiles.items()
        }
    ).compute()
    strides = (int(embedding.attrs.get(key, 1)) for key in ("encoder_stride", "stride"))
    period = max(1, next(strides) // next(strides))
    pairs = [
        pair
        for dim in profiles
        for pair in _compare(steps[dim].values, _find_borders(embedding, dim, every), period)
    ]
    if not pairs:
        raise DataError(
            problem(
                expected="an embedding of several blocks, with valid cells",
                received="no border with a valid step across and one that lies alike elsewhere",
                do="give `every`, the cells between borders, or a larger embedding",
            )
        )
    across, alike = np.array(pairs).mean(0)
    return float(across / alike)


def _compare(
    steps: npt.NDArray[Any], borders: list[int], period: int
) -> Iterator[tuple[float, float]]:
    """Give each step across a border with the mean of those that lie alike elsewhere."""
    inside = np.isfinite(steps)
    inside[borders] = False
    place = np.arange(len(steps)) % period
    for border in borders:
        alike = inside & (place == border % period)
        if np.isfinite(steps[border]) and alike.any():
            yield float(steps[border]), float(steps[alike].mean())


def _find_borders(embedding: xr.DataArray, dim: str, every: int | None) -> list[int]:
    """Give the steps along a dim that cross a border."""
    n = embedding.sizes[dim]
    if every is not None:
        return list(range(every - 1, n - 1, every))
    chunks = embedding.chunksizes.get(dim, (n,))
    return [edge - 1 for edge in accumulate(chunks[:-1])]
