"""`import xcontrast` stays light."""

import os
import resource
import subprocess
import sys
from pathlib import Path

HEAVY = (
    "torch", "matplotlib", "lightning", "distributed", "dask.array", "rasterio", "odc",
    "rioxarray", "sklearn", "geopandas",
)  # fmt: skip


def run(code: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = f"import sys, xcontrast; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(code) == "[]"


def spend(code: str, env: dict[str, str]) -> float:
    """Give the processor's seconds, which another process on the machine does not change."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(code, env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_costs_little_more_than_xarray(tmp_path: Path) -> None:
    # As it is for a user from the second time on: where an environment forbids compiled files
    # (PYTHONDONTWRITEBYTECODE), most of the time would be Python's compiler.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    run("import xcontrast", env)
    # Interleaved, so that a slow phase of the machine meets both; the least of each counts.
    rounds = [(spend("import xarray", env), spend("import xcontrast", env)) for _ in range(6)]
    alone, both = (min(times) for times in zip(*rounds, strict=True))
    # A quarter of a second where xarray takes half of one: machines differ, the ratio less.
    assert both / alone <= 1.5, (both, alone)
