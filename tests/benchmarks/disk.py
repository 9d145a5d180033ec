"""Chips from a Zarr store on disk in shuffled batches, beside reading the same bytes in order.

The files are dropped from the page cache before each run (posix_fadvise), for both sides. Also: how
often a chunk is decoded in an epoch, and how random the batches are beside a shuffle of everything.

    python tests/benchmarks/disk.py [--rounds 7] [--side 2048] [--folder DIR]
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

import xcontrast as xc
from xcontrast.sampling.orders import Order
from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.stream import stream_batches

sys.path.insert(0, str(Path(__file__).parents[1]))

from scenes import imagery_pairs

DATES, SIZE, BATCH = 4, 96, 64


def forget(store: Path) -> None:
    """Drop a store's files from the page cache."""
    os.sync()
    for file in store.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def read_in_order(pixels: Pixels, n_threads: int, n_chunks: int) -> None:
    """Decode `n_chunks` chunks a read, one read after the other on disk."""
    step = n_chunks * pixels.chunk
    length = len(pixels.slot)
    parts = itertools.product(range(0, length, step), pixels.arrays)

    def read(part: tuple[int, str]) -> None:
        pixels.arrays[part[1]][part[0] : part[0] + step]

    with ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(read, parts):
            pass


def read_integers(chips: xc.Chips, order: Order, epoch: int, n_workers: int) -> None:
    """Read shuffled batches as they leave the host for a device."""
    slots = chips.pixels.slot[order.epoch(epoch)]
    for _ in stream_batches(chips.pixels, [slots], n_workers=n_workers):
        pass


def race(ways: dict[str, Callable[[int], object]], store: Path, rounds: int) -> dict[str, float]:
    """Give the least seconds of each way from disk; the ways take turns."""
    seconds = dict.fromkeys(ways, np.inf)
    for k in range(rounds):
        for name, run in ways.items():
            forget(store)
            begin = time.perf_counter()
            run(k)
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


def count_decoded(chips: xc.Chips, order: Order, epochs: int) -> float:
    """Give how often a chunk is decoded in an epoch, at most, counted where it happens."""
    reads: Counter[tuple[str, int]] = Counter()

    class Counted(Pixels):
        def read(self, name, slots):
            reads[name, slots.start] += 1
            return super().read(name, slots)

    own = chips.pixels
    counted = Counted(own.arrays, own.scale, own.attrs, own.slot, own.chunk)
    for epoch in range(epochs):
        for _ in stream_batches(counted, [own.slot[order.epoch(epoch)]], n_workers=4):
            pass
    return max(reads.values()) / epochs


def together(order: Order, place: np.ndarray, epochs: int) -> tuple[float, float]:
    """Give how many pairs of a batch are of one place, and are together again the next epoch."""
    same, again, n = 0.0, 0.0, 0
    batch_of = np.full(order.n_chips, -1)
    for epoch in range(epochs):
        batches = order.epoch(epoch)
        if epoch:
            old = batch_of[batches]
            both = (old[:, :, None] == old[:, None]) & (old >= 0)[:, :, None]
            again += both.sum() - (old >= 0).sum()
        same += (place[batches][:, :, None] == place[batches][:, None]).sum() - batches.size
        n += len(batches) * order.batch_size * (order.batch_size - 1)
        batch_of[:] = -1
        batch_of[batches.ravel()] = np.repeat(np.arange(len(batches)), order.batch_size)
    return same / n, again / n * epochs / (epochs - 1)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        measure(folder / "chips.zarr", args.side, args.rounds)
    finally:
        shutil.rmtree(folder)


def measure(store: Path, side: int, rounds: int) -> None:
    """Save chips, then read them every way."""
    begin = time.perf_counter()
    chips = imagery_pairs(side, n_dates=DATES).contrast.chips(size=SIZE).save(store, progress=False)
    seconds = time.perf_counter() - begin
    pixels, window = chips.pixels, chips.loader(batch_size=BATCH, resident=False)._order().window
    on_disk = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    print(
        f"{len(chips)} chips of {SIZE} px, {chips.n_bytes / 1e6:,.0f} MB as int16, "
        f"{on_disk / 1e6:,.0f} MB on disk, made and saved in {seconds:.1f} s; {pixels.n_chunks} "
        f"chunks of {pixels.chunk} chips, mixed {min(window, pixels.n_chunks)} at a time\n"
    )
    order = Order(len(chips), BATCH, chunk=pixels.slot // pixels.chunk, window=8)
    loader = chips.loader(batch_size=BATCH, resident=False)
    share = order.n_batches * BATCH / len(chips)
    print("| from disk | MB/s | of reading in order |\n|---|---|---|")
    for threads in (2, 4):
        ways: dict[str, Callable[[int], object]] = {
            "a chunk a read": lambda _, t=threads: read_in_order(pixels, t, 1),
            "a shard a read": lambda _, t=threads: read_in_order(pixels, t, 8),
            "shuffled": lambda k, t=threads: read_integers(chips, order, k, t),
            "whole": lambda _: [len(batch) for batch in loader],
        }
        if threads == 2:
            ways.pop("whole")
        seconds = race(ways, store, rounds)
        base = min(seconds["a chunk a read"], seconds["a shard a read"])
        for name, own in seconds.items():
            read = chips.n_bytes * (1 if name.startswith("a ") else share)
            title = {
                "shuffled": "shuffled batches of integers",
                "whole": "chips.loader() whole: float32 and validity too",
            }.get(name, f"in order, {name}")
            rate, ratio = read / own / 1e6, read / own / (chips.n_bytes / base)
            print(f"| {title}, {threads} thread(s) | {rate:,.0f} | {ratio:.2f} |")
    print(f"\nA chunk is decoded {count_decoded(chips, order, 3):.2f} times an epoch at most.\n")
    print(
        "| how random (batch 64) | pairs of one place | together again next epoch |\n|---|---|---|"
    )
    place = np.unique(np.stack([chips.row, chips.col]), axis=1, return_inverse=True)[1].ravel()
    for name, own in (
        ("shuffle of everything", Order(len(chips), BATCH)),
        ("ours, 8 chunks at a time", order),
        ("ours, chunks in the order of the scene", _unshuffled(chips, order)),
    ):
        same, again = together(own, place, 30)
        print(f"| {name} | {same:.5f} | {again:.4f} |")


def _unshuffled(chips: xc.Chips, order: Order) -> Order:
    """What the same reading would be had chips been saved place by place."""
    by_place = np.lexsort([chips.pair, chips.col, chips.row])
    chunk = np.empty(len(chips), np.intp)
    chunk[by_place] = np.arange(len(chips)) // chips.pixels.chunk
    return Order(len(chips), BATCH, chunk=chunk, window=order.window)


if __name__ == "__main__":
    main()
