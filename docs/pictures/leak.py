"""Draw leak.png: chips held out one by one, and by blocks of ground.

Made by `python docs/pictures/leak.py`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from drawing import BLUE, ORANGE, keep, open_scene
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch, Rectangle

import xcontrast as xc

SIZE, STRIDE = 64, 32


def share_seen(train: xc.Chips, held: xc.Chips) -> float:
    """Give the mean share of a held-out chip's ground that training chips show."""
    side = int(max(train.row.max(), held.row.max())) + SIZE
    seen = np.zeros((side, side), bool)
    for row, col in set(zip(train.row.tolist(), train.col.tolist(), strict=True)):
        seen[row : row + SIZE, col : col + SIZE] = True
    windows = zip(held.row.tolist(), held.col.tolist(), strict=True)
    return float(np.mean([seen[r : r + SIZE, c : c + SIZE].mean() for r, c in windows]))


def draw(ax: Axes, train: xc.Chips, held: xc.Chips, title: str) -> None:
    """Lay all windows on the ground."""
    for chips, color, alpha in ((train, BLUE, 0.05), (held, ORANGE, 0.14)):
        for row, col in sorted(set(zip(chips.row.tolist(), chips.col.tolist(), strict=True))):
            place = (col + 1.5, row + 1.5), SIZE - 3, SIZE - 3
            ax.add_patch(Rectangle(*place, fc=to_rgba(color, alpha), ec=color, lw=0.9))
    ax.set(xlim=(0, 320), ylim=(320, 0), aspect="equal", xlabel="column (px)", ylabel="row (px)")
    seen = share_seen(train, held)
    ax.set_title(
        f"{title}\n{len(train)} train, {len(held)} held out; training has seen\n"
        f"{seen:.0%} of the held-out ground",
        loc="left",
        fontsize=9.5,
    )


def main() -> None:
    """Draw it."""
    cube, _ = open_scene()
    chips = cube.contrast.pairs(tolerance="3D").contrast.chips(size=SIZE, stride=STRIDE)
    chosen = np.random.default_rng(0).permutation(len(chips)) < len(chips) // 5
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.7), layout="constrained")
    draw(left, chips.take(~chosen), chips.take(chosen), "A fifth of the chips, drawn at random")
    draw(right, *chips.split(fraction=0.2, seed=0), "chips.split(fraction=0.2)")
    words = ((BLUE, "training"), (ORANGE, "held out"))
    marks = [Patch(fc=f"{color}33", ec=color, label=word) for color, word in words]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False)
    keep(figure, "leak")


if __name__ == "__main__":
    main()
