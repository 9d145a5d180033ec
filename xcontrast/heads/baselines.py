"""What a map must beat: gradient boosting on pixels, without any encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.legends import NO_LABEL, Legend

__all__ = ["local_statistics", "map_pixels"]


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


def map_pixels(
    layers: xr.DataArray, labels: xr.DataArray, *, legend: Legend, seed: int = 0
) -> xr.DataArray:
    """Map with gradient boosting fitted to single labelled pixels.

    Parameters
    ----------
    layers : DataArray (feature, y, x), float32
        What each pixel is judged by, NaN where invalid.
    labels : DataArray (y, x), uint8
        Codes of the legend on the same grid, 255 where there is none.
    legend : Legend
        What the codes mean.
    seed : int, default 0
        Of the boosting.

    Returns
    -------
    DataArray (y, x), uint8
        The map; 255 where all layers are invalid.

    References
    ----------
    Friedman (2001), through scikit-learn's histogram gradient boosting with its defaults.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    x = layers.transpose("y", "x", "feature").values
    y = labels.transpose("y", "x").values
    known = np.isin(y, legend.codes) & np.isfinite(x).any(-1)
    model: Any = HistGradientBoostingClassifier(random_state=seed).fit(x[known], y[known])
    flat: npt.NDArray[np.float32] = x.reshape(-1, x.shape[-1])
    mapped = np.full(len(flat), NO_LABEL, np.uint8)
    valid = np.isfinite(flat).any(1)
    mapped[valid] = model.predict(flat[valid])
    coords = {k: v for k, v in labels.coords.items() if set(v.dims) <= {"y", "x"}}
    return xr.DataArray(mapped.reshape(y.shape), coords, ("y", "x"), "label", legend.attrs)
