"""Draw positive_pair.png, a pair and its two views, and lag.png, what ten days can do to one.

    python docs/pictures/positive_pair.py

Images are of the simulated archive; boxes and views are those that pretraining makes.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import xarray as xr
from drawing import BLUE, ORANGE, keep, open_scene, outline, picture
from matplotlib.figure import Figure

from xcontrast.nn.augment import crop_boxes, resize_crops
from xcontrast.plotting.scenes import optical_rgba, radar_rgba

SIDE, VIEW = 128, 96
"""Pixels of a chip and of a view, the defaults."""


def cut(rgb: np.ndarray, box: torch.Tensor) -> np.ndarray:
    """Give a view of an image, as in training."""
    image = torch.from_numpy(rgb[..., :3].copy()).float().permute(2, 0, 1)[None]
    return resize_crops(image, box[None], size=VIEW)[0].permute(1, 2, 0).numpy()


def draw_pair(cube: xr.Dataset) -> Figure:
    """Show a clear chip of the clearest pair, the boxes and the views."""
    found = cube.contrast.pairs(tolerance="3D")
    clearest = found.isel(pair=[int(found.s2_cloud_cover.values.argmin())])
    chips = clearest.contrast.chips(size=SIDE, stride=16)
    chip = chips[int(chips.valid_fraction.argmax())].compute()
    boxes = crop_boxes(2, generator=torch.Generator().manual_seed(3))
    figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.8), layout="constrained")
    axes = axes.T.ravel()[[0, 1, 2, 3]]
    sides = ((radar_rgba(chip.s1)[0], "s1", BLUE), (optical_rgba(chip.s2)[0], "s2", ORANGE))
    for n, ((rgb, name, color), drawn) in enumerate(zip(sides, boxes, strict=True)):
        picture(axes[n], rgb, f"{name}, {when(chip[f'{name}_time'], '%Y-%m-%d %H:%M')}", color)
        row, col, height, width = (SIDE * drawn).tolist()
        edges = (row - height / 2, row + height / 2, col - width / 2, col + width / 2)
        outline(axes[n], [edge - 0.5 for edge in edges], color)
        picture(axes[2 + n], cut(rgb, drawn), f"view of {name}, {VIEW} px", color)
    lag = float(chip.lag / np.timedelta64(1, "h"))
    axes[0].set_xlabel(f"{SIDE} px = {SIDE / 100:.2f} km; lag {lag:+.0f} h".replace("-", "\u2212"))
    return figure


def draw_lag(cube: xr.Dataset, truth: xr.Dataset) -> Figure:
    """Show one clear image beside the pass nearest to it and the one at the flood's peak."""
    peak = np.datetime64(truth.attrs["peak"])
    # Around the river alone: speckle makes large files.
    part = {"y": slice(80, 240), "x": slice(120, 280)}
    cube, truth = cube.isel(part), truth.isel(part)
    near = abs(cube.s2_time.values - peak) < np.timedelta64(30, "D")
    s2 = cube.s2.isel(s2_time=int(np.where(near, cube.s2_cloud_cover.values, 101).argmin()))
    passes = [
        cube.s1.sel(s1_time=moment, method="nearest")
        for moment in (s2.s2_time.values, peak + np.timedelta64(6, "h"))
    ]
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.3), layout="constrained")
    picture(axes[0], optical_rgba(s2.compute())[0], f"s2, {when(s2.s2_time)}", ORANGE)
    axes[0].set_xlabel(f"{cube.sizes['x'] / 100:.1f} km, simulated; grey: cloud")
    for ax, s1 in zip(axes[1:], passes, strict=True):
        lag = float((s1.s1_time.values - s2.s2_time.values) / np.timedelta64(1, "D"))
        picture(ax, radar_rgba(s1.compute())[0], f"s1, {when(s1.s1_time)}", BLUE)
        ax.set_xlabel(f"lag {lag:+.0f} d".replace("-", "\u2212"))
    axes[2].contour(truth.flood.values == 1, levels=[0.5], colors="#f0e442", linewidths=1)
    axes[2].set_xlabel(f"{axes[2].get_xlabel()}; yellow: true flood")
    return figure


def when(time: xr.DataArray, form: str = "%Y-%m-%d") -> str:
    """Write a time."""
    return str(pd.Timestamp(time.values).strftime(form))


def main() -> None:
    """Draw them."""
    cube, truth = open_scene()
    keep(draw_pair(cube), "positive_pair")
    keep(draw_lag(cube, truth), "lag")


if __name__ == "__main__":
    main()
