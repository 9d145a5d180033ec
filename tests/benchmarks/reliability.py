"""Whether probabilities mean what they say on scenes never seen: the folds of `floods.py`.

A linear head on frozen multimodal embeddings, both sensors and dates, a tenth of the tiles
labelled; its probabilities on the test scenes, with the temperature found on labelled tiles held
out, on labelled scenes held out, and without one. Rows are appended fold by fold.

    python tests/benchmarks/reliability.py run --models encoders
    python tests/benchmarks/reliability.py show
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xcontrast as xc

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board
from benchmarks.floods import DATA, Fold, encoder
from imagery import open_ombria

ROWS = Path(__file__).with_name("reliability.csv")
WAYS = ("no temperature", "from tiles held out", "from scenes held out")
SCORES = ("ece", "brier", "log_loss")


def measure(fold: Fold, folder: Path) -> pd.DataFrame:
    """Fit the heads of a fold, and give the errors of their probabilities: one row a way."""
    model = encoder(fold, "multimodal", folder)

    def change(tiles: np.ndarray) -> xr.Dataset:
        return xc.before_after(xc.embed(fold.cube[["s1", "s2"]].isel(location=tiles), model))

    tiles = fold.labelled["10 %"]
    fitted_on, truth = change(tiles).compute(), fold.truth.isel(location=tiles)
    scene = ("location", fold.cube.scene.values[tiles])
    by_scene = fitted_on.assign_coords(scene=scene)
    tiled = xc.fit(fitted_on.drop_vars("scene", errors="ignore"), truth, legend=xc.FLOOD)
    grouped = xc.fit(by_scene, truth, legend=xc.FLOOD, groups="scene")
    heads = dict(zip(WAYS, (replace(tiled, temperature=1.0), tiled, grouped), strict=True))
    found: dict[str, list[xr.DataArray]] = {way: [] for way in WAYS}
    for part in fold.parts(fold.test):
        embedded, like = change(part).compute(), fold.truth.isel(location=part)
        for way, head in heads.items():
            found[way].append(xc.predict(embedded, head, like=like).probability)
    rows = []
    for way, parts in found.items():
        told = xc.calibration(
            xr.concat(parts, "location"), fold.truth.isel(location=fold.test), legend=xc.FLOOD
        )
        scores = {name: float(told[name]) for name in SCORES}
        rows.append({"way": way, "temperature": heads[way].temperature, **scores})
    return pd.DataFrame(rows)


def run(folds: list[int], folder: Path) -> None:
    """Make the folds that are not there."""
    cube, truth = open_ombria(DATA)
    for number in folds:
        key: dict[str, object] = {"fold": number}
        if board.is_there(ROWS, key):
            continue
        began = time.perf_counter()
        rows = measure(Fold(cube, truth, number), folder)
        board.append(ROWS, rows.round(4), key, time.perf_counter() - began)
        print(rows.to_string(), flush=True)


def table() -> str:
    """Give the table: means and ranges over folds."""
    rows = pd.read_csv(ROWS)
    lines = []
    for way, own in rows.groupby("way", sort=False):
        cells = [str(way), str(len(own)), f"{own.temperature.mean():.2f}"]
        cells += [board.spread(own[name]) for name in SCORES]
        lines.append(cells)
    columns = ["temperature", "folds", "its mean", "calibration error (min to max)", "Brier"]
    return board.as_table([*columns, "log loss, nats"], lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="folds", n=5, models=True)
