"""The store of a map in other tools: xarray, rioxarray, odc-geo, and GDAL's Zarr driver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import xarray as xr
import zarr
from stores import fill_map, plant_map

from xcontrast.conventions import state_grid
from xcontrast.mapping.overviews import write_overviews
from xcontrast.regions import RegionStore

GDAL = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
TRANSFORM = (40, 0, 5e5, 0, -40, 5e6)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return plant_map()


@pytest.fixture(scope="module")
def store(data: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    """A finished map with two coarser levels."""
    store = fill_map(tmp_path_factory.mktemp("maps") / "flood.zarr", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xcontrast.mapping.overviews.SMALL", 40)
        write_overviews(store, progress=False)
    return store


def test_in_xarray_rioxarray_and_odc(store: RegionStore, data: xr.Dataset) -> None:
    for decode in (True, "all"):
        found = xr.open_zarr(store.path, decode_coords=decode)
        assert set(found.data_vars) == {"label", "probability", "s1"}
        assert "spatial_ref" in found.coords
        assert found.label.dtype == np.uint8
        assert found.label.attrs["flag_meanings"] == "dry flood"
        assert found.label.attrs["nodata"] == found.label.rio.nodata == 255
        for name in found.data_vars:
            assert found[name].rio.crs.to_epsg() == found[name].odc.crs.epsg == 32632
            assert tuple(found[name].rio.transform())[:6] == TRANSFORM
            assert tuple(found[name].odc.geobox.transform)[:6] == TRANSFORM
        xr.testing.assert_equal(found.compute(), data)
        moved = found.isel(y=slice(10, None), x=slice(3, None))
        corner = (40, 0, 5e5 + 120, 0, -40, 5e6 - 400)
        assert tuple(moved.rio.transform())[:6] == tuple(moved.odc.geobox.transform)[:6] == corner


def test_it_is_told_in_the_words_of_cf(store: RegionStore) -> None:
    group = zarr.open_group(store.path, mode="r")
    assert group.attrs["Conventions"] == "CF-1.11"
    for name in ("label", "probability", "s1"):
        assert group[name].attrs["grid_mapping"] == "spatial_ref"
    assert group["spatial_ref"].attrs["GeoTransform"] == "500000 40 0 5000000 0 -40"
    assert group["spatial_ref"].attrs["grid_mapping_name"] == "transverse_mercator"
    assert "crs_wkt" in group["spatial_ref"].attrs
    assert group["x"].attrs["standard_name"] == "projection_x_coordinate"
    degrees = state_grid(plant_map(crs=4326))
    assert degrees.y.attrs["standard_name"] == "latitude"
    bare = plant_map(crs=None)
    assert state_grid(bare) is bare


def test_few_chunks_are_files_of_their_own_and_many_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xcontrast.regions.CHUNK_BYTES", 4 * 16 * 16)
    store = fill_map(tmp_path / "map.zarr", plant_map())
    group = zarr.open_group(store.path, mode="r")
    assert (group["label"].shards, group["label"].chunks) == (None, (1, 32, 32))
    assert (group["s1"].shards, group["s1"].chunks) == ((1, 5, 64, 64), (1, 5, 4, 4))
    xr.testing.assert_equal(xr.open_zarr(store.path).compute(), plant_map())


@pytest.mark.skipif(GDAL < (3, 12), reason="this GDAL does not read the final Zarr 3 format")
@pytest.mark.parametrize(
    ("array", "pick"),
    [
        ("/label:0", {"s1_time": 0}),
        ("/label:1", {"s1_time": 1}),
        ("/probability:1:0", {"s1_time": 1, "category": 0}),
        ("/s1:1:4", {"s1_time": 1, "feature": 4}),
        ("/overview_2/label:1", {"s1_time": 1}),
        ("/overview_4/probability:0:1", {"s1_time": 0, "category": 1}),
    ],
)
def test_in_gdal(store: RegionStore, array: str, pick: dict[str, int]) -> None:
    *above, name = array.split(":")[0].strip("/").split("/")
    expected = xr.open_zarr(store.path, group="/".join(above) or None)[name].isel(pick)
    with rasterio.open(f'ZARR:"{store.path}":{array}') as file:
        assert file.crs.to_epsg() == 32632
        assert file.transform == expected.odc.geobox.transform
        assert file.dtypes == (str(expected.dtype),)
        np.testing.assert_equal(file.nodata, 255 if name == "label" else np.nan)
        np.testing.assert_array_equal(file.read(1), expected)


@pytest.mark.skipif(GDAL < (3, 12), reason="this GDAL does not read the final Zarr 3 format")
def test_in_gdal_dates_are_bands_and_arrays_are_listed(store: RegionStore) -> None:
    with rasterio.open(f'ZARR:"{store.path}":/label') as file:
        assert file.count == 2
        np.testing.assert_array_equal(file.read(), xr.open_zarr(store.path).label)
        assert file.tags()["flag_meanings"] == "dry flood"
    with rasterio.open(f'ZARR:"{store.path}"') as file:
        assert any(name.endswith(":/label") for name in file.subdatasets)
