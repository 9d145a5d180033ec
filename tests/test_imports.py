"""`import xcontrast` stays light."""

import resource
import subprocess
import sys

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


def spend(code: str) -> float:
    """Give the processor's seconds, which another process on the machine does not change."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_costs_little_more_than_xarray():
    # Interleaved, so that a slow phase of the machine meets both; the least of each counts.
    rounds = [(spend("import xarray"), spend("import xcontrast")) for _ in range(6)]
    alone, both = (min(times) for times in zip(*rounds, strict=True))
    # A quarter of a second where xarray takes half of one: machines differ, the ratio less.
    assert both / alone <= 1.5
