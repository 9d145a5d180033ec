"""Pictures of pixels: pairs side by side, and an embedding as three colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import map_frame, new_axes, one_time, require_dims, thin
from xcontrast.sensors import S1, S2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RADAR_DB = {"vv": (-22.0, 0.0), "vh": (-28.0, -6.0), "vv-vh": (2.0, 14.0)}
"""Fixed stretch of Sentinel-1 in dB, so that two dates can be compared by eye."""
OPTICAL = (0.0, 0.25)
"""Fixed stretch of Sentinel-2, surface reflectance."""


def plot_pairs(pairs: xr.Dataset, *, n: int = 4, axes: Sequence[Axes] | None = None) -> Figure:
    """Show pairs side by side, Sentinel-1 in false colour and Sentinel-2 in true colour.

    Parameters
    ----------
    pairs : Dataset
        ``s1 (pair, s1_band, y, x)`` in dB and ``s2 (pair, s2_band, y, x)`` reflectance, with
        ``s1_time``, ``s2_time`` and ``lag`` on ``pair``. Only the pairs shown are computed.
    n : int, default 4
        How many, spread evenly over all of them.
    axes : sequence of Axes, optional
        Two axes a pair to draw in, Sentinel-1 first.

    Returns
    -------
    Figure
        Sentinel-1 is red VV, green VH, blue VV - VH with a fixed stretch in dB; Sentinel-2 is B04,
        B03, B02 from 0 to 0.25 reflectance, or its first three bands. Grey is no data.

    Raises
    ------
    DataError
        If there are no pairs of both sensors, or too few axes.

    Examples
    --------
    >>> len(plot_pairs(xc.pairs(cube), n=2).axes)
    4
    """
    if not {"s1", "s2"} <= set(pairs) or not pairs.sizes.get("pair") or n < 1:
        raise DataError(
            problem(
                expected="at least one pair: variables s1 and s2 with a 'pair' dim, and n >= 1",
                received=f"{sorted(map(str, pairs))} with sizes {dict(pairs.sizes)}, n={n}",
                do="pair a cube first, with xc.pairs(cube)",
            )
        )
    for sensor in (S1, S2):
        require_dims(pairs[sensor.name], ("pair", sensor.band, "y", "x"), f"{sensor.title} pairs")
    chosen = np.unique(np.linspace(0, pairs.sizes["pair"] - 1, n).round().astype(int))
    panels = _pair_axes(len(chosen)) if axes is None else list(np.ravel(np.asarray(axes)))
    if len(panels) < 2 * len(chosen):
        raise DataError(
            problem(
                expected=f"{2 * len(chosen)} axes, two a pair",
                received=f"{len(panels)}",
                do="pass more axes, or a smaller n",
            )
        )
    words: dict[str, str] = {}
    for k, at in enumerate(chosen):
        pair = pairs.isel(pair=int(at))
        for ax, sensor, render in (
            (panels[2 * k], S1, radar_rgba),
            (panels[2 * k + 1], S2, optical_rgba),
        ):
            image, words[sensor.title] = render(thin(pair[sensor.name]).compute())
            map_frame(ax, image, thin(pair[sensor.name]), labelled=False)
            ax.set_title(_title(pair, sensor.name), loc="left", fontsize=8.5)
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    if axes is None:
        stretch = "\n".join(f"{title}: {text}" for title, text in words.items())
        figure.suptitle(f"{stretch}; lag is S1 minus S2", fontsize=8.5, x=0.01, ha="left")
    return figure


def _title(pair: xr.Dataset, name: str) -> str:
    time = pair.coords.get(f"{name}_time")
    text = name.upper()
    if time is not None:
        text += " " + pd.Timestamp(time.values).strftime("%Y-%m-%d %H:%M")
    if name == "s2" and "lag" in pair.coords:
        days = pair["lag"].values / np.timedelta64(1, "D")
        text += f"  lag {'−' if days < 0 else '+'}{abs(days):.1f} d"
    return text


def _pair_axes(n: int) -> list[Axes]:
    """Two pairs a row, with a gap between pairs wider than the gap within one."""
    import matplotlib.pyplot as plt

    columns = min(n, 2)
    rows = -(-n // columns)
    figure = plt.figure(figsize=(4.6 * columns, 2.55 * rows + 0.5), layout="constrained")
    grid = figure.add_gridspec(rows, columns * 3 - 1, width_ratios=([1, 1, 0.06] * columns)[:-1])
    return [
        figure.add_subplot(grid[k // columns, 3 * (k % columns) + side])
        for k in range(n)
        for side in (0, 1)
    ]


def radar_rgba(s1: xr.DataArray) -> tuple[np.ndarray, str]:
    """Make a false-colour picture of Sentinel-1: VV, VH and VV - VH.

    Parameters
    ----------
    s1 : DataArray (s1_band, y, x), float32, dB
        One date.

    Returns
    -------
    tuple of ndarray and str
        RGBA ``(y, x, 4)`` in 0..1, transparent where a band is NaN; the stretch in words.
    """
    bands = {str(name): s1.sel(s1_band=name).values for name in s1["s1_band"].values}
    if s1.attrs.get("units", "dB") != "dB" or "vv" not in bands:
        return _percentiles(s1.transpose("s1_band", "y", "x"))
    if "vh" not in bands:
        low, high = RADAR_DB["vv"]
        words = f"VV {low:g} to {high:g} dB".replace("-", "−")
        return _rgba(np.stack([bands["vv"]] * 3), [(low, high)] * 3), words
    layers = np.stack([bands["vv"], bands["vh"], bands["vv"] - bands["vh"]])
    text = ", ".join(
        f"{color} {name.upper()} {low:g} to {high:g}".replace("-", "−")
        for color, (name, (low, high)) in zip(
            ("red", "green", "blue"), RADAR_DB.items(), strict=True
        )
    )
    return _rgba(layers, list(RADAR_DB.values())), f"{text} dB"


def optical_rgba(s2: xr.DataArray) -> tuple[np.ndarray, str]:
    """Make a true-colour picture of Sentinel-2, or one of its first three bands.

    Parameters
    ----------
    s2 : DataArray (s2_band, y, x), float32, surface reflectance
        One date.

    Returns
    -------
    tuple of ndarray and str
        RGBA ``(y, x, 4)`` in 0..1, transparent where a band is NaN; the stretch in words.
    """
    names = [str(name) for name in s2["s2_band"].values]
    wanted = list(S2.display) if set(S2.display) <= set(names) else names[:3]
    layers = s2.sel(s2_band=wanted).transpose("s2_band", "y", "x")
    if s2.attrs.get("units", "1") != "1":
        return _percentiles(layers)
    low, high = OPTICAL
    text = f"{', '.join(wanted)} as red, green, blue, reflectance {low:g} to {high:g}"
    values = layers.values
    return _rgba(values[[0, 1, 2] if len(values) > 2 else [0, 0, 0]], [OPTICAL] * 3), text


def _percentiles(layers: xr.DataArray) -> tuple[np.ndarray, str]:
    """Stretch up to three bands of unknown units from their own 2 to 98 %."""
    values = layers.values[[0, 1, 2] if len(layers) > 2 else [0, 0, 0]]
    return _rgba(values, [_spread(layer) for layer in values]), "2 to 98 % of each picture"


def _spread(layer: np.ndarray) -> tuple[float, float]:
    finite = layer[np.isfinite(layer)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (2, 98))
    return float(low), float(high)


def _rgba(layers: np.ndarray, ranges: list[tuple[float, float]]) -> np.ndarray:
    low = np.asarray([r[0] for r in ranges])[:, None, None]
    high = np.asarray([r[1] for r in ranges])[:, None, None]
    valid = np.isfinite(layers).all(axis=0)
    scaled = np.clip((layers - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    return np.dstack([*np.where(valid, scaled, 0.0), valid.astype(float)])


def plot_pca(
    embedding: xr.DataArray,
    *,
    time: Any = None,
    sample: int = 20_000,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Show an embedding at one time, its first three principal components as red, green, blue.

    Parameters
    ----------
    embedding : DataArray (..., feature, y, x), float32
        One or more times. Only one is computed, thinned to screen size.
    time : datetime-like, optional
        The time wanted, by nearest; the first by default.
    sample : int, default 20_000
        How many valid cells the components are fitted on.
    seed : int, default 0
        Of that sample.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Cells alike in colour are alike in the embedding; the colours mean nothing by themselves
        and differ from one picture to the next. Each component is stretched over its 2 to 98 %.

    Raises
    ------
    DataError
        If there are fewer than three features or four valid cells.

    Examples
    --------
    >>> plot_pca(emb.s1).get_aspect()
    1.0
    """
    require_dims(embedding, ("feature", "y", "x"), "an embedding")
    one, when = one_time(embedding, time, keep=("feature", "y", "x"))
    one = thin(one).compute()
    cells = one.values.reshape(one.sizes["feature"], -1).T
    valid = np.isfinite(cells).all(axis=1)
    if one.sizes["feature"] < 3 or valid.sum() < 4:
        raise DataError(
            problem(
                expected="at least 3 features and 4 valid cells",
                received=f"{one.sizes['feature']} features and {int(valid.sum())} valid cells"
                + (f" on {when}" if when else ""),
                do="choose another time with time=..., or a larger area",
            )
        )
    scores, explained = _components(cells, valid, sample=sample, seed=seed)
    layers = scores.T.reshape(3, one.sizes["y"], one.sizes["x"])
    ax = new_axes(ax, figsize=(5.2, 4.8))
    map_frame(ax, _rgba(layers, [_spread(layer) for layer in layers]), one)
    shares = " + ".join(f"{share:.0%}" for share in explained)
    sensor = str(embedding.attrs.get("sensor", "")).upper()
    head = " · ".join(part for part in (f"PCA of the {sensor} embedding", when) if part)
    title = f"{head.replace('  ', ' ')}\nred + green + blue = {shares} of the variance"
    ax.set_title(title, loc="left", fontsize=9)
    return ax


def _components(
    cells: np.ndarray, valid: np.ndarray, *, sample: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every cell on three components fitted on a sample, and their variance shares."""
    rows = np.flatnonzero(valid)
    if rows.size > sample:
        rows = np.random.default_rng(seed).choice(rows, sample, replace=False)
    fitted = cells[rows].astype(float)
    mean = fitted.mean(axis=0)
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    # The sign of a singular vector is arbitrary: fixed, so that a picture is the same again.
    axes = axes[:3] * np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])[:, None]
    power = singular**2
    return (cells - mean) @ axes.T, power[:3] / max(power.sum(), 1e-30)
