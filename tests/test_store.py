from __future__ import annotations

import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, SourceError


def test_types_attributes_and_grid_survive(tmp_path: Path) -> None:
    cube = planted_cube(40)
    label = xr.DataArray(
        np.full((2, 40, 40), 255, "uint8"),
        {"s1_time": cube.s1_time, "y": cube.y, "x": cube.x, "spatial_ref": cube.spatial_ref},
        ("s1_time", "y", "x"),
        attrs={**xc.FLOOD.attrs, "weird": {"a": 1}, "none": None, "when": np.float32(2)},
    )
    whole = cube.assign(label=label).chunk(y=16).chunk(y=(16, 8, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        path = xc.write_zarr(whole, tmp_path / "cube.zarr", progress=False)
    back = xr.open_zarr(path)
    assert back.label.dtype == np.uint8
    assert back.label.rio.nodata == 255
    assert back.label.attrs["flag_values"] == [0, 1]
    assert back.label.attrs["weird"] == '{"a": 1}'
    assert "none" not in back.label.attrs
    assert back.rio.crs == cube.rio.crs
    xr.testing.assert_equal(back.load(), whole.load())


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("a bad block")

    bad = xr.DataArray(da.zeros((8, 8), chunks=4).map_blocks(fail, meta=np.zeros((0, 0))), name="a")
    with pytest.raises(RuntimeError, match="a bad block"):
        xc.write_zarr(bad, tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


def test_a_store_is_not_overwritten_unasked(tmp_path: Path) -> None:
    array = xr.DataArray(np.zeros((4, 4)), dims=("y", "x"), name="a")
    path = xc.write_zarr(array, tmp_path / "a.zarr")
    with pytest.raises(SourceError, match=r"a store that does not exist yet.*overwrite=True"):
        xc.write_zarr(array, path)
    xc.write_zarr(array + 1, path, overwrite=True)
    assert float(xr.open_zarr(path).a.mean()) == 1


def test_sensors_keep_chunks_of_their_own(tmp_path: Path) -> None:
    cube = planted_cube(48, n_times=6)[["s1", "s2"]]
    chunked = cube.assign(
        s1=cube.s1.chunk(s1_time=2, y=16, x=16), s2=cube.s2.chunk(s2_time=3, y=24, x=(7, 20, 21))
    )
    before = {name: chunked[name].chunks for name in ("s1", "s2")}
    back = xr.open_zarr(xc.write_zarr(chunked, tmp_path / "cube.zarr", progress=False))
    assert dict(back.s1.chunksizes) == dict(chunked.s1.chunksizes)
    assert back.s2.chunksizes["y"] == (24, 24)
    assert back.s2.chunksizes["x"] == (21, 21, 6)
    xr.testing.assert_equal(back.load(), cube)
    # What was given is left as it is.
    assert {name: chunked[name].chunks for name in ("s1", "s2")} == before


def test_pairs_of_unlike_time_chunks_are_written(tmp_path: Path) -> None:
    cube = planted_cube(64, n_times=6)
    chunked = cube.chunk(s1_time=1, s2_time=4, y=32, x=32)
    pairs = xc.pairs(chunked)
    back = xr.open_zarr(xc.write_zarr(pairs, tmp_path / "pairs.zarr", progress=False))
    xr.testing.assert_equal(back.load(), pairs.load())


def test_attributes_of_any_kind_become_plain(tmp_path: Path) -> None:
    day = np.datetime64("2023-01-01", "ns")
    array = xr.DataArray(np.zeros(2), dims="y", name="a").assign_attrs(
        stats={"mean": np.float32(0.5), 3: {"n": np.int64(2), "s": np.arange(2)}},
        parts=[np.float32(0.5), day, {"n": np.int8(1)}, (1, (np.bool_(True), None))],
        day=day, days=np.array([day]), spans=np.array([3], "m8[D]"), whole=np.array(7),
        span=np.timedelta64(3, "D"), none=None, code=1 + 2j,
    )  # fmt: skip
    attrs = xr.open_zarr(xc.write_zarr(array, tmp_path / "a.zarr", progress=False)).a.attrs
    assert attrs == {
        "stats": '{"mean": 0.5, "3": {"n": 2, "s": [0, 1]}}',
        "parts": [0.5, "2023-01-01T00:00:00.000000000", {"n": 1}, [1, [True, None]]],
        "day": "2023-01-01T00:00:00.000000000",
        "days": ["2023-01-01T00:00:00.000000000"],
        "spans": ["3 days"],
        "whole": 7,
        "span": "3 days",
        "code": "(1+2j)",
    }
    assert isinstance(array.attrs["stats"]["mean"], np.float32)


@pytest.mark.parametrize(
    ("obj", "received"),
    [
        (xr.DataArray(np.zeros(3)), r"a DataArray named None"),
        (xr.DataArray(np.zeros(3), {"y": [1, 2, 3]}, ["y"]).y, r"a DataArray named 'y'"),
        (np.zeros(3), r"array\(\[0\., 0\., 0\.\]\)"),
    ],
)
def test_what_has_no_name_is_refused(obj: object, received: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"with a name of its own; received {received}\. Do this"):
        xc.write_zarr(obj, tmp_path / "a.zarr", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path", ["memory://x.zarr", "s3://bucket/x.zarr", Path("s3://bucket/x.zarr"), "file:///x.zarr"]
)
def test_addresses_are_refused(
    path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    array = xr.DataArray(np.zeros(4), dims="y", name="a")
    with pytest.raises(SourceError, match=r"on a disk of this machine; received \w+:/.*then copy"):
        xc.write_zarr(array, path, overwrite=True, progress=False)
    assert not list(tmp_path.iterdir())


def test_paths_with_colons_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = xr.DataArray(np.zeros(4), dims="y", name="a")
    for path in (tmp_path / "b:c" / "a.zarr", "2023-01-01T10:00.zarr"):
        assert xc.write_zarr(array, path, progress=False).is_dir()
