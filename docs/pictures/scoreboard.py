"""Make scoreboard.png of the benchmarks: the five folds of each method, less boosted pixels.

    python docs/pictures/scoreboard.py

The figures are those of tests/benchmarks/floods.csv; the picture bears their digest, and a test
compares it with the rows.
"""

from __future__ import annotations

import hashlib
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from drawing import BLUE, GREY, HERE, ORANGE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from benchmarks import board, floods

PICTURE = HERE / "scoreboard.png"
FOLDS = ("o", "s", "^", "D", "v")
LEFT_OUT = ("pixels, boosted", floods.PLAIN)
"""Baselines that the one shown is better than."""


def numbers(labels: str, inputs: str) -> pd.DataFrame:
    """Give the IoU of each method, one row each, boosted pixels first; one column a fold."""
    rows = pd.read_csv(floods.ROWS, dtype={"group": str})
    rows = rows[(rows.labels == labels) & (rows.inputs == inputs) & ~rows.method.isin(LEFT_OUT)]
    rows = rows[~rows.method.str.contains("joint")]
    found = {
        floods.name_row((*key, inputs)): own.groupby("fold").apply(board.mean_iou)
        for key, own in rows.groupby(["method", "way"], sort=False)
    }
    return pd.DataFrame(found).T.dropna()


def parts() -> dict[str, pd.DataFrame]:
    """Give what each panel shows."""
    return {
        "a tenth of the tiles labelled, both sensors": numbers("10 %", "both"),
        "radar alone": numbers("10 %", "S1"),
        "all tiles labelled, both sensors": numbers("100 %", "both"),
    }


def digest() -> str:
    """Tell the figures that are drawn from others."""
    told = "".join(f"{name}{table.round(4).to_csv()}" for name, table in parts().items())
    return hashlib.sha256(told.encode()).hexdigest()


def draw_part(ax: Axes, title: str, table: pd.DataFrame) -> None:
    """Draw a row for each method: folds, their mean, and the mean IoU in words."""
    base, others = table.iloc[0], table.iloc[1:]
    for row, (name, iou) in enumerate(others.iterrows()):
        gain = (iou - base) * 100
        pretrained = not str(name).startswith(("random", "U-Net"))
        color = BLUE if pretrained else ORANGE
        for fold, mark in zip(gain.index, FOLDS, strict=True):
            ax.plot(gain[fold], row, mark, color=color, alpha=0.45, ms=5, mew=0)
        ax.plot([gain.mean()] * 2, [row - 0.34, row + 0.34], color=color, lw=2.5)
        ax.text(1.01, row, f"{iou.mean():.3f}", va="center", transform=ax.get_yaxis_transform())
    ax.axvline(0, color=GREY, lw=1)
    ax.set_yticks(np.arange(len(others)), [str(name).removesuffix(", S1") for name in others.index])
    ax.set_ylim(len(others) - 0.4, -0.6)
    ax.set_title(f"{title}; boosted pixels {base.mean():.3f}", loc="left", fontsize=10)
    ax.set_title("IoU", loc="right", x=1.06, fontsize=10)
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)


def draw() -> Figure:
    """Draw a panel for each part, as high as it has rows, on one scale."""
    tables = parts()
    heights = [len(table) - 1 for table in tables.values()]
    figure = Figure(figsize=(8.2, 1.5 + 0.27 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(tables), sharex=True, gridspec_kw={"height_ratios": heights})
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        draw_part(ax, title, table)
    axes[-1].set_xlabel("flood IoU less that of boosted pixels, points")
    return figure


def main() -> None:
    """Make the picture."""
    memory, info = BytesIO(), PngInfo()
    info.add_text("digest", digest())
    draw().savefig(memory, dpi=110)
    image = Image.open(memory).convert("RGB").quantize(128)
    image.save(PICTURE, optimize=True, pnginfo=info)


if __name__ == "__main__":
    main()
