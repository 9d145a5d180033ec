"""Draw seams.png: one scene embedded tile by tile, and as xcontrast embeds it.

    python docs/pictures/seams.py

The encoder is untrained: what seams come from is not in the weights. The same measurement on noise
and for more encoders is tests/benchmarks/seams.py.
"""

from __future__ import annotations

from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from drawing import BLUE, ORANGE, keep, open_scene, picture
from matplotlib.axes import Axes

import xcontrast as xc
from xcontrast.embedding import embed as module_of_embed
from xcontrast.plotting.scenes import optical_rgba

TILE, STRIDE = 128, 4


def tile_by_tile(image: xr.DataArray, model: xc.Model) -> xr.DataArray:
    """Embed each tile by itself, as a loop over files does."""
    lines = [
        xr.concat([embed(image.isel(y=slice(a, a + TILE), x=slice(b, b + TILE)), model)
                   for b in range(0, image.sizes["x"], TILE)], "x")
        for a in range(0, image.sizes["y"], TILE)
    ]  # fmt: skip
    return xr.concat(lines, "y")


def embed(image: xr.DataArray, model: xc.Model) -> xr.DataArray:
    """Embed in blocks of a tile's size, so that both ways have the same borders."""
    with mock.patch.object(module_of_embed, "_choose_block", return_value=TILE):
        return image.contrast.embed(model, stride=STRIDE, precision="32").compute()


def profile(embedding: xr.DataArray) -> np.ndarray:
    """Give the mean absolute step from each column to the next, over that of all."""
    steps = abs(embedding.drop_vars("x").diff("x")).mean(("feature", "y")).values
    return np.asarray(steps / steps.mean())


def show(ax: Axes, embedding: xr.DataArray, basis: tuple[np.ndarray, ...], title: str) -> None:
    """Show principal components, with the basis and stretch of both pictures."""
    mean, axes, low, high = basis
    cells = embedding.transpose("y", "x", "feature").values
    picture(ax, np.clip(((cells - mean) @ axes - low) / (high - low), 0, 1), title)


def main() -> None:
    """Embed and draw."""
    cube, _ = open_scene(640)
    chips = cube.contrast.pairs(tolerance="3D").contrast.chips(size=64, stride=64)
    options = xc.PretrainOptions(progress=False)
    model = xc.pretrain(chips, max_steps=0, batch_size=32, options=options, cache=False)
    clearest = int(cube.s2_cloud_cover.values.argmin())
    image = cube.s2.isel(s2_time=clearest, x=slice(0, 512), y=slice(0, 512)).compute()
    naive, ours = tile_by_tile(image, model), embed(image, model)
    every = TILE // STRIDE
    scores = [e.contrast.seam_score(every=every) for e in (naive, ours)]
    cells = ours.transpose("y", "x", "feature").values.reshape(-1, ours.sizes["feature"])
    cells = cells[np.isfinite(cells).all(1)]
    mean = cells.mean(0)
    axes = np.linalg.svd(cells - mean, full_matrices=False)[2][:3].T
    low, high = np.percentile((cells - mean) @ axes, (2, 98), axis=0)
    figure, panels = plt.subplots(2, 2, figsize=(7.4, 7.2), layout="constrained")
    panels = panels.ravel()[[0, 2, 3, 1]]
    picture(panels[0], optical_rgba(image)[0], f"Sentinel-2, {image.sizes['x']} px, simulated")
    titles = (f"tile by tile, seam score {scores[0]:.2f}", f"xcontrast, seam score {scores[1]:.3f}")
    for ax, embedding, title in zip(panels[1:], (naive, ours), titles, strict=False):
        show(ax, embedding, (mean, axes, low, high), title)
    for embedding, color, label in ((naive, ORANGE, "tile by tile"), (ours, BLUE, "xcontrast")):
        panels[3].plot(np.arange(1, embedding.sizes["x"]) * STRIDE, profile(embedding), color=color,
                       lw=1.2, label=label)  # fmt: skip
    panels[3].set(xlabel="column (px); tiles of 128 px", xticks=range(0, 513, TILE))
    panels[3].set_ylabel("step to the next cell,\nover the mean step")
    panels[3].grid(axis="x", color="0.85")
    panels[3].set_ylim(top=3.5)
    panels[3].legend(fontsize=8.5, frameon=False, loc="upper left", ncols=2)
    print(f"seam scores {scores}")
    keep(figure, "seams")


if __name__ == "__main__":
    main()
