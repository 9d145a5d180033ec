"""Chips a second from memory to batches, beside a bare numpy loop and plain xbatcher.

One thread each, int16 in memory, the same windows in the same shuffled order. Integers apart from
what is made of them on the device (validity, units, float32).

    python tests/benchmarks/loader.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from xcontrast.sampling.batches import to_values
from xcontrast.sampling.orders import Order
from xcontrast.sampling.resident import ChipStore, store_chips

sys.path.insert(0, str(Path(__file__).parents[1]))

from scenes import imagery_pairs

SIDE, DATES, SIZE, BATCH = 1024, 4, 96, 64


def bare_loop(store: ChipStore, order: list[torch.Tensor]) -> Callable[[], None]:
    """Fill preallocated batches by slicing, in the same order."""
    stacks = [s.images.numpy() for s in store.stacks.values()]
    numbers = [s.image.numpy() for s in store.stacks.values()]
    rows, cols = store.row.numpy(), store.col.numpy()
    batches = [np.empty((BATCH, SIZE, SIZE, s.shape[-1]), np.int16) for s in stacks]

    def run() -> None:
        for index in order:
            for k, i in enumerate(index.tolist()):
                y, x = rows[i], cols[i]
                for images, number, batch in zip(stacks, numbers, batches, strict=True):
                    batch[k] = images[number[i], y : y + SIZE, x : x + SIZE]

    return run


def map_dataset(pairs: xr.Dataset, order: list[torch.Tensor]) -> Callable[[], None]:
    """Two DataArray generators in xbatcher's MapDataset, stacked by a DataLoader."""
    from torch.utils.data import DataLoader
    from xbatcher import BatchGenerator
    from xbatcher.loaders.torch import MapDataset

    generators = [
        BatchGenerator(
            pairs[name],
            {"pair": 1, f"{name}_band": pairs.sizes[f"{name}_band"], "y": SIZE, "x": SIZE},
        )
        for name in ("s1", "s2")
    ]
    data = MapDataset(*generators)
    n = min(len(data), len(order) * BATCH)
    sampler = np.random.default_rng(0).permutation(len(data))[:n].tolist()

    def run() -> None:
        for _ in DataLoader(data, batch_size=BATCH, sampler=sampler):
            pass

    return run


def dataset_generator(pairs: xr.Dataset, n: int) -> Callable[[], None]:
    """Iterate xbatcher over the Dataset with y and x alone, as its pages show."""
    from xbatcher import BatchGenerator

    def run() -> None:
        generator = BatchGenerator(pairs.drop_vars(["s1_time", "s2_time"]), {"y": SIZE, "x": SIZE})
        for k, chip in enumerate(generator):
            chip["s1"].values, chip["s2"].values
            if k + 1 >= n:
                return

    return run


def exhaust(take: Callable[[torch.Tensor], object], order: list[torch.Tensor]) -> None:
    """Take all batches, keeping none."""
    for index in order:
        take(index)


def best(run: Callable[[], None], rounds: int) -> float:
    """Give the least seconds."""
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pairs = imagery_pairs(SIDE, n_dates=DATES)
    chips = pairs.contrast.chips(size=SIZE, stride=SIZE // 2)
    store = store_chips(chips, progress=False)
    order = [torch.from_numpy(batch) for batch in Order(len(store), BATCH).epoch(0)]
    n = len(order) * BATCH
    plain = n / best(bare_loop(store, order), rounds)
    rows = [("bare numpy loop, preallocated", plain)]
    rows.append(("ours, integers", n / best(lambda: exhaust(store.gather, order), rounds)))

    def cut(index: torch.Tensor) -> None:
        for name, stored in store.gather(index).items():
            to_values(stored.permute(0, 3, 1, 2), store.stacks[name].scale)

    rows.append(("ours, float32 and validity too", n / best(lambda: exhaust(cut, order), rounds)))
    loader = chips.loader(batch_size=BATCH)
    rows.append(
        (
            "chips.loader() whole, with a thread that works ahead",
            n / best(lambda: exhaust(lambda _: None, loader), rounds),
        )
    )
    loaded = map_dataset(pairs, order)
    fewer = min(n, 4 * (SIDE // SIZE) ** 2 // BATCH * BATCH)
    rows.append(("xbatcher + MapDataset, two generators", fewer / best(loaded, 2)))
    # A window of y and x alone holds all pairs.
    whole = 40 * DATES / best(dataset_generator(pairs, 40), 2)
    rows.append(("xbatcher over the Dataset, y and x", whole))
    print("| loader | chips a second | of the bare loop |\n|---|---|---|")
    for name, rate in rows:
        print(f"| {name} | {rate:,.0f} | {rate / plain:.3f} |")


if __name__ == "__main__":
    main()
