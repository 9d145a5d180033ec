from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.sampling.loader import BatchOrder, measure_statistics, store_chips


def _ground(chips: xc.Chips, shape: tuple[int, int]) -> np.ndarray:
    covered = np.zeros(shape, int)
    for row, col in zip(chips.row, chips.col, strict=True):
        covered[row : row + chips.size, col : col + chips.size] += 1
    return covered


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(2, 8), st.data())
def test_every_pixel_is_covered_and_every_window_lies_inside(
    height: int, width: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    pairs = xc.pairs(planted_cube(40, n_times=1)).isel(y=slice(height), x=slice(width))
    chips = xc.chips(pairs, size=size, stride=stride)
    covered = _ground(chips, (height, width))
    assert covered.min() >= 1
    assert len({*zip(chips.row.tolist(), chips.col.tolist(), strict=True)}) == len(chips)


def test_a_chip_cuts_both_sensors_alike(cube: xr.Dataset) -> None:
    chips = cube.contrast.pairs().contrast.chips(size=40)
    last = chips[-1]
    assert isinstance(last, xr.Dataset)
    np.testing.assert_array_equal(last.s1.values, cube.s1[1, :, -40:, -40:].values)
    np.testing.assert_array_equal(last.s2.values, cube.s2[1, :, -40:, -40:].values)
    assert last.x.values[0] == cube.x.values[56]
    assert len(chips) == 2 * 3 * 3
    assert len(chips[:4]) == 4
    assert "40 x 40 px" in repr(chips)


def test_validity_equals_brute_force(cube: xr.Dataset) -> None:
    rng = np.random.default_rng(0)
    holed = cube.copy(deep=True)
    holed["s1"].values[:, :, rng.random((96, 96)) < 0.1] = np.nan
    holed["s2"].values[0, :, :30] = np.nan
    chips = xc.chips(xc.pairs(holed.chunk(y=50)), size=24, stride=10, min_valid=0.5)
    for i in range(len(chips)):
        chip = chips[i]
        both = chip.s1.notnull().all("s1_band") & chip.s2.notnull().all("s2_band")
        assert float(both.mean()) == pytest.approx(chips.valid_fraction[i])
    assert chips.valid_fraction.min() >= 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.integers(4, 20), st.integers(0, 6), st.floats(0.1, 0.6))
def test_blocks_split_the_ground_without_leak(
    seed: int, size: int, buffer: int, fraction: float
) -> None:
    pairs = xc.pairs(planted_cube(96, n_times=2))
    chips = xc.chips(pairs, size=size, stride=max(1, size // 2))
    train, held = chips.split(seed=seed, buffer=buffer, fraction=fraction)
    assert not (_ground(train, (96, 96)) & _ground(held, (96, 96))).any()
    # Grow the held-out ground by the buffer: still no training pixel in it.
    grown = np.zeros((96, 96), bool)
    for row, col in zip(held.row, held.col, strict=True):
        top, left = max(row - buffer, 0), max(col - buffer, 0)
        grown[top : row + size + buffer, left : col + size + buffer] = True
    assert not _ground(train, (96, 96))[grown].any()


def test_locations_are_split_whole() -> None:
    pairs = xc.pairs(planted_cube(16, n_times=6))
    pairs = pairs.assign_coords(location=("pair", [0, 0, 1, 1, 2, 2]))
    train, held = xc.chips(pairs, size=8).split(seed=1)
    assert not {*train.location.tolist()} & {*held.location.tolist()}
    assert len(train) + len(held) == 6 * 4
    with pytest.raises(DataError, match="Expected a coord 'scene'"):
        xc.chips(pairs, size=8).split(by="scene")


def test_impossible_windows_and_splits(cube: xr.Dataset) -> None:
    pairs = xc.pairs(cube)
    with pytest.raises(DataError, match=r"size=128.*choose a smaller"):
        xc.chips(pairs)
    with pytest.raises(DataError, match="stride=30"):
        xc.chips(pairs, size=20, stride=30)
    with pytest.raises(DataError, match=r"call cube\.contrast\.pairs\(\) first"):
        xc.chips(cube)
    with pytest.raises(DataError, match="the best 0% valid"):
        xc.chips(pairs.where(False), size=20)
    with pytest.raises(DataError, match="Expected chips on both sides"):
        xc.chips(pairs, size=96).split()
    with pytest.raises(DataError, match="between 0 and 1"):
        xc.chips(pairs, size=20).split(fraction=1.0)


def test_the_store_gives_back_what_xarray_has(cube: xr.Dataset) -> None:
    holed = cube.copy(deep=True)
    holed["s2"].values[0, 1, 5:9, 5:9] = np.nan
    chips = xc.chips(xc.pairs(holed), size=32, min_valid=0.5)
    store = store_chips(chips, progress=False)
    index = torch.tensor([0, 7, 13])
    batch = store.cut(index)
    for k, i in enumerate(index.tolist()):
        for name, step in (("s1", 0.01), ("s2", 1e-4)):
            values, valid = (t[k].numpy() for t in batch[name])
            truth = chips[i][name].values
            known = np.isfinite(truth)
            np.testing.assert_array_equal(valid[0] == 1, known.all(0))
            np.testing.assert_allclose(values[known], truth[known], atol=0.51 * step, rtol=1e-5)
            assert (values[~known] == 0).all()


def test_acquisitions_shared_by_pairs_are_stored_once() -> None:
    cube = planted_cube(32, n_times=3).isel(s1_time=[1])
    store = store_chips(xc.chips(xc.pairs(cube, tolerance="30D"), size=16), progress=False)
    assert store.stacks["s1"].images.shape[0] == 1
    assert store.stacks["s2"].images.shape[0] == 3
    assert store.n_bytes == 32 * 32 * 2 * (1 * 2 + 3 * 4)


def test_statistics_are_global_and_ignore_the_invalid(cube: xr.Dataset) -> None:
    holed = cube.copy(deep=True)
    holed["s1"].values[:, :, :, 40:50] = np.nan
    store = store_chips(xc.chips(xc.pairs(holed), size=32, min_valid=0.5), progress=False)
    measured = measure_statistics(store)
    for name in ("s1", "s2"):
        dims = (f"{name}_time", "y", "x")
        np.testing.assert_allclose(measured[name].mean, holed[name].mean(dims), rtol=1e-3)
        np.testing.assert_allclose(measured[name].std, holed[name].std(dims), rtol=2e-3)


def test_same_ground_is_overlap_at_one_place() -> None:
    pairs = xc.pairs(planted_cube(16, n_times=2)).assign_coords(location=("pair", [0, 1]))
    chips = xc.chips(pairs, size=8, stride=4)
    same = store_chips(chips, progress=False).same_ground(torch.arange(len(chips)))
    for i in range(len(chips)):
        for j in range(len(chips)):
            overlap = max(abs(chips.row[i] - chips.row[j]), abs(chips.col[i] - chips.col[j])) < 8
            assert bool(same[i, j]) == (overlap and chips.location[i] == chips.location[j])


def test_the_order_is_seeded_new_each_epoch_and_complete() -> None:
    order = [b.tolist() for b in BatchOrder(n_chips=10, batch_size=5, n_steps=4, seed=3)]
    again = [b.tolist() for b in BatchOrder(n_chips=10, batch_size=5, n_steps=4, seed=3)]
    assert order == again
    first, second = order[0] + order[1], order[2] + order[3]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(2, 8), st.data())
def test_dropped_edges_are_what_is_said(
    height: int, width: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    pairs = xc.pairs(planted_cube(40, n_times=1)).isel(y=slice(height), x=slice(width))
    chips = xc.chips(pairs, size=size, stride=stride, edges="drop")
    covered = _ground(chips, (height, width)) > 0
    assert covered.mean() == pytest.approx(chips.told["covered"])
    assert ((chips.row % stride == 0) & (chips.col % stride == 0)).all()
    assert f"{chips.told['covered']:.1%} of the grid" in repr(chips)
    assert xc.chips(pairs, size=size, stride=stride).told["covered"] == 1


def test_chips_of_an_area(cube: xr.Dataset) -> None:
    import geopandas
    import odc.geo.xr  # noqa: F401
    import shapely

    pairs = cube.contrast.pairs()
    whole = pairs.contrast.chips(size=24)
    mask = xr.zeros_like(cube.y * cube.x, dtype=bool)
    mask[:48] = True
    upper = pairs.contrast.chips(size=24, within=mask)
    assert len(upper) == len(whole) / 2
    assert (upper.row < 48).all()
    assert f"{len(whole) // 2} outside the area" in repr(upper)
    box = cube.odc.geobox[:48, :].extent
    series = geopandas.GeoSeries([shapely.geometry.shape(box.json)], crs=str(box.crs))
    for area in (
        series,
        geopandas.GeoDataFrame(geometry=series).to_crs(3857),
        series.to_crs(4326).iloc[0],
        # In degrees the grid is a little turned: its box would reach into the lower half.
        tuple(series.to_crs(4326).iloc[0].buffer(-2e-4).bounds),
    ):
        found = pairs.contrast.chips(size=24, within=area)
        assert sorted(zip(found.row, found.col, strict=True)) == sorted(
            zip(upper.row, upper.col, strict=True)
        )


def test_weights_are_the_means_of_windows_and_rule_how_often_they_come(cube: xr.Dataset) -> None:
    rng = np.random.default_rng(0)
    weights = xr.DataArray(rng.random((96, 96)), dims=("y", "x"))
    weights[:24] = 0
    chips = cube.contrast.pairs().contrast.chips(size=24, weights=weights)
    assert chips.row.min() == 24
    for i in (0, 7, len(chips) - 1):
        row, col = chips.row[i], chips.col[i]
        own = weights.values[row : row + 24, col : col + 24].mean()
        assert chips.weight[i] == pytest.approx(own)
    store = store_chips(chips, progress=False)
    np.testing.assert_array_equal(store.weight.numpy(), chips.weight)


def test_an_epoch_draws_by_weight_without_replacement() -> None:
    weights = np.array([1.0] * 20 + [0.25] * 40, "float32")
    order = BatchOrder(60, 10, 3 * 400, 0, weights)
    assert order.n_epoch == 30
    batches = [batch.numpy() for batch in order]
    epochs = [np.concatenate(batches[k : k + 3]) for k in range(0, len(batches), 3)]
    assert all(len(np.unique(own)) == 30 for own in epochs)
    counts = np.bincount(np.concatenate(epochs), minlength=60)
    ratio = counts[:20].mean() / counts[20:].mean()
    # Without replacement the heavy ones cannot come more than once an epoch: under 4.
    assert 2.2 < ratio < 4
    again = [batch.numpy() for batch in BatchOrder(60, 10, 30, 0, weights)]
    assert all((a == b).all() for a, b in zip(again, batches, strict=False))
    assert not np.array_equal(epochs[0], epochs[1])


def test_seasonal_pairs_become_chips_valid_at_every_date() -> None:
    cube = planted_cube(32, n_times=3).drop_vars("s1").copy(deep=True)
    cube["s2"][1, :, :16, :16] = np.nan
    pairs = cube.contrast.pairs(kind="seasonal", gap="1D")
    chips = pairs.contrast.chips(size=16)
    assert chips[0].s2.dims == ("pair", "date", "s2_band", "y", "x")[1:]
    assert {(int(r), int(c)) for r, c in zip(chips.row, chips.col, strict=True)} == {
        (0, 16), (16, 0), (16, 16),
    }  # fmt: skip
    with pytest.raises(DataError, match=r"one image a sensor; received seasonal pairs of 3 dates"):
        store_chips(chips)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges": "wrap"}, r"edges 'shift' or 'drop'; received.*edges='wrap'"),
        ({"within": "Bologna"}, r"within as a bool DataArray.*received str"),
        ({"within": xr.DataArray(np.ones((3, 3), bool))}, r"a bool DataArray \(y, x\) of 96 x 96"),
        ({"within": (0.0, 0.0, 0.1, 0.1)}, r"received 0 windows.*outside the area"),
        ({"weights": xr.DataArray(np.ones(3), dims="x")}, r"weights \(y, x\) of 96 x 96"),
        ({"weights": xr.DataArray(np.full((96, 96), -1.0), dims=("y", "x"))}, r"0 or more"),
    ],
)
def test_options_of_chips_out_of_range(cube: xr.Dataset, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cube.contrast.pairs().contrast.chips(size=24, **options)


def test_batches_are_copied_as_fast_as_a_bare_loop_fills_them(cube: xr.Dataset) -> None:
    """The windows themselves against slicing, and their time; the table is in benchmarks."""
    import time

    wide = cube.pad(y=(0, 300), x=(0, 300), mode="reflect").contrast.pairs()
    store = store_chips(wide.contrast.chips(size=64, stride=16), progress=False)
    order = [torch.randperm(len(store))[:64] for _ in range(6)]
    images, number = store.stacks["s2"].images.numpy(), store.stacks["s2"].acquisition.numpy()
    rows, cols = store.row.numpy(), store.col.numpy()
    batch = np.empty((64, 64, 64, images.shape[-1]), np.int16)

    def fill(index: torch.Tensor) -> None:
        for k, i in enumerate(index.tolist()):
            batch[k] = images[number[i], rows[i] : rows[i] + 64, cols[i] : cols[i] + 64]

    def best(take) -> float:
        seconds = []
        for _ in range(7):
            begin = time.perf_counter()
            for index in order:
                take(index)
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    store.stacks.pop("s1")
    ratio = best(fill) / best(store.gather)
    fill(order[0])
    got = store.gather(order[0])["s2"].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(got, batch)
    print(f"of the bare loop: {ratio:.2f}")
    assert ratio > 0.55
