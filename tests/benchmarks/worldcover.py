"""Land cover from few labelled tiles: ESA WorldCover on 200 optical tiles of seven bands.

Three folds of tiles; in each, encoders (ResNet-18) see the training tiles without their labels, and
heads and segmenters a tenth of them with labels, or all. Every method maps the same tiles. Rows
are appended run by run.

    python tests/benchmarks/worldcover.py run --models encoders
    python tests/benchmarks/worldcover.py show
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.model_selection import KFold

import xcontrast as xc
from xcontrast.evaluation.baselines import fit_pixels, map_pixels

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board

ROWS = Path(__file__).with_name("worldcover.csv")
DATA = Path(os.environ.get("XCONTRAST_DATA", Path(__file__).parents[3] / "shared" / "data"))
STEPS = 600
FIELDS = ["method", "way", "labels"]
PIXELS = "pixels, boosted, weighted"
"""What others are compared with."""
NODATA = -32768


def open_tiles() -> tuple[xr.Dataset, xr.DataArray]:
    """Give the tiles as a collection, and their land cover."""
    stored = xr.open_zarr(DATA / "optical_worldcover.zarr").load()
    images = stored.s2.astype("float32").where(stored.s2 != NODATA) / 10_000
    images = images.rename(tile="location", s2_band="band").drop_vars("location")
    cube = xc.as_cube(s2=images)
    return cube, stored.worldcover.rename(tile="location").drop_vars("location")


class Fold:
    """What a fold trains and tests on."""

    def __init__(self, cube: xr.Dataset, truth: xr.DataArray, number: int) -> None:
        folds = KFold(3, shuffle=True, random_state=0).split(np.arange(truth.sizes["location"]))
        train, test = list(folds)[number]
        few = np.sort(np.random.default_rng(number).permutation(train)[: len(train) // 10])
        self.cube, self.truth, self.number = cube, truth, number
        self.train, self.test = train, test
        self.labelled = {"10 %": few, "100 %": train}

    def write(self, mapped: np.ndarray, key: tuple[str, str, str], seconds: float) -> None:
        """Count and append."""
        truth = self.truth.values[self.test]
        rows = board.count_pixels(mapped, truth, self.test, xc.WORLDCOVER.codes)
        told = {**dict(zip(FIELDS, key, strict=True)), "fold": self.number}
        board.append(ROWS, rows, told, seconds)
        print(f"{self.number} {' | '.join(key)}: {board.mean_iou(rows):.3f}, {seconds:.0f} s")

    def is_there(self, key: tuple[str, str, str]) -> bool:
        """Say whether a run's rows have been written."""
        return board.is_there(ROWS, {**dict(zip(FIELDS, key, strict=True)), "fold": self.number})


def encoder(fold: Fold, method: str, folder: Path) -> xc.Model:
    """Pretrain on the training tiles, or read what was pretrained."""
    path = folder / f"worldcover-{method}-{STEPS}-{fold.number}"
    if path.is_dir():
        return xc.load_model(path)
    options = xc.PretrainOptions(
        chip_size=96, crop_size=64, seed=fold.number, progress=False, eval_every=100_000
    )
    steps = 0 if method == "random" else STEPS
    name = "simclr" if method == "random" else method
    seen = fold.cube.isel(location=fold.train)
    model = xc.pretrain(seen, method=name, max_steps=steps, batch_size=64, options=options)
    return model.save(path)


def run_frozen(fold: Fold, method: str, labels: str, folder: Path) -> None:
    """Fit a linear head on frozen embeddings."""
    key = (method, "frozen", labels)
    if fold.is_there(key):
        return
    model = encoder(fold, method, folder)
    began = time.perf_counter()
    tiles = fold.labelled[labels]
    embedding = xc.embed(fold.cube.s2.isel(location=tiles), model)
    head = xc.fit(embedding, fold.truth.isel(location=tiles), legend=xc.WORLDCOVER)
    embedding = xc.embed(fold.cube.s2.isel(location=fold.test), model)
    mapped = xc.predict(embedding, head, like=fold.truth.isel(location=fold.test)).label
    mapped = mapped.transpose("location", "y", "x").values
    fold.write(mapped, key, time.perf_counter() - began)


def run_tuned(fold: Fold, method: str, way: str, labels: str, folder: Path) -> None:
    """Train a U-Net decoder on frozen encoders, or both."""
    key = (method, way, labels)
    if fold.is_there(key):
        return
    model = encoder(fold, method, folder)
    began = time.perf_counter()
    tiles = fold.labelled[labels]
    trained = {"decoder on frozen": "none", "fine-tuned": "all"}[way]
    rate = 1.0 if method == "random" else xc.FinetuneOptions().encoder_rate
    segmenter = xc.finetune(
        fold.cube.isel(location=tiles),
        fold.truth.isel(location=tiles),
        model,
        legend=xc.WORLDCOVER,
        options=xc.FinetuneOptions(
            trained=trained, encoder_rate=rate, seed=fold.number, progress=False
        ),
    )
    mapped = xc.predict(fold.cube.isel(location=fold.test), segmenter).label
    mapped = mapped.transpose("location", "y", "x").values
    fold.write(mapped, key, time.perf_counter() - began)


def run_pixels(fold: Fold, labels: str, balance: float) -> None:
    """Boost single pixels; labels are the most probable (0), or chosen as heads choose them."""
    key = (PIXELS if balance else "pixels, boosted", "-", labels)
    if fold.is_there(key):
        return
    began = time.perf_counter()
    layers = fold.cube.s2.rename(s2_band="feature").drop_vars("feature")
    tiles = fold.labelled[labels]
    truth = fold.truth.isel(location=tiles)
    model = fit_pixels(
        layers.isel(location=tiles),
        truth,
        legend=xc.WORLDCOVER,
        balance=balance,
        seed=fold.number,
    )
    mapped = map_pixels(model, layers.isel(location=fold.test), legend=xc.WORLDCOVER)
    mapped = mapped.transpose("location", "y", "x").values
    fold.write(mapped, key, time.perf_counter() - began)


def run(folds: list[int], folder: Path) -> None:
    """Make the runs that are not there."""
    cube, truth = open_tiles()
    for fold in [Fold(cube, truth, number) for number in folds]:
        for labels in ("10 %", "100 %"):
            for balance in (0.0, 0.5):
                run_pixels(fold, labels, balance)
        for method in ("random", "simclr", "moco"):
            for labels in ("10 %", "100 %"):
                run_frozen(fold, method, labels, folder)
        run_tuned(fold, "simclr", "decoder on frozen", "10 %", folder)
        run_tuned(fold, "random", "decoder on frozen", "10 %", folder)
        # What begins from random weights is the U-Net from scratch.
        run_tuned(fold, "random", "fine-tuned", "10 %", folder)


def table() -> str:
    """Give the table: means over folds, intervals over tiles."""
    rows = pd.read_csv(ROWS, dtype={"group": str})
    columns = [*FIELDS, "folds", "mean IoU, mean of folds (min to max)", "all tiles, 95 %"]
    columns += ["less pixels boosted, 95 %"]
    lines = []
    for key, own in rows.groupby(FIELDS, sort=False):
        each = [board.mean_iou(part) for _, part in own.groupby("fold")]
        low, high = board.interval(own)
        base = rows[(rows.method == PIXELS) & (rows.labels == key[2])]
        less = ""
        if key[0] != PIXELS and set(base.fold) == set(own.fold):
            a, b = board.interval(own, base)
            less = f"{board.mean_iou(own) - board.mean_iou(base):+.3f} ({a:+.3f} to {b:+.3f})"
        cells = [*map(str, key), str(len(each))]
        cells += [board.spread(each)]
        cells += [f"{board.mean_iou(own):.3f} ({low:.3f} to {high:.3f})", less]
        lines.append(cells)
    return board.as_table(columns, lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="folds", n=3, models=True)
