"""From a person's own numbers to dB and reflectance, or word that they cannot be that."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.radiometry import to_decibels
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, STORED_NODATA, Sensor

__all__ = ["nodata_of", "to_physical"]

NODATA = ("_FillValue", "missing_value", "fill_value", "nodata")


def nodata_of(values: xr.DataArray) -> list[float]:
    """Give the numbers that stand for no data.

    Parameters
    ----------
    values : DataArray
        Stored or decoded.

    Returns
    -------
    list of float
        What its attributes name; of integers also what the encoding names, which of floats xarray
        has decoded already, and of int16 the package's own.
    """
    integer = np.issubdtype(values.dtype, np.integer)
    sources = [values.attrs, values.encoding] if integer else [values.attrs]
    stated = [np.ravel(own[key]) for own in sources for key in NODATA if key in own]
    codes = pd.to_numeric(np.concatenate([*stated, []]), errors="coerce")
    own = [float(STORED_NODATA)] if values.dtype == np.int16 else []
    return sorted({*codes[np.isfinite(codes)].tolist(), *own})


def to_physical(
    values: xr.DataArray, sensor: Sensor, *, units: str, scale: float | None, offset: float | None
) -> xr.DataArray:
    """Give dB of Sentinel-1 and reflectance of Sentinel-2, lazily.

    Parameters
    ----------
    values : DataArray
        As a person has them.
    sensor : Sensor
        Whose they are.
    units : {"dB", "power", "unknown"}
        Of Sentinel-1.
    scale, offset : float, optional
        Of Sentinel-2.

    Returns
    -------
    DataArray, float32
        NaN where there is no finite value.

    Raises
    ------
    DataError
        If values are integers or implausible for the units; only data in memory are looked at.
    """
    return _physical_s1(values, units) if sensor is S1 else _physical_s2(values, scale, offset)


def _physical_s1(values: xr.DataArray, units: str) -> xr.DataArray:
    if units not in ("dB", "power", "unknown"):
        raise DataError(
            problem(
                expected="s1_units 'dB', 'power' or 'unknown'",
                received=repr(units),
                do="convert amplitude first: dB = 20 log10(amplitude) + calibration",
            )
        )
    if units == "unknown":
        return _known(values, nodata_of(values)).astype("float32")
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            problem(
                expected=f"Sentinel-1 in {units} as floats",
                received=f"{values.dtype}",
                do="calibrate first (the product's own formula), or say s1_units='unknown'",
            )
        )
    values = _known(values, nodata_of(values))
    if units == "power":
        _check_power(values)
        return to_decibels(values, floor=-40)
    _check_plausible(values, S1, "say s1_units='power' or 'unknown'")
    return values.astype("float32")


def _physical_s2(values: xr.DataArray, scale: float | None, offset: float | None) -> xr.DataArray:
    integer = np.issubdtype(values.dtype, np.integer)
    if integer and scale is None:
        raise DataError(
            problem(
                expected="Sentinel-2 reflectance as floats, or integers with their scale",
                received=f"{values.dtype} and no s2_scale",
                do="give s2_scale=1e-4 for Level-2A numbers, and s2_offset=-0.1 from processing "
                "baseline 04.00 on",
            )
        )
    known = _known(values, [*nodata_of(values), 0.0] if integer else nodata_of(values))
    result = known.astype("float32") * np.float32(1 if scale is None else scale)
    result = result + np.float32(offset or 0)
    _check_plausible(result, S2, "give s2_scale and s2_offset")
    return result


def _known(values: xr.DataArray, codes: list[float]) -> xr.DataArray:
    """Make NaN what is no data, also of floats what is not finite: 10 log10 of a border's 0."""
    floating = np.issubdtype(values.dtype, np.floating)
    with np.errstate(over="ignore"):  # Of float64's least number as float32.
        listed = np.array(codes, values.dtype if floating else float)
    if floating:
        values = values.where(np.isfinite(values))
    return values.where(~values.isin(listed)) if codes else values


def _sample(values: xr.DataArray) -> npt.NDArray[Any]:
    """Give some finite values of data in memory, none of lazy data."""
    if values.chunks is not None or not values.size:
        return np.empty(0)
    flat = values.values.ravel()
    sample = flat[:: max(1, flat.size // 100_000)]
    known: npt.NDArray[Any] = sample[np.isfinite(sample)]
    return known


def _check_power(values: xr.DataArray) -> None:
    known = _sample(values)
    if len(known) and float((known < 0).mean()) > 0.5:
        raise DataError(
            problem(
                expected="Sentinel-1 in power, which is not negative",
                received=f"a median of {float(np.median(known)):.4g}",
                do="say s1_units='dB' if it is in decibels",
            )
        )


def _check_plausible(values: xr.DataArray, sensor: Sensor, advice: str) -> None:
    """Look at the median of data in memory; lazy data are taken on trust."""
    known = _sample(values)
    low, high = sensor.plausible
    # Power lies in 0..1, where no scene in dB has both its median and its spread.
    positive = sensor is S1 and len(known) > 0 and float(np.min(known)) >= 0
    if len(known) and (positive or not low <= float(np.median(known)) <= high):
        raise DataError(
            problem(
                expected=f"{sensor.title} with a median in {low}..{high} "
                f"{'dB, some values negative' if sensor is S1 else '(1 = 100 %)'}",
                received=f"a median of {float(np.median(known)):.4g}, "
                f"{float(known.min()):.4g} to {float(known.max()):.4g}",
                do=advice,
            )
        )
