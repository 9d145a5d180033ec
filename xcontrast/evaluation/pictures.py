"""Places side by side: what the sensors saw, truth, map, and where the map is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.evaluation.counts import number_categories
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.plotting.maps import HITS, plot_hits, plot_map
from xcontrast.plotting.panels import NO_DATA, map_frame, thin
from xcontrast.plotting.scenes import optical_rgba, radar_rgba
from xcontrast.sensors import S1, S2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Place", "draw_places"]

RENDER = {S1: radar_rgba, S2: optical_rgba}
HEADING = 0.45
"""Inches above each row, for two lines of words."""
LEGEND = 7
"""Entries of the legend in a line."""


@dataclass(frozen=True)
class Place:
    """A part of a map that is shown."""

    title: str
    label: xr.DataArray
    """(y, x)"""
    truth: xr.DataArray
    """(y, x)"""
    cube: xr.Dataset | None
    """Of this place, on the same pixels."""


def draw_places(places: Sequence[Place], legend: Legend, code: int) -> Figure:
    """Draw a row for each place.

    Parameters
    ----------
    places : sequence of Place
        One or more.
    legend : Legend
        Of map and truth.
    code : int
        Category whose hits, misses and false alarms are shown.

    Returns
    -------
    Figure
        The last date of each sensor, if there is a cube; truth; map; hits.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    sensors = [s for s in RENDER if places[0].cube is not None and s.name in places[0].cube]
    n_cols = len(sensors) + 3
    first = places[0].truth
    tall = max(0.4, min(2.0, first.sizes["y"] / first.sizes["x"]))
    width = min(3.4, 11.0 / n_cols)
    marks = {**HITS, "not judged": NO_DATA, **dict(zip(legend.names, legend.colors, strict=True))}
    n_lines = -(-len(marks) // LEGEND)
    below = 0.4 + 0.2 * n_lines
    size = (width * n_cols, (width * tall + HEADING) * len(places) + below)
    figure, axes = plt.subplots(len(places), n_cols, figsize=size, squeeze=False)
    words: dict[str, str] = {}
    for row, place in zip(axes, places, strict=True):
        words |= _draw_place(list(row), place, sensors, legend, code)
    told = "; ".join(f"{title}: {text}" for title, text in words.items())
    figure.text(0.01, 0.04 / size[1], told, fontsize=8)
    patches = [Patch(facecolor=c, edgecolor="0.4", lw=0.5, label=n) for n, c in marks.items()]
    figure.legend(
        handles=patches, loc="lower left", bbox_to_anchor=(0, 0.18 / size[1]), ncols=LEGEND,
        frameon=False, fontsize=8,
    )  # fmt: skip
    figure.subplots_adjust(
        left=0.005,
        right=0.995,
        top=1 - (HEADING - 0.05) / size[1],
        bottom=below / size[1],
        wspace=0.04,
        hspace=HEADING / (width * tall),
    )
    return figure


def _draw_place(
    axes: list[Axes], place: Place, sensors: list[Any], legend: Legend, code: int
) -> dict[str, str]:
    """Draw a row, and say how each sensor is stretched."""
    words = {}
    for ax, sensor in zip(axes, sensors, strict=False):
        assert place.cube is not None
        title, words[sensor.title] = _draw_image(ax, place.cube[sensor.name], sensor)
        ax.set_title(title, loc="left", fontsize=8)
    known = {name: _in_legend(v, legend) for name, v in vars(place).items() if name in _MAPS}
    plot_map(thin(known["truth"]), ax=axes[-3])
    plot_map(thin(known["label"]), ax=axes[-2])
    plot_hits(known["label"], known["truth"], positive=code, ax=axes[-1])
    for ax, name in zip(axes[-3:-1], ("truth", "map"), strict=True):
        ax.set_title(name, loc="left", fontsize=8)
    axes[-1].set_title(axes[-1].get_title(loc="left"), loc="left", fontsize=8)
    shown = axes[0].get_title(loc="left")
    axes[0].set_title(f"{place.title}\n{shown}", loc="left", fontsize=8)
    for ax in axes:
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        if (drawn := ax.get_legend()) is not None:
            drawn.remove()
    return words


_MAPS = ("label", "truth")


def _draw_image(ax: Axes, array: xr.DataArray, sensor: Any) -> tuple[str, str]:
    """Draw the last date of a sensor; say which, and how it is stretched."""
    for dim in [d for d in array.dims if d not in (sensor.band, "y", "x")]:
        array = array.isel({dim: -1})
    image, stretch = RENDER[sensor](thin(array).compute())
    map_frame(ax, image, thin(array))
    time = array.coords.get(sensor.time)
    when = f", {str(time.values)[:10]}" if time is not None and time.ndim == 0 else ""
    return f"{sensor.title}{when}", stretch


def _in_legend(codes: xr.DataArray, legend: Legend) -> xr.DataArray:
    """Give codes of the legend alone, with its flags."""
    table = np.array([*legend.codes, NO_LABEL], np.uint8)
    values = table[number_categories(codes.values, legend)]
    kept = {k: c for k, c in codes.coords.items() if k in ("y", "x")}
    return xr.DataArray(values, kept, ("y", "x"), attrs=legend.attrs)
