"""Kinds of ground without labels: k-means on a sample of cells, then every cell lazily."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.embedding.facts import identify
from xcontrast.errors import DataError, problem
from xcontrast.legends import NO_LABEL

__all__ = ["cluster"]

N_BLOCKS = 16
"""Blocks that are computed for the sample, at most."""
N_CELLS = 20_000
"""Cells of the sample, at most."""


def cluster(embedding: xr.DataArray, k: int, *, unit: bool = True, seed: int = 0) -> xr.DataArray:
    """Group cells into k kinds by mini-batch k-means.

    Centres are fitted at once, on a seeded sample of cells from up to 16 blocks; the map is lazy.

    Parameters
    ----------
    embedding : DataArray (…, feature, y, x), float32
        NaN where invalid.
    k : int
        Kinds, 2 to 254.
    unit : bool, default True
        By direction alone, as contrastive losses compare features; False by Euclidean distance.
    seed : int, default 0
        Of blocks, cells and centres.

    Returns
    -------
    DataArray (…, y, x), uint8
        0 to k - 1, the most frequent kind of the sample first; 255 where the embedding is NaN.

    Raises
    ------
    DataError
        If `k` is out of range, dims are missing, or there are fewer valid cells than kinds.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.repeat([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]], 4, axis=1).astype("float32")
    >>> cluster(xr.DataArray(values, dims=("feature", "y", "x")), 2).values[0]
    array([0, 0, 1], dtype=uint8)
    """
    if "feature" not in embedding.dims or not 2 <= k < NO_LABEL:
        raise DataError(
            problem(
                expected=f"an embedding with the dim feature, and 2 to {NO_LABEL - 1} kinds",
                received=f"dims {embedding.dims} and k={k}",
                do="call cube.contrast.embed(model) first, and ask for as many kinds as you expect",
            )
        )
    cells = _sample(embedding, seed)
    if len(cells) < k:
        raise DataError(
            problem(
                expected=f"at least {k} valid cells in the sampled blocks",
                received=str(len(cells)),
                do="ask for fewer kinds, or choose an area and time with valid cells",
            )
        )
    centres = _fit_centres(_scale(cells, unit), k, seed)
    result: xr.DataArray = xr.apply_ufunc(
        partial(_assign_np, centres=centres, unit=unit),
        embedding,
        input_core_dims=[["feature"]],
        dask="parallelized",
        output_dtypes=[np.uint8],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs="override",  # Of coords too, and with them the CRS.
    )
    result.attrs = {
        "long_name": f"kinds of ground, k-means of {k}",
        "flag_values": list(range(k)),
        "flag_meanings": " ".join(f"kind_{i}" for i in range(k)),
        "nodata": NO_LABEL,
    } | identify(embedding)
    return result.rename("cluster")


def _sample(embedding: xr.DataArray, seed: int) -> npt.NDArray[np.float32]:
    """Draw valid cells (n, F) from a few blocks, computed together."""
    import dask

    rng = np.random.default_rng(seed)
    ordered = embedding.transpose(..., "y", "x", "feature")
    if ordered.chunks is None:
        blocks = [ordered.data]
    else:
        grid = ordered.data.rechunk({ordered.ndim - 1: -1}).blocks
        chosen = np.sort(rng.permutation(grid.size)[:N_BLOCKS])
        places = zip(*np.unravel_index(chosen, grid.shape), strict=True)
        blocks = [grid[tuple(map(int, place))] for place in places]
    share = -(-N_CELLS // len(blocks))
    taken = []
    for block in dask.compute(*blocks):
        flat = np.asarray(block).reshape(-1, block.shape[-1])
        valid = np.flatnonzero(np.isfinite(flat).all(1))
        taken.append(flat[np.sort(rng.permutation(valid)[:share])])
    return np.concatenate(taken)


def _fit_centres(cells: npt.NDArray[np.float32], k: int, seed: int) -> npt.NDArray[np.float32]:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(k, random_state=seed, n_init=5, batch_size=4096).fit(cells)
    frequent = np.argsort(-np.bincount(model.labels_, minlength=k), kind="stable")
    centres: npt.NDArray[np.float32] = model.cluster_centers_[frequent].astype(np.float32)
    return centres


def _scale(cells: npt.NDArray[Any], unit: bool) -> npt.NDArray[np.float32]:
    if not unit:
        return cells
    scaled: npt.NDArray[np.float32] = cells / np.linalg.norm(cells, axis=-1, keepdims=True).clip(
        min=1e-12
    )
    return scaled


def _assign_np(
    features: npt.NDArray[np.float32], *, centres: npt.NDArray[np.float32], unit: bool
) -> npt.NDArray[np.uint8]:
    """(…, F) -> (…): the nearest centre, 255 where invalid."""
    valid = np.isfinite(features).all(-1)
    cells = _scale(np.nan_to_num(features), unit)
    # |x - c|^2 without |x|^2, which is the same for all centres.
    distance = (centres**2).sum(1) - 2 * cells @ centres.T
    return np.where(valid, distance.argmin(-1), NO_LABEL).astype(np.uint8)
