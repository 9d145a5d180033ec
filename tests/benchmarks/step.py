"""The time of a training step with the loader, beside the same step on one repeated batch.

A ResNet-18 a sensor at 96 px, bfloat16 and channels-last; the repeated batch is normalised and
augmented anew at each step too. Steps of all kinds take turns in blocks, so that noise of a shared
machine meets them alike.

    python tests/benchmarks/step.py [--device cpu] [--batch 64] [--block 4] [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from xcontrast.sampling.batches import Batch
from xcontrast.sampling.loader import Loader
from xcontrast.sampling.statistics import measure_statistics

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from scenes import imagery_pairs
from steps import build_step

CHIP = 128


def endless(loader: Loader) -> Iterator[Batch]:
    """Give epoch after epoch."""
    while True:
        yield from loader


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        pairs = imagery_pairs(2048, n_dates=4)
        chips = pairs.contrast.chips(size=CHIP, stride=CHIP // 2)
        saved = chips.save(Path(folder) / "chips.zarr", progress=False)
        options = {"batch_size": args.batch, "device": args.device}
        loaders = {
            "in memory": chips.loader(**options),
            "from Zarr, as it goes": saved.loader(**options, resident=False),
        }
        report(loaders, args.block, args.rounds, device)


def report(loaders: dict[str, Loader], block: int, rounds: int, device: torch.device) -> None:
    """Time blocks of steps in turn and print their ratio."""
    first = next(iter(loaders.values()))
    bands = {s.name: tuple(map(str, first.chips.pairs[s.band].values)) for s in first.chips.sensors}
    step = build_step("multimodal", bands, measure_statistics(first, n_max=256), device)
    one = next(iter(first))
    sources: dict[str, Iterator[Batch]] = {"one repeated batch": itertools.repeat(one)}
    sources |= {name: endless(loader) for name, loader in loaders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for k in range(rounds + 1):
        for name, batches in sources.items():
            for i in range(block):
                begin = time.perf_counter()
                step(next(batches), i)
                # The first round warms up: kernels, threads, the first batches.
                if k:
                    seconds[name].append(time.perf_counter() - begin)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    print(f"{device.type} {name}, {torch.get_num_threads()} threads, batch {len(one['chip'])}\n")
    print("| step on | seconds, median | of the repeated batch |\n|---|---|---|")
    base = np.median(seconds["one repeated batch"])
    for source, own in seconds.items():
        print(f"| {source} | {np.median(own):.4f} | {np.median(own) / base:.3f} |")


if __name__ == "__main__":
    main()
