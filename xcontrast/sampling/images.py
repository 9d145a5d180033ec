"""Images by themselves, where two views of one need no partner."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xcontrast.sensors import SENSORS, Sensor

__all__ = ["stack_images", "take_images"]


def take_images(data: xr.Dataset, sensor: Sensor) -> xr.Dataset:
    """Take every image of one sensor by itself.

    Parameters
    ----------
    data : Dataset
        A cube, with or without times, or a collection.
    sensor : Sensor
        Which.

    Returns
    -------
    Dataset
        With ``pair`` in place of times, or of places and dates.
    """
    own = data[[name for name in (sensor.name, sensor.valid) if name in data]]
    if "location" in own.dims:
        return stack_images(own)
    if sensor.time not in own[sensor.name].dims:
        own = own.expand_dims(sensor.time)
    return own.swap_dims({sensor.time: "pair"})


def stack_images(collection: xr.Dataset) -> xr.Dataset:
    """Have every place and date of a collection by itself.

    Parameters
    ----------
    collection : Dataset
        With ``location`` and perhaps ``date``.

    Returns
    -------
    Dataset
        With ``pair`` in their place; ``location`` and ``date`` are coords on it.
    """
    dims = [dim for dim in ("location", "date") if dim in collection.dims]
    indexed = collection.assign_coords(
        {dim: np.arange(collection.sizes[dim]) for dim in dims if dim not in collection.coords}
    )
    stacked = indexed.stack(pair=dims, create_index=False).reset_coords(drop=False)
    there = [sensor for sensor in SENSORS if sensor.name in stacked]
    images = [sensor.name for sensor in there]
    coords = [name for name in stacked.data_vars if name not in images]
    bands = [sensor.band for sensor in there]
    return stacked.set_coords(coords).transpose("pair", *bands, "y", "x", ...)
