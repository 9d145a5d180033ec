"""What a head costs that is fitted at 100 points of a large lazy cube, and that its map is lazy.

A cube of 10,980 x 10,980 px, four bands, lies in Zarr; the pixels encoded are counted, and the time
is set against the same network on the same windows, without anything around it.

    python tests/benchmarks/points.py [--side 10980] [--points 100]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import geopandas
import numpy as np
import torch
import xarray as xr
import zarr

import xcontrast as xc

sys.path.insert(0, str(Path(__file__).parents[1]))

from scenes import planted_cube

from xcontrast.embedding.kernel import EmbedKernel
from xcontrast.model import load_network


def write_cube(path: Path, side: int) -> xr.Dataset:
    """Write noise in the shape of a tile of Sentinel-2, band by block, and open it."""
    import rioxarray  # noqa: F401

    small = planted_cube(64).s2.isel(s2_time=0)
    n_bands = small.sizes["s2_band"]
    store = zarr.open_group(path, mode="w")
    array = store.create_array(
        "s2", shape=(n_bands, side, side), chunks=(n_bands, 1024, 1024), dtype="float32"
    )
    rng = np.random.default_rng(0)
    block = rng.uniform(0.02, 0.4, (n_bands, 1024, 1024)).astype("float32")
    for row in range(0, side, 1024):
        for col in range(0, side, 1024):
            rows, cols = min(1024, side - row), min(1024, side - col)
            array[:, row : row + rows, col : col + cols] = block[:, :rows, :cols]
    import dask.array as da

    values = xr.DataArray(
        da.from_zarr(array),
        {
            "s2_band": small.s2_band,
            "y": 5e6 - 10.0 * np.arange(side) - 5,
            "x": 5e5 + 10.0 * np.arange(side) + 5,
        },
        ("s2_band", "y", "x"),
        attrs=small.attrs,
    )
    return values.rio.write_crs(32632).to_dataset(name="s2")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--points", type=int, default=100)
    args = parser.parse_args()
    options = xc.PretrainOptions(chip_size=32, progress=False)
    model = xc.pretrain(planted_cube(), max_steps=0, options=options)
    with tempfile.TemporaryDirectory() as folder:
        cube = write_cube(Path(folder) / "cube.zarr", args.side)
        rng = np.random.default_rng(1)
        at = rng.uniform(0, 10 * args.side, (2, args.points))
        points = geopandas.GeoDataFrame(
            {"category": np.where(np.arange(args.points) % 2, "flood", "dry")},
            geometry=geopandas.points_from_xy(5e5 + at[0], 5e6 - at[1]),
            crs=32632,
        )
        # Libraries and the network loaded, as in a session that has begun.
        cube.contrast.embed(model, at=points[:2]).s2.compute()
        report(cube, model, points)


def report(cube: xr.Dataset, model: xc.Model, points: Any) -> None:
    """Time the reads, the embedding, the fit, and the network alone."""
    encoded = []
    original = EmbedKernel._features

    def count(self: EmbedKernel, values: torch.Tensor, *rest: Any) -> torch.Tensor:
        encoded.append(values.shape[-2] * values.shape[-1])
        return original(self, values, *rest)

    began = time.perf_counter()
    lazy = cube.contrast.embed(model, at=points)
    built = time.perf_counter()
    with mock.patch.object(EmbedKernel, "_features", count):
        embedding = lazy.compute()
    done = time.perf_counter()
    head = embedding.contrast.fit(points, legend=xc.FLOOD, column="category")
    fitted = time.perf_counter()
    mapped = cube.contrast.embed(model).contrast.predict(head)
    predicted = time.perf_counter()

    network = load_network(str(model.path), model.digest, "s2", "cpu", "auto")
    kind = next(network.encoder.parameters()).dtype
    sides = [round(n**0.5) for n in encoded]
    images = [torch.rand(1, cube.sizes["s2_band"], side, side).to(kind) for side in sides]
    images = [image.contiguous(memory_format=torch.channels_last) for image in images]
    bare = time.perf_counter()
    with torch.inference_mode():
        for image in images:
            network.encoder(image)
    bare_seconds = time.perf_counter() - bare
    pixels, total = sum(encoded), cube.sizes["y"] * cube.sizes["x"]
    rows = {
        "points, windows encoded": f"{len(points)}, {len(encoded)}",
        "pixels encoded of the cube's": f"{pixels:,} of {total:,}: {pixels / total:.2%}",
        "building": f"{built - began:.2f} s",
        "reading and encoding": f"{done - built:.2f} s",
        "fit": f"{fitted - done:.2f} s",
        "predict, lazily": f"{predicted - fitted:.2f} s, chunks {mapped.label.chunks is not None}",
        "the same windows, network alone": f"{bare_seconds:.2f} s",
        "all to the network alone": f"{(fitted - began) / bare_seconds:.1f} x",
    }
    for name, value in rows.items():
        print(f"{name:<34} {value}")


if __name__ == "__main__":
    main()
