from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.model import load_network
from xcontrast.nn.encoders import pool_levels


def stack(n: int = 5, side: int = 64) -> xr.DataArray:
    """Make a stack of images, one of them half invalid and one whole."""
    cube = planted_cube(side * n, n_times=2)
    parts = [cube.s2.isel(y=slice(i * side, (i + 1) * side), x=slice(0, side)) for i in range(n)]
    bare = [p.drop_vars(["y", "x", "spatial_ref"], errors="ignore") for p in parts]
    images = xr.concat(bare, "location").rename(s2_time="date")
    images.values[1, 0, :, : side // 4] = np.nan
    images.values[2, 1, 0, : side - 8] = np.nan
    return images.assign_coords(scene=("location", list("abcde")[:n]))


@pytest.mark.parametrize("space", ["encoder", "joint"])
def test_vectors_are_the_pooled_levels_of_training(untrained: xc.Model, space: str) -> None:
    images = stack()
    got = images.contrast.embed(untrained, pool=True, space=space, precision="32")
    assert got.dims == ("location", "date", "feature")
    assert got.scene.values.tolist() == list("abcde")
    # The reference: one image at a time, by hand.
    network = load_network(str(untrained.path), untrained.digest, "s2", "cpu")
    card = untrained.card.sensors["s2"]
    mean, std = (np.array(v, "float32")[:, None, None] for v in (card.mean, card.std))
    for place in ((0, 0), (1, 0), (4, 1)):
        image = images.values[place]
        valid = np.isfinite(image).all(0)
        scaled = np.where(valid, (np.nan_to_num(image) - mean) / std, 0).astype("float32")
        with torch.inference_mode():
            maps = network.encoder(torch.from_numpy(scaled)[None])
            vector = pool_levels(maps, torch.from_numpy(valid)[None, None].float())
            if space == "joint":
                vector = network.project(vector, "joint")
        np.testing.assert_allclose(got.values[place], vector[0], rtol=1e-3, atol=1e-4)
    if space == "joint":
        np.testing.assert_allclose((got**2).sum("feature").values[0], 1, atol=1e-5)


def test_mostly_invalid_images_are_nan_with_the_fraction_beside(untrained: xc.Model) -> None:
    got = stack().contrast.embed(untrained, pool=True).compute()
    missing = np.isnan(got).all("feature").values
    assert missing.sum() == 1
    assert missing[2, 1]
    np.testing.assert_allclose(got.valid_fraction.values[2, 1], 1 / 8)
    np.testing.assert_allclose(got.valid_fraction.values[1, 0], 3 / 4)
    kept = stack().contrast.embed(untrained, pool=True, min_valid=0.1)
    assert np.isfinite(kept).all()


def test_it_stays_lazy_and_depends_on_no_chunks(untrained: xc.Model, no_compute: None) -> None:
    import dask

    images = stack()
    one = images.contrast.embed(untrained, pool=True)
    cut = images.chunk(location=2, date=1, y=17, s2_band=1).contrast.embed(untrained, pool=True)
    assert one.chunks
    assert one.attrs["pooled"] == 1
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(cut.values, one.values, rtol=1e-2, atol=1e-3)


def test_arrays_that_may_not_be_written_to_are_taken(untrained: xc.Model) -> None:
    # As they come by network on a cluster, and as dask.array.zeros makes them.
    images = stack(3)
    frozen = images.copy(deep=True)
    frozen.values.flags.writeable = False
    np.testing.assert_array_equal(
        frozen.contrast.embed(untrained, pool=True), images.contrast.embed(untrained, pool=True)
    )
    np.testing.assert_array_equal(
        frozen.contrast.embed(untrained), images.contrast.embed(untrained)
    )


def test_tasks_hold_many_small_images(untrained: xc.Model, no_compute: None) -> None:
    import dask.array as da

    many = xr.DataArray(
        da.zeros((10_000, 4, 64, 64), chunks=(1000, 4, 64, 64), dtype="float32"),
        {"s2_band": ["B02", "B03", "B04", "B08"]},
        ("location", "s2_band", "y", "x"),
        attrs={"units": "1"},
    )
    got = many.contrast.embed(untrained, pool=True)
    assert got.shape == (10_000, 512)
    assert max(got.chunks[0]) == 1024


def test_a_scene_is_no_chip(untrained: xc.Model) -> None:
    big = planted_cube(64, n_times=1).s2.pad(x=(0, 2048), constant_values=0.1)
    with pytest.raises(DataError, match=r"at most 2048 px a side.*64 x 2112.*leave `pool` out"):
        big.contrast.embed(untrained, pool=True)
