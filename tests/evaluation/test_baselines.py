from __future__ import annotations

import numpy as np
import xarray as xr

import xcontrast as xc
from xcontrast.evaluation.baselines import fit_pixels, local_statistics, map_pixels


def scene(seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    rng = np.random.default_rng(seed)
    truth = (np.add.outer(np.arange(40), np.arange(50)) // 20 % 2).astype("uint8")
    layers = np.stack([truth * 2 + rng.normal(size=truth.shape), rng.normal(size=truth.shape)])
    return (
        xr.DataArray(layers.astype("float32"), dims=("feature", "y", "x")),
        xr.DataArray(truth, dims=("y", "x")),
    )


def test_window_statistics_equal_a_slow_loop() -> None:
    layers, _ = scene()
    got = local_statistics(layers, size=3).values
    for k in range(2):
        for row, col in ((1, 1), (20, 30), (38, 48)):
            window = layers.values[k, row - 1 : row + 2, col - 1 : col + 2].astype(float)
            assert np.isclose(got[k, row, col], layers.values[k, row, col])
            assert np.isclose(got[2 + k, row, col], window.mean(), atol=1e-5)
            assert np.isclose(got[4 + k, row, col], window.std(), atol=1e-4)


def test_windows_help_where_pixels_are_noisy_and_the_invalid_stays_so() -> None:
    layers, truth = scene()
    layers[:, :3, :3] = np.nan
    other, expected = scene(1)
    ious = []
    for make in (lambda v: v, local_statistics):
        model = fit_pixels(make(layers), truth, legend=xc.FLOOD)
        mapped = map_pixels(model, make(other), legend=xc.FLOOD)
        ious.append(float(xc.score(mapped, expected, legend=xc.FLOOD).iou[1]))
    assert ious[1] > ious[0] + 0.1 > 0.5
    model = fit_pixels(layers, truth, legend=xc.FLOOD)
    assert (map_pixels(model, layers, legend=xc.FLOOD).values[:3, :3] == 255).all()


def test_stacks_of_tiles_are_mapped_too() -> None:
    layers, truth = scene()
    tiles = xr.concat([layers, layers], "location")
    model = fit_pixels(tiles, xr.concat([truth, truth], "location"), legend=xc.FLOOD)
    assert map_pixels(model, tiles, legend=xc.FLOOD).dims == ("location", "y", "x")
