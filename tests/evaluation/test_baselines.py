from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.evaluation.baselines import (
    cell_statistics,
    fit_pixels,
    local_statistics,
    map_pixels,
    predict_pixels,
)


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


def test_statistics_of_cells_equal_a_slow_loop_and_are_lazy(no_compute: None) -> None:
    import dask

    layers, _ = scene()
    layers.values[1, 4:9, 10:30] = np.nan
    lazy = cell_statistics(
        xr.concat([layers, layers], "location").chunk(location=1), stride=4, windows=(3, 9)
    )
    with dask.config.set(scheduler="synchronous"):
        both = lazy.values
    got = both[0]
    np.testing.assert_array_equal(got, both[1])
    assert got.shape == (2 * 5, 10, 13)
    padded = np.pad(layers.values.astype(float), [(0, 0), (5, 5), (5, 5)], mode="symmetric")
    for size, at in ((3, 2), (9, 6)):
        half = size // 2
        for row, col in ((2, 5), (1, 4), (9, 12), (0, 0)):
            for k in range(2):
                own = [
                    padded[k, r + 5 - half : r + 6 + half, c + 5 - half : c + 6 + half]
                    for r in range(4 * row, 4 * row + 4)
                    for c in range(4 * col, min(4 * col + 4, 50))
                ]
                known = [w for w in own if np.isfinite(w).any()]
                if not known:
                    assert np.isnan(got[at + k, row, col])
                    continue
                mean = np.mean([np.nanmean(w) for w in known])
                std = np.mean([np.nanstd(w) for w in known])
                np.testing.assert_allclose(got[at + k, row, col], mean, atol=1e-5)
                np.testing.assert_allclose(got[at + 2 + k, row, col], std, atol=1e-5)


def test_probabilities_of_pixels_follow_the_legend_whatever_was_labelled() -> None:
    layers, truth = scene()
    legend = xc.Legend(
        title="t", codes=(9, 1, 0), names=("none", "wet", "dry"), colors=("#000",) * 3
    )
    model = fit_pixels(layers, truth, legend=legend)
    lazy = predict_pixels(model, layers.chunk(x=20), legend=legend)
    got = predict_pixels(model, layers, legend=legend)
    xr.testing.assert_identical(lazy.compute(), got)
    p = got.probability
    assert (p.sel(category="none") == 0).all()
    np.testing.assert_allclose(p.sum("category"), 1, atol=1e-6)
    expected = np.where(p.sel(category="wet") > p.sel(category="dry"), 1, 0)
    np.testing.assert_array_equal(got.label, expected)


def test_a_category_of_one_pixel_is_fitted_and_axes_keep_their_units() -> None:
    rng = np.random.default_rng(0)
    truth = (np.arange(120 * 120).reshape(120, 120) == 7000).astype("uint8")
    axes = {d: (d, 10.0 * np.arange(120), {"units": "m"}) for d in ("y", "x")}
    labels = xr.DataArray(truth, axes, ("y", "x"))
    layers = xr.DataArray(rng.normal(size=(2, 120, 120)), axes, ("feature", "y", "x"))
    fitted = fit_pixels(layers + 9 * labels, labels, legend=xc.FLOOD)
    assert fitted.model.classes_.tolist() == [0, 1]
    mapped = map_pixels(fitted, layers, legend=xc.FLOOD)
    assert mapped.x.attrs == mapped.y.attrs == {"units": "m"}


def test_lazy_layers_are_fitted_as_those_in_memory() -> None:
    layers, truth = scene()
    layers[:, :3, :3] = np.nan
    one = fit_pixels(layers, truth, legend=xc.FLOOD)
    two = fit_pixels(layers.chunk(y=11), truth, legend=xc.FLOOD)
    x = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(one.model.predict_proba(x), two.model.predict_proba(x))


def test_pixels_without_a_label_cannot_be_fitted() -> None:
    layers, truth = scene()
    with pytest.raises(DataError, match=r"labels on pixels that are valid.*received none"):
        fit_pixels(layers, xr.full_like(truth, 255), legend=xc.FLOOD)
