"""Draw dual_encoder.png, the paper from two images to its loss, and nt_xent.png, the loss.

Made by `python docs/pictures/dual_encoder.py`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from drawing import BLUE, GREY, ORANGE, arrow, blank, box, keep
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

N = 4
"""Pairs of the batch that is drawn."""
KINDS = (
    ("itself, left out", "#ffffff"),
    ("the positive", BLUE),
    ("negative, other sensor", "#f0b48c"),
    ("negative, same sensor", "#cfcfcf"),
)


def draw_networks(ax: Axes) -> None:
    """Draw both ways from an image to a vector."""
    blank(ax, 13.6, 5)
    rows = ((3.7, BLUE, "S1", "VV, VH\ndB", "f₁", "g₁"), (1.3, ORANGE, "S2", "RGB", "f₂", "g₂"))
    for y, color, sensor, bands, encoder, head in rows:
        box(ax, (1.0, y), (1.7, 1.1), f"{sensor} image\n{bands}", color)
        box(ax, (4.0, y), (2.2, 1.1), "own random\ncrop, resize\nto 256 px", GREY)
        box(ax, (7.0, y), (2.2, 1.1), f"encoder {encoder}\nResNet-50", color)
        box(ax, (9.9, y), (2.0, 1.1), f"head {head}\n128-d, |z| = 1", color)
        for begin, end in ((1.9, 2.85), (5.15, 5.85), (8.15, 8.85), (10.95, 11.75)):
            arrow(ax, (begin, y), (end, y + (2.5 - y) * 0.35 * (end > 11)), color)
    ax.text(1.0, 2.5, "one place,\n≤ 30 days apart", ha="center", va="center", color=GREY)
    ax.text(4.0, 2.5, "drawn apart,\nnothing else", ha="center", va="center", color=GREY)
    ax.text(7.0, 2.5, "weights\nnot shared", ha="center", va="center", color=GREY)
    ax.text(9.9, 2.5, "weights\nnot shared", ha="center", va="center", color=GREY)
    box(ax, (12.6, 2.5), (1.7, 1.5), "one joint\nspace,\ncosines")


def draw_matrix(ax: Axes) -> None:
    """Draw which of the 2N vectors are whose positives and negatives."""
    sensor, sample = np.repeat([0, 1], N), np.tile(np.arange(N), 2)
    kind = np.where(sensor[:, None] == sensor, 3, 2)
    kind[(sample[:, None] == sample) & (sensor[:, None] != sensor)] = 1
    np.fill_diagonal(kind, 0)
    ax.imshow(kind, cmap=ListedColormap([color for _, color in KINDS]), vmin=0, vmax=3)
    names = [f"{'xy'[s]}{'₁₂₃₄'[i]}" for s, i in zip(sensor, sample, strict=True)]
    ax.set_xticks(range(2 * N), names)
    ax.set_yticks(range(2 * N), names)
    ax.set_xticks(np.arange(2 * N + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(2 * N + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=GREY, lw=0.6)
    ax.tick_params(which="both", length=0)
    ax.set_ylabel("anchor")
    ax.set_title(f"N = {N} pairs: x from S1, y from S2", fontsize=10)
    marks = [Patch(fc=color, ec=GREY, label=label) for label, color in KINDS]
    ax.legend(handles=marks, loc="center left", bbox_to_anchor=(1.04, 0.5), frameon=False,
              handlelength=1.1)  # fmt: skip


def write_loss() -> Figure:
    """Write the loss as a picture, for pages without a script that sets formulas."""
    figure = plt.figure(figsize=(6.2, 0.85))
    below = r"\sum_{k \neq i} e^{s(x_i, x_k) / \tau} + \sum_{k} e^{s(x_i, y_k) / \tau}"
    formula = rf"$\ell_i(x, y) = -\log\ \frac{{e^{{s(x_i, y_i) / \tau}}}}{{{below}}}$"
    figure.text(0.5, 0.5, formula, ha="center", va="center", fontsize=17)
    return figure


def main() -> None:
    """Draw it."""
    figure, (left, right) = plt.subplots(
        2, 1, figsize=(8.4, 6.6), height_ratios=[1, 1.2], layout="constrained"
    )
    draw_networks(left)
    draw_matrix(right)
    keep(figure, "dual_encoder")
    keep(write_loss(), "nt_xent")


if __name__ == "__main__":
    main()
