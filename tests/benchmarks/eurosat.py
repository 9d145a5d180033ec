"""EuroSAT's RGB pictures: what pretraining on unlabelled pictures is worth to a linear probe.

4,000 pictures of ten classes, 2,400 to train on and 1,600 to test, drawn evenly over the classes
with a seed; encoders (ResNet-18) see the training pictures without their labels. Linear probe and
five nearest neighbours under Seasonal Contrast's protocol (batch norm in eval mode), as by
`xcontrast reproduce eurosat`. Rows are appended run by run.

    python tests/benchmarks/eurosat.py run --seeds 0 1 2
    python tests/benchmarks/eurosat.py show
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import xcontrast as xc
from xcontrast.protocols.eurosat import EUROSAT, open_eurosat, run_eurosat
from xcontrast.protocols.options import ReproduceOptions

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board

ROWS = Path(__file__).with_name("eurosat.csv")
DATA = Path(os.environ.get("XCONTRAST_DATA", Path(__file__).parents[3] / "shared" / "data"))
STEPS = 1000
METHODS = ("image statistics", "random", "simclr", "moco")


def open_pictures(seed: int) -> xr.Dataset:
    """Open the pictures with a split of this seed, 240 of each class to train on."""
    folder = DATA / "eurosat_rgb"
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as lists:
        lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for name in EUROSAT.names:
            files = sorted(file.name for file in (folder / name).glob("*.jpg"))
            order = rng.permutation(len(files))
            cut = {"train": order[:216], "val": order[216:240], "test": order[240:]}
            for split, chosen in cut.items():
                lines[split] += [files[i] for i in chosen]
        for split, own in lines.items():
            Path(lists, f"eurosat-{split}.txt").write_text("\n".join(own))
        return open_eurosat(folder, lists=lists).load()


def pretrain(pictures: xr.Dataset, method: str, seed: int) -> xc.Model:
    """Train on the pictures of the training split, without their labels."""
    seen = pictures[["s2"]].isel(location=np.flatnonzero(pictures.split.values == "train"))
    options = xc.PretrainOptions(
        chip_size=64,
        crop_size=48,
        crop_scale=(0.2, 1.0),
        seed=seed,
        progress=False,
        eval_every=100_000,
    )
    steps = 0 if method == "random" else STEPS
    name = "simclr" if method == "random" else method
    return xc.pretrain(seen, method=name, max_steps=steps, batch_size=128, options=options)


def probe_statistics(pictures: xr.Dataset) -> dict[str, float]:
    """Probe the mean, deviation, least and largest of each band, as torchgeo's page does."""
    values = pictures.s2.values
    reduced = [getattr(values, f)((2, 3)) for f in ("mean", "std", "min", "max")]
    features = StandardScaler().fit_transform(np.concatenate(reduced, axis=1))
    labels, split = pictures.label.values, pictures.split.values
    train, test = split == "train", split == "test"
    linear = LogisticRegression(C=10, max_iter=2000).fit(features[train], labels[train])
    near = KNeighborsClassifier(5).fit(features[train], labels[train])
    return {
        "linear": 100 * float((linear.predict(features[test]) == labels[test]).mean()),
        "kNN-5": 100 * float((near.predict(features[test]) == labels[test]).mean()),
    }


def run(seeds: list[int]) -> None:
    """Make the runs that are not there."""
    for seed in seeds:
        pictures = open_pictures(seed)
        for method in METHODS:
            key: dict[str, object] = {"method": method, "seed": seed, "steps": STEPS}
            if board.is_there(ROWS, key):
                continue
            began = time.perf_counter()
            if method == "image statistics":
                found = probe_statistics(pictures)
            else:
                model = pretrain(pictures, method, seed)
                table = run_eurosat(pictures, model, options=ReproduceOptions(seed=seed))
                found = dict(zip(table["task"], table["mean"], strict=True))
            rows = pd.DataFrame({"task": list(found), "accuracy": list(found.values())})
            board.append(ROWS, rows.round(2), key, time.perf_counter() - began)
            print(seed, method, found, flush=True)


def table() -> str:
    """Give the table: mean and range over seeds."""
    rows = pd.read_csv(ROWS)
    tasks = list(rows.task.unique())
    lines = []
    for method, own in rows.groupby("method", sort=False):
        found = [board.spread(own.accuracy[own.task == task], 1) for task in tasks]
        lines.append([str(method), str(own.seed.nunique()), *found])
    columns = ["method", "seeds", *(f"{task}, % (min to max)" for task in tasks)]
    return board.as_table(columns, lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="seeds", n=3)
