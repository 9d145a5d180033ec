"""What a map must beat: gradient boosting on pixels, without any encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.legends import NO_LABEL, Legend

__all__ = ["fit_pixels", "local_statistics", "map_pixels"]

N_MAX = 200_000
"""Labelled pixels that a baseline is fitted on, at most."""


def local_statistics(layers: xr.DataArray, *, size: int = 5) -> xr.DataArray:
    """Add the mean and standard deviation of a window around each pixel to its layers.

    Parameters
    ----------
    layers : DataArray (feature, y, x), float32
        NaN where invalid.
    size : int, default 5
        Side of the window, pixels.

    Returns
    -------
    DataArray (3 * feature, y, x), float32
    """
    from scipy.ndimage import uniform_filter

    values = layers.values
    filled = np.nan_to_num(values, nan=float(np.nanmean(values)))
    window = (0, size, size)
    mean = uniform_filter(filled, window)
    variance = uniform_filter(filled**2, window) - mean**2
    stacked = np.concatenate([values, mean, np.sqrt(variance.clip(min=0))])
    coords = {k: v for k, v in layers.coords.items() if "feature" not in v.dims}
    return xr.DataArray(stacked, coords, layers.dims)


def fit_pixels(layers: xr.DataArray, labels: xr.DataArray, *, legend: Legend, seed: int = 0) -> Any:
    """Fit gradient boosting to single labelled pixels.

    Parameters
    ----------
    layers : DataArray (…, feature, y, x), float32
        What each pixel is judged by, NaN where invalid.
    labels : DataArray (…, y, x), uint8
        Codes of the legend on the same grid, 255 where there is none; of more than 200,000
        labelled pixels so many are drawn.
    legend : Legend
        What the codes mean.
    seed : int, default 0
        Of the draw and the boosting.

    Returns
    -------
    sklearn.ensemble.HistGradientBoostingClassifier

    References
    ----------
    Friedman (2001), through scikit-learn's histogram gradient boosting with its defaults.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    x = layers.transpose(..., "y", "x", "feature").values
    y = labels.transpose(..., "y", "x").values
    known = np.flatnonzero((np.isin(y, legend.codes) & np.isfinite(x).any(-1)).ravel())
    chosen = np.random.default_rng(seed).permutation(known)[:N_MAX]
    model = HistGradientBoostingClassifier(random_state=seed)
    return model.fit(x.reshape(-1, x.shape[-1])[chosen], y.ravel()[chosen])


def map_pixels(model: Any, layers: xr.DataArray, *, legend: Legend) -> xr.DataArray:
    """Map pixel by pixel.

    Parameters
    ----------
    model : HistGradientBoostingClassifier
        From :func:`fit_pixels`.
    layers : DataArray (…, feature, y, x), float32
        As fitted.
    legend : Legend
        As fitted.

    Returns
    -------
    DataArray (…, y, x), uint8
        The map; 255 where all layers are invalid.
    """
    x = layers.transpose(..., "y", "x", "feature")
    flat: npt.NDArray[np.float32] = x.values.reshape(-1, x.sizes["feature"])
    mapped = np.full(len(flat), NO_LABEL, np.uint8)
    valid = np.isfinite(flat).any(1)
    if valid.any():
        mapped[valid] = model.predict(flat[valid])
    coords = {k: c for k, c in layers.coords.items() if "feature" not in c.dims}
    return xr.DataArray(mapped.reshape(x.shape[:-1]), coords, x.dims[:-1], "label", legend.attrs)
