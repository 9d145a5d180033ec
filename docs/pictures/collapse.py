"""Draw collapse.png: a run that is well beside one at a hundred times the learning rate.

    python docs/pictures/collapse.py

A few minutes on two processor cores. pretrain stops the second at its first look; for the picture
it is let go on.
"""

from __future__ import annotations

from unittest import mock

import matplotlib.pyplot as plt
import pandas as pd
from drawing import BLUE, GREY, ORANGE, keep, open_scene
from matplotlib.axes import Axes

import xcontrast as xc
from xcontrast.training import task

STEPS, BATCH, SIZE = 120, 32, 48
RUNS = {
    "learning_rate=1e-3, the default": (BLUE, "o", {}),
    "learning_rate=1e-1, clip=None": (ORANGE, "s", {"learning_rate": 0.1, "clip": None}),
}


def run(chips: xc.Chips, changed: dict[str, float | None]) -> pd.DataFrame:
    """Train without the check that stops a collapsing run, and give the history."""
    options = xc.PretrainOptions(eval_every=10, progress=False, **changed)
    with mock.patch.object(task, "check_health"):
        model = xc.pretrain(chips, max_steps=STEPS, batch_size=BATCH, options=options)
    return model.history


def draw(ax: Axes, history: pd.DataFrame, column: str, style: tuple[str, str, str]) -> None:
    """Draw one column of one run."""
    color, marker, label = style
    known = history.dropna(subset=[column])
    shown = {"marker": marker, "ms": 4, "lw": 1.5} if len(known) < STEPS else {"lw": 1.2}
    ax.plot(known["step"], known[column], color=color, label=label, **shown)


def main() -> None:
    """Train and draw."""
    cube, _ = open_scene(640)
    chips = cube.contrast.pairs(tolerance="3D").contrast.chips(size=SIZE).load(progress=False)
    figure, axes = plt.subplots(2, 2, figsize=(7.8, 5.6), layout="constrained")
    axes = axes.ravel()
    columns = {
        "loss": "contrastive loss (nats)",
        "feature_std": "feature_std, held out",
        "effective_rank": "effective_rank, held out",
        "recall_at_1": "recall_at_1, held out",
    }
    for label, (color, marker, changed) in RUNS.items():
        history = run(chips, changed)
        print(label, history.dropna().round(4).to_string(index=False), sep="\n")
        for ax, (column, words) in zip(axes, columns.items(), strict=True):
            draw(ax, history, column, (color, marker, label))
            ax.set(xlabel="step", ylabel=words)
    last = history.dropna().iloc[-1]
    axes[1].set_yscale("log")
    axes[1].axhline(0.02, color=GREY, ls="--", lw=1, label="0.02: a run below is stopped")
    axes[2].set(ylim=(0, None))
    axes[3].axhline(last["chance_recall_at_1"], color=GREY, ls="--", lw=1, label="chance")
    axes[3].set(ylim=(0, 0.5))
    for ax in axes:
        ax.grid(color="0.9", lw=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].legend(fontsize=7.5, handles=axes[1].lines[-1:])
    axes[3].legend(fontsize=8, handles=axes[3].lines[-1:])
    figure.legend(handles=axes[2].lines, loc="outside upper left", ncols=2, frameon=False)
    print(f"{len(chips)} chips, {int(last['n_val'])} watched")
    keep(figure, "collapse")


if __name__ == "__main__":
    main()
