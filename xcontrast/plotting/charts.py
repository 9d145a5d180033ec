"""Charts: acquisitions over time, pairs by lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import BLUE, GREY, new_axes, plain_axes
from xcontrast.sensors import SENSORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_timeline(cube: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Show when each sensor looked: Sentinel-1 by orbit, Sentinel-2 by cloud cover.

    Parameters
    ----------
    cube : Dataset
        With ``s1_time`` or ``s2_time`` or both, and, where known, ``s1_orbit_state``,
        ``s1_relative_orbit`` and ``s2_cloud_cover`` (percent). No pixel is read.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        One row an orbit of Sentinel-1, one row for Sentinel-2; a date of unknown cloud cover is
        drawn hollow.

    Raises
    ------
    DataError
        If there is no time at all.

    Examples
    --------
    >>> [label.get_text() for label in plot_timeline(cube).get_yticklabels()]
    ['Sentinel-1  n = 2', 'Sentinel-2  n = 2']
    """
    rows = [row for sensor in SENSORS for row in _rows(cube, sensor.name, sensor.title)]
    if not rows:
        raise DataError(
            problem(
                expected="a cube with times s1_time or s2_time",
                received=f"coords {sorted(map(str, cube.coords))}",
                do="open one with xc.open_cube, or make one with xc.as_cube",
            )
        )
    ax = new_axes(ax, figsize=(9.0, 1.3 + 0.42 * len(rows)))
    for at, (_, times, cloud) in enumerate(rows):
        if cloud is None:
            ax.plot(times, np.full(len(times), at), "|", color=BLUE, ms=13, mew=2)
            continue
        unknown = ~np.isfinite(cloud)
        ax.plot(times[unknown], np.full(unknown.sum(), at), "o", mfc="none", mec=GREY, ms=7)
        dots: Any = ax.scatter(
            times[~unknown],
            np.full((~unknown).sum(), at),
            c=cloud[~unknown],
            cmap="YlGnBu_r",
            vmin=0,
            vmax=100,
            s=52,
            edgecolors=GREY,
            linewidths=0.6,
            zorder=3,
        )
        bar = ax.figure.colorbar(dots, ax=ax, aspect=9, pad=0.01, ticks=[0, 50, 100])
        bar.ax.tick_params(labelsize=8)
        bar.set_label("cloud cover (%)", fontsize=8.5)
    ax.set_yticks(range(len(rows)), [f"{name}  n = {len(times)}" for name, times, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    first, last = (f(t for _, times, _ in rows for t in times[[0, -1]]) for f in (min, max))
    ax.set_title(
        f"Acquisitions, {pd.Timestamp(first):%Y-%m-%d} to {pd.Timestamp(last):%Y-%m-%d} (UTC)",
        loc="left",
        fontsize=9,
    )
    plain_axes(ax, grid="x")
    _date_axis(ax)
    return ax


def _rows(
    cube: xr.Dataset, name: str, title: str
) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Rows of the time line: label, times, and cloud cover for the optical sensor."""
    dim = f"{name}_time"
    if dim not in cube.coords or cube[dim].dims != (dim,) or not cube.sizes[dim]:
        return []
    times = cube[dim].values
    if name == "s2":
        cloud = cube.coords.get("s2_cloud_cover")
        unknown = np.full(len(times), np.nan)
        return [(title, times, unknown if cloud is None else cloud.values.astype(float))]
    state = cube.coords.get("s1_orbit_state")
    orbit = cube.coords.get("s1_relative_orbit")
    words = np.asarray(
        [
            " ".join(
                part
                for part in (
                    title,
                    "" if state is None else str(state.values[i]),
                    "" if orbit is None else str(orbit.values[i]),
                )
                if part
            )
            for i in range(len(times))
        ],
        dtype=object,
    )
    return [(str(word), times[words == word], None) for word in sorted(set(words.tolist()))]


def plot_lags(pairs: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Show how many pairs there are at each lag.

    Parameters
    ----------
    pairs : Dataset
        With ``lag (pair)``, timedelta, Sentinel-1 minus Sentinel-2.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A histogram in whole days; negative means that Sentinel-1 came first.

    Raises
    ------
    DataError
        If there is no ``lag`` or no pair.

    Examples
    --------
    >>> plot_lags(xc.pairs(cube)).get_xlabel()
    'lag, S1 minus S2 (days); left of zero S1 came first'
    """
    if "lag" not in pairs.coords or not pairs["lag"].size:
        raise DataError(
            problem(
                expected="pairs with a 'lag' coordinate, at least one",
                received=f"coords {sorted(map(str, pairs.coords))}, "
                f"{pairs.sizes.get('pair', 0)} pairs",
                do="pair a cube with xc.pairs(cube), with a longer tolerance if none is found",
            )
        )
    from matplotlib.ticker import MaxNLocator

    days = pairs["lag"].values.ravel() / np.timedelta64(1, "D")
    reach = max(1, int(np.ceil(np.abs(days).max())))
    # Half-day bins up to a week, then days: S1 passes are 6 or 12 h off S2's hour.
    step = 0.5 if reach <= 7 else 1.0
    ax = new_axes(ax, figsize=(5.6, 2.9))
    edges = np.arange(-reach, reach + step, step)
    ax.hist(days, bins=edges.tolist(), color=BLUE, edgecolor="white", linewidth=0.8)
    ax.axvline(0, color=GREY, lw=1)
    ax.set_xlabel("lag, S1 minus S2 (days); left of zero S1 came first")
    ax.set_ylabel("pairs")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    title = f"{days.size} pairs, median |lag| {np.median(np.abs(days)):.1f} d"
    ax.set_title(title, loc="left", fontsize=9)
    plain_axes(ax, grid="y")
    return ax


def _date_axis(ax: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    # matplotlib leaves these two constructors untyped.
    locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
