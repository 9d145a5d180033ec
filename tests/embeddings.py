"""Embeddings made up for tests, whose features follow what is there."""

from __future__ import annotations

import numpy as np
import xarray as xr

import xcontrast as xc

LAND = xc.Legend(title="land", codes=(3, 7, 9), names=("a", "b", "c"), colors=("#000",) * 3)


def embedding(n: int = 48, *, seed: int = 0, georeferenced: bool = True) -> tuple:
    """Give an embedding of 40 m cells whose features follow three classes, and the classes."""
    rng = np.random.default_rng(seed)
    truth = np.array([3, 7, 9])[(np.add.outer(np.arange(n), np.arange(n)) // 16) % 3]
    centres = rng.normal(size=(10, 5)) * 2
    features = centres[truth] + rng.normal(size=(n, n, 5))
    emb = xr.DataArray(
        np.moveaxis(features, -1, 0).astype("float32"),
        dims=("feature", "y", "x"),
        name="embedding",
        attrs={"model_digest": "d", "space": "encoder", "sensor": "s1", "stride": 4},
    )
    if georeferenced:
        import rioxarray  # noqa: F401

        emb = emb.assign_coords(y=5e6 - 40 * np.arange(n) - 20, x=5e5 + 40 * np.arange(n) + 20)
        emb = emb.rio.write_crs(32632)
    return emb, xr.DataArray(truth.astype("uint8"), emb.isel(feature=0, drop=True).coords)
