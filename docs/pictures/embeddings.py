"""Draw embeddings.png: a scene, its embedding, what is like one place in it, and the truth.

    python docs/pictures/embeddings.py

Two minutes on two processor cores: the encoders are pretrained for 120 steps on the simulated year.
"""

from __future__ import annotations

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from drawing import ORANGE, keep, open_scene, picture
from shapely import Point

import xcontrast as xc
from xcontrast.plotting.scenes import optical_rgba

STEPS = 120
PART = {"y": slice(0, 384), "x": slice(0, 384)}
SIDE = 384 * 10
"""Metres."""


def choose_point(truth: xr.DataArray, code: int) -> tuple[int, int]:
    """Give the row and column of a cover that lies farthest from any other."""
    from scipy.ndimage import distance_transform_edt

    # What is beyond the edge is not known to be the same.
    inside = distance_transform_edt(np.pad(truth.values == code, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(row), int(col)


def main() -> None:
    """Pretrain, embed and draw."""
    cube, truth = open_scene(640)
    chips = cube.contrast.pairs(tolerance="3D").contrast.chips(size=48).load(progress=False)
    options = xc.PretrainOptions(progress=False)
    model = xc.pretrain(chips, max_steps=STEPS, batch_size=32, options=options)
    summer = np.flatnonzero(cube.s2_time.dt.month.isin((6, 7, 8)).values)
    clearest = int(summer[cube.s2_cloud_cover.values[summer].argmin()])
    image = cube.s2.isel(s2_time=clearest, **PART).compute()
    emb = image.contrast.embed(model).compute()
    cover = truth.land_cover.isel(**PART)
    names = cover.attrs["flag_meanings"].split()
    row, col = choose_point(cover, names.index("broadleaf_forest"))
    points = gpd.GeoDataFrame(
        geometry=[Point(float(cover.x[col]), float(cover.y[row]))], crs=cover.rio.crs
    )
    alike = emb.contrast.similar(points).compute()
    figure, axes = plt.subplots(2, 2, figsize=(8, 7.6), layout="constrained")
    axes = axes.ravel()
    picture(axes[0], optical_rgba(image)[0], f"{SIDE / 1000:.1f} km at 10 m, simulated")
    emb.contrast.plot(ax=axes[1])
    axes[1].set_title("embedding, 40 m cells, PCA", loc="left", fontsize=9.5)
    shown = axes[2].imshow(alike.squeeze(), cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    axes[2].set_facecolor("#d9d9d9")
    axes[2].set_title("cosine with the marked cell", fontsize=9.5)
    axes[2].plot(col / 4, row / 4, "o", mfc="none", mec=ORANGE, ms=11, mew=2.2)
    figure.colorbar(shown, ax=axes[2], shrink=0.85)
    cover.contrast.plot(ax=axes[3])
    axes[3].set_title("true cover", loc="left", fontsize=9.5)
    axes[2].set(xticks=[], yticks=[])
    keep(figure, "embeddings")
    wood = (cover.values == names.index("broadleaf_forest"))[2::4, 2::4]
    values = alike.squeeze().values
    known = np.isfinite(values)
    for threshold in (0.5, 0.8, 0.9):
        found = values > threshold
        hits = float((found & wood & known).sum())
        print(
            f"cosine > {threshold}: precision {hits / max(1, (found & known).sum()):.2f}, "
            f"recall {hits / (wood & known).sum():.2f}"
        )


if __name__ == "__main__":
    main()
