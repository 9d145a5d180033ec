"""Whether what is given fits a model, and its bands in the model's order."""

from __future__ import annotations

import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.model import SensorCard
from xcontrast.requirements import require_places
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["select_bands", "sensor_of"]


def sensor_of(array: xr.DataArray) -> Sensor:
    """Tell by its dims which sensor an array is of."""
    for sensor in SENSORS:
        if sensor.band in array.dims:
            return sensor
    raise DataError(
        problem(
            expected="a DataArray with the dim 's1_band' or 's2_band'",
            received=f"dims {array.dims}",
            do="make the cube with xc.as_cube and take its 's1' or 's2'",
        )
    )


def select_bands(array: xr.DataArray, card: SensorCard, sensor: Sensor) -> xr.DataArray:
    """Give the bands that a model knows, in its order, having checked dims, type and units."""
    if array.dims[-3:] != (sensor.band, "y", "x"):
        raise DataError(
            problem(
                expected=f"dims ending in ({sensor.band}, y, x)",
                received=str(array.dims),
                do=f"call .transpose(..., '{sensor.band}', 'y', 'x')",
            )
        )
    require_places(array)
    if empty := [str(dim) for dim, size in array.sizes.items() if size == 0]:
        raise DataError(
            problem(
                expected=f"{sensor.title} of at least one date and pixel",
                received=f"0 along {', '.join(empty)}",
                do="choose a period and an area of the cube that it covers",
            )
        )
    if array.dtype.kind != "f":
        raise DataError(
            problem(
                expected=f"{sensor.title} as floats in physical units, NaN where invalid",
                received=str(array.dtype),
                do="make the cube with xc.as_cube, which takes integers with their scale",
            )
        )
    present = [str(band) for band in array[sensor.band].values]
    missing = [band for band in card.bands if band not in present]
    if missing:
        raise DataError(
            problem(
                expected=f"the {sensor.title} bands that the model knows: {', '.join(card.bands)}",
                received=f"{', '.join(present)}, without {', '.join(missing)}",
                do="load those bands, or pretrain a model on the bands that there are",
            )
        )
    units = str(array.attrs.get("units", "unknown"))
    if units != card.units:
        raise DataError(
            problem(
                expected=f"{sensor.title} in {card.units!r}, as the model was trained on",
                received=f"attrs['units'] of {units!r}",
                do="make the cube with xc.open_cube or xc.as_cube, which set the units",
            )
        )
    return array.isel({sensor.band: [present.index(band) for band in card.bands]})
