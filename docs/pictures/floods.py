"""Make floods.png of the home page: radar before and after, the map and the truth, of real floods.

    XCONTRAST_DATA=... python docs/pictures/floods.py encoders

Encoder, fold and labels are the scoreboard's (tests/benchmarks/floods.py, 2,400 steps): an encoder
that is not in the folder is pretrained first, on the unlabelled pairs of the other scenes, for some
half an hour on a processor core. Of each of the three largest scenes of the fold, the tile is shown
of which nearest to 30 % is flooded: chosen by the truth, not by the map.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

import xcontrast as xc

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from benchmarks.floods import DATA, LONGER, Fold, encoder
from imagery import open_ombria

PICTURE = Path(__file__).with_name("floods.png")
WATER = ListedColormap(["#e8e4da", "#1f5f99"])
TITLES = ("Sentinel-1 before", "Sentinel-1 after", "map from Sentinel-1", "Copernicus EMS")


def choose(fold: Fold) -> np.ndarray:
    """Give one tile of each of the three largest scenes."""
    scene = fold.cube.scene.values[fold.test]
    names, counts = np.unique(scene, return_counts=True)
    away = abs(fold.truth.isel(location=fold.test).mean(("y", "x")).values - 0.3)
    largest = names[np.argsort(counts)[::-1][:3]]
    return np.array([fold.test[np.where(scene == n, away, np.inf).argmin()] for n in largest])


def map_flood(fold: Fold, tiles: np.ndarray, folder: Path) -> xr.DataArray:
    """Fit a head on a tenth of the fold's labels and map the tiles, from Sentinel-1."""
    model = encoder(fold, LONGER, folder)

    def change(some: np.ndarray) -> xr.DataArray:
        return xc.before_after(xc.embed(fold.cube.s1.isel(location=some), model))

    few = fold.labelled["10 %"]
    head = xc.fit(change(few), fold.truth.isel(location=few), legend=xc.FLOOD)
    found = xc.predict(change(tiles), head, like=fold.truth.isel(location=tiles)).label
    return found.transpose("location", "y", "x").compute()


def draw(fold: Fold, tiles: np.ndarray, found: xr.DataArray) -> Figure:
    """Draw a row for each tile."""
    figure = Figure(figsize=(8, 6.3), dpi=100, layout="constrained")
    axes = figure.subplots(len(tiles), 4)
    for row, tile, mapped in zip(axes, tiles, found, strict=True):
        radar = fold.cube.s1.isel(location=tile, s1_band=0).values
        low, high = np.nanpercentile(radar, (1, 99))
        for ax, image in zip(row[:2], radar, strict=True):
            ax.imshow(image, cmap="gray", vmin=low, vmax=high)
        for ax, codes in zip(row[2:], (mapped, fold.truth[tile]), strict=True):
            ax.imshow(codes, cmap=WATER, vmin=0, vmax=1, interpolation="nearest")
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    for ax, title in zip(axes[0], TITLES, strict=True):
        ax.set_title(title, fontsize=10)
    return figure


def main() -> None:
    """Make the picture."""
    fold = Fold(*open_ombria(DATA), 0)
    tiles = choose(fold)
    draw(fold, tiles, map_flood(fold, tiles, Path(sys.argv[1]))).savefig(PICTURE)
    # Speckle is hard to compress: 32 colours are enough for grey radar and two of the map.
    Image.open(PICTURE).convert("RGB").quantize(32).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
