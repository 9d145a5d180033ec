"""Pictures of a collection: some of its places, every date of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import map_frame, require_dims, thin
from xcontrast.plotting.scenes import optical_rgba, radar_rgba
from xcontrast.sensors import S1, S2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_places"]

RENDER = {S2: optical_rgba, S1: radar_rgba}


def plot_places(collection: xr.Dataset, *, n: int = 4) -> Figure:
    """Show some places of a collection, a row each, with all their dates.

    Parameters
    ----------
    collection : Dataset
        ``s2 (location, date, s2_band, y, x)`` reflectance and/or ``s1 (location, date, s1_band,
        y, x)`` dB, from ``collect`` or ``open_collection``. Only the places shown are computed.
    n : int, default 4
        How many, spread evenly over all of them.

    Returns
    -------
    Figure
        Sentinel-2 is B04, B03, B02 from 0 to 0.25 reflectance, or its first three bands;
        Sentinel-1 is red VV, green VH, blue VV - VH with a fixed stretch in dB. Grey is no data.

    Raises
    ------
    DataError
        If there is no place or no date.

    Examples
    --------
    >>> tiles = xr.concat([cube.isel(y=slice(0, 32), x=slice(0, 32))] * 2, "location")
    >>> tiles = tiles.s2.drop_vars(["x", "y", "spatial_ref"])
    >>> places = xc.as_cube(s2=tiles.rename(s2_time="date", s2_band="band"))
    >>> len(plot_places(places, n=2).axes)
    4
    """
    shown = [sensor for sensor in (S2, S1) if sensor.name in collection]
    sizes = collection.sizes
    if not shown or not sizes.get("location") or not sizes.get("date") or n < 1:
        raise DataError(
            problem(
                expected="a collection: s2 or s1 with the dims location and date, and n >= 1",
                received=f"{sorted(map(str, collection))} with sizes {dict(sizes)}, n={n}",
                do="gather one with xc.collect, or open it with xc.open_collection",
            )
        )
    for sensor in shown:
        dims = ("location", "date", sensor.band, "y", "x")
        require_dims(collection[sensor.name], dims, f"{sensor.title} of a collection")
    import matplotlib.pyplot as plt

    chosen = np.unique(np.linspace(0, sizes["location"] - 1, n).round().astype(int))
    columns = sizes["date"] * len(shown)
    figure, axes = plt.subplots(
        len(chosen),
        columns,
        figsize=(1.7 * columns + 0.3, 1.95 * len(chosen) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    words: dict[str, str] = {}
    for row, at in zip(axes, chosen, strict=True):
        place = collection.isel(location=int(at))
        for k, ax in enumerate(row):
            sensor, date = shown[k % len(shown)], k // len(shown)
            values = thin(place[sensor.name].isel(date=date)).compute()
            image, words[sensor.title] = RENDER[sensor](values)
            map_frame(ax, image, values, labelled=False)
            ax.set_title(_title(place, sensor.time, date), loc="left", fontsize=7.5)
        row[0].set_ylabel(_where(place), fontsize=7.5)
    figure.suptitle(
        "\n".join(f"{title}: {text}" for title, text in words.items()),
        fontsize=8.5, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _title(place: xr.Dataset, time: str, date: int) -> str:
    name = time.removesuffix("_time").upper()
    if time not in place.coords:
        return name
    return f"{name} {pd.Timestamp(place[time].values[date]):%Y-%m-%d}"


def _where(place: xr.Dataset) -> str:
    if "lon" not in place.coords:
        return ""
    lon, lat = float(place.lon), float(place.lat)
    return f"{abs(lat):.2f}° {'NS'[lat < 0]}  {abs(lon):.2f}° {'EW'[lon < 0]}"
