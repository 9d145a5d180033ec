"""How features degrade as the data do, where the truth is exact: the simulated archive.

A cube is spoilt in one way, to one degree; both encoders are pretrained on its pairs; the radar is
embedded before and at the flood, a linear head is fitted on squares in the west and scored in the
east (the mean of five draws of squares). Only what is spoilt differs between rows. Rows are
appended run by run.

    python tests/benchmarks/degradation.py run --seeds 0 1 2
    python tests/benchmarks/degradation.py show
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xcontrast as xc

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board

ROWS = Path(__file__).with_name("degradation.csv")
SIZE = 480
STEPS = 200
SQUARE = 12
"""Side of a labelled square, pixels."""
N_SQUARES = 16
N_DRAWS = 5
LEVELS: dict[str, tuple[float, ...]] = {
    "misregistration, px": (0, 1, 2, 3),
    "looks of added speckle": (np.inf, 16, 4, 1),
    "lag between the sensors, days": (0, 10, 30, 60, 120),
    "share of cloud": (0.0, 0.2, 0.4, 0.6, 0.8),
}
"""The first of each is what the archive gives, but for cloud."""


def simulate(folder: Path, seed: int, cloud: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Give a year of a scene, and its truth."""
    catalog = xc.simulate_archive(
        folder, size=SIZE, cycle=24, cloud=cloud, seed=seed, progress=False
    )
    truth = xc.read_truth(folder)
    cube = xc.open_cube(geobox=truth.odc.geobox, datetime="2023", source=catalog)
    return cube.compute(), truth


def spoil(cube: xr.Dataset, what: str, level: float, seed: int) -> xr.Dataset:
    """Shift the optical images, add speckle, or pair what was seen at other times."""
    if what.startswith("misregistration"):
        return cube.assign(s2=cube.s2.shift(x=int(level)))
    if what.startswith("looks") and np.isfinite(level):
        rng = np.random.default_rng((seed, 1))
        power = rng.gamma(level, 1 / level, cube.s1.shape).astype("float32")
        return cube.assign(s1=cube.s1 + 10 * np.log10(power))
    if what.startswith("lag"):
        # What was seen later is taken for what was seen at once.
        return cube.assign_coords(s2_time=cube.s2_time - np.timedelta64(int(level), "D"))
    return cube


def passes_at_the_flood(cube: xr.Dataset, truth: xr.Dataset) -> xr.DataArray:
    """Give the radar's pass at the peak and three before it, of one orbit."""
    orbit = cube.s1.s1_relative_orbit.values == truth.attrs["relative_orbit"]
    days = cube.s1.s1_time.values.astype("datetime64[D]")
    until = np.flatnonzero(orbit & (days <= np.datetime64(truth.attrs["peak"])))
    return cube.s1.isel(s1_time=until[-4:])


def draw_squares(flood: xr.DataArray, seed: int, draw: int) -> xr.DataArray:
    """Label squares in the west: half around flooded pixels, half anywhere dry."""
    rng = np.random.default_rng((seed, draw))
    values = np.full(flood.shape, 255, np.uint8)
    west = flood.values[SQUARE:-SQUARE, SQUARE : int(0.42 * SIZE) - SQUARE]
    for wet in (True, False):
        rows, cols = np.nonzero((west == 1) == wet)
        for k in rng.choice(len(rows), N_SQUARES // 2, replace=False):
            row, col = rows[k] + SQUARE // 2, cols[k] + SQUARE // 2
            square = (slice(row, row + SQUARE), slice(col, col + SQUARE))
            values[square] = flood.values[square]
    return flood.copy(data=values)


def measure(cube: xr.Dataset, truth: xr.Dataset, seed: int, steps: int) -> dict[str, float]:
    """Pretrain, and score retrieval and the flood."""
    chips = xc.chips(xc.pairs(cube, tolerance="3D"), size=64, stride=32, min_valid=0.7)
    options = xc.PretrainOptions(seed=seed, crop_size=48, progress=False)
    model = xc.pretrain(chips, max_steps=steps, batch_size=64, options=options)
    change = xc.before_after(
        xc.embed(passes_at_the_flood(cube, truth), model, stride=2), event=truth.attrs["peak"]
    ).compute()
    east = slice(int(0.58 * SIZE), None)
    found = []
    for draw in range(N_DRAWS):
        labels = draw_squares(truth.flood, seed, draw)
        head = xc.fit(change, labels, legend=xc.FLOOD)
        mapped = xc.predict(change, head, like=truth.odc.geobox).label.isel(x=east)
        scores = xc.score(mapped, truth.flood.isel(x=east), legend=xc.FLOOD)
        found.append(float(scores.iou.sel(category="flood")))
    recall = model.card.training["held_out"]["recall_at_1"]
    return {"iou": np.mean(found), "recall": recall, "n_chips": len(chips)}


def run(seeds: list[int]) -> None:
    """Make the runs that are not there."""
    for seed in seeds:
        for what, levels in LEVELS.items():
            for level in levels:
                for steps in (STEPS, 0) if what.startswith("looks") else (STEPS,):
                    key: dict[str, object] = {
                        "what": what, "level": level, "seed": seed, "steps": steps
                    }  # fmt: skip
                    if board.is_there(ROWS, key):
                        continue
                    began = time.perf_counter()
                    cloud = level if what.startswith("share") else 0.4
                    with tempfile.TemporaryDirectory() as folder:
                        cube, truth = simulate(Path(folder) / "archive", seed, cloud)
                    spoilt = spoil(cube, what, level, seed)
                    rows = pd.DataFrame([measure(spoilt, truth, seed, steps)]).round(4)
                    board.append(ROWS, rows, key, time.perf_counter() - began)
                    print(key, rows.to_dict("records"), flush=True)


def table() -> str:
    """Give the table: means and ranges over seeds."""
    rows = pd.read_csv(ROWS)
    lines = []
    for (what, level, steps), own in rows.groupby(["what", "level", "steps"], sort=False):
        name = str(what) + ("" if steps else ", random weights")
        cells = [name, f"{level:g}", str(own.seed.nunique())]
        cells += [board.spread(own[column]) for column in ("iou", "recall")]
        lines.append([*cells, f"{own.n_chips.mean():.0f}"])
    columns = ["what", "level", "seeds", "flood IoU (min to max)", "retrieval (min to max)"]
    return board.as_table([*columns, "chips"], lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="seeds", n=3)
