"""Which images of pairs are one and the same, so that each is read and held once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.sampling.windows import Indices
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["find_images", "image_of", "name_images"]


def image_of(sensor: Sensor) -> str:
    """Name the coord of pairs that tells apart the images of a sensor."""
    return f"{sensor.name}_image"


def name_images(values: xr.DataArray, index: Indices) -> npt.NDArray[np.int64]:
    """Give lazy images numbers that no image of another source has.

    Parameters
    ----------
    values : DataArray (time, ...)
        Of one sensor of a cube.
    index : ndarray (n,), intp
        Positions in time.

    Returns
    -------
    ndarray (n,), int64
        -1 where the values are in memory: there images are told apart by their pixels.
    """
    if values.chunks is None:
        return np.full(len(index), -1)
    source = hashlib.sha256(str(values.data.name).encode()).digest()
    return (int.from_bytes(source[:5]) << 20) + index.astype(np.int64)


def find_images(pairs: xr.Dataset, sensor: Sensor, used: Indices) -> tuple[Indices, Indices]:
    """Find a sensor's distinct images, as several pairs may share one.

    Two are one only where that is sure: in memory by their pixels, lazy ones by the coords
    ``s1_image`` and ``s2_image`` of :func:`xcontrast.pairs`.

    Parameters
    ----------
    pairs : Dataset
        Of any kind.
    sensor : Sensor
        Which.
    used : ndarray (n,), intp
        Pairs that are looked at, rising.

    Returns
    -------
    tuple of ndarray
        A pair of each distinct image, rising; for each of `used` its position among them.
    """
    values = pairs[sensor.name]
    if "location" in pairs.coords or "date" in pairs.dims:
        return used, np.arange(len(used))
    # What is in memory is compared, as a time may be that of several images.
    labels = (
        _label_alike(values, pairs.coords.get(sensor.time), used)
        if values.chunks is None
        else _label_known(pairs, sensor, used)
    )
    _, first, image = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return used[first[order]], np.argsort(order)[image]


def _label_alike(values: xr.DataArray, times: xr.DataArray | None, used: Indices) -> Indices:
    """Label images of one time by the first whose pixels are the same."""
    labels = np.arange(len(used))
    if times is None:
        return labels
    when = times.values[used]
    first_of: dict[Any, list[int]] = {}
    for k in np.flatnonzero(np.isin(when, _repeated(when))):
        others = first_of.setdefault(when[k], [])
        own = values[used[k]].values
        same = (i for i in others if np.array_equal(values[used[i]].values, own, equal_nan=True))
        labels[k] = next(same, k)
        if labels[k] == k:
            others.append(int(k))
    return labels


def _label_known(pairs: xr.Dataset, sensor: Sensor, used: Indices) -> npt.NDArray[Any]:
    """Label lazy images by what pairs() said that they are, as nothing is to be read."""
    both = [pairs.coords[name].values for name in map(image_of, SENSORS) if name in pairs.coords]
    # Joined with pairs that do not say it, they are floats with gaps.
    if len(both) < len(SENSORS) or any(known.dtype.kind != "i" for known in both):
        return np.arange(len(used))
    # One call gives no two pairs of the same two images: where there are, changed or cropped
    # copies may have been joined, whose images are others of the same name.
    if len(np.unique(np.stack(both), axis=1).T) < pairs.sizes["pair"]:
        return np.arange(len(used))
    return np.asarray(pairs[image_of(sensor)].values[used])


def _repeated(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    unique, counts = np.unique(values, return_counts=True)
    return unique[counts > 1]
