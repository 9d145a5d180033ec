"""A map as a Dataset: categories with their CF flags, probabilities and entropy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.heads.classifiers.classifier import Floats
from xcontrast.heads.decision import choose_codes
from xcontrast.legends import Legend
from xcontrast.version import __version__

__all__ = ["as_map"]


def as_map(
    probability: xr.DataArray,
    legend: Legend,
    provenance: dict[str, str],
    *,
    weights: Floats | None = None,
    label: xr.DataArray | None = None,
) -> xr.Dataset:
    """Put categories, their probabilities and the entropy side by side.

    Parameters
    ----------
    probability : DataArray (…, category, y, x), float32
        NaN where invalid; lazy or not.
    legend : Legend
        What the categories are.
    provenance : dict
        attrs that say what made it.
    weights : ndarray (K,), float32, optional
        Of the categories: the label is the one with the largest product of probability and
        weight; of 0 where it was never shown. The most probable one by default.
    label : DataArray (…, y, x), uint8, optional
        Chosen already.

    Returns
    -------
    Dataset
        As of :func:`predict`.
    """
    if label is None:
        choose = partial(choose_codes, codes=legend.codes, weights=weights)
        label = _over_categories(choose, probability, np.uint8)
    entropy = _over_categories(_entropy_np, probability, np.float32)
    provenance = {**provenance, "xcontrast": __version__}
    label.attrs = {**legend.attrs, **provenance}
    if weights is not None and len(set(weights)) > 1:
        label.attrs["category_weights"] = [round(float(weight), 4) for weight in weights]
    probability.attrs = {"long_name": f"probability of {legend.title}", "units": "1"}
    entropy.attrs = {"long_name": f"uncertainty of {legend.title}", "units": "1"}
    layers = {"label": label, "probability": probability, "entropy": entropy}
    return xr.Dataset(layers, attrs=provenance)


def _over_categories(
    function: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]],
    probability: xr.DataArray,
    dtype: type,
) -> xr.DataArray:
    mapped: xr.DataArray = xr.apply_ufunc(
        function,
        probability,
        input_core_dims=[["category"]],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs="override",  # Of coords too, and with them the CRS.
    )
    return mapped


def _entropy_np(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(…, K) -> (…): of the distribution, 0 to 1, NaN where invalid."""
    # Floored, not masked: 0 times the logarithm of 0 is 0.
    total = (probability * np.log(np.maximum(probability, np.float32(1e-30)))).sum(-1)
    entropy: npt.NDArray[np.float32] = (-total / np.float32(np.log(probability.shape[-1]))).clip(0)
    return entropy
