"""Labels by clicking on a picture, in a notebook or a window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.legends import Legend
from xcontrast.plotting.panels import map_frame, new_axes, one_time, thin
from xcontrast.plotting.scenes import optical_rgba, radar_rgba
from xcontrast.requirements import require_legend
from xcontrast.sensors import SENSORS

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import KeyEvent, MouseEvent

__all__ = ["Clicks", "click"]

REACH = 12
"""Within so many points on the screen, a click removes a label."""


class Clicks:
    """Points clicked on a picture, as labels.

    A left click labels a point with the category in hand, a right click removes the nearest one;
    the keys 1 to 9 take another category in hand; :meth:`add` labels points without a mouse.
    :attr:`labels` is what to fit on.

    Examples
    --------
    >>> clicks = cube.s2.contrast.click(legend=xc.FLOOD)
    >>> clicks.add("flood", [(float(cube.x[3]), float(cube.y[5]))])
    >>> len(clicks), list(clicks.labels.columns)
    (1, ['category', 'geometry', 'time'])
    """

    def __init__(self, ax: Axes, legend: Legend, *, crs: Any, time: pd.Timestamp | None) -> None:
        self.ax, self.legend, self.crs, self.time = ax, legend, crs, time
        self._points: list[tuple[float, float, int]] = []
        self._chosen = 0
        self._marks = ax.scatter([], [], s=42, linewidths=1.2, edgecolors="white", zorder=5)
        canvas = ax.figure.canvas
        # Held, or the canvas, which keeps weak references, forgets them.
        self._held = (self._press, self._choose)
        canvas.mpl_connect("button_press_event", self._press)
        canvas.mpl_connect("key_press_event", self._choose)
        self._draw()

    @property
    def labels(self) -> GeoDataFrame:
        """The labels so far: ``category`` by name, ``time`` of the picture if it has one."""
        import geopandas

        frame = {"category": [self.legend.names[number] for _, _, number in self._points]}
        at = geopandas.points_from_xy([p[0] for p in self._points], [p[1] for p in self._points])
        found = geopandas.GeoDataFrame(frame, geometry=at, crs=self.crs)
        return found if self.time is None else found.assign(time=self.time)

    def add(self, category: str, points: Iterable[tuple[float, float]]) -> None:
        """Label points without a mouse: a script's, or another session's.

        Parameters
        ----------
        category : str
            Of the legend.
        points : iterable of (x, y)
            In the picture's CRS; all of them on the picture.

        Raises
        ------
        DataError
            If the legend has no such category, or a point lies beside the picture.
        """
        if category not in self.legend.names:
            raise DataError(
                problem(
                    expected=f"a category of the legend: {', '.join(self.legend.names)}",
                    received=repr(category),
                    do="choose one, or give click() the legend that has it",
                )
            )
        placed = [(float(x), float(y)) for x, y in points]
        (left, right), (low, high) = (
            sorted(b) for b in (self.ax.get_xbound(), self.ax.get_ybound())
        )
        beside = [(x, y) for x, y in placed if not (left <= x <= right and low <= y <= high)]
        if beside:
            raise DataError(
                problem(
                    expected=f"points with x in {left:g}..{right:g} and y in {low:g}..{high:g}",
                    received=f"{len(beside)} others, such as {beside[0]}",
                    do="give x before y, in the CRS of the picture",
                )
            )
        number = self.legend.names.index(category)
        self._points += [(x, y, number) for x, y in placed]
        self._draw()

    def __len__(self) -> int:
        return len(self._points)

    def __repr__(self) -> str:
        counts = pd.Series([self.legend.names[p[2]] for p in self._points], dtype=object)
        told = ", ".join(f"{name} {n}" for name, n in counts.value_counts().items())
        return f"<xcontrast.Clicks {told or 'none yet'}>"

    def _press(self, event: MouseEvent) -> None:
        toolbar = getattr(self.ax.figure.canvas, "toolbar", None)
        moving = bool(getattr(toolbar, "mode", ""))  # While zooming and panning, clicks are theirs.
        if event.inaxes is not self.ax or moving or event.xdata is None or event.ydata is None:
            return
        if event.button == 1:
            self._points.append((float(event.xdata), float(event.ydata), self._chosen))
        elif event.button == 3 and self._points:
            places = self.ax.transData.transform([p[:2] for p in self._points])
            distance = np.hypot(places[:, 0] - event.x, places[:, 1] - event.y)
            if distance.min() <= REACH:
                del self._points[int(distance.argmin())]
        self._draw()

    def _choose(self, event: KeyEvent) -> None:
        key = str(event.key)
        if key.isdigit() and 1 <= int(key) <= len(self.legend.codes):
            self._chosen = int(key) - 1
            self._draw()

    def _draw(self) -> None:
        colors = [self.legend.colors[number] for _, _, number in self._points]
        self._marks.set_offsets(np.array([p[:2] for p in self._points]).reshape(-1, 2))
        self._marks.set_facecolor(colors)
        chosen = self.legend.names[self._chosen]
        keys = ", ".join(f"{i} {name}" for i, name in enumerate(self.legend.names[:9], start=1))
        self.ax.set_title(f"{len(self)} labels; next is {chosen}", loc="left", fontsize=9)
        self.ax.set_title(keys, loc="right", fontsize=8)
        self.ax.figure.canvas.draw_idle()


def click(
    image: xr.DataArray, *, legend: Legend, time: Any = None, ax: Axes | None = None
) -> Clicks:
    """Label points by clicking on a picture.

    Parameters
    ----------
    image : DataArray (…, s1_band | s2_band, y, x)
        One sensor of a cube, georeferenced.
    legend : Legend
        The categories; the first is in hand.
    time : datetime-like, optional
        Which date is shown, by nearest; by default the first.
    ax : Axes, optional
        Where to draw; in a notebook after ``%matplotlib widget`` (ipympl).

    Returns
    -------
    Clicks
        Whose ``labels`` grow with each click; give them to :func:`fit` with
        ``column="category"``. They bear the time of the picture.

    Raises
    ------
    DataError
        If the array is not of a sensor, or has no CRS.

    Examples
    --------
    >>> clicks = xc.click(cube.s2, legend=xc.FLOOD, time="2023-04-14")
    >>> clicks.time.date().isoformat(), clicks.legend.names
    ('2023-04-14', ('dry', 'flood'))
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)

    require_legend(legend)
    sensor = next((s for s in SENSORS if s.band in image.dims), None)
    box = image.odc.geobox if "spatial_ref" in image.coords and sensor is not None else None
    if sensor is None or box is None or box.crs is None:
        raise DataError(
            problem(
                expected="a georeferenced image of one sensor, such as cube.s2",
                received=f"dims {image.dims}, coords {sorted(map(str, image.coords))}",
                do="pass one sensor of a cube, with a CRS (rio.write_crs)",
            )
        )
    shown, words = one_time(image, time, keep=(sensor.band, "y", "x"))
    picture = radar_rgba if sensor.name == "s1" else optical_rgba
    ax = new_axes(ax, figsize=(7.0, 6.4))
    rgba, stretch = picture(thin(shown).compute())
    map_frame(ax, rgba, thin(shown))
    # With the axis label, which a layout makes room for whatever the size of the axes.
    ax.set_xlabel(f"{ax.get_xlabel()}\n{sensor.title} {words}\n{stretch}", fontsize=8)
    stamp = shown.coords.get(f"{sensor.name}_time")
    moment = None if stamp is None or pd.isna(stamp.values) else pd.Timestamp(stamp.values)
    return Clicks(ax, legend, crs=box.crs.to_wkt(), time=moment)
