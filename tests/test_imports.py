"""`import xcontrast` stays light."""

import subprocess
import sys
import time

HEAVY = (
    "torch", "matplotlib", "lightning", "distributed", "dask.array", "rasterio", "odc",
    "rioxarray", "sklearn", "geopandas",
)  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = f"import sys, xcontrast; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(code) == "[]"


def test_import_costs_little_more_than_xarray():
    seconds = {"xarray": [], "xcontrast": []}
    # Interleaved, so that another process on the machine slows both; the least of each counts.
    for _ in range(5):
        for name, times in seconds.items():
            start = time.perf_counter()
            run(f"import {name}")
            times.append(time.perf_counter() - start)
    assert min(seconds["xcontrast"]) - min(seconds["xarray"]) <= 0.25
