from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import xarray as xr
from archives import ORIGIN, item, ssl4eo_items, write_band
from scenes import planted_cube
from servers import serve_api

import xcontrast as xc
from xcontrast.cubes.periods import parse_period, read_span
from xcontrast.errors import DataError, SourceError

N = 64
BANDS = {"s2": ("B04", "B11")}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[pystac.Item]:
    """One ground, reflectance 0.2 in B04 and 0.3 in B11, in products of several kinds."""
    folder = tmp_path_factory.mktemp("archive")
    made = []
    for day, baseline, applied in (
        ("2021-06-01", "02.14", False), ("2021-06-11", "03.01", False),
        ("2022-06-01", "04.00", False), ("2023-06-01", "05.09", False),
        ("2023-06-11", "05.09", True),
    ):  # fmt: skip
        shift = 1000 if float(baseline) >= 4 and not applied else 0
        b04 = np.full((N, N), 2000 + shift, "uint16")
        b04[:4, :4] = 0
        scl = np.full((N // 2, N // 2), 4, "uint8")
        scl[-4:, -4:] = 9
        files = {
            "B04": write_band(folder / day / "B04.tif", b04),
            "B11": write_band(
                folder / day / "B11.tif", np.full((N // 2, N // 2), 3000 + shift, "uint16"), cell=20
            ),
            "SCL": write_band(folder / day / "SCL.tif", scl, cell=20),
        }
        facts = {"s2:processing_baseline": baseline, "eo:cloud_cover": 5.0}
        if applied:
            facts["earthsearch:boa_offset_applied"] = True
        made.append(item(f"s2-{day}", "sentinel-2-l2a", f"{day}T10:00:00", files, facts))
    for when, orbit, state, power in (
        ("2023-06-02T05:10:00", 100, "descending", 0.1),
        ("2023-06-02T17:05:00", 107, "ascending", 0.01),
    ):
        vv = np.full((N, N), power, "float32")
        vv[:, :3] = -32768
        files = {
            "vv": write_band(folder / f"{orbit}" / "vv.tif", vv),
            "vh": write_band(folder / f"{orbit}" / "vh.tif", vv * 0.1),
        }
        facts = {
            "sat:orbit_state": state, "sat:absolute_orbit": orbit, "sat:relative_orbit": orbit % 7,
            "platform": "sentinel-1a",
        }  # fmt: skip
        made.append(item(f"s1-{orbit}", "sentinel-1-rtc", when, files, facts))
    return made


@pytest.fixture(scope="module")
def geobox():
    from odc.geo.geobox import GeoBox

    x, y = ORIGIN
    return GeoBox.from_bbox((x, y - 10 * N, x + 10 * N, y), "EPSG:32632", resolution=10)


def _open(items: list[pystac.Item], geobox, datetime: str = "2021/2023", **options) -> xr.Dataset:
    arguments = {"source": items, "bands": BANDS} | options
    return xc.open_cube(geobox=geobox, datetime=datetime, **arguments)


def test_every_baseline_gives_the_same_reflectance(items: list, geobox, no_compute: None) -> None:
    import dask

    cube = _open(items, geobox)
    with dask.config.set(scheduler="synchronous"):
        s2 = cube.s2.compute()
    assert s2.dtype == np.float32
    ground = s2.isel(y=slice(10, 40), x=slice(10, 40))
    np.testing.assert_allclose(ground.sel(s2_band="B04"), 0.2, rtol=1e-5)
    np.testing.assert_allclose(ground.sel(s2_band="B11"), 0.3, rtol=1e-5)
    assert cube.s2_processing_baseline.values.tolist() == [
        "02.14",
        "03.01",
        "04.00",
        "05.09",
        "05.09",
    ]
    assert (np.diff(cube.s2_time.values) > np.timedelta64(0)).all()
    assert cube.s2_cloud_cover.values.tolist() == [5.0] * 5


EARTH_SEARCH = {"B04": "red", "B11": "swir16", "SCL": "scl"}


@pytest.mark.parametrize("applied", [True, False, None])
def test_earth_search_names_and_flag_give_the_same_reflectance(
    applied: bool | None, tmp_path: Path, geobox
) -> None:
    """Its own asset keys, and an offset of -0.1 advertised even where it is taken off already."""
    shift = 0 if applied else 1000
    values = {"B04": 2000 + shift, "B11": 3000 + shift, "SCL": 4}
    files = {
        EARTH_SEARCH[band]: write_band(
            tmp_path / f"{band}.tif",
            np.full((N, N), value, "uint8" if band == "SCL" else "uint16"),
        )
        for band, value in values.items()
    }
    facts = {"s2:processing_baseline": "05.09", "eo:cloud_cover": 5.0}
    if applied is not None:
        facts["earthsearch:boa_offset_applied"] = applied
    made = item("S2A_32TPQ_20230601_0_L2A", "sentinel-2-l2a", "2023-06-01T10:00:00", files, facts)
    for key in ("red", "swir16"):
        made.assets[key].extra_fields["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    if applied is None:
        # Keys that say nothing, and STAC 1.1's place for what they mean.
        for key in ("red", "swir16"):
            asset = made.assets.pop(key)
            asset.extra_fields["bands"] = [{"eo:common_name": key}]
            made.assets[f"measurement_{key}_1"] = asset
    s2 = _open([made], geobox, "2023", sensors=("s2",)).s2.values
    np.testing.assert_allclose(s2[0, 0], 0.2, rtol=1e-5)
    np.testing.assert_allclose(s2[0, 1], 0.3, rtol=1e-5)


def test_no_data_and_clouds_are_nan(items: list, geobox) -> None:
    s2 = _open(items, geobox).s2.compute()
    assert np.isnan(s2.sel(s2_band="B04")[:, :4, :4]).all()
    assert np.isnan(s2[:, :, -8:, -8:]).all()
    open_sky = xc.CubeOptions(invalid_scl=())
    assert np.isfinite(_open(items, geobox, options=open_sky).s2[:, :, -8:, -8:].values).all()


def test_orbits_of_one_day_are_never_mixed(items: list, geobox) -> None:
    cube = _open(items, geobox, "2023")
    assert cube.s1_orbit_state.values.tolist() == ["descending", "ascending"]
    s1 = cube.s1.compute()
    np.testing.assert_allclose(s1[:, 0, :, 4:].mean(("y", "x")), [-10, -20], rtol=1e-4)
    np.testing.assert_allclose(s1[:, 1, :, 4:].mean(("y", "x")), [-20, -30], rtol=1e-4)
    assert np.isnan(s1[:, :, :, :3]).all()
    one = _open(items, geobox, "2023", options=xc.CubeOptions(orbit_state="ascending"))
    assert one.sizes["s1_time"] == 1


def test_the_grid_is_right_for_both_libraries(items: list, geobox) -> None:
    cube = _open(items, geobox)
    assert cube.odc.geobox == cube.s1.odc.geobox == geobox
    assert cube.rio.crs.to_epsg() == 32632
    assert cube.rio.transform() == geobox.transform
    assert cube.s1.chunks[-2:] == ((N,), (N,))
    # Pictures and areas go by them.
    assert cube.x.attrs["units"] == cube.s1.y.attrs["units"] == "metre"


def test_a_bbox_gets_the_utm_grid_of_its_centre(items: list) -> None:
    west, south, east, north = items[0].bbox
    cube = xc.open_cube(
        bbox=(west, south, east, north), datetime="2023", source=items, resolution=20, bands=BANDS
    )
    box = cube.odc.geobox
    assert box.crs.epsg == 32632
    assert box.resolution.x == 20
    assert box.boundingbox.left % 20 == box.boundingbox.top % 20 == 0
    assert float(cube.s2.sel(s2_band="B04").isel(s2_time=0)[10, 10]) == pytest.approx(0.2, rel=1e-4)


def test_tiles_of_one_day_are_mosaicked_each_with_its_own_offset(tmp_path: Path, geobox) -> None:
    half = N // 2
    made = []
    for side, baseline, number in ((0, "03.01", 2000), (1, "05.09", 3000)):
        origin = (ORIGIN[0] + side * half * 10, ORIGIN[1])
        files = {
            band: write_band(tmp_path / f"{side}{band}.tif", np.full((N, half), number, "uint16"),
                             origin=origin)
            for band in ("B04", "B11")
        }  # fmt: skip
        made.append(
            item(f"t{side}", "sentinel-2-l2a", f"2023-06-01T10:00:0{side}", files,
                 {"s2:processing_baseline": baseline})
        )  # fmt: skip
    cube = _open(made, geobox, "2023", sensors=("s2",))
    assert cube.sizes["s2_time"] == 1
    np.testing.assert_allclose(cube.s2.values, 0.2, rtol=1e-5)
    assert cube.s2_processing_baseline.values.tolist() == ["03.01, 05.09"]


def _catalog(items: list[pystac.Item], folder: Path) -> Path:
    top = pystac.Catalog("top", "A test archive")
    for name in sorted({i.collection_id for i in items}):
        spatial = pystac.SpatialExtent([[-180, -90, 180, 90]])
        extent = pystac.Extent(spatial, pystac.TemporalExtent([[None, None]]))
        collection = pystac.Collection(name, name, extent)
        top.add_child(collection)
        collection.add_items([i.clone() for i in items if i.collection_id == name])
    top.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


@pytest.fixture(scope="module")
def server(items: list, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real STAC API over the items."""
    # An address without a scheme would be taken as the server's own.
    for found in (served := [i.clone() for i in items]):
        for asset in found.assets.values():
            asset.href = f"file://{asset.href}"
    with serve_api(served, tmp_path_factory.mktemp("api")) as address:
        yield address


def test_a_static_catalog_an_api_and_items_give_one_cube(
    items: list, geobox, server: str, tmp_path: Path
) -> None:
    reference = _open(items, geobox).compute()
    for source in (_catalog(items, tmp_path), server):
        found = _open(items, geobox, source=source).compute()
        # The catalogs name the files by other paths, so that their reads have other names.
        found.attrs["xcontrast_reads"] = reference.attrs["xcontrast_reads"]
        xr.testing.assert_identical(found, reference)


def test_items_outside_the_period_or_the_sky_limit_are_left_out(items: list, geobox) -> None:
    cube = _open(items, geobox, "2023-06-10/..", sensors=("s2",))
    assert cube.sizes["s2_time"] == 1
    with pytest.raises(DataError, match=r"Sentinel-2 items in .*max_cloud=1"):
        _open(items, geobox, max_cloud=1)


def test_one_radar_and_one_optical_sensor_of_real_data(data_dir: Path) -> None:
    items = ssl4eo_items(data_dir / "ssl4eo")
    bbox = items[0].bbox
    cube = xc.open_cube(bbox=tuple(bbox), datetime="2020", source=items)
    assert cube.sizes["s1_time"] == cube.sizes["s2_time"] == 2
    assert cube.odc.geobox.crs.epsg == 32643
    assert 230 < cube.sizes["y"] < 300
    assert cube.s1_orbit_state.values.tolist() == ["descending", "ascending"]
    assert cube.s2_processing_baseline.values.tolist() == ["02.14", "02.14"]
    loaded = cube.compute()
    middle = loaded.isel(y=slice(60, 180), x=slice(60, 180))
    assert -20 < float(middle.s1.median()) < -5
    assert 0.02 < float(middle.s2.sel(s2_band="B04").median()) < 0.4
    assert middle.s1.notnull().mean() > 0.99

    pairs = cube.contrast.pairs(tolerance="3D")
    assert pairs.sizes["pair"] == 1
    assert str(pairs.s1_time.values[0])[:10] == "2020-06-07"
    assert str(pairs.s2_time.values[0])[:10] == "2020-06-04"
    assert np.timedelta64(67, "h") == pairs.lag.values[0].astype("timedelta64[h]")


def test_real_pixels_on_their_native_grid_are_untouched(data_dir: Path) -> None:
    from odc.geo.geobox import GeoBox

    items = [i for i in ssl4eo_items(data_dir / "ssl4eo") if i.collection_id == "sentinel-2-l2a"]
    path = items[0].assets["B4"].href
    with rasterio.open(path) as file:
        native = GeoBox(file.shape, file.transform, str(file.crs))
        truth = file.read(1)
    cube = xc.open_cube(
        geobox=native, datetime="2020-06", sensors=("s2",), source=items, bands=["B4"]
    )
    np.testing.assert_allclose(cube.s2.values[0, 0], truth / 10_000, rtol=1e-5)


def test_real_embeddings_keep_crs_and_coordinates(data_dir: Path, tmp_path: Path) -> None:
    items = ssl4eo_items(data_dir / "ssl4eo")
    cube = xc.open_cube(bbox=tuple(items[0].bbox), datetime="2020", source=items)
    # The scene's UTM box is wider than the tilted tile: its corners are empty.
    chips = cube.contrast.pairs().contrast.chips(size=64, stride=32)
    options = xc.PretrainOptions(progress=False)
    model = xc.pretrain(chips, max_steps=0, out=tmp_path / "m", options=options)
    emb = cube.contrast.embed(model)
    for sensor in ("s1", "s2"):
        grid = cube.odc.geobox.zoom_out(4)
        assert emb[sensor].odc.geobox == grid
        assert emb[sensor].rio.crs.to_epsg() == 32643
        assert emb[sensor].rio.transform() == grid.transform
        values = emb[sensor].isel({f"{sensor}_time": 0}).values
        assert np.isfinite(values[:, 20:-20, 20:-20]).all()
        np.testing.assert_array_equal(emb[sensor][f"{sensor}_time"], cube[f"{sensor}_time"])


def test_real_radar_in_radar_geometry_is_refused(data_dir: Path) -> None:
    path = data_dir / "pc_stac" / "sentinel-1-grd.items.json"
    found = list(pystac.ItemCollection.from_file(str(path)))
    with pytest.raises(DataError, match=r"on a map grid.*radar geometry.*sentinel-1-rtc"):
        xc.open_cube(bbox=tuple(found[0].bbox), datetime="2000/..", sensors=("s1",), source=found)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2023-04/2023-06", "2023-04-01", "2023-06-30T23:59:59"),
        ("2023-05-16", "2023-05-16", "2023-05-16T23:59:59"),
        ("2023-01-01T10:00:00Z/..", "2023-01-01T10:00:00", None),
        ("../2023", None, "2023-12-31T23:59:59"),
    ],
)
def test_periods(text: str, start: str | None, end: str | None) -> None:
    got = [None if t is None else t.strftime("%Y-%m-%dT%H:%M:%S") for t in parse_period(text)]
    expected = [v if v is None or "T" in v else f"{v}T00:00:00" for v in (start, end)]
    assert got == expected


@pytest.mark.parametrize(
    "text", ["soon", "2023-06/2023-04", "2023//2024", "..", "2023-13", "April 2023"]
)
def test_periods_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="Expected a date, month or year"):
        parse_period(text)


@pytest.mark.parametrize(
    "span", ["3D", "72:00:00", pd.Timedelta("3D"), dt.timedelta(3), np.timedelta64(3, "D"), "P3D"]
)
def test_spans(span: object) -> None:
    assert read_span(span, "gap") == pd.Timedelta(3, "D")


@pytest.mark.parametrize("span", [60, 60.0, np.int64(60), True, "60", "", None, "-3D", "NaT", []])
def test_spans_that_are_none(span: object) -> None:
    with pytest.raises(DataError, match=r"Expected a gap of at least zero, such as '3D' or '12h'"):
        read_span(span, "gap")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, DataError, r"either a bbox or a geobox; received neither"),
        ({"bbox": (11, 44, 10, 45)}, DataError, r"west < east.*antimeridian"),
        ({"bbox": (11, 45, 12, 45)}, DataError, r"south < north"),
        ({"bbox": (9, 45, 9.1, 45.1), "sensors": ("s3",)}, DataError, "'s1' and/or 's2'"),
        ({"bbox": (9, 45, 9.1, 45.1), "datetime": "x"}, DataError, "a date, month or year"),
        ({"bbox": (40, 45, 40.1, 45.1)}, DataError, r"Sentinel-1 items.*but elsewhere"),
        (
            {"bbox": (9, 45.14, 9.01, 45.15), "datetime": "2030"},
            DataError,
            r"received none; the source has it there from 2023-06-02 to 2023-06-02",
        ),
        (
            {"bbox": (9, 45.14, 9.01, 45.15), "bands": None},
            DataError,
            r"assets for the Sentinel-2 bands.*without B02.*bands=",
        ),
    ],
)
def test_bad_calls(items: list, call: dict, error: type, message: str) -> None:
    arguments = {"datetime": "2021/2023", "source": items, "bands": BANDS, **call}
    with pytest.raises(error, match=message):
        xc.open_cube(**arguments)


@pytest.mark.parametrize("source", ["nowhere/catalog.json", "http://127.0.0.1:9/stac"])
def test_sources_that_are_none(source: str) -> None:
    with pytest.raises(
        SourceError, match=r"Expected a (static catalog|STAC API).*check the address"
    ):
        xc.open_cube(bbox=(9, 45, 9.1, 45.1), datetime="2023", source=source)


def test_a_file_that_is_no_catalog(tmp_path: Path) -> None:
    for text in ("hello", '{"type": "thing"}'):
        (tmp_path / "catalog.json").write_text(text)
        with pytest.raises(SourceError, match="Expected a STAC API, a static catalog"):
            xc.open_cube(bbox=(9, 45, 9.1, 45.1), datetime="2023", source=tmp_path / "catalog.json")


@pytest.mark.parametrize(
    ("orbits", "states", "told"),
    [
        ([15, 95], None, "orbits 15, 95;"),
        ([15.0, np.nan], ["ascending", "descending"], "orbits 15 ascending;"),
        ([95, 15], np.array(["descending", None], object), "orbits 15, 95 descending;"),
        ([np.nan, np.nan], None, "longest gap 12 d from 2023-04-01; vv, vh"),
    ],
)
def test_a_cube_tells_the_orbits_that_are_known(
    orbits: list[float], states: object, told: str
) -> None:
    coords = {"s1_relative_orbit": ("s1_time", orbits)}
    if states is not None:
        coords["s1_orbit_state"] = ("s1_time", states)
    assert told in repr(planted_cube(32).assign_coords(coords).contrast)


def test_a_cube_in_any_order_tells_its_first_and_last_date() -> None:
    text = repr(planted_cube(32, n_times=3).isel(s1_time=[2, 0, 1], s2_time=[1, 2, 0]).contrast)
    assert "2023-04-01 to 2023-04-25; longest gap 12 d from 2023-04-01" in text
    assert "2023-04-02 to 2023-04-26" in text
