"""Maps of floods combined: heads, a decoder and boosted pixels of one fold, on the same tiles.

Equal weights, and all four, were decided before any of them was run on a fold; random weights came
after, to tell what is the encoders' and what is the company's. Rows go to those of floods.py, whose
folds, encoders and baselines these are.

    python tests/benchmarks/combined.py run --folds 0 1 2 3 4 --models encoders
    python tests/benchmarks/combined.py show
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xcontrast as xc
from xcontrast.heads.decision import weigh_categories
from xcontrast.heads.flags import as_map

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board, floods
from imagery import open_ombria

METHODS, LABELS = ("multimodal", "random"), "10 %"
COMBINED = {
    "heads of S1 and of S2": ("S1", "S2"),
    "head and pixels": ("both", "pixels"),
    "head and decoder": ("both", "decoder"),
    "head, decoder and pixels": ("both", "decoder", "pixels"),
}
"""Which maps each row is of: linear heads of one sensor or both, the decoder, boosted pixels."""


@dataclass
class Learnt:
    """What a fold has learnt from a tenth of its tiles."""

    model: xc.Model
    heads: dict[str, xc.Head]
    decoder: xc.Segmenter
    boosted: Any
    counts: np.ndarray
    """Labelled pixels of each category that boosting has seen."""


def change(fold: floods.Fold, model: xc.Model, tiles: np.ndarray) -> xr.Dataset:
    """Embed both dates and their difference, both sensors."""
    return xc.before_after(xc.embed(fold.cube[["s1", "s2"]].isel(location=tiles), model))


def learn(fold: floods.Fold, method: str, folder: Path) -> Learnt:
    """Fit everything to the same labels."""
    model = floods.encoder(fold, method, folder)
    tiles = fold.labelled[LABELS]
    fitted_on, truth = change(fold, model, tiles), fold.truth.isel(location=tiles)
    heads = {
        inputs: xc.fit(fitted_on[list(names)], truth, legend=xc.FLOOD, seed=fold.number)
        for inputs, names in floods.SENSORS.items()
    }
    decoder = floods.train_segmenter(fold, method, "decoder on frozen", "both", LABELS, folder)
    boosted = floods.boost_pixels(fold, "both", LABELS, differences=True)
    return Learnt(model, heads, decoder, *boosted)


def map_tiles(fold: floods.Fold, learnt: Learnt, tiles: np.ndarray) -> dict[str, xr.Dataset]:
    """Map tiles with everything, each alone and combined."""
    embedded, like = change(fold, learnt.model, tiles).compute(), fold.truth.isel(location=tiles)
    maps = {
        inputs: xc.predict(embedded[list(floods.SENSORS[inputs])], head, like=like)
        for inputs, head in learnt.heads.items()
    }
    maps["decoder"] = xc.predict(fold.cube[["s1", "s2"]].isel(location=tiles), learnt.decoder)
    maps["pixels"] = map_pixels(fold, learnt, tiles)
    dims = ("location", "category", "y", "x")
    maps = {k: m.transpose(*dims, missing_dims="ignore").compute() for k, m in maps.items()}
    return maps | {k: xc.combine([maps[one] for one in parts]) for k, parts in COMBINED.items()}


def map_pixels(fold: floods.Fold, learnt: Learnt, tiles: np.ndarray) -> xr.Dataset:
    """Map single pixels, labels chosen as heads choose them."""
    values = floods.layers(fold, tiles, "both", differences=True)
    probability = learnt.boosted.predict_proba(values.reshape(-1, values.shape[-1]))
    probability = probability.reshape(*values.shape[:-1], 2).astype(np.float32)
    coords = {"category": np.array(xc.FLOOD.names, object)}
    array = xr.DataArray(probability, coords, ("location", "y", "x", "category"))
    weights = weigh_categories(learnt.counts, 0.5)
    return as_map(array, xc.FLOOD, {"head_kind": "boosted pixels"}, weights=weights)


def run_fold(fold: floods.Fold, method: str, folder: Path) -> None:
    """Learn, map and count, if a row is missing; what stands alone is printed."""
    keys = {name: (method, name, "both", LABELS) for name in COMBINED}
    keys = {name: key for name, key in keys.items() if not floods.is_there(key, fold.number)}
    if not keys:
        return
    floods.encoder(fold, method, folder)  # Whose time is not that of maps.
    began = time.perf_counter()
    learnt = learn(fold, method, folder)
    counted: dict[str, list[pd.DataFrame]] = {}
    for part in fold.parts(fold.test):
        for name, found in map_tiles(fold, learnt, part).items():
            counts = fold.count(part, found.label.transpose("location", "y", "x").values == 1)
            counted.setdefault(name, []).append(counts)
    seconds = (time.perf_counter() - began) / len(keys)
    for name, tables in counted.items():
        if name in keys:
            floods.write(tables, keys[name], fold.number, seconds)
        elif name not in COMBINED:
            own = pd.concat(tables).groupby(["group", "code"], as_index=False).sum()
            alone = f"{fold.number} {method}, {name} alone"
            print(f"{alone}: IoU {board.mean_iou(own):.3f}", flush=True)


def run(folds: list[int], folder: Path) -> None:
    """Make the runs that are not there."""
    cube, truth = open_ombria(floods.DATA)
    for method in METHODS:
        for number in folds:
            run_fold(floods.Fold(cube, truth, number), method, folder)


def show() -> str:
    """Give the table that these are in."""
    return floods.table("few labels")


if __name__ == "__main__":
    board.main(__doc__, run, show, over="folds", n=5, models=True)
