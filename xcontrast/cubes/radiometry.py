"""From stored numbers to physical units: Sentinel-2 reflectance and Sentinel-1 decibels.

Kernels end in ``_np`` and work on arrays; what acts on labelled arrays stays lazy.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

__all__ = [
    "BOA_SCALE",
    "INVALID_SCL",
    "boa_offset",
    "decibels_np",
    "processing_baseline",
    "reflectance_np",
    "to_decibels",
]

BOA_SCALE = 1e-4
"""Reflectance of one digital number of Level-2A."""
INVALID_SCL = (0, 1, 3, 8, 9, 10)
"""Scene classes without a view of the ground: no data, saturated, shadow, clouds, cirrus."""


def processing_baseline(properties: dict[str, Any], name: str = "") -> str | None:
    """Give the processing baseline of a Sentinel-2 product.

    Parameters
    ----------
    properties : dict
        Of a STAC item: ``s2:processing_baseline``, else ``processing:version``, else the product's
        name in ``s2:product_uri`` or `name`, which has it as ``_N0509_``.
    name : str, optional
        Id of the item.

    Returns
    -------
    str or None
        ``"05.09"``; None where nothing tells.

    Examples
    --------
    >>> processing_baseline({}, "S2A_MSIL2A_20220328T101031_N0400_R022_T32TPQ_20220328T152437")
    '04.00'
    """
    for key in ("s2:processing_baseline", "processing:version"):
        stated = str(properties.get(key, ""))
        if re.fullmatch(r"\d{1,2}\.\d{1,2}", stated):
            return stated
    for product in (str(properties.get("s2:product_uri", "")), name):
        found = re.search(r"_N(\d\d)(\d\d)_", product)
        if found:
            return ".".join(found.groups())
    return None


def boa_offset(properties: dict[str, Any], name: str = "") -> int:
    """Give the offset of a Level-2A product's digital numbers.

    Parameters
    ----------
    properties : dict
        Of a STAC item.
    name : str, optional
        Its id.

    Returns
    -------
    int
        -1000 from processing baseline 04.00 on, unless the provider already applied it; else 0.

    Notes
    -----
    Dates do not tell: old scenes are processed again with new baselines. Without a baseline the
    offset is taken as 0; ``open_cube`` says so.

    References
    ----------
    Sentinel-2 Products Specification Document 14.9, BOA_ADD_OFFSET; Earth Search's
    ``earthsearch:boa_offset_applied``.

    Examples
    --------
    >>> boa_offset({"s2:processing_baseline": "05.09"}), boa_offset({})
    (-1000, 0)
    """
    if properties.get("earthsearch:boa_offset_applied"):
        return 0
    baseline = processing_baseline(properties, name)
    return -1000 if baseline is not None and float(baseline) >= 4 else 0


def reflectance_np(
    numbers: npt.NDArray[Any], *, offset: float, scale: float = BOA_SCALE
) -> npt.NDArray[np.float32]:
    """Give surface reflectance (1 = 100 %) of Level-2A digital numbers; 0 is no data, NaN."""
    values = (numbers.astype(np.float32) + np.float32(offset)) * np.float32(scale)
    return np.where(numbers == 0, np.float32(np.nan), values)


def decibels_np(power: npt.NDArray[Any], *, floor: float) -> npt.NDArray[np.float32]:
    """Give ``10 log10`` of linear backscatter, at least `floor`; no data and borders are NaN."""
    known = np.isfinite(power) & (power > 0)
    safe = np.where(known, power, 1).astype(np.float32)
    return np.where(known, np.maximum(10 * np.log10(safe), np.float32(floor)), np.float32(np.nan))


def to_decibels(power: xr.DataArray, *, floor: float) -> xr.DataArray:
    """Turn linear backscatter into decibels, lazily.

    Parameters
    ----------
    power : DataArray, float32
        Gamma nought; 0, negative and NaN are no data.
    floor : float
        Least value, dB.

    Returns
    -------
    DataArray, float32, dB
    """
    result: xr.DataArray = xr.apply_ufunc(
        decibels_np,
        power,
        kwargs={"floor": floor},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    return result
