from __future__ import annotations

from collections import Counter
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, SourceError
from xcontrast.sampling import gathering, reading
from xcontrast.sampling.resident import store_chips
from xcontrast.sampling.saving import is_saved
from xcontrast.training.material import bring_near

STEP = {"s1": 0.01, "s2": 1e-4}


def _equal(one: xr.Dataset, two: xr.Dataset) -> None:
    """The same but for the rounding of the integers."""
    for name, step in STEP.items():
        if name in one:
            assert one[name].dims == two[name].dims
            assert two[name].dtype == np.float32
            assert one[name].attrs == two[name].attrs
            np.testing.assert_allclose(one[name], two[name], atol=0.51 * step, rtol=1e-5)
    # Numbers of images are of a source; what is in memory has none.
    apart = ["s1", "s2", "s1_image", "s2_image"]
    left, right = (c.drop_vars(apart, errors="ignore") for c in (one, two))
    if "x" not in one.coords:  # Then its pixels are numbered.
        right = right.drop_vars(["y", "x"])
    assert left.coords.equals(right.coords)


def _stop_after(patch: pytest.MonkeyPatch, limit: list[int]) -> list[tuple[str, int, int]]:
    """Have the reading stop after so many blocks; gives what was read: sensor, group, row."""
    read: list[tuple[str, int, int]] = []
    real = gathering.read_blocks

    def stopping(values, sensor, images, scale, groups):
        for block in real(values, sensor, images, scale, groups):
            if len(read) == limit[0]:
                raise ConnectionError
            read.append((sensor.name, block.group.start, block.row))
            yield block

    patch.setattr(gathering, "read_blocks", stopping)
    return read


@pytest.fixture
def pairs() -> xr.Dataset:
    cube = planted_cube(96, n_times=3).copy(deep=True)
    cube["s2"].values[0, 1, 5:9, 5:9] = np.nan
    cube["s1"].values[1, :, 40:60, 40:80] = np.nan
    return xc.pairs(cube)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(17, 96), st.integers(25, 96), st.integers(1, 3), st.integers(9, 40), st.data(),
    st.sampled_from([1, 30_000, 10**9]), st.integers(0, 99),
)  # fmt: skip
def test_any_chunks_windows_gaps_and_block_sizes(
    rows: int, cols: int, times: int, size: int, data: st.DataObject, n_bytes: int, seed: int
) -> None:
    """What is read into memory is what indexing gives, however the source is cut."""
    stride = data.draw(st.integers(max(1, size // 2), size))
    cube = planted_cube(96, n_times=3).copy(deep=True)
    for name in ("s1", "s2"):
        gaps = np.random.default_rng(seed).random(cube[name].shape) < 0.02
        cube[name].values[gaps] = np.nan
    cube = cube.isel(y=slice(data.draw(st.integers(0, 20)), None))
    lazy = cube.chunk(y=rows, x=cols, s1_time=times, s2_time=times)
    chips = xc.chips(xc.pairs(lazy), size=size, stride=stride, min_valid=0)
    whole = xc.chips(xc.pairs(cube), size=size, stride=stride, min_valid=0)
    np.testing.assert_array_equal(chips.valid_fraction, whole.valid_fraction)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK_BYTES", n_bytes)
        loaded = chips.load(progress=False)
    for i in np.unique(np.linspace(0, len(chips) - 1, 12).astype(int)).tolist():
        _equal(whole[i], loaded[i])
        seen = np.isfinite(whole[i].s1.values[0]) & np.isfinite(whole[i].s2.values[0])
        assert chips.valid_fraction[i] == pytest.approx(seen.mean())


def test_saved_chips_are_those_that_were_cut(pairs: xr.Dataset, tmp_path: Path) -> None:
    import rioxarray  # noqa: F401

    chips = xc.chips(pairs.chunk(y=40, x=50, pair=1), size=24, stride=16, min_valid=0.3)
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    again = xc.load_chips(tmp_path / "chips.zarr")
    assert len(saved) == len(chips)
    for i in range(0, len(chips), 7):
        _equal(chips[i].compute(), saved[i])
        assert saved[i].identical(again[i])
    assert saved[5].rio.crs == chips[5].rio.crs
    assert saved[5].rio.bounds() == chips[5].rio.bounds()
    for name in ("pair", "row", "col", "valid_fraction", "weight", "location"):
        np.testing.assert_array_equal(getattr(saved, name), getattr(chips, name))
    assert saved.told == chips.told
    assert f"MB as int16, in {tmp_path / 'chips.zarr'}" in repr(saved)
    for one, two in zip(chips.split(seed=3), saved.split(seed=3), strict=True):
        np.testing.assert_array_equal(one.row, two.row)
        _equal(one[0].compute(), two[0])
    assert not list(tmp_path.glob(".*"))


def test_other_programs_read_the_store(pairs: xr.Dataset, tmp_path: Path) -> None:
    chips = xc.chips(pairs, size=32, min_valid=0.3)
    chips.save(tmp_path / "chips.zarr", progress=False)
    store = xr.open_zarr(tmp_path / "chips.zarr", decode_timedelta=True)
    assert store.s2.dims == ("chip", "y", "x", "s2_band")
    for k in range(0, len(chips), 5):
        truth = chips[int(store.number[k])]
        assert int(store.row[k]) == chips.row[int(store.number[k])]
        np.testing.assert_allclose(
            store.s2[k].transpose("s2_band", "y", "x"), truth.s2, atol=5.1e-5, rtol=1e-5
        )
    # On disk they are shuffled: places and dates lie anywhere.
    assert abs(np.corrcoef(store.number.values, np.arange(len(chips)))[0, 1]) < 0.4


def _counting(cube: xr.Dataset, reads: Counter) -> xr.Dataset:
    """The same cube, which counts how often each source chunk is computed."""

    def count(block: np.ndarray, name: str, block_info=None) -> np.ndarray:
        if block_info:
            reads[name, tuple(block_info[0]["chunk-location"])] += 1
        return block

    counted = {
        name: cube[name].copy(data=da.map_blocks(count, cube[name].data, name, dtype="float32"))
        for name in ("s1", "s2")
    }
    return cube.assign(counted)


@pytest.mark.parametrize("n_bytes", [256e6, 12_000])
def test_each_source_chunk_is_read_once(n_bytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", n_bytes)
    reads: Counter = Counter()
    cube = planted_cube(96, n_times=4).isel(s1_time=[0, 2])
    # The validity is apart, as in a cube from a catalog.
    cube = cube.assign(
        s1_valid=(("s1_time", "y", "x"), np.ones((2, 96, 96), bool)),
        s2_valid=(("s2_time", "y", "x"), np.ones((4, 96, 96), bool)),
    )
    lazy = _counting(cube.chunk(y=32, x=48, s1_time=1, s2_time=1), reads)
    pairs = lazy.contrast.pairs(tolerance="20D")
    assert len(np.unique(pairs.s1_time)) < pairs.sizes["pair"] == 4
    # Windows across the borders of chunks, and passes that serve several dates.
    pairs.contrast.chips(size=20, stride=12).load(progress=False)
    assert set(reads.values()) == {1}
    assert len(reads) == (2 + 4) * 3 * 2


def test_a_stopped_call_goes_on(
    pairs: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = xc.chips(pairs.chunk(pair=1), size=24, stride=16, min_valid=0.3)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 96 * 96 * 2 * 2)
    limit = [4]
    read = _stop_after(monkeypatch, limit)
    with pytest.raises(ConnectionError):
        chips.save(tmp_path / "chips.zarr", progress=False)
    assert not (tmp_path / "chips.zarr").exists()
    assert read == [("s1", 0, 0), ("s1", 1, 0), ("s1", 2, 0), ("s2", 0, 0)]
    read.clear()
    limit[0] = -1
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    assert read == [("s2", 1, 0), ("s2", 2, 0)]
    for i in range(0, len(chips), 5):
        _equal(chips[i].compute(), saved[i])
    # What another call began is not taken up.
    read.clear()
    limit[0] = 2
    with pytest.raises(ConnectionError):
        chips.save(tmp_path / "other.zarr", progress=False)
    limit[0] = -1
    few = chips[::2].save(tmp_path / "other.zarr", seed=1, progress=False)
    _equal(chips[4].compute(), few[2])


@pytest.mark.parametrize("stop", [1, 2, 5, 10, 14, 17])
def test_a_call_stopped_within_an_image_reads_that_image_again(
    pairs: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    chips = xc.chips(pairs.chunk(pair=1, y=32), size=24, stride=16, min_valid=0.3)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1)
    limit = [stop]
    read = _stop_after(monkeypatch, limit)
    with pytest.raises(ConnectionError):
        chips.save(tmp_path / "chips.zarr", progress=False)
    assert {row for *_, row in read} <= {0, 32, 64}
    before = {own[:2] for own in read}
    read.clear()
    limit[0] = -1
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    for i in range(len(chips)):
        _equal(chips[i].compute(), saved[i])
    # At most the one that was being read.
    assert len(before & {own[:2] for own in read}) <= 1


def test_saved_chips_can_be_saved_again(pairs: xr.Dataset, tmp_path: Path) -> None:
    chips = xc.chips(pairs, size=24, stride=16, min_valid=0.3)
    one = chips.save(tmp_path / "one.zarr", progress=False)
    two = one.split(seed=0)[0].save(tmp_path / "two.zarr", seed=9, progress=False)
    three = chips.load().take(np.arange(5)).save(tmp_path / "three.zarr", progress=False)
    for i in range(0, len(two), 9):
        assert two[i].identical(one.split(seed=0)[0][i])
    _equal(chips[3], three[3])


def test_seasonal_chips_are_saved_with_all_dates(tmp_path: Path) -> None:
    cube = planted_cube(32, n_times=5).drop_vars("s1")
    chips = cube.contrast.pairs(kind="seasonal", gap="1D").contrast.chips(size=16)
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    for i in range(len(chips)):
        assert saved[i].s2.dims == ("date", "s2_band", "y", "x")
        _equal(chips[i], saved[i])
    assert saved.n_bytes == 4 * 5 * 4 * 16 * 16 * 2


def test_chips_of_places_keep_what_is_known_of_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = pd.date_range("2023-01-01", periods=6, freq="9D").values.astype("datetime64[ns]")
    collection = xc.as_cube(
        s1=xr.DataArray(
            rng.normal(-12, 3, (6, 2, 40, 40)).astype("float32"),
            dims=("location", "band", "y", "x"),
            coords={"band": ["vv", "vh"], "scene": ("location", list("aabbcc"))},
        ),
        s2=xr.DataArray(
            rng.random((6, 3, 40, 40)).astype("float32") / 2,
            dims=("location", "band", "y", "x"),
            coords={"band": ["B02", "B03", "B04"]},
        ),
        s1_units="dB",
    ).assign_coords(s1_time=("location", times), s2_time=("location", times))
    pairs = collection.chunk(location=2).contrast.pairs()
    chips = pairs.contrast.chips(size=20)
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    train, held = saved.split(by="scene", seed=1)
    names = [set(part.pairs.scene.values[part.pair].tolist()) for part in (train, held)]
    assert not names[0] & names[1]
    assert names[0] | names[1] == set("abc")
    assert len(np.unique(saved.location)) == 6
    for i in (0, 9, 23):
        _equal(chips[i].compute(), saved[i])


def test_what_is_there_is_not_lost(pairs: xr.Dataset, tmp_path: Path) -> None:
    chips = xc.chips(pairs, size=24, min_valid=0.3)
    path = tmp_path / "chips.zarr"
    chips[:5].save(path, progress=False)
    with pytest.raises(SourceError, match=r"does not exist yet; received .*xc\.load_chips"):
        chips.save(path)
    assert len(xc.load_chips(path)) == 5
    assert len(chips.save(path, overwrite=True, progress=False)) == len(chips)


def test_a_store_that_is_none_or_damaged(pairs: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"chips that Chips\.save wrote; received .*nowhere"):
        xc.load_chips(tmp_path / "nowhere.zarr")
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(SourceError, match=r"chips that Chips\.save wrote.*check the path"):
        xc.load_chips(tmp_path / "other.zarr")
    path = tmp_path / "chips.zarr"
    chips = xc.chips(pairs, size=24, min_valid=0.3).save(path, progress=False)
    (file,) = [p for p in (path / "s2" / "c").rglob("*") if p.is_file()]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"whole chips of s2 in .*save the chips again"):
        list(chips.loader(batch_size=4, resident=False))
    file.unlink()
    with pytest.raises(SourceError, match=r"all 1 chunks of s2 in .*received 0"):
        xc.load_chips(path)


def test_chips_that_do_not_fit_into_memory(
    pairs: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = xc.chips(pairs, size=24, min_valid=0.3)
    memory = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(DataError, match=r"free memory; received 0\.0 GB\. .*chips\.save"):
        chips.load()
    lazy = xc.chips(pairs.chunk(pair=1), size=24, min_valid=0.3)
    with pytest.raises(DataError, match=r"free memory; received 0\.0 GB\. .*chips\.save"):
        lazy.loader(batch_size=4)


def test_a_chip_of_nothing_is_kept(tmp_path: Path) -> None:
    cube = planted_cube(32, n_times=1)
    empty = xc.chips(xc.pairs(cube.where(False).assign_attrs(cube.attrs)), size=16, min_valid=0)
    saved = empty.save(tmp_path / "chips.zarr", progress=False)
    assert np.isnan(saved[2].s2.values).all()


def test_real_imagery_is_saved_and_comes_back(data_dir: Path, tmp_path: Path) -> None:
    """A month of openEO netCDF, cloudy dates and all."""
    bands = ["S1-SIGMA0-VV", "S1-SIGMA0-VH"]
    s1 = xr.open_dataset(data_dir / "timeseries" / "s1_grd_2023-04.nc", chunks={"t": 1})
    s2 = xr.open_dataset(data_dir / "timeseries" / "s2_l2a_2023-04.nc", chunks={"t": 1})
    decibels = s1.assign({b: 20 * np.log10(s1[b].where(s1[b] > 0)) - 83 for b in bands})
    april = xc.as_cube(s1=decibels, s2=s2, s2_scale=1e-4)
    chips = april.contrast.pairs(tolerance="12h").contrast.chips(size=24, stride=12, min_valid=0.1)
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    assert len({*chips.pair.tolist()}) == 2  # The other four are clouds.
    for i in range(0, len(chips), 9):
        _equal(chips[i].compute(), saved[i])
    batches = list(saved.loader(batch_size=16, resident=False))
    assert len(batches) == len(chips) // 16
    share = np.mean([float(batch["s2_valid"].mean()) for batch in batches])
    assert share == pytest.approx(chips.valid_fraction.mean(), abs=0.05)
    # Integers of the source come back as they were.
    red = saved[0].s2.sel(s2_band="B04").values
    np.testing.assert_array_equal(np.rint(red * 1e4), np.rint(chips[0].s2.sel(s2_band="B04") * 1e4))


def _constant(values: list[float], days: list[str], bands: list[str]) -> xr.DataArray:
    filled = np.ones((len(values), len(bands), 32, 32), "float32")
    return xr.DataArray(
        filled * np.float32(values)[:, None, None, None],
        {"time": pd.to_datetime(days).values, "band": bands},
        ("time", "band", "y", "x"),
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_images_of_one_time_are_told_apart(lazy: bool, tmp_path: Path) -> None:
    """Two passes on one date; and pairs of two areas, joined."""
    cube = xc.as_cube(
        s1=_constant([-5, -10, -20], ["2023-04-01", "2023-04-01", "2023-04-10"], ["vv", "vh"]),
        s2=_constant([0.1, 0.3], ["2023-04-02", "2023-04-11"], ["B04", "B08"]),
    )
    cube = cube.chunk(s1_time=1, s2_time=1) if lazy else cube
    passes = xc.pairs(cube, match="all", tolerance="3D")
    near = xc.pairs(cube, tolerance="3D")
    other = cube.assign(s1=(cube.s1 - 3).assign_attrs(cube.s1.attrs))
    changed = near.assign(s1=(near.s1 - 3).assign_attrs(near.s1.attrs))
    first, last = near.s1.values[:, 0, 0, 0]
    for found, planted in (
        (passes, [-5, -10, -20]),
        (xr.concat([near, xc.pairs(other, tolerance="3D")], "pair"),
         [first, last, first - 3, last - 3]),
        (xr.concat([near, changed], "pair"), [first, last, first - 3, last - 3]),
        (xr.concat([near.compute(), xc.pairs(other, tolerance="3D")], "pair"),
         [first, last, first - 3, last - 3]),
    ):  # fmt: skip
        chips = xc.chips(found, size=32)
        there = [float(chip.s1[0, 0, 0]) for chip in chips.load(progress=False)]
        assert there == pytest.approx(planted)
        loader = chips.loader(batch_size=1, progress=False)
        given = loader.take(torch.arange(len(chips)))["s1"][:, 0, 0, 0]
        assert given.tolist() == pytest.approx(planted)
        saved = chips.save(tmp_path / "c.zarr", overwrite=True, progress=False)
        assert [float(chip.s1[0, 0, 0]) for chip in saved] == pytest.approx(planted)


def test_an_infinite_pixel_leaves_the_others_as_they_are() -> None:
    power = np.random.default_rng(0).integers(1, 255, (1, 2, 32, 32)).astype("float32")
    power[0, 0, 0, 0] = np.inf
    cube = xc.as_cube(
        s1=_constant([1], ["2023-04-01"], ["vv", "vh"]).copy(data=power),
        s1_units="unknown",
        s2=_constant([0.2], ["2023-04-01"], ["B04", "B08"]),
    )
    chips = xc.chips(xc.pairs(cube), size=16, min_valid=0)
    np.testing.assert_allclose(chips.load(progress=False)[3].s1, chips[3].s1, atol=0.01)
    store = store_chips(chips, progress=False)
    assert store.stacks["s1"].scale == pytest.approx(254 / 30_000, rel=0.01)


def test_pairs_with_lazy_coords_of_other_chunks_are_read(tmp_path: Path) -> None:
    pairs = xc.pairs(planted_cube(64, n_times=6), kind="both", gap="20D")
    xc.write_zarr(pairs, tmp_path / "pairs.zarr", progress=False)
    found = xr.open_zarr(tmp_path / "pairs.zarr")
    several = found.assign_coords(w=("pair", da.ones(found.sizes["pair"], chunks=1)))
    for own in (found, several):
        chips = xc.chips(own, size=32)
        _equal(
            xc.chips(pairs, size=32)[1],
            chips.load(progress=False)[1].drop_vars("w", errors="ignore"),
        )


@pytest.mark.parametrize("then", ["other chunks", "other pixels"])
def test_what_another_source_began_is_not_taken_up(
    then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = planted_cube(64, n_times=12)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 64 * 64 * 2 * 2 * 5)
    limit = [1]
    _stop_after(monkeypatch, limit)
    begun = cube.chunk(s1_time=4, s2_time=4)
    with pytest.raises(ConnectionError):
        xc.chips(xc.pairs(begun, tolerance="2D"), size=32).save(tmp_path / "c.zarr", progress=False)
    limit[0] = -1
    other = cube.chunk(s1_time=1, s2_time=1)
    if then == "other pixels":
        other = begun.assign(s1=(begun.s1 - 5).assign_attrs(begun.s1.attrs))
    chips = xc.chips(xc.pairs(other, tolerance="2D"), size=32)
    saved = chips.save(tmp_path / "c.zarr", progress=False)
    for i in range(len(chips)):
        _equal(chips[i].compute(), saved[i])


@pytest.mark.parametrize("change", ["pixels", "units"])
def test_a_store_of_other_pixels_is_not_these_chips(change: str, tmp_path: Path) -> None:
    cube = planted_cube(64, n_times=3).chunk()
    other = cube.copy()
    other["s1"] = (cube.s1 - 7).assign_attrs(cube.s1.attrs) if change == "pixels" else cube.s1
    other["s1"] = other.s1.assign_attrs(units="dB" if change == "pixels" else "unknown")
    options = xc.PretrainOptions(progress=False)
    chips, changed = (xc.chips(xc.pairs(c), size=32) for c in (cube, other))
    bring_near(chips, tmp_path, options)
    assert is_saved(chips, tmp_path / "chips.zarr", seed=options.seed)
    assert len(bring_near(chips, tmp_path, options)) == len(chips)
    with pytest.raises(DataError, match=r"received other chips in .*remove that store"):
        bring_near(changed, tmp_path, options)


def test_coords_of_pairs_with_the_names_of_columns_are_kept(tmp_path: Path) -> None:
    pairs = xc.pairs(planted_cube(96, n_times=4), min_valid=0.5).assign_coords(
        row=("pair", [10, 20, 30, 40]), col=("pair", [1, 2, 1, 2]), number=("pair", [7, 8, 9, 10]),
        weight=("pair", [0.1, 0.2, 0.3, 0.4]), pair_number=("pair", [3, 2, 1, 0]),
    )  # fmt: skip
    chips = xc.chips(pairs, size=32)
    saved = chips.save(tmp_path / "c.zarr", progress=False)
    again = saved.save(tmp_path / "again.zarr", progress=False)
    for own in (saved, again):
        for i in (0, 17):
            _equal(chips[i], own[i])
        np.testing.assert_array_equal(own.row, chips.row)
        assert len(own.split(by="row")[1]) == 9
