from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError


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
    assert "40 x 40 px" in chips._repr_html_()


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


def test_pairs_are_weighed_by_how_long_they_last() -> None:
    """As the dual-encoder paper draws: a moment first, then the latest of both sensors."""
    cube = planted_cube(32, n_times=4)
    pairs = cube.contrast.pairs(match="paper", tolerance="20D")
    days = pairs.duration.values / np.timedelta64(1, "D")
    assert len(set(days)) > 1
    chips = pairs.contrast.chips(size=16, weights=pairs.duration)
    np.testing.assert_allclose(chips.weight, (days / days.max())[chips.pair], rtol=1e-6)
    batches = [batch["chip"].numpy() for b in [chips.loader(batch_size=1)] for _ in range(400)
               for batch in b]  # fmt: skip
    drawn = np.bincount(chips.pair[np.concatenate(batches)], minlength=len(days))
    assert drawn[days == 1].max() < drawn[days == 11].min() < drawn[days == 19].min()
    none = xr.where(pairs.duration == pairs.duration.max(), 0, 1)
    fewer = pairs.contrast.chips(size=16, weights=none)
    assert len(fewer) == len(chips) - 4 * int((none == 0).sum())
    assert f"{4 * int((none == 0).sum())} of no weight" in repr(fewer)


def test_seasonal_pairs_become_chips_valid_at_every_date() -> None:
    cube = planted_cube(32, n_times=3).drop_vars("s1").copy(deep=True)
    cube["s2"][1, :, :16, :16] = np.nan
    pairs = cube.contrast.pairs(kind="seasonal", gap="1D")
    chips = pairs.contrast.chips(size=16)
    assert chips[0].s2.dims == ("pair", "date", "s2_band", "y", "x")[1:]
    assert {(int(r), int(c)) for r, c in zip(chips.row, chips.col, strict=True)} == {
        (0, 16), (16, 0), (16, 16),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges": "wrap"}, r"edges 'shift' or 'drop'; received.*edges='wrap'"),
        ({"within": "Bologna"}, r"within as a bool DataArray.*received str"),
        ({"within": xr.DataArray(np.ones((3, 3), bool))}, r"a bool DataArray \(y, x\) of 96 x 96"),
        ({"within": (0.0, 0.0, 0.1, 0.1)}, r"received 0 windows.*outside the area"),
        ({"weights": xr.DataArray(np.ones(3), dims="x")}, r"weights \(y, x\) of 96 x 96"),
        ({"weights": xr.DataArray(np.ones(3), dims="pair")}, r"of 2 pairs.*received 3 from 1 to 1"),
        ({"weights": xr.DataArray([0, -1], dims="pair")}, r"received 2 from -1 to 0"),
        ({"weights": xr.DataArray(np.full((96, 96), -1.0), dims=("y", "x"))}, r"0 or more"),
    ],
)
def test_options_of_chips_out_of_range(cube: xr.Dataset, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cube.contrast.pairs().contrast.chips(size=24, **options)


def test_arrays_of_an_area_are_taken_by_their_coords(cube: xr.Dataset) -> None:
    pairs = cube.contrast.pairs()
    mask = (xr.DataArray(np.arange(96), dims="y") < 32) & (cube.y * cube.x > 0)
    assert set(pairs.contrast.chips(size=32, within=mask).row) == {0}
    turned = mask[::-1].transpose("x", "y")
    assert set(pairs.contrast.chips(size=32, within=turned).row) == {0}
    assert set(pairs.contrast.chips(size=32, weights=turned * 2.0).row) == {0}
    # Without coords nothing but the order tells.
    bare = mask[::-1].drop_vars(["y", "x"])
    assert set(pairs.contrast.chips(size=32, within=bare).row) == {64}
    for wrong in (mask.assign_coords(y=mask.y + 5000), mask.rename(y="lat", x="lon"), mask[:5]):
        with pytest.raises(DataError, match=r"bool DataArray \(y, x\) of 96.*coords than the grid"):
            pairs.contrast.chips(size=32, within=wrong)
        with pytest.raises(DataError, match=r"weights \(y, x\) of 96.*coords than the grid"):
            pairs.contrast.chips(size=32, weights=wrong * 1.0)
    with pytest.raises(DataError, match=r"some negative"):
        pairs.contrast.chips(size=32, weights=mask * -1.0)


def test_weights_of_pairs_are_taken_by_their_coords(cube: xr.Dataset) -> None:
    pairs = cube.contrast.pairs().assign_coords(pair=["a", "b"])
    weights = xr.DataArray([1.0, 0.0], {"pair": ["b", "a"]}, ("pair",))
    assert set(pairs.contrast.chips(size=32, weights=weights).pair) == {1}
    assert set(pairs.contrast.chips(size=32, weights=weights.drop_vars("pair")).pair) == {0}


def _places(x0: list[float], **coords: list) -> xr.Dataset:
    """Places of 32 pixels of 10 m, at two dates."""
    n = len(x0)
    values = np.random.default_rng(0).random((n, 2, 2, 32, 32)).astype("float32")
    dates = np.array(["2023-01-01", "2023-06-01"], "datetime64[ns]")
    known = {"epsg": [32632] * n, "x0": x0, "y0": [5e6] * n} | coords
    return xr.Dataset(
        {"s2": (("location", "date", "s2_band", "y", "x"), values, {"units": "1"})},
        {
            "s2_band": np.array(["B04", "B08"], object), "location": np.arange(n),
            "s2_time": (("location", "date"), np.tile(dates, (n, 1))),
            **{name: ("location", own) for name, own in known.items()},
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("places", "buffer", "together"),
    [
        (_places([0, 310, 320, 960, 9600]), 0, [{0, 1, 2}]),
        (_places([0, 320, 960, 9600]), 0, []),
        (_places([0, 320, 960, 9600]), 33, [{0, 1, 2}]),
        (_places([0, 0, 960], epsg=[32632, 32633, 32632]), 0, []),
        (_places([0, 0, 960], y0=[5e6, 5e6 + 330, 5e6]), 0, []),
        (_places([0, 0, 960], y0=[5e6, 5e6 - 310, 5e6]), 0, [{0, 1}]),
        (_places([0, 0, np.nan, np.nan]), 0, [{0, 1}]),
        (_places([0, 0, 960]).drop_vars("epsg"), 0, []),
    ],
)
def test_places_that_overlap_are_on_one_side(
    places: xr.Dataset, buffer: int, together: list[set[int]]
) -> None:
    chips = xc.chips(xc.pairs(places, kind="seasonal"), size=16)
    kept = []
    for seed in range(30):
        sides = [{*part.location.tolist()} for part in chips.split(seed=seed, buffer=buffer)]
        assert not sides[0] & sides[1]
        kept.append([any(own <= side for side in sides) for own in together])
        if not together:
            kept[-1] = [any({0, 1} <= side for side in sides)]
    assert np.all(kept) == bool(together)


def test_places_that_are_all_joined_cannot_be_split() -> None:
    chips = xc.chips(xc.pairs(_places([0, 10]), kind="seasonal"), size=16)
    with pytest.raises(DataError, match=r"both sides.*places that overlap are kept together"):
        chips.split()


def test_what_cannot_be_split_by(cube: xr.Dataset) -> None:
    seasonal = xc.pairs(planted_cube(32, n_times=8), kind="seasonal", gap="24D")
    with pytest.raises(DataError, match=r"one value of 's2_time' .*\('pair', 'date'\).*isel\(date"):
        xc.chips(seasonal, size=16).split(by="s2_time")
    pairs = cube.contrast.pairs()
    with pytest.raises(DataError, match=r"'y' with the dims \('y',\). Do this: fill it in"):
        xc.chips(pairs, size=32).split(by="y")
    named = pairs.assign_coords(scene=("pair", np.array(["a", None], object)))
    with pytest.raises(DataError, match=r"'scene' for each pair; received pairs without one"):
        xc.chips(named, size=32).split(by="scene")
