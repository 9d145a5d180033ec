"""What a segmenter sees: sensors and dates of a cube as one array of layers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from xcontrast.embedding.composites import TIMES, split_periods
from xcontrast.embedding.inputs import select_bands, sensor_of
from xcontrast.errors import DataError, problem
from xcontrast.model import SensorCard
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["arrays_of", "stack_layers"]


def arrays_of(cube: xr.Dataset | xr.DataArray) -> dict[str, xr.DataArray]:
    """Give the arrays of the sensors that a cube has, by name.

    Parameters
    ----------
    cube : Dataset or DataArray
        A cube, a collection, or one of their variables.

    Returns
    -------
    dict of str to DataArray

    Raises
    ------
    DataError
        If there is none.
    """
    if isinstance(cube, xr.DataArray):
        return {sensor_of(cube).name: cube}
    arrays = {s.name: cube[s.name] for s in SENSORS if s.name in cube.data_vars}
    if not arrays:
        raise DataError(
            problem(
                expected="a cube or collection with 's1' and/or 's2'",
                received=f"variables {sorted(map(str, cube.data_vars))}",
                do="make it with xc.open_cube or xc.as_cube; a segmenter maps pixels, "
                "not embeddings",
            )
        )
    return arrays


def stack_layers(
    arrays: Mapping[str, xr.DataArray],
    sensors: Mapping[str, SensorCard],
    *,
    event: str | pd.Timestamp | None,
) -> tuple[xr.DataArray, int]:
    """Put the bands of all sensors and dates along one dim.

    Parameters
    ----------
    arrays : mapping of str to DataArray
        ``(…, [time], band, y, x)`` of each sensor in `sensors`.
    sensors : mapping of str to SensorCard
        Whose bands, in which order.
    event : str or Timestamp or None
        What comes before it is averaged into one image, what comes at and after it into another.

    Returns
    -------
    tuple
        DataArray ``(…, layer, y, x)`` float32, ordered by sensor, date, band, as lazy as it came;
        and the number of dates, 1 or 2.

    Raises
    ------
    DataError
        If bands, units or dims do not fit, a sensor has more than two times and there is no
        event, or an event and no times, or the sensors do not have as many dates.
    """
    known = {sensor.name: sensor for sensor in SENSORS}
    dates = {
        name: _dates(select_bands(arrays[name], card, known[name]), known[name], event)
        for name, card in sensors.items()
    }
    counts = {name: len(own) for name, own in dates.items()}
    if len(set(counts.values())) > 1:
        raise DataError(
            problem(
                expected="one date of each sensor, or two of each",
                received=", ".join(f"{n} of {name}" for name, n in counts.items()),
                do="select the dates alike, or give event=... to average what is before and after",
            )
        )
    layers = [
        image.rename({known[name].band: "layer"}).astype("float32")
        for name, own in dates.items()
        for image in own
    ]
    joined = xr.concat(layers, "layer", coords="minimal", compat="override", join="exact")
    joined = joined.transpose(..., "layer", "y", "x").rename("layers")
    joined.attrs = {}
    return joined, next(iter(counts.values()))


def _dates(
    array: xr.DataArray, sensor: Sensor, event: str | pd.Timestamp | None
) -> list[xr.DataArray]:
    """Give one image, or two: before and after; without time dims and what describes them."""
    time = next((dim for dim in TIMES if dim in array.dims), None)
    if time is None and event is not None:
        raise DataError(
            problem(
                expected=f"images with a time dim, {' or '.join(TIMES)}, to set the event against",
                received=f"event={str(event)!r} and the dims {array.dims}",
                do="leave `event` out, or give the cube with its times",
            )
        )
    if time is None:
        images = [array]
    elif array.sizes[time] == 1 and event is None:
        images = [array.isel({time: 0})]
    else:
        images = list(split_periods(array, time, event=event))
    gone = {sensor.band, *TIMES, *(n for n in array.coords if time in array[n].dims)}
    return [image.drop_vars([n for n in image.coords if n in gone]) for image in images]
