"""How well a map agrees with the truth: counts first, then the usual ratios of them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.legends import NO_LABEL, Legend

__all__ = ["score"]


def score(label: xr.DataArray, truth: xr.DataArray, *, legend: Legend) -> xr.Dataset:
    """Compare a map with the truth on the same grid.

    Parameters
    ----------
    label : DataArray (…, y, x), integer
        The map, as in ``predict(...).label``.
    truth : DataArray (…, y, x), integer
        Codes of the legend on the same grid.
    legend : Legend
        What the codes mean; cells with another code in either are left out.

    Returns
    -------
    Dataset
        ``confusion (truth, predicted)`` int64 counts; per ``category`` ``iou``, ``f1``,
        ``precision``, ``recall`` (1, NaN where undefined); scalars ``accuracy`` and ``kappa``.

    Raises
    ------
    DataError
        If the shapes differ, or no cell is known in both.

    References
    ----------
    Cohen (1960) for kappa; Jaccard (1912) for IoU.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xcontrast as xc
    >>> a = xr.DataArray(np.array([[0, 1], [1, 255]]), dims=("y", "x"))
    >>> b = xr.DataArray(np.array([[0, 1], [0, 1]]), dims=("y", "x"))
    >>> float(xc.score(a, b, legend=xc.FLOOD).iou.sel(category="flood"))
    0.5
    """
    if label.dims != truth.dims or label.shape != truth.shape:
        raise DataError(
            problem(
                expected="a map and a truth on one grid",
                received=f"{dict(label.sizes)} and {dict(truth.sizes)}",
                do="predict with like=truth, or bring the truth to the map's grid",
            )
        )
    n = len(legend.codes)
    numbers = np.full(256, n)
    numbers[list(legend.codes)] = np.arange(n)
    rows, cols = (
        numbers[np.where((v.values >= 0) & (v.values < NO_LABEL), v.values, NO_LABEL).astype(int)]
        for v in (truth, label)
    )
    known = (rows < n) & (cols < n)
    if not known.any():
        raise DataError(
            problem(
                expected="cells with a code of the legend in both",
                received="none",
                do="check the legend and the overlap",
            )
        )
    counts = np.bincount(rows[known] * n + cols[known], minlength=n * n).reshape(n, n)
    return _ratios(counts, legend)


def _ratios(counts: np.ndarray, legend: Legend) -> xr.Dataset:
    hit = np.diag(counts).astype(float)
    true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = {
            "iou": hit / (true + predicted - hit),
            "f1": 2 * hit / (true + predicted),
            "precision": hit / predicted,
            "recall": hit / true,
        }
        by_chance = float((true * predicted).sum()) / total**2
        accuracy = hit.sum() / total
        kappa = (accuracy - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan
    names = np.array(legend.names, object)
    return xr.Dataset(
        {
            "confusion": (("truth", "predicted"), counts),
            **{name: ("category", values) for name, values in ratios.items()},
            "accuracy": accuracy,
            "kappa": kappa,
        },
        {"category": names, "truth": names, "predicted": names},
    )
