"""How many dates find a partner, by how far apart they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import new_axes
from xcontrast.sampling.matching import match_nearest, match_one_to_one
from xcontrast.sensors import S1, S2

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_rate"]

LINES = ("#1f6fb4", "#d95f02", "#1b7837", "#7570b3")


def plot_rate(cube: xr.Dataset, *, longest: float = 15, ax: Axes | None = None) -> Axes:
    """Draw the share of Sentinel-2 dates that find a Sentinel-1 pass, by the tolerance.

    Parameters
    ----------
    cube : Dataset
        With ``s1_time`` and ``s2_time``; nothing is read.
    longest : float, default 15
        Largest tolerance, days.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A line for any pass, one for passes used once, and one for each direction of orbit, if
        there are several.

    Raises
    ------
    DataError
        If the cube has no dates of both sensors, or `longest` is not above 0.

    Examples
    --------
    >>> plot_rate(cube).get_ylabel()
    'Sentinel-2 dates with a pair (%)'
    """
    times = [cube[s.time].values if s.time in cube.dims else np.array([]) for s in (S1, S2)]
    if not all(len(own) for own in times) or longest <= 0:
        raise DataError(
            problem(
                expected="a cube with dates of both sensors, and longest above 0",
                received=f"{len(times[0])} Sentinel-1 and {len(times[1])} Sentinel-2 dates, "
                f"longest={longest}",
                do="open both sensors over one period",
            )
        )
    passes, days = times
    tolerances = np.linspace(0, longest, 121)
    spans = [pd.Timedelta(own, "D") for own in tolerances]
    lines = {"any pass": [match_nearest(days, passes, tolerance=t)[0] for t in spans]}
    lines["each pass once"] = [match_one_to_one(days, passes, tolerance=t)[0] for t in spans]
    states = cube["s1_orbit_state"].values if "s1_orbit_state" in cube.coords else np.array([])
    kinds = sorted(set(states.tolist()))
    for state in kinds if len(kinds) > 1 else []:
        own = passes[states == state]
        lines[str(state)] = [match_nearest(days, own, tolerance=t)[0] for t in spans]
    drawn = new_axes(ax, figsize=(6, 3.2))
    for color, (name, found) in zip(LINES, lines.items(), strict=False):
        share = [100 * len(own) / len(days) for own in found]
        drawn.step(tolerances, share, where="post", color=color, label=name, linewidth=1.8)
    drawn.set(xlabel="tolerance (days)", ylabel="Sentinel-2 dates with a pair (%)")
    drawn.set(xlim=(0, longest), ylim=(0, 103))
    drawn.set_title(f"{len(days)} Sentinel-2 dates, {len(passes)} Sentinel-1 passes", loc="left",
                    fontsize=10)  # fmt: skip
    drawn.grid(alpha=0.3)
    drawn.legend(fontsize=8.5, frameon=False, loc="lower right")
    return drawn
