"""Samples a second from rasters to batches, beside torchgeo, for the same windows.

Three dates of Sentinel-1 (2 bands, float32 dB) and Sentinel-2 (10 bands, int16), 2048 x 2048 px,
as tiled and deflated GeoTIFFs in a temporary folder, no pixel missing; windows of 96 px in batches
of 64, in the same shuffled order. Every batch is compared, pixel by pixel, before the timing.

- torchgeo: a RasterDataset a sensor, ``s1 & s2``, a GeoSampler of the listed windows and a
  DataLoader. It reads each window from its files every time (GDAL keeps decompressed blocks, by
  default up to 5 % of the memory), and gives float32 of the files' numbers without validity.
- xcontrast: the same files by rioxarray and dask in chunks of 512, ``as_cube``, ``pairs``,
  ``chips`` and ``loader``. Each block is read twice, for validity and for the pixels, and
  never again: they stay in memory as int16, so they must fit there. A batch is float32 in the
  sensors' units, and validity, time and place of each sample.

The first epoch begins with closed files: opening and reading are in it. The later epoch is the
second of the same loader. Both sides read from the operating system's warm file cache; file
handles, and GDAL's blocks with them, are dropped between measurements. One worker is the process
itself. Two are two processes of the DataLoader, kept over epochs, or two threads of dask and torch,
one of which works ahead.
The default cache of GDAL may hold all blocks of these rasters (350 MB); the small one, of 64 MB,
stands for an archive that outgrows it, as a single Sentinel-2 tile of 10 bands (2.4 GB) often does.

Alternating rounds; the least seconds of each figure. About two minutes a round; the figures of two
workers need two idle cores.

    pip install torchgeo
    python tests/benchmarks/torchgeo_side.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import rasterio
import rioxarray
import torch
import xarray as xr
from rasterio.env import get_gdal_config
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

import xcontrast as xc
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.loader import Loader
from xcontrast.sampling.orders import Order

SIDE, SIZE, BATCH, BLOCK = 2048, 96, 64, 512
DATES = ("20230601", "20230606", "20230611")
LEFT, TOP, STEP = 500_000, 5_300_000, 10
BANDS = {"s1": ("vv", "vh"), "s2": xc.S2.bands}
SMALL = 64 * 2**20


def smooth(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Give a smooth field with a standard deviation of about 1."""
    return gaussian_filter(noise, sigma) * sigma * 3.5


def write_rasters(folder: Path) -> None:
    """Write a raster a date and sensor: smooth ground under noise."""
    rng = np.random.default_rng(0)
    for date in DATES:
        ground = rng.normal(size=(4, SIDE, SIDE)).astype("float32")
        ground = np.stack([smooth(g, s) for g, s in zip(ground, (2, 6, 20, 60), strict=True)])
        for sensor, bands in BANDS.items():
            mixed = np.einsum("bk,kyx->byx", rng.normal(size=(len(bands), 4)), ground)
            noise = rng.normal(size=mixed.shape)
            if sensor == "s1":
                values, predictor = (-12 + 1.5 * mixed + 1.2 * noise).astype("float32"), 3
            else:
                values = (2000 + 350 * mixed + 25 * noise).clip(1, 10_000).astype("int16")
                predictor = 2
            with rasterio.open(
                folder / f"{sensor}_{date}.tif", "w", driver="GTiff", width=SIDE, height=SIDE,
                count=len(bands), dtype=values.dtype, crs="EPSG:32633",
                transform=rasterio.transform.from_origin(LEFT, TOP, STEP, STEP), tiled=True,
                blockxsize=BLOCK, blockysize=BLOCK, compress="deflate", predictor=predictor,
                interleave="pixel",
            ) as file:  # fmt: skip
                file.write(values)


def open_chips(folder: Path) -> Chips:
    """Open the rasters lazily, and lay windows over their pairs."""
    arrays = {}
    for sensor, bands in BANDS.items():
        dates = [
            rioxarray.open_rasterio(
                folder / f"{sensor}_{date}.tif", chunks={"x": BLOCK, "y": BLOCK}, lock=False
            )
            for date in DATES
        ]
        times = pd.DatetimeIndex(DATES, name="time")
        arrays[sensor] = xr.concat(dates, times).assign_coords(band=list(bands))
    cube = xc.as_cube(**arrays, s2_scale=1e-4)
    return cube.contrast.pairs().contrast.chips(size=SIZE)


def ours(folder: Path, n_steps: int, n_workers: int = 0) -> Iterator[dict[str, torch.Tensor]]:
    """Give batches from closed files; epochs follow one another."""
    chips = open_chips(folder)
    yield from Loader(chips, batch_size=BATCH, n_steps=n_steps, n_workers=n_workers, progress=False)


def locate(chips: Chips, date: pd.Timestamp, i: int) -> tuple[slice, slice, slice]:
    """Give a chip's window as torchgeo's slices of x, y and time (the whole day, as its own)."""
    left, top = LEFT + STEP * int(chips.col[i]), TOP - STEP * int(chips.row[i])
    day = slice(date, date + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1))
    return slice(left, left + STEP * SIZE), slice(top - STEP * SIZE, top), day


def prepare_theirs(
    folder: Path, epochs: list[list[tuple[slice, slice, slice]]]
) -> Callable[[int], Iterator[dict[str, Any]]]:
    """Make what gives torchgeo's batches from closed files, with so many processes."""
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GeoSampler

    class One(RasterDataset):
        filename_glob = "s1_*.tif"
        filename_regex = r"s1_(?P<date>\d{8})"

    class Two(RasterDataset):
        filename_glob = "s2_*.tif"
        filename_regex = r"s2_(?P<date>\d{8})"

    class Listed(GeoSampler):
        """The listed windows, epoch by epoch."""

        def __init__(self, dataset: Any) -> None:
            super().__init__(dataset)
            self.epochs = iter(epochs)

        def __iter__(self) -> Iterator[tuple[slice, slice, slice]]:
            yield from next(self.epochs)

        def __len__(self) -> int:
            return len(epochs[0])

    def theirs(processes: int) -> Iterator[dict[str, Any]]:
        both = One(folder) & Two(folder)
        loader = DataLoader(
            both, batch_size=BATCH, sampler=Listed(both), collate_fn=stack_samples,
            num_workers=processes, persistent_workers=processes > 0,
        )  # fmt: skip
        try:
            for _ in epochs:
                yield from loader
        finally:
            # The file handles belong to the class and would outlive the dataset.
            RasterDataset._cached_load_warp_file.cache_clear()

    return theirs


def check_pixels(ours: Iterator[Any], theirs: Iterator[Any]) -> None:
    """Raise unless all batches hold the same pixels; Sentinel-1 is stored in steps of 0.01 dB."""
    for mine, other in zip(ours, theirs, strict=True):
        one, two = mine["s1"], mine["s2"]
        image = other["image"]
        assert image.shape == (BATCH, 12, SIZE, SIZE), "another shape"
        assert image.dtype == one.dtype == two.dtype == torch.float32, "another dtype"
        assert (image[:, :2] - one).abs().max() < 0.00501, "Sentinel-1 differs"
        assert torch.equal(image[:, 2:], (two * 1e4).round()), "Sentinel-2 differs"
        assert torch.minimum(mine["s1_valid"], mine["s2_valid"]).all(), "a pixel is missing"


def time_epochs(batches: Iterator[Any]) -> list[float]:
    """Give the seconds to the first batch, of the first epoch and of the second."""
    begin = time.perf_counter()
    marks = [time.perf_counter() - begin for _ in batches]
    half = len(marks) // 2
    return [marks[0], marks[half - 1], marks[-1] - marks[half - 1]]


def measure(folder: Path, rounds: int) -> list[tuple[str, int, int, list[float]]]:
    """Compare the pixels, then time both in turn: name, workers, GDAL's cache, three figures."""
    chips = open_chips(folder)
    per_epoch = len(chips) // BATCH
    times = pd.DatetimeIndex(chips.pairs["s1_time"].values)
    order = [i for epoch in (0, 1) for i in Order(len(chips), BATCH).epoch(epoch).ravel().tolist()]
    windows = [locate(chips, times[chips.pair[i]], i) for i in order]
    n = per_epoch * BATCH
    theirs = prepare_theirs(folder, [windows[:n], windows[n:]])
    check_pixels(ours(folder, 2 * per_epoch), theirs(0))
    print(f"{2 * n:,} samples compared: the same pixels on both sides\n", flush=True)
    default = int(get_gdal_config("GDAL_CACHEMAX"))
    seconds: dict[tuple[str, int, int], list[list[float]]] = {}
    for _ in range(rounds):
        for workers, cache in ((1, default), (2, default), (1, SMALL), (2, SMALL)):
            torch.set_num_threads(workers)
            scheduler = "synchronous" if workers == 1 else "threads"
            with (
                rasterio.Env(GDAL_CACHEMAX=cache),
                dask.config.set(scheduler=scheduler, num_workers=workers),
            ):
                mine = time_epochs(ours(folder, 2 * per_epoch, workers - 1))
                other = time_epochs(theirs(0 if workers == 1 else workers))
            seconds.setdefault(("torchgeo", workers, cache), []).append(other)
            seconds.setdefault(("xcontrast", workers, cache), []).append(mine)
    rows = []
    for (name, workers, cache), measured in seconds.items():
        first, one, later = (min(figure) for figure in zip(*measured, strict=True))
        rows.append((name, workers, cache, [first, n / one, n / later]))
    return rows


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    if find_spec("torchgeo") is None:
        raise SystemExit("torchgeo is missing: pip install torchgeo")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        write_rasters(Path(name))
        rows = measure(Path(name), rounds)
    print("| loader | workers | GDAL cache | first batch | first epoch | later epoch |")
    print("|---|---|---|---|---|---|")
    for name, workers, cache, (first, one, later) in rows:
        figures = f"{first:.2f} s | {one:,.0f} samples/s | {later:,.0f} samples/s"
        print(f"| {name} | {workers} | {cache / 2**20:,.0f} MiB | {figures} |")


if __name__ == "__main__":
    main()
