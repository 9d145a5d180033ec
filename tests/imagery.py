"""Real imagery for tests and benchmarks, as cubes; see each reader for where it is from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

import xcontrast as xc


def open_ombria(data: Path, *, every: int = 1) -> tuple[xr.Dataset, xr.DataArray]:
    """Give OMBRIA, or each so many-th tile, as a collection with ``scene``, and its flood labels.

    Drakonakis et al. (2022), doi 10.1109/JSTARS.2022.3155559: 694 tiles of 256 x 256 px before and
    after a flood. The radar is stretched to 0..255 a tile: its units are unknown. Single bands of
    the optical images are 0 over dark water: only pixels where all are 0 are invalid.
    """
    folder = data / "ombria"
    index = pd.read_csv(folder / "index.csv").iloc[::every]
    names = {int(file.stem): file.name for file in (folder / "flood").iterdir()}

    def read(kind: str) -> np.ndarray:
        files = [folder / kind / names[tile] for tile in index.tile]
        return np.stack([np.asarray(Image.open(file)) for file in files])

    def stack(sensor: str, bands: list[str]) -> xr.DataArray:
        images = np.stack([read(f"{sensor}_before"), read(f"{sensor}_after")], axis=1)
        images = images.reshape(*images.shape[:4], -1)
        return xr.DataArray(
            np.moveaxis(images, -1, 2),
            {"band": bands, "scene": ("location", index.scene.values.astype(str))},
            ("location", "date", "band", "y", "x"),
        )

    optical = stack("s2", ["B11", "B08", "B03"])
    seen = (optical > 0).any("band")
    cube = xc.as_cube(
        s1=stack("s1", ["vv"]),
        s2=optical.astype("float32").where(seen) / 255,
        s1_units="unknown",
    )
    truth = (read("flood") > 127).astype("uint8")
    return cube, xr.DataArray(truth, dims=("location", "y", "x"))


def split_scenes(scene: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Say which tiles are held out: whole scenes, drawn until they make the share."""
    rng = np.random.default_rng(seed)
    held: list[str] = []
    for name in rng.permutation(np.unique(scene)):
        if np.isin(scene, held).mean() >= share:
            break
        held.append(name)
    return np.isin(scene, held)
