"""Items of other archives and awkward days: planted values, one file a band."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import xarray as xr
from archives import ORIGIN, item, write_band
from odc.geo.geobox import GeoBox
from pyproj import Transformer

import xcontrast as xc
from xcontrast.cubes.collecting import gather
from xcontrast.cubes.files import find_files
from xcontrast.cubes.loading import number_passes
from xcontrast.cubes.sources import ItemList
from xcontrast.errors import DataError

N = 32
X, Y = ORIGIN
GRID = GeoBox.from_bbox((X, Y - 10 * N, X + 10 * N, Y), "EPSG:32632", resolution=10)
TALL = GeoBox.from_bbox((X, Y - 15 * N, X + 10 * N, Y), "EPSG:32632", resolution=10)
MIDDLE = GRID[N // 2 + 4 : N - 4, 4 : N - 4]
A = {"platform": "sentinel-1a", "sat:relative_orbit": 15, "sat:orbit_state": "ascending"}


def _radar(
    root: Path, name: str, when: str, power: float, facts: dict[str, Any], **place: Any
) -> pystac.Item:
    values = np.full((N, N), power, "float32")
    files = {band: write_band(root / name / f"{band}.tif", values, **place) for band in xc.S1.bands}
    return item(name, "sentinel-1-rtc", when, files, facts)


def _open(items: list[pystac.Item], grid: GeoBox = GRID, **given: Any) -> xr.Dataset:
    given = {"datetime": "2015/2023", "sensors": ("s1",)} | given
    return xc.open_cube(geobox=grid, source=items, **given).compute()


PASSES = [
    (
        "two platforms count alike",
        [("2015-12-01T05:30:00", A | {"sat:absolute_orbit": 9000}),
         ("2018-01-05T05:30:00", A | {"sat:absolute_orbit": 9000, "platform": "sentinel-1b"})],
        [0, 1],
    ),
    ("no facts, morning and evening", [("2023-04-01T05:00:00", {}), ("2023-04-01T17:00:00", {})],
     [0, 1]),
    ("no facts, over midnight", [("2023-04-01T23:59:50", {}), ("2023-04-02T00:00:10", {})], [0, 0]),
    (
        "over the equator",
        [("2023-04-01T17:00:00", A | {"sat:absolute_orbit": 100}),
         ("2023-04-01T17:00:25", A | {"sat:absolute_orbit": 101})],
        [0, 0],
    ),
    (
        "the next orbit",
        [("2023-04-01T17:00:00", A | {"sat:absolute_orbit": None}),
         ("2023-04-01T18:38:00", A | {"sat:absolute_orbit": None})],
        [0, 1],
    ),
    ("one orbit number, far apart", [("2023-04-01T17:00:00", A), ("2023-04-01T17:30:01", A)],
     [0, 1]),
    ("platforms written in two ways", [("2023-04-01T17:00:00", A),
     ("2023-04-01T17:30:00", A | {"platform": "SENTINEL-1A"})], [0, 0]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "steps"), PASSES, ids=[p[0] for p in PASSES])
def test_a_pass_is_one_platform_without_a_gap(
    name: str, made: list, steps: list[int], tmp_path: Path
) -> None:
    """The second image lies half an image to the south of the first, at a tenth of its power."""
    items = [
        _radar(tmp_path, str(n), when, 10.0 ** -(n + 1), facts, origin=(X, Y - 5 * N * n))
        for n, (when, facts) in enumerate(made)
    ]
    assert number_passes(items) == steps
    assert [n == steps[1] for n in number_passes(items[::-1])] == [True, steps[0] == steps[1]]
    cube = _open(items, TALL)
    n_steps = steps[1] + 1
    assert cube.sizes["s1_time"] == n_steps
    assert cube.s1_time.values[0] == np.datetime64(made[0][0], "ns")
    np.testing.assert_allclose(cube.s1[0, 0, :N], -10, rtol=1e-5)
    np.testing.assert_allclose(cube.s1[-1, 0, N:], -20, rtol=1e-5)
    assert np.isnan(cube.s1[0, 0, N:]).all() == (n_steps == 2)
    # A collection goes by the same passes; where both images lie each covers the ground alone.
    place = gather._Place(SimpleNamespace(max_cloud=80), ItemList(items), xc.CubeOptions(), MIDDLE)
    start, end = pd.Timestamp("2015", tz="UTC"), pd.Timestamp("2024", tz="UTC")
    assert len(place.find(xc.S1, start, end)) == n_steps


def _optical(
    root: Path, name: str, when: str, numbers: dict[str, Any], dtype: str = "uint16", **facts: Any
) -> pystac.Item:
    files = {
        key: write_band(root / name / f"{key}.tif", np.full((N, N), number, dtype))
        for key, number in numbers.items()
    }
    facts = {"s2:processing_baseline": "05.09"} | facts
    return item(name, "sentinel-2-l2a", when, files, facts)


RED = {"sensors": ("s2",), "bands": {"s2": ("B04",)}}


def test_null_is_not_stated(tmp_path: Path) -> None:
    optical = [
        _optical(
            tmp_path, f"o{n}", f"2023-04-0{n + 1}T10:00:00", {"B04": 4000}, **{"eo:cloud_cover": c}
        )
        for n, c in enumerate((None, 5.0, 50.0))
    ]
    cube = _open(optical, **RED)
    np.testing.assert_array_equal(cube.s2_cloud_cover, [np.nan, 5, 50])
    assert cube.s2_cloud_cover.dtype == float
    assert _open(optical, max_cloud=20, **RED).sizes["s2_time"] == 2
    names = ("platform", "sat:orbit_state", "sat:relative_orbit", "sat:absolute_orbit")
    cube = _open([_radar(tmp_path, "r", "2023-04-01T05:00:00", 0.1, dict.fromkeys(names))])
    assert cube.s1_orbit_state.values.tolist() == ["unknown"]
    assert cube.s1_relative_orbit.values.tolist() == [-1]
    assert cube.s1_platform.values.tolist() == ["unknown"]
    np.testing.assert_allclose(cube.s1[0, 0], -10, rtol=1e-5)


def test_a_collection_of_radar_that_states_null(tmp_path: Path) -> None:
    facts = {"sat:relative_orbit": None, "sat:absolute_orbit": None}
    found = gather._orbit([_radar(tmp_path, "r", "2023-04-01T05:00:00", 0.1, facts)])
    assert found == -1


@pytest.mark.parametrize("shift", [0, 4], ids=["on the pixels", "resampled"])
@pytest.mark.parametrize("nodata", [-9999.0, 0.0, -32768.0, np.nan, None])
@pytest.mark.parametrize("unit", ["dB", "1"])
def test_no_data_of_a_radar_file_is_what_the_file_says(
    unit: str, nodata: float | None, shift: int, tmp_path: Path
) -> None:
    """No data in the north; where it is resampled none of it may seep into its neighbours."""
    values = np.full((N, N), -10.0 if unit == "dB" else 0.1, "float32")
    values[: N // 2] = -32768 if nodata is None else nodata
    file = write_band(tmp_path / "vv.tif", values, nodata=nodata)
    made = item("r", "sentinel-1-rtc", "2023-04-01T05:00:00", {"vv": file}, A)
    made.assets["vv"].extra_fields["raster:bands"] = [{"unit": unit}]
    moved = GRID.affine * GRID.affine.translation(-0.03 * shift, 0.1 * shift)
    grid = GeoBox(GRID.shape, moved, GRID.crs)
    cube = _open([made], grid, bands={"s1": ("vv",)})
    radar = cube.s1[0, 0]
    assert np.isnan(radar[: N // 2 - 1]).all()
    np.testing.assert_allclose(radar.values[np.isfinite(radar)], -10, rtol=1e-5)
    np.testing.assert_array_equal(cube.s1_valid[0], np.isfinite(radar))
    assert np.isfinite(radar[N // 2 :, 1:-1]).sum() >= (N // 2 - 1) * (N - 2)


@pytest.mark.parametrize(
    "stated",
    [
        {"raster:bands": [{"unit": "dB"}]},
        {"bands": [{"name": "vv", "unit": "dB"}]},
        {"unit": "dB"},
        {"raster:bands": [{"unit": None}], "bands": [], "unit": "db"},
    ],
)
def test_decibels_wherever_they_are_stated(stated: dict[str, Any], tmp_path: Path) -> None:
    made = _radar(tmp_path, "r", "2023-04-01T05:00:00", -12, A)
    for asset in made.assets.values():
        asset.extra_fields |= stated
    np.testing.assert_array_equal(_open([made]).s1, -12)


OLD, NEW = {"s2:processing_baseline": "03.01"}, {"s2:processing_baseline": "05.09"}
NONE = {"s2:processing_baseline": None}
APPLIED = NEW | {"earthsearch:boa_offset_applied": True}
NUMBERS = [
    # What is stated of the band, and of the item; the number in the file; its reflectance.
    ({"data_type": "float32", "scale": 1.0}, NEW, 0.3, 0.3),
    ({"data_type": "float32"}, NEW, 0.3, 0.3),
    ({"data_type": "float32", "scale": 1, "offset": 0.1}, NEW, 0.3, 0.4),
    ({"data_type": "float32", "scale": 1e-4, "offset": -0.1}, NEW, 4000, 0.3),
    ({"data_type": "uint16", "scale": 1.0, "offset": 0.0}, NEW, 4000, 0.3),
    ({"data_type": "uint16", "scale": 1e-4, "offset": -0.1}, NEW, 4000, 0.3),
    ({"data_type": "uint16", "scale": 1e-4, "offset": -0.1}, APPLIED, 3000, 0.3),
    ({"data_type": "uint16", "scale": 1e-4, "offset": -0.1}, OLD, 3000, 0.3),
    ({"data_type": "uint16", "scale": 1e-4, "offset": -0.1}, NONE, 4000, 0.3),
    ({"data_type": "uint16", "scale": 2e-5, "offset": -0.2}, NEW, 25000, 0.3),
    ({}, NEW, 4000, 0.3),
    ({}, NONE, 3000, 0.3),
]


@pytest.mark.parametrize("place", ["raster:bands", "bands", "asset"])
@pytest.mark.parametrize(("stated", "facts", "number", "reflectance"), NUMBERS)
def test_numbers_mean_what_is_stated_of_them(
    stated: dict, facts: dict, number: float, reflectance: float, place: str, tmp_path: Path
) -> None:
    dtype = stated.get("data_type", "uint16")
    made = _optical(tmp_path, "o", "2023-04-01T10:00:00", {"B04": number}, dtype, **facts)
    if place == "asset":
        stated = {k if k == "data_type" else f"raster:{k}": v for k, v in stated.items()}
    made.assets["B04"].extra_fields |= stated if place == "asset" else {place: [stated]}
    cube = _open([made], **RED)
    np.testing.assert_allclose(cube.s2, reflectance, rtol=1e-5)
    assert cube.s2_valid.all()


def test_no_data_of_reflectance_is_what_the_file_says(tmp_path: Path) -> None:
    values = np.full((N, N), 0.3, "float32")
    values[:4], values[4:8] = -9999, 0
    file = write_band(tmp_path / "B04.tif", values, nodata=-9999)
    made = item("o", "sentinel-2-l2a", "2023-04-01T10:00:00", {"B04": file}, NEW)
    made.assets["B04"].extra_fields["raster:bands"] = [{"data_type": "float32"}]
    red = _open([made], **RED).s2[0, 0]
    assert np.isnan(red[:4]).all()
    np.testing.assert_array_equal(red[4:8], 0)
    np.testing.assert_allclose(red[8:], 0.3, rtol=1e-6)


PICTURES = [
    # Numbers by key, the bands that are described by key; the key that is read as B04.
    ({"visual": 77, "red": 4000}, {"visual": ["red", "green", "blue"]}, "red"),
    ({"visual": 77, "file": 4000}, {"visual": ["red", "green", "blue"], "file": ["red"]}, "file"),
    ({"red-jp2": 77, "red": 4000}, {"red-jp2": ["red"], "red": ["red"]}, "red"),
    ({"first": 4000, "second": 77}, {"first": ["B04"], "second": ["B04"]}, "first"),
    ({"red": 77, "B04": 4000}, {}, "B04"),
    ({"B04": 4000}, {"B04": ["red", "green"]}, "B04"),
]


@pytest.mark.parametrize("place", ["eo:bands", "bands"])
@pytest.mark.parametrize(("numbers", "bands", "read"), PICTURES)
def test_a_band_is_read_from_its_own_file(
    numbers: dict, bands: dict, read: str, place: str, tmp_path: Path
) -> None:
    made = _optical(tmp_path, "o", "2023-04-01T10:00:00", numbers)
    for key, names in bands.items():
        made.assets[key].extra_fields[place] = [{"name": name} for name in names]
    assert find_files(made, xc.S2, ["B04"]).bands[0].asset == read
    np.testing.assert_allclose(_open([made], **RED).s2, 0.3, rtol=1e-5)


def test_a_picture_alone_is_no_band(tmp_path: Path) -> None:
    made = _optical(tmp_path, "o", "2023-04-01T10:00:00", {"visual": 77})
    made.assets["visual"].extra_fields["eo:bands"] = [{"name": n} for n in ("red", "green", "blue")]
    with pytest.raises(DataError, match=r"assets for the Sentinel-2 bands B04.*it has visual"):
        _open([made], **RED)


@pytest.mark.parametrize("classes", [{}, {"SCL": 4}], ids=["first band", "scene classes"])
def test_an_item_that_lacks_a_band_is_not_valid(classes: dict, tmp_path: Path) -> None:
    days = [{"B04": 4000, "B08": 4000}, {"B04": 4000}, {"B08": 4000}]
    items = [
        _optical(tmp_path, str(n), f"2023-04-0{n + 1}T10:00:00", numbers | classes)
        for n, numbers in enumerate(days)
    ]
    cube = _open(items, sensors=("s2",), bands={"s2": ("B04", "B08")})
    np.testing.assert_array_equal(cube.s2_valid.mean(("y", "x")), [1, 0, 0])
    np.testing.assert_array_equal(cube.s2_valid, np.isfinite(cube.s2).all("s2_band"))
    np.testing.assert_allclose(cube.s2[:, 0].mean(("y", "x")), [0.3, 0.3, np.nan], rtol=1e-5)


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
def test_the_value_does_not_depend_on_the_chunks_in_another_zone(
    resampling: str, tmp_path: Path
) -> None:
    """White noise, the worst of all grounds; and a plane, of which every pixel is known."""
    n = 256
    rng = np.random.default_rng(0)
    power = write_band(tmp_path / "vv.tif", rng.uniform(0.05, 0.2, (n, n)).astype("float32"))
    rows, columns = np.mgrid[:n, :n]
    plane = write_band(tmp_path / "B04.tif", (2000 + 8 * rows + 16 * columns).astype("uint16"))
    radar = item("r", "sentinel-1-rtc", "2023-04-01T05:00:00", {"vv": power}, A)
    red = item("o", "sentinel-2-l2a", "2023-04-01T10:00:00", {"B04": plane}, OLD)
    native = GeoBox((200, 200), GRID.affine * GRID.affine.translation(28, 28), GRID.crs)
    grid = native.to_crs("EPSG:32633")
    given = {"sensors": ("s1", "s2"), "bands": {"s1": ("vv",), "s2": ("B04",)}}
    given["options"] = xc.CubeOptions(resampling=resampling)
    whole = _open([radar, red], grid, chunks={"y": -1, "x": -1}, **given)
    for chunks in ({"y": 37, "x": 53}, {"y": 16, "x": 16}):
        parts = _open([radar, red], grid, chunks=chunks, **given)
        np.testing.assert_allclose(parts.s1, whole.s1, atol=0.005)
        np.testing.assert_allclose(parts.s2, whole.s2, atol=1e-6)
    to_file = Transformer.from_crs(32633, 32632, always_xy=True)
    x, y = to_file.transform(*np.meshgrid(whole.x, whole.y))
    column, row = (x - X) / 10 - 0.5, (Y - y) / 10 - 0.5
    known = (row > 0) & (row < n - 1) & (column > 0) & (column < n - 1)
    expected = (2000 + 8 * row + 16 * column) * 1e-4
    np.testing.assert_allclose(whole.s2.values[0, 0][known], expected[known], atol=1e-4)


def test_a_coarse_grid_of_another_zone_is_an_average(tmp_path: Path) -> None:
    """Stripes of one pixel: at 80 m their mean, from overviews or not."""
    n = 1024
    stripes = np.where(np.arange(n) % 2, 2000, 4000)[:, None] * np.ones(n)
    made = item(
        "o",
        "sentinel-2-l2a",
        "2023-04-01T10:00:00",
        {"B04": write_band(tmp_path / "B04.tif", stripes.astype("uint16"))},
        OLD,
    )
    grid = GeoBox.from_bbox((X + 2000, Y - 8000, X + 8000, Y - 2000), "EPSG:32632", resolution=80)
    red = _open([made], grid.to_crs("EPSG:32633"), **RED).s2[0, 0]
    np.testing.assert_allclose(red, 0.3, atol=0.01)
