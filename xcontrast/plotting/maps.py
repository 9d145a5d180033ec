"""Maps of codes: a legend map, and hits, misses and false alarms against truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import are_close
from xcontrast.legends import NO_LABEL
from xcontrast.plotting.panels import (
    cell_area_km2,
    map_frame,
    new_axes,
    one_time,
    require_dims,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HITS = {"hit": "#56b4e9", "miss": "#000000", "false alarm": "#e69f00", "rightly none": "#f2f2f2"}
"""Okabe and Ito's sky blue, black and orange: told apart with every kind of colour vision."""


def plot_map(label: xr.DataArray, *, time: Any = None, ax: Axes | None = None) -> Axes:
    """Show a map in the colours of its legend, with names and shares of the labelled area.

    Parameters
    ----------
    label : DataArray (..., y, x), uint8
        Codes, 255 (or NaN) for no label, with the CF attributes ``flag_values``,
        ``flag_meanings`` and, if there, ``flag_colors``.
    time : datetime-like, optional
        The time wanted, by nearest; the first by default.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        No label is grey. A long legend shows only the categories that occur.

    Raises
    ------
    DataError
        If the flags are missing or a code is not among them.

    Examples
    --------
    >>> head = xc.fit(emb.s1, labels, legend=xc.FLOOD)
    >>> plot_map(xc.predict(emb.s1, head).label).get_aspect()
    1.0
    """
    codes, names, colors = _flags(label)
    one, when = one_time(label, time, keep=("y", "x"))
    values = _codes(one)
    found, counts = np.unique(values[values != NO_LABEL], return_counts=True)
    unknown = sorted(set(found.tolist()) - set(codes))
    if unknown:
        raise DataError(
            problem(
                expected=f"codes {codes} (flag_values) or {NO_LABEL}",
                received=f"also {unknown}",
                do="give the map the legend that it was made with",
            )
        )
    share = dict(zip(found.tolist(), counts / max(counts.sum(), 1), strict=True))
    entries = {
        f"{name}  {share.get(code, 0.0):.1%}": color
        for code, name, color in zip(codes, names, colors, strict=True)
        if code in share or len(codes) <= 6
    }
    ax = _draw(ax, one, values, dict(zip(codes, colors, strict=True)), entries)
    title = " · ".join(p for p in (str(label.attrs.get("long_name", "map")), when) if p)
    ax.set_title(title, loc="left", fontsize=9)
    return ax


def plot_hits(
    label: xr.DataArray, truth: xr.DataArray, *, positive: int = 1, ax: Axes | None = None
) -> Axes:
    """Show where a map is right and wrong about one category.

    Parameters
    ----------
    label, truth : DataArray (y, x), uint8
        Map and truth on one grid; 255 (or NaN) in either is not judged.
    positive : int, default 1
        The code judged.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Hits, misses and false alarms with their areas (km² on a grid in metres, otherwise cells);
        intersection over union in the title.

    Raises
    ------
    DataError
        If the two are not on one grid.

    Examples
    --------
    >>> plot_hits(labels, labels).get_title("left")
    'code 1 · IoU 1.000'
    """
    one, when = one_time(label, None, keep=("y", "x"))
    two, _ = one_time(truth, None, keep=("y", "x"))
    if one.shape != two.shape or not all(
        are_close(one[d], two[d]) for d in ("y", "x") if d in one.coords and d in two.coords
    ):
        raise DataError(
            problem(
                expected="map and truth on one grid",
                received=f"{dict(one.sizes)} and {dict(two.sizes)}"
                + (" with other coordinates" if one.shape == two.shape else ""),
                do="bring the truth to the map's grid with nearest neighbour, e.g. "
                "truth.odc.reproject(label.odc.geobox)",
            )
        )
    mapped, true = _codes(one), _codes(two)
    judged = (mapped != NO_LABEL) & (true != NO_LABEL)
    found, there = ((codes == positive).view(np.uint8) for codes in (mapped, true))
    # In the order of HITS: hit, miss, false alarm, neither.
    outcome = np.where(judged, 3 - 2 * there - found, np.uint8(NO_LABEL))
    counts = np.array([np.count_nonzero(outcome == k) for k in range(len(HITS))])
    area = cell_area_km2(one)
    sizes = [f"{n * area:,.2f} km²" if area else f"{n:,} cells" for n in counts]
    entries = {
        f"{name}  {size}": color for (name, color), size in zip(HITS.items(), sizes, strict=True)
    }
    ax = _draw(ax, one, outcome, dict(enumerate(HITS.values())), entries)
    union = counts[:3].sum()
    score = f"IoU {counts[0] / union:.3f}" if union else "nothing to find, nothing found"
    name = _name_of(label, positive) or _name_of(truth, positive) or f"code {positive}"
    ax.set_title(" · ".join(p for p in (name, score, when) if p), loc="left", fontsize=9)
    return ax


def _draw(
    ax: Axes | None,
    like: xr.DataArray,
    values: np.ndarray,
    colors: dict[int, str],
    entries: dict[str, str],
) -> Axes:
    """Paint codes and hang the legend beneath the map, where it costs no width."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation

    table = np.zeros((256, 4))
    for code, color in colors.items():
        table[code] = to_rgba(color)
    ax = new_axes(ax, figsize=(5.2, 5.2))
    shown = thin(xr.DataArray(values, dims=("y", "x")))
    map_frame(ax, table[shown.values], thin(like))
    handles = [Patch(facecolor=c, edgecolor="0.4", lw=0.5, label=n) for n, c in entries.items()]
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        # 0.45 inch clears the tick and axis labels, however small the map is.
        bbox_transform=ax.transAxes + ScaledTranslation(0, -0.45, ax.figure.dpi_scale_trans),
        ncols=2,
        frameon=False,
        fontsize=8,
        borderaxespad=0.0,
        handlelength=1.2,
    )
    return ax


def _codes(label: xr.DataArray) -> np.ndarray:
    """Codes as integers, NaN as no label (a map read with masking is float)."""
    values = label.values
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, NO_LABEL)
    if values.size and (values.min() < 0 or values.max() > NO_LABEL):
        raise DataError(
            problem(
                expected=f"codes 0..{NO_LABEL}",
                received=f"{values.min():g} to {values.max():g}",
                do="plot the label, not the probability",
            )
        )
    return np.asarray(values, "uint8")


def _flags(label: xr.DataArray) -> tuple[list[int], list[str], list[str]]:
    """Codes, names and colours from CF attributes as lists, arrays or strings."""
    require_dims(label, ("y", "x"), "a map")
    codes = [int(code) for code in np.atleast_1d(label.attrs.get("flag_values", []))]
    names = [name.replace("_", " ") for name in str(label.attrs.get("flag_meanings", "")).split()]
    colors = str(label.attrs.get("flag_colors", "")).split()
    if codes and len(names) == len(codes) and not colors:
        import matplotlib

        steps = np.linspace(0.0, 1.0, len(codes))
        colors = [matplotlib.colors.to_hex(c) for c in matplotlib.colormaps["cividis"](steps)]
    if not codes or not len(codes) == len(names) == len(colors):
        raise DataError(
            problem(
                expected="CF attributes flag_values, flag_meanings (and flag_colors), one each "
                "a category",
                received=f"{len(codes)} values, {len(names)} meanings, {len(colors)} colours",
                do="label.attrs.update(xc.FLOOD.attrs), with the map's own legend",
            )
        )
    return codes, names, colors


def _name_of(label: xr.DataArray, code: int) -> str | None:
    if "flag_values" not in label.attrs:
        return None
    codes, names, _ = _flags(label)
    return names[codes.index(code)] if code in codes else None
