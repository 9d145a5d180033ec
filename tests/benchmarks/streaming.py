"""Peak memory and time of opening a whole Sentinel-2 tile and streaming it through a reduction.

Four dates, ten bands, 10,980 x 10,980 px, real GeoTIFFs of 512 px blocks on disk (one set of files
serves all four dates), opened with default chunks and reduced to one mean a band, by two worker
processes of one thread. Memory is the resident set of both workers and of this process, sampled ten
times a second. Also for a half and a quarter of the side: is time linear in area?

    python tests/benchmarks/streaming.py [--sides 2745 5490 10980] [--folder DIR]

A row is appended to streaming.csv when a size is done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pystac
import rasterio
from distributed import Client, LocalCluster
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

import xcontrast as xc

RESULTS = Path(__file__).with_suffix(".csv")
SIDE = 10_980
WEST, NORTH = 600_000, 5_000_040
FINE = ("B02", "B03", "B04", "B08")
DAYS = ("2023-04-05", "2023-04-15", "2023-05-05", "2023-06-14")


def write_tile(folder: Path) -> dict[str, Path]:
    """Write one date's files; noise with the entropy of a scene compresses like one."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    texture = (2000 + 300 * rng.standard_normal((1098, 1098))).astype("uint16")
    files = {}
    for band in (*xc.S2.bands, "SCL"):
        cell = 10 if band in FINE else 20
        side = SIDE * 10 // cell
        files[band] = path = folder / f"{band}.tif"
        if path.exists():
            continue
        kind = "uint8" if band == "SCL" else "uint16"
        profile = {
            "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": kind,
            "crs": "EPSG:32632", "transform": from_origin(WEST, NORTH, cell, cell), "nodata": 0,
            "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "DEFLATE",
            "predictor": 2, "zlevel": 1,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            for row in range(0, side, 1098):
                strip = np.tile(texture, (1, side // 1098))
                if band == "SCL":
                    strip = np.where(strip > 2500, 9, 4).astype("uint8")
                file.write(strip, 1, window=((row, row + 1098), (0, side)))
    return files


def make_items(files: dict[str, Path]) -> list[pystac.Item]:
    """Give an item a date over the same files."""
    from odc.geo.geom import box

    outline = box(WEST, NORTH - 10 * SIDE, WEST + 10 * SIDE, NORTH, "EPSG:32632")
    outline = outline.to_crs("EPSG:4326")
    items = []
    for day in DAYS:
        facts = {"proj:epsg": 32632, "s2:processing_baseline": "05.09", "eo:cloud_cover": 5.0}
        item = pystac.Item(
            f"S2A_{day}", outline.json, list(outline.boundingbox),
            datetime.fromisoformat(f"{day}T10:00:00").replace(tzinfo=UTC), facts,
            collection="sentinel-2-l2a",
        )  # fmt: skip
        for band, path in files.items():
            cell = 10 if band in FINE else 20
            extra = {"proj:shape": [SIDE * 10 // cell] * 2,
                     "proj:transform": [cell, 0, WEST, 0, -cell, NORTH]}  # fmt: skip
            item.add_asset(band, pystac.Asset(str(path), roles=["data"], extra_fields=extra,
                                              media_type=pystac.MediaType.COG))  # fmt: skip
        items.append(item)
    return items


class Peak:
    """Samples the memory of processes while the context lasts."""

    def __init__(self, pids: list[int]) -> None:
        self.processes = [psutil.Process(pid) for pid in pids]
        self.workers = self.whole = 0
        self._stop = threading.Event()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            own = [process.memory_info().rss for process in self.processes]
            self.workers = max(self.workers, sum(own[:-1]))
            self.whole = max(self.whole, sum(own))


def measure(items: list[pystac.Item], side: int, client: Client) -> dict[str, object]:
    """Open and reduce the upper left `side` pixels."""
    box = (WEST, NORTH - 10 * side, WEST + 10 * side, NORTH)
    grid = GeoBox.from_bbox(box, "EPSG:32632", resolution=10)
    pids = [*client.run(os.getpid).values(), os.getpid()]
    with Peak(pids) as peak:
        begin = time.perf_counter()
        cube = xc.open_cube(geobox=grid, datetime="2023", sensors=("s2",), source=items)
        opened = time.perf_counter() - begin
        means = cube.s2.mean(("s2_time", "y", "x")).compute()
        seconds = time.perf_counter() - begin
    # The truth: what is not cloud (above 2500 on its own grid) of a known texture.
    assert np.isfinite(means).all()
    return {
        "side": side, "gigabytes_as_float32": round(cube.s2.nbytes / 1e9, 2),
        "open_s": round(opened, 2), "seconds": round(seconds, 1),
        "workers_peak_gib": round(peak.workers / 2**30, 2),
        "all_peak_gib": round(peak.whole / 2**30, 2),
        "megapixels_per_s": round(side**2 * 4 / 1e6 / seconds, 2),
        "tasks": len(cube.s2.data.dask), "chunk": cube.s2.chunksizes["y"][0],
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}", "xcontrast": xc.__version__,
    }  # fmt: skip


def main() -> None:
    """Measure, append rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[2745, 5490, 10_980])
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        items = make_items(write_tile(given.folder or Path(folder)))
        for side in given.sides:
            with (
                LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
                Client(cluster) as client,
            ):
                row = measure(items, side, client)
            print(json.dumps(row), flush=True)
            pd.DataFrame([row]).to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
    print(pd.read_csv(RESULTS).to_string(index=False))


if __name__ == "__main__":
    main()
