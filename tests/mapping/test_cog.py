from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.enums import ColorInterp, MaskFlags

import xcontrast as xc
from xcontrast.errors import DataError, SourceError
from xcontrast.mapping.cog import select_layer


def layer(dtype: str = "uint8", n: int = 700) -> xr.DataArray:
    import rioxarray  # noqa: F401

    values = (np.add.outer(np.arange(n), np.arange(n)) // 90 % 2).astype(dtype)
    values[:5, :5] = 255 if dtype == "uint8" else np.nan
    coords = {"y": 5e6 - 10 * np.arange(n) - 5.0, "x": 5e5 + 10 * np.arange(n) + 5.0}
    array = xr.DataArray(values, coords, ("y", "x"), "label").rio.write_crs(32632)
    return array.assign_attrs(xc.FLOOD.attrs if dtype == "uint8" else {})


def test_a_label_map_keeps_codes_colours_nodata_and_grid(tmp_path: Path) -> None:
    array = layer()
    path = array.contrast.to_cog(tmp_path / "a" / "map.tif")
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs.to_epsg() == 32632
        assert file.transform == array.odc.geobox.transform
        assert file.nodata == 255
        assert file.overviews(1)
        assert file.is_tiled
        assert file.colormap(1)[1] == (31, 111, 180, 255)
        assert file.tags()["flag_meanings"] == "dry flood"
        np.testing.assert_array_equal(file.read(1), array)
        small = file.read(1, out_shape=(350, 350))
    assert set(np.unique(small)) <= {0, 1, 255}
    assert not list(path.parent.glob(".*"))


def test_probabilities_become_named_bands(tmp_path: Path) -> None:
    stack = xr.concat([layer("float32"), 1 - layer("float32")], "category")
    stack = stack.assign_coords(category=["dry", "flood"])
    with rasterio.open(xc.to_cog(stack, tmp_path / "p.tif")) as file:
        assert file.descriptions == ("dry", "flood")
        assert np.isnan(file.nodata)
        np.testing.assert_array_equal(file.read(2), stack[1])


def test_a_label_without_colours_gets_no_black_table(tmp_path: Path) -> None:
    bare = layer(n=64).drop_attrs(deep=False).assign_attrs(flag_values=[0, 1])
    with rasterio.open(xc.to_cog(bare, tmp_path / "k.tif")) as file:
        assert file.colorinterp == (ColorInterp.gray,)
        assert file.nodata == 255
        with pytest.raises(ValueError, match="NULL color table"):
            file.colormap(1)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_labels_of_several_dates_are_bands_alike(n: int, tmp_path: Path) -> None:
    one = layer(n=64)
    stack = xr.concat([one] * n, "s1_time").assign_attrs(one.attrs)
    with rasterio.open(xc.to_cog(stack, tmp_path / "k.tif")) as file:
        assert file.colorinterp == (ColorInterp.gray, *[ColorInterp.undefined] * (n - 1))
        assert all(flags == [MaskFlags.nodata] for flags in file.mask_flag_enums)
        np.testing.assert_array_equal(file.read(n), one)


@pytest.mark.parametrize(("dtype", "written"), [("bool", "uint8"), ("float16", "float32")])
def test_types_that_a_geotiff_lacks_are_widened(dtype: str, written: str, tmp_path: Path) -> None:
    array = layer("float32", n=64).fillna(0).astype(dtype)
    with rasterio.open(xc.to_cog(array, tmp_path / "m.tif")) as file:
        assert file.dtypes == (written,)
        np.testing.assert_array_equal(file.read(1), array)


def test_any_attribute_becomes_a_tag(tmp_path: Path) -> None:
    array = layer(n=64).assign_attrs({1: 2, "ns": "x", "bidx": 3, "title": "t"})
    with rasterio.open(xc.to_cog(array, tmp_path / "m.tif")) as file:
        tags = file.tags()
    assert (tags["1"], tags["ns_"], tags["bidx_"], tags["title"]) == ("2", "x", "3", "t")


def test_what_cannot_be_a_file(tmp_path: Path) -> None:
    array = layer(n=64)
    with pytest.raises(DataError, match=r"dims \(y, x\) or one more.*isel\(s1_time=0\)"):
        xc.to_cog(array.expand_dims(s1_time=2, category=2), tmp_path / "m.tif")
    with pytest.raises(DataError, match=r"a Dataset with label, entropy.*give flood\.label"):
        xc.to_cog(xr.Dataset({"label": array, "entropy": array}), tmp_path / "m.tif")
    with pytest.raises(DataError, match=r"an array with a CRS.*write_crs"):
        xc.to_cog(array.drop_vars("spatial_ref"), tmp_path / "m.tif")
    xc.to_cog(array, tmp_path / "m.tif")
    with pytest.raises(SourceError, match=r"does not exist yet.*overwrite=True"):
        xc.to_cog(array, tmp_path / "m.tif")
    xc.to_cog(array, tmp_path / "m.tif", overwrite=True)
    for overwrite in (False, True):
        with pytest.raises(SourceError, match=r"the path of a file.*a folder.*name a file in it"):
            xc.to_cog(array, tmp_path, overwrite=overwrite)


def test_a_time_is_refused_where_a_map_has_none() -> None:
    flood = layer().to_dataset()
    assert select_layer(flood).name == "label"
    with pytest.raises(DataError, match=r"no time: label is one.*time='1999-01-01'.*leave `time`"):
        select_layer(flood, time="1999-01-01")
