"""What a map must beat: gradient boosting on pixels, and local statistics, without any encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import order_alike
from xcontrast.heads.decision import weigh_categories
from xcontrast.heads.flags import as_map
from xcontrast.legends import Legend

__all__ = [
    "BoostedPixels",
    "cell_statistics",
    "fit_pixels",
    "local_statistics",
    "map_pixels",
    "predict_pixels",
]

N_MAX = 200_000
"""Labelled pixels that a baseline is fitted on, at most."""
Floats = npt.NDArray[np.float32]


def local_statistics(layers: xr.DataArray, *, size: int = 5) -> xr.DataArray:
    """Add the mean and standard deviation of a window around each pixel to its layers.

    Parameters
    ----------
    layers : DataArray (…, feature, y, x), float32
        NaN where invalid.
    size : int, default 5
        Side of the window, pixels.

    Returns
    -------
    DataArray (…, 3 * feature, y, x), float32
        Of the valid pixels of a window; NaN where none is.

    Examples
    --------
    >>> layers = cube.s1.isel(s1_time=0).rename(s1_band="feature")
    >>> local_statistics(layers).shape
    (6, 96, 96)
    """
    values = layers.transpose(..., "feature", "y", "x")
    mean, std = _window_np(values.values, size)
    stacked = np.concatenate([values.values, mean, std], axis=-3)
    coords = {k: v for k, v in layers.coords.items() if "feature" not in v.dims}
    return xr.DataArray(stacked, coords, values.dims)


def cell_statistics(
    layers: xr.DataArray, *, stride: int, windows: tuple[int, ...] = (5, 15, 45)
) -> xr.DataArray:
    """Describe cells by means and standard deviations of windows around them, lazily.

    Parameters
    ----------
    layers : DataArray (…, feature, y, x), float32
        NaN where invalid.
    stride : int
        Pixels a cell.
    windows : tuple of int
        Sides of the windows, pixels.

    Returns
    -------
    DataArray (…, feature, y, x), float32
        The mean of each cell's pixels, then, for each window, means and standard deviations at
        its pixels averaged over the cell; without coords of y and x.

    Examples
    --------
    >>> layers = cube.s1.isel(s1_time=0).rename(s1_band="feature")
    >>> cell_statistics(layers, stride=4, windows=(5,)).shape
    (6, 24, 24)
    """
    found = xr.apply_ufunc(
        _cells_np,
        layers,
        input_core_dims=[["feature", "y", "x"]],
        output_core_dims=[["feature", "y", "x"]],
        exclude_dims={"feature", "y", "x"},
        kwargs={"stride": stride, "windows": windows},
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={
            "allow_rechunk": True,
            "output_sizes": {
                "feature": layers.sizes["feature"] * (1 + 2 * len(windows)),
                **{d: -(-layers.sizes[d] // stride) for d in ("y", "x")},
            },
        },
    )
    result: xr.DataArray = found.transpose(..., "feature", "y", "x")
    return result


def _cells_np(values: Floats, *, stride: int, windows: tuple[int, ...]) -> Floats:
    """(…, F, y, x) -> (…, F * (1 + 2 W), rows, cols)."""
    parts = [values]
    for size in windows:
        parts += _window_np(values, size)
    return np.concatenate([_average_cells(part, stride) for part in parts], axis=-3)


def _window_np(values: Floats, size: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the valid pixels of a window around each pixel."""
    from scipy.ndimage import uniform_filter

    window = (1,) * (values.ndim - 2) + (size, size)
    valid = np.isfinite(values)
    # Of the distance to one common level: squares of raw values would lose the small deviations.
    level = np.nanmean(values, dtype=float) if valid.any() else 0.0
    filled = np.where(valid, values - level, 0.0).astype(float)
    share = uniform_filter(valid.astype(float), window)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.where(share > 0.5 / size**2, share, np.nan)
        mean = uniform_filter(filled, window) / known
        variance = uniform_filter(filled**2, window) / known - mean**2
    spread = np.sqrt(variance.clip(min=0))
    return (mean + level).astype(np.float32), spread.astype(np.float32)


def _average_cells(values: Floats, stride: int) -> Floats:
    """Average the valid pixels of each cell; NaN where none is."""
    pad = [(0, 0)] * (values.ndim - 2) + [(0, -n % stride) for n in values.shape[-2:]]
    whole = np.pad(values, pad, constant_values=np.nan)
    rows, cols = (n // stride for n in whole.shape[-2:])
    cells = whole.reshape(*whole.shape[:-2], rows, stride, cols, stride)
    n = np.isfinite(cells).sum((-3, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = (np.nansum(cells, axis=(-3, -1), dtype=float) / n).astype(np.float32)
    return mean


@dataclass(frozen=True)
class BoostedPixels:
    """Gradient boosting on single pixels, and what its labels are chosen by."""

    model: Any
    """scikit-learn's."""
    weights: Floats
    """Of the categories, ``(K,)``, as of a :class:`Head`."""


def fit_pixels(
    layers: xr.DataArray,
    labels: xr.DataArray,
    *,
    legend: Legend,
    balance: float = 0.5,
    seed: int = 0,
) -> BoostedPixels:
    """Fit gradient boosting to single labelled pixels.

    Parameters
    ----------
    layers : DataArray (…, feature, y, x), float32
        What each pixel is judged by, NaN where invalid; of lazy ones only the labelled pixels are
        kept in memory.
    labels : DataArray (…, y, x), uint8
        Codes of the legend on the same grid, 255 where there is none; of more than 200,000
        labelled pixels so many are drawn.
    legend : Legend
        What the codes mean.
    balance : float, default 0.5
        As of :func:`xcontrast.fit`, so that maps of both differ by what they look at.
    seed : int, default 0
        Of the draw and the boosting.

    Returns
    -------
    BoostedPixels

    Raises
    ------
    DataError
        If no valid pixel is labelled.

    References
    ----------
    Friedman (2001), through scikit-learn's histogram gradient boosting with its defaults.

    Examples
    --------
    >>> layers = cube.s1.isel(s1_time=0).rename(s1_band="feature")
    >>> boosted = fit_pixels(layers, labels, legend=xc.FLOOD)
    >>> boosted.model.classes_
    array([0, 1], dtype=uint8)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    codes = order_alike(labels, layers, what="labels").transpose(..., "y", "x")
    known = np.flatnonzero(np.isin(codes.values, legend.codes))
    chosen = np.random.default_rng(seed).permutation(known)[:N_MAX]
    where = np.unravel_index(chosen, codes.shape)
    index = {d: xr.DataArray(i, dims="cell") for d, i in zip(codes.dims, where, strict=True)}
    x = layers.isel(index).transpose("cell", "feature").values
    valid = np.isfinite(x).any(1)
    x, y = x[valid], codes.values[where][valid]
    if not len(y):
        raise DataError(
            problem(
                expected="labels on pixels that are valid",
                received="none",
                do="label some, or check the legend and where the layers are NaN",
            )
        )
    # Large draws are stopped early on a part held out, which wants two of each category.
    early = "auto" if np.unique(y, return_counts=True)[1].min() > 1 else False
    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=early)
    weights = weigh_categories([int((y == code).sum()) for code in legend.codes], balance)
    return BoostedPixels(model.fit(x, y), weights)


def predict_pixels(model: BoostedPixels, layers: xr.DataArray, *, legend: Legend) -> xr.Dataset:
    """Map categories and their probabilities pixel by pixel, lazily where the layers are lazy.

    Parameters
    ----------
    model : BoostedPixels
        From :func:`fit_pixels`.
    layers : DataArray (…, feature, y, x), float32
        As fitted.
    legend : Legend
        As fitted.

    Returns
    -------
    Dataset
        As of :func:`xcontrast.predict`, invalid where all layers are.

    Examples
    --------
    >>> layers = cube.s1.isel(s1_time=0).rename(s1_band="feature")
    >>> boosted = fit_pixels(layers, labels, legend=xc.FLOOD)
    >>> predict_pixels(boosted, layers, legend=xc.FLOOD).probability.shape
    (2, 96, 96)
    """
    found = xr.apply_ufunc(
        _probability_np,
        layers,
        input_core_dims=[["feature"]],
        output_core_dims=[["category"]],
        kwargs={"model": model.model, "codes": legend.codes},
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={
            "allow_rechunk": True, "output_sizes": {"category": len(legend.codes)},
        },
    )  # fmt: skip
    found = found.assign_coords(category=np.array(legend.names, object))
    # apply_ufunc drops the attributes of coords, and with them units.
    found = found.assign_coords({d: layers[d] for d in ("y", "x") if d in layers.coords})
    probability = found.transpose(..., "category", "y", "x")
    told = {"head_kind": "gradient boosting on single pixels"}
    return as_map(probability, legend, told, weights=model.weights)


def map_pixels(model: BoostedPixels, layers: xr.DataArray, *, legend: Legend) -> xr.DataArray:
    """Map pixel by pixel; see :func:`predict_pixels`.

    Parameters
    ----------
    model : BoostedPixels
        From :func:`fit_pixels`.
    layers : DataArray (…, feature, y, x), float32
        As fitted.
    legend : Legend
        As fitted.

    Returns
    -------
    DataArray (…, y, x), uint8
        The map; 255 where all layers are invalid.

    Examples
    --------
    >>> layers = cube.s1.isel(s1_time=0).rename(s1_band="feature")
    >>> boosted = fit_pixels(layers, labels, legend=xc.FLOOD)
    >>> float((map_pixels(boosted, layers, legend=xc.FLOOD) == labels).mean()) > 0.9
    True
    """
    label: xr.DataArray = predict_pixels(model, layers, legend=legend)["label"]
    return label


def _probability_np(values: Floats, *, model: Any, codes: tuple[int, ...]) -> Floats:
    """(…, F) -> (…, K), NaN where no layer is valid."""
    flat = values.reshape(-1, values.shape[-1])
    valid = np.isfinite(flat).any(1)
    result = np.full((len(flat), len(codes)), np.nan, np.float32)
    if valid.any():
        own = np.zeros((int(valid.sum()), len(codes)), np.float32)
        own[:, [codes.index(int(c)) for c in model.classes_]] = model.predict_proba(flat[valid])
        result[valid] = own
    return result.reshape(*values.shape[:-1], len(codes))
