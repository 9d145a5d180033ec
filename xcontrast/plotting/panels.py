"""What every picture shares: axes, one time out of many, the frame of a map, small words.

An array of any backend goes in, numpy of screen size comes out. Nothing here knows what is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NO_DATA = "#c9c9c9"
"""Colour behind transparent pixels."""
MAX_SIDE = 1200
"""Longest side of a picture in cells; larger arrays are thinned before they are computed."""


KILOMETRE = 1000.0
"""Metres."""

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#6b6b6b"
"""Okabe and Ito's blue and vermilion, and a grey for what is only context."""


def new_axes(ax: Axes | None, *, figsize: tuple[float, float]) -> Axes:
    """Give back `ax`, or the axes of a new figure that lays itself out."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def plain_axes(ax: Axes, *, grid: str) -> None:
    """Take away what carries no data.

    Parameters
    ----------
    ax : Axes
        Changed in place.
    grid : {"x", "y"}
        The axis with lines behind the data.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="0.9", lw=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(8.5)


def day(time: Any) -> str:
    """Write a time as its date."""
    return str(pd.Timestamp(time).strftime("%Y-%m-%d"))


def require_dims(da: xr.DataArray, dims: tuple[str, ...], what: str) -> None:
    """Refuse an array without `dims`.

    Raises
    ------
    DataError
        If a dim is missing.
    """
    if not set(dims) <= set(da.dims):
        raise DataError(
            problem(
                expected=f"{what} with dims {dims}",
                received=f"dims {tuple(da.dims)}",
                do="rename the dims, or pass the array that has them",
            )
        )


def one_time(da: xr.DataArray, time: Any, *, keep: tuple[str, ...]) -> tuple[xr.DataArray, str]:
    """Cut one time out of an array and say which.

    Parameters
    ----------
    da : DataArray
        Dims `keep` and any leading ones.
    time : datetime-like or None
        The time wanted, by nearest; None takes the first.
    keep : tuple of str
        The dims that the picture needs.

    Returns
    -------
    tuple of DataArray and str
        The array with the dims `keep` in that order, and words for a title ("" without a time).

    Raises
    ------
    DataError
        If a leading dim is no time and longer than one.
    """
    extra = [dim for dim in da.dims if dim not in keep]
    words = ""
    for dim in extra:
        n = da.sizes[dim]
        timed = dim in da.coords and np.issubdtype(da[dim].dtype, np.datetime64)
        if n > 1 and not timed:
            raise DataError(
                problem(
                    expected=f"one {dim}, or a time dim",
                    received=f"{n} along {dim!r}",
                    do=f"choose one with .isel({dim}=...)",
                )
            )
        at = 0
        if timed and time is not None:
            at = int(np.abs(da[dim].values - np.datetime64(pd.Timestamp(time))).argmin())
        da = da.isel({dim: at})
        if timed and n > 1:
            words = f"{day(da[dim].values)} ({at + 1} of {n} dates)"
    if not words:
        times = {
            str(name): c.values
            for name, c in da.coords.items()
            if c.ndim == 0 and np.issubdtype(c.dtype, np.datetime64) and not np.isnat(c.values)
        }
        # One sensor of a pair bears the times of both: its own is meant.
        sensor = next((n for n in ("s1", "s2") if f"{n}_band" in da.dims), da.attrs.get("sensor"))
        words = day(times.get(f"{sensor}_time", next(iter(times.values())))) if times else ""
    return da.transpose(*keep), words


def thin(da: xr.DataArray) -> xr.DataArray:
    """Take every k-th cell so that no side is longer than `MAX_SIDE`."""
    step = max(1, -(-max(da.sizes["y"], da.sizes["x"]) // MAX_SIDE))
    return da.isel(y=slice(None, None, step), x=slice(None, None, step))


def map_frame(ax: Axes, image: np.ndarray, like: xr.DataArray, *, labelled: bool = True) -> None:
    """Draw RGBA `image` in the coordinates of `like`, north up, with axes in km or degrees.

    On a grid in metres it bears a scale bar.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    image : ndarray (y, x, 4), float
        The picture, rows as in `like`.
    like : DataArray (..., y, x)
        Gives the coordinates; without them the axes count cells.
    labelled : bool, default True
        Whether the axes are labelled.
    """
    from matplotlib.ticker import MaxNLocator

    (left, right, x_name, x_scale), (bottom, top, y_name, y_scale) = (
        _span(like, "x"),
        _span(like, "y"),
    )
    # Rows run from the first y to the last: drawn so whether y falls (north up) or rises.
    ax.imshow(image, extent=(left, right, top, bottom), interpolation="nearest", aspect="equal")
    if "y" in like.coords:
        ax.set_ylim(min(bottom, top), max(bottom, top))
    ax.set_facecolor(NO_DATA)
    if x_scale == KILOMETRE:
        _scale_bar(ax, right - left)
    if not labelled:
        ax.set(xticks=[], yticks=[])
        return
    for axis, name, scale in ((ax.xaxis, x_name, x_scale), (ax.yaxis, y_name, y_scale)):
        axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(_scaled(scale))
        axis.set_label_text(name, fontsize=8.5)
    ax.tick_params(labelsize=8)


def _scale_bar(ax: Axes, width: float) -> None:
    """Draw a bar of a round length, at most a quarter of the `width` of the picture, in metres."""
    from matplotlib.font_manager import FontProperties
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    most = abs(width) / 4
    decade = 10.0 ** np.floor(np.log10(most))
    length = decade * max(step for step in (1, 2, 5) if step * decade <= most)
    words = f"{length / KILOMETRE:g} km" if length >= KILOMETRE else f"{length:g} m"
    bar = AnchoredSizeBar(
        ax.transData,
        length,
        words,
        "lower right",
        pad=0.3,
        borderpad=0.4,
        sep=2,
        color="black",
        fontproperties=FontProperties(size=7),
    )
    bar.patch.set(alpha=0.75, edgecolor="none")
    ax.add_artist(bar)


def _scaled(scale: float) -> Callable[[float, float], str]:
    return lambda value, _: f"{value / scale:,.6g}"


def _span(like: xr.DataArray, dim: str) -> tuple[float, float, str, float]:
    """First and last edge along `dim`, its name with units, and the divisor of tick labels."""
    n = like.sizes[dim]
    if dim not in like.coords:
        return -0.5, n - 0.5, f"{dim} (cells)", 1.0
    values = like[dim].values.astype(float)
    half = (values[-1] - values[0]) / (n - 1) / 2 if n > 1 else 0.5
    units = str(like[dim].attrs.get("units", ""))
    edges = (values[0] - half, values[-1] + half)
    if units in ("m", "metre", "meter", "metres", "meters"):
        return *edges, {"x": "easting (km)", "y": "northing (km)"}[dim], KILOMETRE
    if units.startswith("degree"):
        return *edges, {"x": "longitude (°)", "y": "latitude (°)"}[dim], 1.0
    return *edges, f"{dim} ({units})" if units else dim, 1.0


def cell_area_km2(like: xr.DataArray) -> float | None:
    """Area of one cell in km², or None where the grid is not in metres."""
    sides = [d for d in ("y", "x") if d in like.coords and like.sizes[d] > 1]
    if len(sides) < 2 or any(_span(like, d)[3] != KILOMETRE for d in sides):
        return None
    steps = [abs(float(like[d][1] - like[d][0])) for d in ("y", "x")]
    return steps[0] * steps[1] / 1e6
