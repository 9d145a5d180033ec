"""Charts of how good maps are: scores by label share, confusion, and what probabilities mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import BLUE, GREY, ORANGE, new_axes, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_confusion", "plot_fractions", "plot_reliability"]

COLORS = (BLUE, ORANGE, "#009e73", "#cc79a7", GREY)
"""Okabe and Ito's, and a grey."""
MARKERS = "osD^v"


def plot_fractions(
    scores: xr.Dataset, *, score: str | None = None, category: str | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Show a score of each variant by the share of labels, with its interval.

    Parameters
    ----------
    scores : Dataset
        From :func:`xcontrast.probe`.
    score : str, optional
        ``"iou"``, ``"mean_iou"``, ``"accuracy"``, …; by default the IoU of the second of two
        categories, or the mean IoU of more.
    category : str, optional
        Of a score by category; the second of two by default.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Lines over the share of labels; one row a variant where there is one share. Bars are 95 %
        intervals over blocks of ground.

    Raises
    ------
    DataError
        If there is no such score, or no category is named of several.

    Examples
    --------
    >>> options = xc.ProbeOptions(block=32, buffer=4, baselines=("pixels",), progress=False)
    >>> scores = xc.probe(
    ...     cube.s1.isel(s1_time=0), labels, legend=xc.FLOOD, model=model, fractions=(0.5, 1.0),
    ...     options=options,
    ... )
    >>> plot_fractions(scores).get_xlabel()
    'share of the training blocks or locations that is labelled'
    """
    two = scores.sizes["category"] == 2
    score = score or ("iou" if two or category else "mean_iou")
    if score not in scores or f"{score}_interval" not in scores:
        raise DataError(_unknown(scores, f"score={score!r}"))
    values, bounds = scores[score], scores[f"{score}_interval"]
    if "category" in values.dims:
        category = category or (str(scores.category.values[1]) if two else None)
        if category not in scores.category.values:
            raise DataError(_unknown(scores, f"category={category!r}"))
        values, bounds = (v.sel(category=category) for v in (values, bounds))
    title = f"{score} of {category}" if category else score
    title = title.replace("_", " ").replace("iou", "IoU")
    many = scores.sizes["fraction"] > 1
    draw = _draw_lines if many else _draw_rows
    ax = new_axes(ax, figsize=(5.6, 3.6) if many else (5.6, 1.1 + 0.35 * values.sizes["variant"]))
    draw(ax, values, bounds)
    words = f"{title}, {scores.sizes['block']} blocks, {scores.sizes['fold']} folds"
    ax.set_title(words, loc="left", fontsize=9)
    return ax


def _unknown(scores: xr.Dataset, received: str) -> str:
    known = [str(n).removesuffix("_interval") for n in scores if str(n).endswith("_interval")]
    return problem(
        expected=f"a score with intervals, {', '.join(known)}, and one category of "
        f"{', '.join(map(str, scores.category.values))}",
        received=received,
        do="name both, as in score='iou', category='flood'",
    )


def _draw_lines(ax: Axes, values: xr.DataArray, bounds: xr.DataArray) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    shares = 100 * values["fraction"].values
    n = values.sizes["variant"]
    for k, name in enumerate(map(str, values["variant"].values)):
        own, (low, high) = values.isel(variant=k), bounds.isel(variant=k).transpose("bound", ...)
        # Side by side on the log axis, so that bars do not hide each other.
        at = shares * 1.05 ** (k - (n - 1) / 2)
        spread = np.abs(np.stack([own - low, high - own]))
        ax.errorbar(
            at, own, yerr=spread, label=name, color=COLORS[k % 5], marker=MARKERS[k % 5],
            ms=4.5, lw=2.2 if k == 0 else 1.3, elinewidth=1, capsize=2,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(shares)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g} %"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("share of the training blocks or locations that is labelled")
    ax.set_ylabel("score, and 95 % interval")
    plain_axes(ax, grid="y")
    ax.legend(frameon=False, fontsize=8)


def _draw_rows(ax: Axes, values: xr.DataArray, bounds: xr.DataArray) -> None:
    names = list(map(str, values["variant"].values))
    for k, _ in enumerate(names):
        own = float(values.isel(variant=k, fraction=0))
        low, high = bounds.isel(variant=k, fraction=0).values
        ax.plot([low, high], [k, k], color=COLORS[k % 5], lw=2)
        ax.plot([own], [k], marker=MARKERS[k % 5], color=COLORS[k % 5], ms=6)
        ax.annotate(f"{own:.3f}", (own, k), (0, 6), textcoords="offset points", ha="center",
                    fontsize=8)  # fmt: skip
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.7)
    ax.set_xlabel("score, and 95 % interval")
    plain_axes(ax, grid="x")


def plot_confusion(scores: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Show a confusion matrix: shares of each true category in colour, cells in words.

    Parameters
    ----------
    scores : Dataset
        With ``confusion (truth, predicted)``, from :func:`xcontrast.score`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Examples
    --------
    >>> scores = xc.score(labels, labels, legend=xc.FLOOD)
    >>> plot_confusion(scores).get_xlabel()
    'mapped as'
    """
    counts = scores["confusion"].transpose("truth", "predicted").values
    names = list(map(str, scores["truth"].values))
    n = len(names)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 1.6 + 0.62 * n
    ax = new_axes(ax, figsize=(side + 0.8, side))
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(n):
        for col in range(n):
            word = f"{share[row, col]:.0%}" if counts[row].sum() else "–"
            if n <= 4:
                word += f"\n{counts[row, col]:,}"
            color = "white" if share[row, col] > 0.6 else "0.15"
            ax.text(col, row, word, ha="center", va="center", fontsize=8 if n <= 8 else 6.5,
                    color=color)  # fmt: skip
    ax.set_xticks(range(n), names, rotation=0 if n <= 3 else 40, ha="center" if n <= 3 else "right")
    ax.set_yticks(range(n), names)
    ax.tick_params(labelsize=8, length=0)
    ax.set_xlabel("mapped as", fontsize=8.5)
    ax.set_ylabel("truth", fontsize=8.5)
    ax.spines[:].set_visible(False)
    ax.set_title("rows add up to 100 %", loc="left", fontsize=9)
    return ax


def plot_reliability(
    table: xr.Dataset, *, category: str | None = None, ax: Axes | None = None
) -> Axes:
    """Show how often what is given a probability comes true.

    Parameters
    ----------
    table : Dataset
        From :func:`xcontrast.calibration`.
    category : str, optional
        Whose probability; by default the second of two categories, or, of more, that of the
        category mapped.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        On the dashed line they agree; below it a category is given too readily, above it too
        rarely. The size of a point grows with its cells; bars beneath show their share.

    Examples
    --------
    >>> head = xc.fit(emb.s1, labels, legend=xc.FLOOD)
    >>> mapped = xc.predict(emb.s1, head, like=labels)
    >>> table = xc.calibration(mapped.probability, labels, legend=xc.FLOOD)
    >>> plot_reliability(table).get_ylabel()
    'share that is flood'
    """
    if category is None and table.sizes["category"] == 2:
        category = str(table.category.values[1])
    if category is None:
        x, y, count, error = (table[k] for k in ("confidence", "accuracy", "count", "ece"))
        words = ("probability of the most probable category", "share that is right")
    else:
        own = table.sel(category=category)
        names = ("probability", "frequency", "category_count", "category_ece")
        x, y, count, error = (own[k] for k in names)
        words = (f"probability of {category}", f"share that is {category}")
    share: Any = count.values / max(int(count.sum()), 1)
    ax = new_axes(ax, figsize=(4.2, 3.9))
    width = 1 / table.sizes["bin"]
    ax.bar(table["bin"].values, share, width=0.92 * width, color="0.85", label="share of the cells")
    ax.plot([0, 1], [0, 1], ls="--", color=GREY, lw=1.2, label="as probabilities say")
    ax.plot(x, y, color=BLUE, lw=1.2)
    ax.scatter(x, y, s=12 + 120 * np.sqrt(share), color=BLUE, zorder=3, label="what came true")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=words[0], ylabel=words[1])
    of = f" of {category}" if category else ""
    ax.set_title(f"expected calibration error{of} {float(error):.3f}", loc="left", fontsize=9)
    plain_axes(ax, grid="y")
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax
