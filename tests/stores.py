"""Finished stores of regions, with planted values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401
import xarray as xr

from xcontrast.legends import FLOOD
from xcontrast.regions import RegionStore


def plant_map(height: int = 133, width: int = 150, *, crs: int | None = 32632) -> xr.Dataset:
    """Two dates of codes, probabilities and features, with holes; sides that divide nothing."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (2, height, width)).astype("uint8")
    share = rng.random((2, 2, height, width)).astype("float32")
    features = rng.normal(size=(2, 5, height, width)).astype("float32")
    hole = rng.random((2, height, width)) < 0.4
    hole[:, 4:6, 8:10] = True
    label[hole] = 255
    for values in (share, features):
        values[np.broadcast_to(hole[:, None], values.shape)] = np.nan
    data = xr.Dataset(
        {
            "label": (("s1_time", "y", "x"), label, FLOOD.attrs),
            "probability": (("s1_time", "category", "y", "x"), share, {"units": "1"}),
            "s1": (("s1_time", "feature", "y", "x"), features, {"stride": 4}),
        },
        {
            "s1_time": np.array(["2023-05-01T05:10", "2023-05-13T05:10"], "M8[ns]"),
            "category": np.array(["dry", "flood"], object),
            "y": 5e6 - 40 * np.arange(height) - 20.0,
            "x": 5e5 + 40 * np.arange(width) + 20.0,
        },
        {"model_digest": "abc"},
    )
    return data.rio.write_crs(crs) if crs else data


def begin_map(path: Path, data: xr.Dataset, *, chunk: int = 64) -> tuple[RegionStore, xr.Dataset]:
    """Give the empty store of a map, and the map in chunks."""
    lazy = data.chunk(s1_time=1, y=chunk, x=chunk)
    steps = {"s1_time": 1, "y": chunk, "x": chunk}
    return RegionStore.open(lazy, path, steps=steps, stated={"model": "abc"}), lazy


def fill_map(path: Path, data: xr.Dataset, *, chunk: int = 64) -> RegionStore:
    """Give the finished store of a map."""
    store, lazy = begin_map(path, data, chunk=chunk)
    for region in store.pending():
        store.write(region, lazy.isel(region.indexers).compute())
        store.mark(region)
    assert store.finish()
    return store
