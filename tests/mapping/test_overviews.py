"""Coarser levels of a finished map: right, whole, and found by other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
import zarr
from stores import begin_map, fill_map, plant_map

from xcontrast.errors import SourceError
from xcontrast.mapping.overviews import halve, write_overviews
from xcontrast.regions import RegionStore
from xcontrast.store import write_zarr


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels down to 40 cells, so that a small map has two."""
    monkeypatch.setattr("xcontrast.mapping.overviews.SMALL", 40)


def mode_by_loops(values: npt.NDArray[np.uint8], nodata: int = 255) -> npt.NDArray[np.uint8]:
    """(y, x) -> half, cell by cell."""
    height, width = (-(-n // 2) for n in values.shape)
    result = np.full((height, width), nodata, np.uint8)
    for row in range(height):
        for column in range(width):
            cells = values[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().tolist()
            valid = [code for code in cells if code != nodata]
            if valid:
                result[row, column] = max(valid, key=valid.count)
    return result


def mean_by_loops(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    height, width = (-(-n // 2) for n in values.shape)
    result = np.full((height, width), np.nan, np.float32)
    for row in range(height):
        for column in range(width):
            cells = values[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            if np.isfinite(cells).any():
                result[row, column] = cells[np.isfinite(cells)].mean()
    return result


@pytest.mark.parametrize("chunk", [64, 25, 17, 150])
def test_codes_are_the_most_frequent_and_numbers_the_mean(chunk: int) -> None:
    data = plant_map()
    coarse = halve(data.chunk(s1_time=1, y=chunk, x=chunk)).compute()
    assert dict(coarse.sizes) == {**data.sizes, "y": 67, "x": 75}
    for time in range(2):
        np.testing.assert_array_equal(coarse.label[time], mode_by_loops(data.label[time].values))
        np.testing.assert_allclose(
            coarse.probability[time, 1], mean_by_loops(data.probability[time, 1].values), atol=1e-6
        )
    assert (coarse.label[:, 2, 4] == 255).all()
    assert np.isnan(coarse.s1[:, :, 2, 4]).all()
    assert coarse.label.dtype == np.uint8
    assert coarse.probability.dtype == coarse.s1.dtype == np.float32
    assert coarse.label.attrs == data.label.attrs


def test_codes_have_their_own_nodata() -> None:
    codes = np.array([[9, 9, 255], [3, 9, 9], [9, 9, 9]], np.uint8)
    data = xr.Dataset({"a": (("y", "x"), codes, {"nodata": 9})}).chunk()
    np.testing.assert_array_equal(halve(data).a, mode_by_loops(codes, 9))
    np.testing.assert_array_equal(halve(data).a, [[3, 255], [9, 9]])


def test_halving_reads_nothing(no_compute: None) -> None:
    assert halve(plant_map().chunk(s1_time=1, y=50, x=50)).label.chunks is not None


def test_levels_are_groups_and_the_store_stays_the_map(tmp_path: Path) -> None:
    data = plant_map()
    store = fill_map(tmp_path / "map.zarr", data)
    names = write_overviews(store, progress=False)
    assert names == ["overview_2", "overview_4"]
    root = xr.open_zarr(store.path)
    xr.testing.assert_equal(root.compute(), data)
    expected, side = data, 40
    for name in names:
        expected, side = halve(expected.chunk()).compute(), 2 * side
        level = xr.open_zarr(store.path, group=name)
        xr.testing.assert_equal(level.compute(), expected)
        assert level.label.dtype == np.uint8
        assert level.label.attrs == root.label.attrs
        assert level.attrs["xcontrast_complete"] is True
        transform = (side, 0, 5e5, 0, -side, 5e6, 0, 0, 1)
        assert tuple(level.rio.transform()) == tuple(level.odc.geobox.transform) == transform
        assert level.rio.crs.to_epsg() == level.odc.geobox.crs.epsg == 32632
    assert max(level.sizes["y"], level.sizes["x"]) <= 40
    files = {f: f.stat().st_mtime_ns for f in (store.path / "overview_2" / "label").rglob("*")}
    assert write_overviews(store, progress=False) == names
    assert files == {f: f.stat().st_mtime_ns for f in files}


def test_the_store_names_its_levels(tmp_path: Path) -> None:
    store = fill_map(tmp_path / "map.zarr", plant_map())
    write_overviews(store, progress=False)
    group = zarr.open_group(store.path, mode="r")
    attrs = group.attrs.asdict()
    assert {c["name"] for c in attrs["zarr_conventions"]} == {"multiscales", "proj", "spatial"}
    assert attrs["proj:code"] == "EPSG:32632"
    assert attrs["proj:wkt2"].startswith("PROJCRS")
    assert attrs["spatial:bbox"] == [5e5, 5e6 - 133 * 40, 5e5 + 150 * 40, 5e6]
    layout = attrs["multiscales"]["layout"]
    assert [e["asset"] for e in layout if e["asset"].endswith("label")] == [
        "label", "overview_2/label", "overview_4/label",
    ]  # fmt: skip
    for entry in layout:
        array = group[entry["asset"]]
        assert list(array.shape[-2:]) == entry["spatial:shape"]
        assert len(entry["transform"]["scale"]) == array.ndim
        if "derived_from" in entry:
            assert entry["transform"]["scale"][-2:] == [2, 2]
            finer = group[entry["derived_from"]].shape
            assert tuple(-(-n // 2) for n in finer[-2:]) == array.shape[-2:]
            expected = "mode" if array.dtype == np.uint8 else "average"
            assert entry["resampling_method"] == expected
    assert layout[1]["spatial:transform"] == [80, 0, 5e5, 0, -80, 5e6]
    assert {"overview_2", "label"} <= set(group.metadata.consolidated_metadata.metadata)
    # What is true of this store is not said of a copy of a part of it.
    part = write_zarr(xr.open_zarr(store.path).isel(y=slice(9)), tmp_path / "part.zarr")
    assert not {"multiscales", "proj:code", "spatial:bbox"} & set(xr.open_zarr(part).attrs)


def test_a_level_that_was_not_finished_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xcontrast.mapping.overviews.SMALL", 30)
    monkeypatch.setattr("xcontrast.mapping.overviews.REGION_BYTES", 0)
    data = plant_map(266, 300)
    store = fill_map(tmp_path / "map.zarr", data, chunk=128)
    whole = RegionStore.write
    written: list[str] = []

    def write(self, region, values):
        written.append(f"{self.path.name} {region.name}")
        if written[-1] == "overview_4 1.0.1":
            raise OSError(28, "No space left on device")
        whole(self, region, values)

    monkeypatch.setattr(RegionStore, "write", write)
    with pytest.raises(SourceError, match=r"overview_4 written whole.*No space.*call it again"):
        write_overviews(store, progress=False)
    assert "multiscales" not in xr.open_zarr(store.path).attrs
    assert not xr.open_zarr(store.path / "overview_4").attrs["xcontrast_complete"]
    assert "overview_4" not in zarr.open_group(store.path, mode="r")
    written.clear()
    with pytest.raises(SourceError, match=r"1 regions"):
        write_overviews(store, progress=False)
    assert set(written) == {"overview_4 1.0.1"}
    (store.path / ".overview_8.1.partial").mkdir()
    monkeypatch.setattr(RegionStore, "write", whole)
    names = write_overviews(store, progress=False)
    assert names == ["overview_2", "overview_4", "overview_8", "overview_16"]
    expected = halve(halve(halve(data.chunk()))).compute()
    xr.testing.assert_equal(xr.open_zarr(store.path, group="overview_8").compute(), expected)
    assert not list(store.path.glob(".*"))


def test_many_features_are_made_in_smaller_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plant_map(400, 500)[["s1"]].isel(s1_time=[0])
    store = fill_map(tmp_path / "e.zarr", data, chunk=300)
    monkeypatch.setattr("xcontrast.mapping.overviews.SMALL", 250)
    monkeypatch.setattr("xcontrast.mapping.overviews.REGION_BYTES", 4e5)
    write_overviews(store, progress=False)
    level = zarr.open_group(store.path, mode="r")["overview_2/s1"]
    assert (level.shards or level.chunks) == (1, 5, 100, 125)
    expected = halve(data.chunk()).compute()
    xr.testing.assert_equal(xr.open_zarr(store.path, group="overview_2").compute(), expected)


def test_without_a_crs_levels_have_no_place(tmp_path: Path) -> None:
    store = fill_map(tmp_path / "map.zarr", plant_map(crs=None))
    assert write_overviews(store, progress=False) == ["overview_2", "overview_4"]
    attrs = xr.open_zarr(store.path).attrs
    assert [c["name"] for c in attrs["zarr_conventions"]] == ["multiscales"]
    assert "proj:wkt2" not in attrs
    assert xr.open_zarr(store.path, group="overview_2").x[0] == 5e5 + 40


def test_a_small_map_needs_none_and_a_half_one_is_refused(tmp_path: Path) -> None:
    store = fill_map(tmp_path / "small.zarr", plant_map(40, 31))
    assert write_overviews(store, progress=False) == []
    assert "multiscales" not in xr.open_zarr(store.path).attrs
    half, _ = begin_map(tmp_path / "half.zarr", plant_map())
    with pytest.raises(SourceError, match=r"all tiles are done.*18 of 18 not done.*run the plan"):
        write_overviews(half, progress=False)
