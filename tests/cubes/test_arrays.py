from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError


@pytest.fixture(scope="module")
def april(data_dir: Path) -> xr.Dataset:
    """Ten radar and twelve optical dates of April 2023 on one UTM grid, as openEO wrote them."""
    s1 = xr.open_dataset(data_dir / "timeseries" / "s1_grd_2023-04.nc")
    s2 = xr.open_dataset(data_dir / "timeseries" / "s2_l2a_2023-04.nc")
    bands = ["S1-SIGMA0-VV", "S1-SIGMA0-VH"]
    decibels = s1.assign({b: 20 * np.log10(s1[b].where(s1[b] > 0)) - 83 for b in bands})
    return xc.as_cube(s1=decibels, s2=s2, s2_scale=1e-4)


def test_real_time_series_become_a_cube(april: xr.Dataset) -> None:
    assert april.s1.sizes == {"s1_time": 10, "s1_band": 2, "y": 66, "x": 64}
    assert april.s2.sizes == {"s2_time": 12, "s2_band": 4, "y": 66, "x": 64}
    assert april.s1_band.values.tolist() == ["vv", "vh"]
    assert april.s2_band.values.tolist() == ["B01", "B04", "B08", "B11"]
    assert april.rio.crs.to_epsg() == april.odc.geobox.crs.epsg == 32631
    assert april.s1.dtype == april.s2.dtype == np.float32
    assert -25 < float(april.s1.median()) < -5
    assert april.s1.attrs["units"] == "dB"


def test_scene_classes_mask_clouds(april: xr.Dataset, data_dir: Path) -> None:
    raw = xr.open_dataset(data_dir / "timeseries" / "s2_l2a_2023-04.nc")
    cloudy = raw["S2-L2A-SCL"].isin([0, 1, 3, 8, 9, 10]).values
    assert np.isnan(april.s2.values[:, 1][cloudy]).all()
    clear = ~cloudy & (raw["S2-L2A-B04"].values > 0)
    np.testing.assert_allclose(
        april.s2.values[:, 1][clear], raw["S2-L2A-B04"].values[clear] * 1e-4, rtol=1e-5
    )


def test_six_same_day_pairs_of_which_two_are_clear(april: xr.Dataset) -> None:
    pairs = april.contrast.pairs(tolerance="12h")
    assert pairs.sizes["pair"] == 6
    clear = april.contrast.pairs(tolerance="12h", min_valid=0.9)
    days = pd.DatetimeIndex(clear.s2_time.values).strftime("%m-%d").tolist()
    assert days == ["04-05", "04-15"]
    assert (clear.valid_fraction >= 0.9).all()
    chips = clear.contrast.chips(size=32)
    assert len(chips) == 2 * 3 * 2


def _mine(bands: list[str], value: float = 0.3, **names: str) -> xr.DataArray:
    dims = {"time": "time", "band": "band", "y": "y", "x": "x"} | names
    values = np.full((2, len(bands), 6, 5), value, "float32")
    values[0, 0, 0, 0] -= 0.05
    return xr.DataArray(
        values,
        {dims["time"]: pd.date_range("2023", periods=2), dims["band"]: bands},
        tuple(dims.values()),
    )


@pytest.mark.parametrize("bands", [["B04", "B8A"], ["B4", "B8A"], ["red", "nir08"], ["b04", "B8a"]])
def test_bands_in_the_usual_spellings(bands: list[str]) -> None:
    cube = xc.as_cube(s2=_mine(bands, band="variable", x="longitude", time="t"))
    assert cube.s2.dims == ("s2_time", "s2_band", "y", "x")
    assert cube.s2_band.values.tolist() == ["B04", "B8A"]


def test_a_variable_a_band_as_odc_stac_gives(no_compute: None) -> None:

    ds = _mine(["VV", "VH"], -12).to_dataset("band").chunk(y=3)
    ds = ds.assign_coords(y=5e6 - 10 * np.arange(6), x=5e5 + 10 * np.arange(5)).rio.write_crs(32632)
    cube = xc.as_cube(s1=ds)
    assert cube.s1_band.values.tolist() == ["vv", "vh"]
    assert cube.rio.crs.to_epsg() == 32632
    assert cube.s1.chunks is not None


def test_axes_say_their_units_where_the_projection_tells_them() -> None:
    values = np.full((1, 2, 4, 4), 0.3, "f4")
    places = {"band": ["red", "nir"], "y": np.arange(4.0) * -10, "x": np.arange(4.0) * 10}
    plain = xr.DataArray(values, places, ("time", "band", "y", "x"))
    assert "units" not in xc.as_cube(s2=plain).x.attrs
    assert xc.as_cube(s2=plain.rio.write_crs(32632)).x.attrs["units"] == "metre"
    assert xc.as_cube(s2=plain.rio.write_crs(4326)).y.attrs["units"] == "degrees_north"
    named = plain.assign_coords(
        x=plain.x.assign_attrs(units="m"), y=plain.y.assign_attrs(units="m")
    )
    assert xc.as_cube(s2=named.rio.write_crs(32632)).x.attrs == {"units": "m"}


def test_power_becomes_decibels() -> None:
    cube = xc.as_cube(s1=_mine(["vv", "vh"], 0.1), s1_units="power")
    assert float(cube.s1[1, 1, 2, 2]) == pytest.approx(-10)


def test_ready_made_tiles_become_a_collection() -> None:
    rng = np.random.default_rng(0)
    s1 = xr.DataArray(
        rng.integers(0, 255, (3, 2, 1, 8, 8), "uint8"),
        {"band": ["VV"], "scene": ("tile", ["a", "a", "b"])},
        ("tile", "date", "band", "y", "x"),
    )
    s2 = xr.DataArray(
        rng.integers(1, 255, (3, 2, 2, 8, 8), "uint8"),
        {"band": ["B11", "B8"]},
        ("tile", "date", "band", "y", "x"),
    )
    cube = xc.as_cube(s1=s1, s2=s2, s1_units="unknown", s2_scale=1 / 255)
    assert cube.s1.dims == ("location", "date", "s1_band", "y", "x")
    assert cube.s1.attrs["units"] == "unknown"
    assert cube.scene.values.tolist() == ["a", "a", "b"]
    np.testing.assert_allclose(cube.s2.values, s2.values / 255, rtol=1e-6)
    assert cube.contrast.pairs().sizes["pair"] == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "Expected s1 and/or s2; received neither"),
        ({"s2": np.zeros((3, 3))}, "received a ndarray"),
        ({"s2": _mine(["B04", "B99"])}, r"bands of Sentinel-2.*received B99"),
        ({"s2": _mine(["B04", "red"])}, r"each band of Sentinel-2 once.*red \(B04\)"),
        ({"s2": _mine(["B04"]).isel(band=0, drop=True)}, "Expected a band dim with names"),
        ({"s2": _mine(["B04"], x="column")}, r"a dim 'x' \(or lon"),
        ({"s2": _mine(["B04"]).expand_dims(orbit=2)}, "also orbit"),
        ({"s2": (_mine(["B04"]) * 10_000).astype("uint16")}, r"uint16 and no s2_scale.*1e-4"),
        ({"s2": _mine(["B04"], 3000.0)}, r"a median of 3000.*give s2_scale"),
        ({"s1": _mine(["vv"], 0.1)}, r"some values negative.*s1_units='power'"),
        ({"s1": _mine(["vv"], -12.0).astype("int16")}, r"in dB as floats; received int16"),
        ({"s1": _mine(["vv"], -12.0), "s1_units": "amplitude"}, r"'power' or 'unknown'.*20 log10"),
        ({"s1": _mine(["vv"], -12.0), "s1_units": "power"}, r"power.*median of -12.*s1_units='dB'"),
        ({"s1": xr.Dataset({"a": 1})}, "a variable for each band of Sentinel-1"),
        (
            {"s1": _mine(["vv"], -12.0), "s2": _mine(["B04"]).isel(x=slice(3))},
            r"one grid; received s1 6 x 5 px.*s2 6 x 3 px.*reproject",
        ),
    ],
)
def test_arrays_that_cannot_be_a_cube(call: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.as_cube(**call)


@pytest.mark.parametrize("units", ["dB", "unknown"])
def test_what_is_not_finite_is_not_seen(units: str) -> None:
    decibels = _mine(["vv", "vh"], -12.0)
    decibels[:, :, :3] = -np.inf
    cube = xc.as_cube(s1=decibels, s1_units=units)
    assert cube.s1.isnull().values[:, :, :3].all()
    assert float(cube.s1_valid.mean()) == 0.5
    lazy = xc.as_cube(s1=decibels.chunk(y=3), s1_units=units)
    assert lazy.s1.chunks is not None
    assert lazy.s1.isnull().mean() == 0.5


def test_pairs_without_validity_take_no_infinite_value_for_ground() -> None:
    cube = planted_cube(32)
    cube["s1"][:, :, :16] = -np.inf
    assert xc.chips(xc.pairs(cube), size=32, min_valid=0).valid_fraction.tolist() == [0.5, 0.5]


def _stored(dtype: str, code: float) -> xr.DataArray:
    numbers = (_mine(["B04", "B08"]) * 10_000).astype(dtype)
    numbers[:, :, :3] = code
    return numbers


@pytest.mark.parametrize(
    "numbers",
    [
        _stored("int16", -32768),
        _stored("int16", -9999).assign_attrs(_FillValue=np.int16(-9999)),
        _stored("uint16", 65535).assign_attrs(nodata=65535),
        _stored("float32", -9999).assign_attrs(nodata="-9999"),
        _stored("int32", -1).rio.write_nodata(-1),
        _stored("int32", -1).rio.write_nodata(-1, encoded=True),
        xr.Dataset({"B04": _stored("int16", -1)[:, 0].assign_attrs(nodata=-1).drop_vars("band")}),
        _stored("float32", np.nan).assign_attrs(nodata=np.nan),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_stated_no_data_is_not_seen(numbers: xr.DataArray | xr.Dataset, lazy: bool) -> None:
    cube = xc.as_cube(s2=numbers.chunk(y=2) if lazy else numbers, s2_scale=1e-4)
    assert cube.s2.isnull().values[:, :, :3].all()
    np.testing.assert_allclose(cube.s2.values[1, :, 3:], 0.3, rtol=1e-5)
    assert float(cube.s2_valid.mean()) == 0.5


def test_stated_no_data_of_radar_is_not_seen() -> None:
    decibels = _mine(["vv", "vh"], -12.0).assign_attrs(nodata=-32768.0)
    decibels[:, :, :4] = -32768
    assert float(xc.as_cube(s1=decibels).s1_valid.mean()) == pytest.approx(1 / 3)
    grey = (decibels * 0 + 7).astype("uint8").assign_attrs(_FillValue=255)
    grey[:, :, :3] = 255
    assert float(xc.as_cube(s1=grey, s1_units="unknown").s1_valid.mean()) == 0.5


NOON = np.datetime64("2023-04-01T12", "ns")


def _timed(times: object, bands: list[str], value: float) -> xr.DataArray:
    return _mine(bands, value).assign_coords(time=times)


@pytest.mark.parametrize(
    "times",
    [
        pd.DatetimeIndex(["2023-04-01T12", "2023-04-13T12"], tz="UTC"),
        pd.DatetimeIndex(["2023-04-01T21", "2023-04-13T21"], tz="Asia/Tokyo"),
        np.array(["2023-04-01T12:00:00Z", "2023-04-13T12:00"]),
        np.array(["2023-04-01T12", "2023-04-13T12"], "datetime64[s]"),
    ],
)
def test_times_are_utc_without_a_zone(times: object) -> None:
    cube = xc.as_cube(s1=_timed(times, ["vv"], -12), s2=_timed(times, ["B04"], 0.3))
    assert cube.s1_time.dtype == cube.s2_time.dtype == "datetime64[ns]"
    assert cube.s1_time.values.tolist() == [NOON.item(), (NOON + np.timedelta64(12, "D")).item()]
    assert xc.pairs(cube).sizes["pair"] == 2
    one = xc.as_cube(s1=_timed(times, ["vv"], -12).isel(time=0))
    assert one.s1_time.values.tolist() == [NOON.item()]


def test_one_date_keeps_its_time() -> None:
    times = [NOON, NOON + np.timedelta64(1, "D")]
    one, two = _timed(times, ["vv"], -12).isel(time=0), _timed(times, ["B04"], 0.3).isel(time=1)
    cube = xc.as_cube(s1=one, s2=two)
    assert cube.s1.sizes["s1_time"] == cube.s2.sizes["s2_time"] == 1
    assert "time" not in cube.coords
    assert xc.pairs(cube).lag.values.tolist() == [-np.timedelta64(1, "D").astype("m8[ns]").item()]


def test_times_that_are_none_are_told() -> None:
    with pytest.raises(DataError, match=r"times as datetime64.*received .*before.*to_datetime"):
        xc.as_cube(s1=_timed(["before", "after"], ["vv"], -12))


def _places(times: object, bands: list[str], value: float) -> xr.DataArray:
    one = _timed(times, bands, value)
    return xr.concat(
        [one, one],
        xr.DataArray(
            [
                "a",
                "b",
            ],
            dims="location",
            name="location",
        ),
    )


def test_a_collections_dates_are_its_times() -> None:
    times = NOON + np.array([0, 10]) * np.timedelta64(1, "D")
    cube = xc.as_cube(s2=_places(times, ["B04"], 0.3))
    assert cube.s2_time.dims == ("location", "date")
    assert (cube.s2_time.values == times).all()
    assert xc.pairs(cube, kind="seasonal", gap="10D").sizes["pair"] == 2
    with pytest.raises(DataError, match="at least 60 days"):
        xc.pairs(cube, kind="seasonal", gap="60D")


def test_a_collections_own_times_count_for_the_tolerance() -> None:
    times = NOON + np.array([0, 10]) * np.timedelta64(1, "D")
    two = _places(times, ["B04"], 0.3)
    late = xr.DataArray(times + np.timedelta64(2, "D"), dims="time")
    one = _places(times, ["vv"], -12).assign_coords(s1_time=late)
    cube = xc.as_cube(s1=one, s2=two)
    assert cube.s1_time.dims == cube.s2_time.dims == ("location", "date")
    assert xc.pairs(cube, tolerance="2D").sizes["pair"] == 4
    with pytest.raises(DataError, match="none that near"):
        xc.pairs(cube, tolerance="1D")


def test_dates_of_a_collection_may_be_labels() -> None:
    cube = xc.as_cube(s2=_places(["before", "after"], ["B04"], 0.3))
    assert cube.date.values.tolist() == ["before", "after"]
    assert "s2_time" not in cube.coords
    assert xc.pairs(cube, kind="seasonal").sizes["pair"] == 2


def test_one_date_of_each_place_is_its_time() -> None:
    cube = xc.as_cube(s2=_places([NOON, NOON], ["B04"], 0.3).isel(time=0))
    assert cube.s2_time.dims == ("location",)
    assert "time" not in cube.coords


def _placed(bands: list[str], value: float, epsg: int, name: str) -> xr.DataArray:
    values = _mine(bands, value).assign_coords(y=5e6 - 10 * np.arange(6), x=5e5 + 10 * np.arange(5))
    return values.rio.write_crs(epsg, grid_mapping_name=name)


@pytest.mark.parametrize("name", ["crs", "spatial_ref", "lambert_azimuthal"])
@pytest.mark.parametrize("of_variables", [False, True])
def test_a_crs_under_any_name_is_the_cubes(name: str, of_variables: bool) -> None:
    array = _placed(["vv", "vh"], -12, 3035, name)
    cube = xc.as_cube(s1=array.to_dataset("band") if of_variables else array)
    assert cube.rio.crs.to_epsg() == cube.odc.geobox.crs.epsg == 3035
    assert cube.x.attrs["units"] == "metre"
    assert name == "spatial_ref" or name not in cube.coords


def test_the_crs_that_the_array_names_counts() -> None:
    array = _placed(["vv"], -12, 32632, "crs")
    other = array.rio.write_crs(4326, grid_mapping_name="other").coords["other"]
    assert xc.as_cube(s1=array.assign_coords(spatial_ref=other)).rio.crs.to_epsg() == 32632


@pytest.mark.parametrize("name", ["crs", "spatial_ref"])
def test_sensors_in_two_zones_are_not_on_one_grid(name: str) -> None:
    one, two = _placed(["vv"], -12, 32632, "crs"), _placed(["B04"], 0.3, 32633, name)
    with pytest.raises(DataError, match=r"one grid; received s1 .*EPSG:32632 and s2 .*EPSG:32633"):
        xc.as_cube(s1=one, s2=two)


def test_ground_without_a_scene_class_is_not_seen() -> None:
    scenes = xr.Dataset({"B04": _mine(["B04"])[:, 0, :, :].drop_vars("band")})
    scenes["SCL"] = xr.zeros_like(scenes.B04) + 4
    scenes["SCL"][:, :3] = np.nan
    cube = xc.as_cube(s2=scenes)
    assert float(cube.s2_valid.mean()) == 0.5
    assert cube.s2.isnull().values[:, :, :3].all()


def test_coords_of_both_sensors_under_one_name_are_told_apart() -> None:
    times = NOON + np.arange(2) * np.timedelta64(1, "D")
    one = _timed(times, ["vv"], -12).assign_coords(
        platform=("time", ["A", "B"]), product="rtc", place="here"
    )
    two = _timed(times, ["B04"], 0.3).assign_coords(
        platform=("time", ["C", "D"]), product="l2a", place="here"
    )
    cube = xc.as_cube(s1=one, s2=two)
    assert cube.s1_platform.values.tolist() == ["A", "B"]
    assert cube.s2_platform.values.tolist() == ["C", "D"]
    assert (cube.s1_product, cube.s2_product, cube.place) == ("rtc", "l2a", "here")
    assert "platform" in xc.as_cube(s2=two).coords


def _two_places(order: list[str], bands: list[str], scale: float) -> xr.DataArray:
    """Give a place a value of its own, by its name."""
    times = NOON + np.array([0, 10]) * np.timedelta64(1, "D")
    ground = {"a": 1.0, "b": 2.0, "c": 3.0}
    own = xr.DataArray([ground[n] for n in order], {"location": order}, ("location",))
    return _timed(times, bands, 0.3) * 0 + own * scale


def test_a_collections_places_are_aligned_by_name(no_compute: None) -> None:
    one = _two_places(["a", "b"], ["vv"], -10.0)
    two = _two_places(["b", "a"], ["B04"], 0.1).chunk(y=3)
    cube = xc.as_cube(s1=one, s2=two)
    assert cube.location.values.tolist() == ["a", "b"]
    assert cube.s2.chunks is not None
    with dask.config.set(scheduler="synchronous"):
        means = cube.mean(("date", "y", "x")).compute()
    assert means.s1.values.ravel() == pytest.approx([-10, -20])
    assert means.s2.values.ravel() == pytest.approx([0.1, 0.2])


def test_a_collections_dates_are_aligned_or_taken_in_order() -> None:
    one, two = _two_places(["a", "b"], ["vv"], -10.0), _two_places(["a", "b"], ["B04"], 0.1)
    turned = xc.as_cube(s1=one, s2=two.isel(time=[1, 0]))
    assert (turned.s1_time == turned.s2_time).all()
    late = xc.as_cube(s1=one, s2=two.assign_coords(time=two.time + np.timedelta64(1, "D")))
    assert "date" not in late.coords
    assert xc.pairs(late, tolerance="1D").lag.dt.days.values.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("two", "message"),
    [
        (_two_places(["a", "c"], ["B04"], 0.1), r"same locations; received s1 2, the first a"),
        (_two_places(["a"], ["B04"], 0.1), r"same locations; received .*s2 1.*drop_vars"),
        (_two_places(["a", "b"], ["B04"], 0.1).isel(time=[1]), r"same dates; received .*s2 1"),
        (
            _two_places(["a", "b"], ["B04"], 0.1).assign_coords(time=["x", "y"]),
            r"same dates; received .*2023-04-01.* s2 2, the first x.*select",
        ),
        (_mine(["B04"], 0.1), r"same locations; received s1 2.*s2 none"),
    ],
)
def test_collections_of_other_places_and_dates_are_refused(two: xr.DataArray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.as_cube(s1=_two_places(["a", "b"], ["vv"], -10.0), s2=two)


def test_one_image_of_a_place_may_stand_beside_several_dates() -> None:
    one = _two_places(["a", "b"], ["vv"], -10.0).isel(time=0)
    cube = xc.as_cube(s1=one, s2=_two_places(["b", "a"], ["B04"], 0.1))
    assert cube.s1.dims == ("location", "s1_band", "y", "x")
    assert cube.s2.dims == ("location", "date", "s2_band", "y", "x")
    assert repr(cube.contrast)


def test_times_that_all_places_share_are_those_of_each() -> None:
    cube = xc.as_cube(s2=_places(["before", "after"], ["B04"], 0.3))
    times = NOON + np.array([0, 10]) * np.timedelta64(1, "D")
    timed = cube.assign_coords(s2_time=("date", times))
    found = xc.pairs(timed, kind="seasonal", gap="10D")
    assert found.s2_time.dims == ("pair", "date")
    assert found.s2_time.values.tolist() == [times.tolist()] * 2
    with pytest.raises(DataError, match="at least 11 days"):
        xc.pairs(timed, kind="seasonal", gap="11D")


def test_a_label_of_one_sensor_beside_the_dates_of_the_other_keeps_apart() -> None:
    one = _places(["before", "after"], ["vv"], -12).isel(time=0).rename(time="date")
    cube = xc.as_cube(s1=one, s2=_places(["before", "after"], ["B04"], 0.3))
    assert cube.s1_date.item() == "before"
    assert cube.date.values.tolist() == ["before", "after"]
