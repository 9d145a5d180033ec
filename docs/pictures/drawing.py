"""What the pictures of the documentation share: colours, boxes, arrows, a simulated scene.

Each picture is written by the script of its name, beside itself: `python docs/pictures/NAME.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

import xcontrast as xc

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#5c5c5c"
"""Okabe and Ito's, which all kinds of colour vision tell apart."""
PALE = {BLUE: "#dcecf6", ORANGE: "#fae6d8", GREEN: "#d9f0e8", GREY: "#eeeeee"}

mpl.use("agg")
plt.rcParams.update({"font.size": 10, "figure.facecolor": "white", "savefig.facecolor": "white"})


def open_scene(size: int = 320) -> tuple[xr.Dataset, xr.Dataset]:
    """Give the cube and the truth of a simulated year, made once and kept among temporary files."""
    folder = Path(tempfile.gettempdir()) / "xcontrast-pictures" / f"archive-{size}"
    if not (folder / "catalog.json").exists():
        xc.simulate_archive(folder, size=size, progress=False)
    truth = xc.read_truth(folder)
    grid = truth.odc.geobox
    return xc.open_cube(geobox=grid, datetime="2023", source=folder / "catalog.json"), truth


def keep(figure: Figure, name: str) -> None:
    """Write a picture beside the scripts, in 256 colours to keep it small."""
    path, memory = HERE / f"{name}.png", BytesIO()
    figure.savefig(memory, dpi=110, bbox_inches="tight", pad_inches=0.12)
    Image.open(memory).convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def blank(ax: Axes, width: float, height: float) -> None:
    """Make axes a sheet to draw on."""
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")


def box(
    ax: Axes, middle: tuple[float, float], size: tuple[float, float], text: str, color: str = GREY
) -> None:
    """Draw a box with words."""
    (x, y), (width, height) = middle, size
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=.1",
            fc=PALE[color], ec=color, lw=1.4,
        )
    )  # fmt: skip
    ax.text(x, y, text, ha="center", va="center", fontsize=9.5)


def arrow(
    ax: Axes, begin: tuple[float, float], end: tuple[float, float], color: str = GREY
) -> None:
    """Draw an arrow."""
    ax.add_patch(
        FancyArrowPatch(begin, end, arrowstyle="-|>", mutation_scale=13, color=color, lw=1.4)
    )


def picture(ax: Axes, rgb: np.ndarray, title: str, color: str = GREY) -> None:
    """Show an image in a coloured frame, without ticks; what is transparent is light grey."""
    ax.set_facecolor("#d9d9d9")
    ax.imshow(rgb, interpolation="nearest")
    ax.set_title(title, fontsize=9.5)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color=color, linewidth=2)


def outline(ax: Axes, bounds: Sequence[float], color: str, label: str = "") -> None:
    """Draw a rectangle: first and last row, first and last column, pixels."""
    top, bottom, left, right = bounds
    ax.plot(
        [left, right, right, left, left], [top, top, bottom, bottom, top], color=color, lw=2.2,
        label=label,
    )  # fmt: skip
