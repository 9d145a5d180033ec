"""Charts of a pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xcontrast.errors import DataError, problem
from xcontrast.plotting.panels import BLUE, GREY, ORANGE, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_training"]


def plot_training(history: pd.DataFrame, *, axes: Sequence[Axes] | None = None) -> Figure:
    """Show the loss of a pretraining, its held-out retrieval, and how evenly features spread.

    Parameters
    ----------
    history : DataFrame
        ``step`` and ``loss``; at validation steps also ``recall_at_1``, ``recall_at_5``,
        ``chance_recall_at_1``, ``n_val``, ``median_rank``, ``feature_std``, ``effective_rank``,
        ``alignment``, ``uniformity`` (NaN elsewhere).
    axes : sequence of two or three Axes, optional
        Where to draw: loss, retrieval, spread.

    Returns
    -------
    Figure
        Recall at k is the share of held-out chips whose partner (the other sensor, another date or
        another view) is among the k nearest. Alignment is the mean squared distance of partners on
        the unit sphere, 0 at best; uniformity the log of the mean Gaussian potential of all, 0
        where they have collapsed.

    Raises
    ------
    DataError
        If there is no step, or the columns are not there.

    Examples
    --------
    >>> history = pd.DataFrame({"step": [1, 2, 3], "loss": [4.1, 3.8, 3.5]})
    >>> len(plot_training(history).axes)
    2
    """
    if not {"step", "loss"} <= set(history) or not len(history):
        raise DataError(
            problem(
                expected="a history with the columns step and loss, at least one row",
                received=f"{len(history)} rows of {list(history)}",
                do="pass the history of a pretraining",
            )
        )
    import matplotlib.pyplot as plt

    if axes is None:
        n = 3 if "uniformity" in history else 2
        axes = plt.subplots(1, n, figsize=(4.5 * n, 3.1), layout="constrained")[1]
    left, right, *more = axes
    loss = history[["step", "loss"]].dropna()
    window = max(1, len(loss) // 30)
    left.plot(loss["step"], loss["loss"], color=BLUE, alpha=0.35 if window > 1 else 1, lw=1)
    if window > 1:
        smooth = loss["loss"].rolling(window, center=True, min_periods=1).mean()
        left.plot(loss["step"], smooth, color=BLUE, lw=1.8, label=f"mean of {window} steps")
        left.legend(frameon=False, fontsize=8)
    left.set(xlabel="step", ylabel="contrastive loss (nats)")
    left.set_title("Training loss", loc="left", fontsize=9)
    plain_axes(left, grid="y")
    _retrieval(right, history)
    if more:
        _spread(more[0], history)
    figure = left.get_figure(root=True)
    assert figure is not None
    return figure


def _retrieval(ax: Axes, history: pd.DataFrame) -> None:
    """Draw recall against chance, with the last figures in words."""
    known = history.dropna(subset=["recall_at_1"]) if "recall_at_1" in history else history[:0]
    ax.set(xlabel="step", ylabel="recall on held-out ground", ylim=(-0.02, 1.02))
    plain_axes(ax, grid="y")
    if not len(known):
        ax.set_title("Held-out retrieval was not measured", loc="left", fontsize=9)
        return
    last = known.iloc[-1]
    for column, color, marker, word in (
        ("recall_at_5", ORANGE, "s", "at 5"),
        ("recall_at_1", BLUE, "o", "at 1"),
    ):
        if column in known:
            label = f"recall {word}, last {last[column]:.2f}"
            ax.plot(known["step"], known[column], marker=marker, ms=4, color=color, label=label)
    if "chance_recall_at_1" in known:
        chance = float(last["chance_recall_at_1"])
        ax.axhline(chance, color=GREY, ls="--", lw=1.2, label=f"chance at 1, {chance:.3f}")
    title = "Held-out retrieval" + (f", {int(last['n_val'])} pairs" if "n_val" in known else "")
    facts = [
        f"{word} {last[column]:.{digits}f}"
        for column, word, digits in (
            ("median_rank", "median rank", 0),
            ("feature_std", "feature std", 2),
            ("effective_rank", "effective rank", 1),
        )
        if column in known and np.isfinite(last[column])
    ]
    ax.set_title("\n".join([title, ", ".join(facts)]).strip(), loc="left", fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="best")


def _spread(ax: Axes, history: pd.DataFrame) -> None:
    """Draw alignment against uniformity: one alone can be had by collapse or by noise."""
    known = history.dropna(subset=["alignment", "uniformity"])
    ax.set(xlabel="step")
    plain_axes(ax, grid="y")
    if not len(known):
        ax.set_title("Held-out features were not finite", loc="left", fontsize=9)
        return
    for column, color, marker in (("alignment", BLUE, "o"), ("uniformity", ORANGE, "s")):
        label = f"{column}, last {known[column].iloc[-1]:.2f}"
        ax.plot(known["step"], known[column], marker=marker, ms=4, color=color, label=label)
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set_title("Held-out features on the sphere\nboth lower is better", loc="left", fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="best")
