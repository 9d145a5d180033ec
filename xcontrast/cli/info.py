"""`xcontrast info`: what is installed here, or what a folder or store holds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.cli.app import app, tell
from xcontrast.cli.options import Json, open_store
from xcontrast.cli.records import load_any
from xcontrast.sheets import Sheet
from xcontrast.version import __version__

__all__ = ["describe_machine", "info", "version"]

PACKAGES = (
    "xarray", "dask", "distributed", "zarr", "numpy", "pandas", "rasterio", "rioxarray", "odc-stac",
    "pystac-client", "planetary-computer", "xbatcher", "torch", "timm", "lightning",
    "segmentation-models-pytorch", "scikit-learn", "geopandas",
)  # fmt: skip


@app.command()
def info(
    path: Annotated[
        Path | None, typer.Argument(help="Folder of a model, head or segmenter, or a store.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Of a cluster that is told too.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, for a report of a fault; or what a folder or store holds."""
    if path is None:
        facts = describe_machine(scheduler)
        rows = [(name, str(value)) for name, value in facts.items() if name != "packages"]
        packages = ", ".join(f"{name} {v}" for name, v in facts["packages"].items())
        sheet = Sheet(f"xcontrast {__version__}", [*rows[1:], ("packages", packages)])
        tell(facts, sheet, as_json=as_json)
    elif (path / "card.json").exists() or path.suffix != ".zarr":
        found = load_any(path)
        tell(_facts_of(found), found, as_json=as_json)
    else:
        stored = open_store(path)
        told = stored if not hasattr(stored, "contrast") else stored.contrast
        tell({"store": path, **_describe_store(stored)}, told, as_json=as_json)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def describe_machine(scheduler: str | None = None) -> dict[str, Any]:
    """Gather versions and devices: what a report of a fault should say.

    Parameters
    ----------
    scheduler : str, optional
        Address of a cluster whose workers are counted too.

    Returns
    -------
    dict
        JSON-able; nothing of it names a person, a path or a token.
    """
    import psutil
    import rasterio
    import torch

    from xcontrast.nn.precision import choose_precision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts: dict[str, Any] = {
        "xcontrast": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(),
        "precision": choose_precision("auto", device),
        "gdal": rasterio.__gdal_version__,
        "proj": rasterio.__proj_version__,
        "packages": {name: _version_of(name) for name in PACKAGES},
    }
    if scheduler is not None:
        from distributed import Client

        with Client(scheduler) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            threads = sum(worker["nthreads"] for worker in workers)
            memory = sum(worker["memory_limit"] for worker in workers)
            facts["cluster"] = f"{len(workers)} workers, {threads} threads, {memory / 1e9:.0f} GB"
    return facts


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _facts_of(found: Any) -> dict[str, Any]:
    import xcontrast as xc

    if isinstance(found, xc.Head):
        return {"kind": found.kind, "digest": found.digest, **found.facts}
    return {"digest": found.digest, **found.card.to_json()}


def _describe_store(stored: Any) -> dict[str, Any]:
    if not hasattr(stored, "data_vars"):
        return {"chips": len(stored), "size": stored.size}
    return {"sizes": dict(stored.sizes), "variables": list(stored.data_vars)}
