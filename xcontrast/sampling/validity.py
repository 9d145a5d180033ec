"""How much of a pair is seen: read from the validity alone."""

from __future__ import annotations

import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["keep_valid", "seen_by"]


def seen_by(pairs: xr.Dataset, sensor: Sensor) -> xr.DataArray:
    """Give where a sensor sees the ground: as its cube tells, or else where its first band is.

    Parameters
    ----------
    pairs : Dataset
        With the sensor's variable and perhaps its ``{sensor}_valid``.
    sensor : Sensor
        Which.

    Returns
    -------
    DataArray, bool
        The dims of the variable but the bands; as lazy.
    """
    if sensor.valid in pairs:
        return pairs[sensor.valid]
    return pairs[sensor.name].isel({sensor.band: 0}, drop=True).notnull()


def keep_valid(matched: xr.Dataset, min_valid: float) -> xr.Dataset:
    """Keep the pairs of which enough is valid in all images; reads the validity.

    Parameters
    ----------
    matched : Dataset
        Pairs of any kind.
    min_valid : float
        Least share of pixels, 0..1.

    Returns
    -------
    Dataset
        With the coord ``valid_fraction`` on ``pair``.

    Raises
    ------
    DataError
        If no pair is valid enough.
    """
    seen = [seen_by(matched, sensor) for sensor in SENSORS if sensor.name in matched]
    both = seen[0] & seen[1] if len(seen) > 1 else seen[0]
    if "date" in both.dims:
        both = both.all("date")
    fraction = both.mean(("y", "x")).astype("float32").compute()
    kept = matched.assign_coords(valid_fraction=("pair", fraction.values))
    kept = kept.isel(pair=fraction.values >= min_valid)
    if not kept.sizes["pair"]:
        raise DataError(
            problem(
                expected=f"a pair with at least {min_valid:.0%} of its pixels valid in all images",
                received=f"{matched.sizes['pair']} pairs, the best {float(fraction.max()):.0%}",
                do="lower `min_valid`, or look for a clearer period",
            )
        )
    return kept
