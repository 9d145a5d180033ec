"""Seconds to open (to build the graph for) 1,000 real items, beside plain ``odc.stac.load``.

The items are 1,000 answers of the Planetary Computer for Sentinel-2 over Colorado, in three UTM
zones, on one grid of all of them. Both open the same bands with the same chunks and group by solar
day; xcontrast also finds the items, harmonises, masks clouds and gathers the facts. No pixel is
read. Interleaved; the least of each.

    XCONTRAST_DATA=... python tests/benchmarks/opening.py
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

import odc.stac
import pystac
from odc.geo.geobox import GeoBox

import xcontrast as xc

ITEMS = "pc_stac/sentinel-2-l2a.1000-colorado-2024.items.json"
BANDS = [*xc.S2.bands, "SCL"]


def open_plainly(items: list[pystac.Item], grid: GeoBox, side: int) -> tuple[float, int]:
    """Give the seconds of odc-stac and the tasks of all bands."""
    begin = time.perf_counter()
    loaded = odc.stac.load(
        items, bands=BANDS, geobox=grid, groupby="solar_day", chunks={"y": side, "x": side},
        resampling={"*": "bilinear", "SCL": "nearest"},
    )  # fmt: skip
    return time.perf_counter() - begin, sum(len(v.data.dask) for v in loaded.data_vars.values())


def open_ours(items: list[pystac.Item], grid: GeoBox, side: int) -> tuple[float, int]:
    """Give the seconds of open_cube and its tasks."""
    begin = time.perf_counter()
    cube = xc.open_cube(
        geobox=grid, datetime="2024", sensors=("s2",), source=items, chunks={"y": side, "x": side}
    )
    tasks = sum(len(v.data.dask) for v in cube.data_vars.values())
    return time.perf_counter() - begin, tasks


def main() -> None:
    """Print a table."""
    warnings.simplefilter("ignore")
    folder = Path(os.environ.get("XCONTRAST_DATA", "../shared/data"))
    items = list(pystac.ItemCollection.from_file(str(folder / ITEMS)))
    print("| grid | plain odc.stac.load | open_cube | ratio | tasks plain | tasks ours |")
    print("|---|---|---|---|---|---|")
    for resolution, side in ((100, 1024), (20, 2048)):
        box = (-109.9, 36.0, -101.1, 41.56)
        grid = GeoBox.from_bbox(box, "EPSG:4326", resolution=0.1).to_crs("EPSG:32613")
        grid = GeoBox.from_bbox(grid.boundingbox, "EPSG:32613", resolution=resolution)
        plain, ours = [], []
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            plain.append(open_plainly(items, grid, side))
            ours.append(open_ours(items, grid, side))
        (a, n), (b, m) = min(plain), min(ours)
        shape = f"{grid.shape[1]:,} x {grid.shape[0]:,} px of {resolution} m, chunks of {side}"
        print(f"| {shape} | {a:.2f} s | {b:.2f} s | {b / a:.2f} | {n:,} | {m:,} |", flush=True)


if __name__ == "__main__":
    main()
