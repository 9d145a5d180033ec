"""Flood IoU of the demo over seeds: does pretraining beat its baselines on held-out ground?

    python tests/benchmarks/demo_seeds.py [--seeds 0 1 2] [--quick]

Each seed simulates another place, trains anew and draws its labels three times. A row is appended
to demo_seeds.csv beside this file when a seed ends; seeds that are there are not run again.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

import pandas as pd

from xcontrast.demo import FULL, QUICK, simulate_and_map
from xcontrast.version import __version__

RESULTS = Path(__file__).with_suffix(".csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    name = "quick" if given.quick else "full"
    done = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["scale", "seed"])
    for seed in given.seeds:
        if ((done.scale == name) & (done.seed == seed)).any():
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "demo"
            demo = simulate_and_map(
                out, scale=QUICK if given.quick else FULL, seed=seed, progress=False
            )
            held = demo.model.card.training["held_out"]
            rows = demo.scores.reset_index()
            rows.insert(0, "scale", name)
            rows.insert(1, "seed", seed)
            rows["recall_at_1"], rows["n_val"] = held["recall_at_1"], held["n_val"]
            rows["seconds"] = round(sum(demo.seconds.values()), 1)
            rows["machine"] = f"{os.cpu_count()} CPU cores, {platform.machine()}"
            rows["xcontrast"] = __version__
            rows.round(4).to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
    results = pd.read_csv(RESULTS)
    methods = [c for c in results if "encoder" in c or "boosting" in c]
    print(results[results.scale == name].groupby("seed")[methods].mean().round(3).to_string())


if __name__ == "__main__":
    main()
