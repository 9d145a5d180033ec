"""Finding items: real answers of the Planetary Computer behind a real STAC API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import serve_api

import xcontrast as xc
from xcontrast.cubes.catalog import find_items, newest_processing
from xcontrast.cubes.radiometry import boa_offset, processing_baseline
from xcontrast.cubes.sources import ItemList, open_source
from xcontrast.cubes.zones import REACH, areas_of, choose_chunks, choose_grid
from xcontrast.errors import DataError, SourceError

WORLD = [(-180.0, -90.0, 180.0, 90.0)]
ZONES = {"EPSG:32612": 198, "EPSG:32613": 701, "EPSG:32614": 101}


@pytest.fixture(scope="module")
def colorado(data_dir: Path) -> list[pystac.Item]:
    path = data_dir / "pc_stac" / "sentinel-2-l2a.1000-colorado-2024.items.json"
    return list(pystac.ItemCollection.from_file(str(path)))


@pytest.fixture(scope="module")
def api(colorado: list, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_api(colorado, tmp_path_factory.mktemp("colorado")) as address:
        yield address


def _zones(items: list[pystac.Item]) -> dict[str, int]:
    codes = [i.properties["proj:code"] for i in items]
    return {code: codes.count(code) for code in sorted(set(codes))}


def test_an_api_is_paged_to_its_last_item(api: str, colorado: list) -> None:
    found = open_source(api).search(xc.S2, bbox=WORLD[0], period=(None, None))
    assert sorted(i.id for i in found) == sorted(i.id for i in colorado)
    assert _zones(found) == ZONES
    # Links of the Planetary Computer stay what they are, unsigned, however the items come.
    assert all("sig=" not in a.href for a in found[0].assets.values())


def test_an_api_and_the_list_agree_on_every_limit(api: str, colorado: list) -> None:
    box, period = (-106.2, 38.9, -105.6, 39.4), "2024-07-20/2024-08-10"
    for cloud in (None, 20.0):
        arguments = {"sensor": xc.S2, "boxes": [box], "datetime": period, "max_cloud": cloud}
        listed = find_items(colorado, **arguments)
        asked = find_items(api, **arguments)
        # The API goes by footprints, the list by their boxes.
        area = shapely.box(*box)
        meets = [i for i in listed if shapely.intersects(shapely.geometry.shape(i.geometry), area)]
        assert [i.id for i in asked] == [i.id for i in meets]
        assert meets
    covers = [i.properties["eo:cloud_cover"] for i in asked]
    assert max(covers) <= 20


def test_the_newest_processing_of_a_real_tile_wins(colorado: list) -> None:
    kept = newest_processing(colorado)
    assert len(colorado) - len(kept) == 13
    by_key: dict[tuple, list[pystac.Item]] = {}
    for i in colorado:
        by_key.setdefault((i.properties["s2:mgrs_tile"], i.datetime), []).append(i)
    for group in by_key.values():
        newest = max(group, key=lambda i: i.properties["s2:generation_time"])
        assert newest in kept
    month = str(colorado[0].datetime)[:7]
    some = find_items(colorado, sensor=xc.S2, boxes=WORLD, datetime=month)
    assert 0 < len(some) < len(kept)
    assert {str(i.datetime)[:7] for i in some} == {month}


def test_a_cube_over_three_zones_says_so_and_too_wide_a_box_is_split(colorado: list) -> None:
    box = (-109.0, 38.5, -107.5, 39.2)
    cube = xc.open_cube(bbox=box, datetime="2024", sensors=("s2",), source=colorado)
    assert cube.odc.geobox.crs.epsg == 32612
    assert "items in EPSG 32613 are resampled" in repr(cube.contrast)
    wide = (-109.8, 36.5, -96.2, 41.0)
    with pytest.raises(DataError, match=r"within 6 degrees.*reaches 7\.1 from -105.*split_zones"):
        xc.open_cube(bbox=wide, datetime="2024", sensors=("s2",), source=colorado)
    parts = xc.split_zones(wide)
    assert list(parts) == [32612, 32613, 32614]
    for epsg, part in parts.items():
        grid = choose_grid(part, None, 100, None)
        assert grid.crs.epsg == epsg


def test_the_facts_of_a_cube_before_a_byte_is_read(colorado: list, no_compute: None) -> None:
    cube = xc.open_cube(
        bbox=(-106.2, 38.9, -105.6, 39.4), datetime="2024", sensors=("s2",), source=colorado
    )
    text = repr(cube.contrast)
    assert "20 days, 2024-07-11 to 2024-08-28" in text
    assert "30 items" in text
    assert "EPSG:32613" in text
    assert f"{cube.s2.nbytes / 1e9:.3g} GB in memory" in text
    assert f"{len(cube.s2.data.dask):,} tasks" in text
    page = cube.contrast._repr_html_()
    assert "<script" not in page
    assert "20 days, 2024-07-11" in page
    # Of a part, what can be counted is counted anew.
    part = cube.isel(s2_time=slice(3), y=slice(1024), x=slice(1024))
    assert "3 days" in repr(part.contrast)
    assert f"{part.s2.nbytes / 1e6:.3g} MB in memory" in repr(part.contrast)


def test_facts_say_what_is_wrong_with_items(colorado: list) -> None:
    items = [i.clone() for i in colorado]
    for i in items:
        i.properties.pop("s2:processing_baseline")
        i.properties.pop("s2:product_uri")
        i.id = f"tile-{i.id[:3]}-{hash(i.id)}"
        i.assets.pop("SCL")
    box = (-106.2, 38.9, -105.6, 39.4)
    cube = xc.open_cube(bbox=box, datetime="2024", sensors=("s2",), source=items)
    text = repr(cube.contrast)
    assert "30 items without a processing baseline are taken to have no offset" in text
    assert "without SCL assets clouds are not masked" in text
    assert "dates cover less than half of the area" in text


def test_opening_a_thousand_items_is_no_slower_than_odc_alone(colorado: list) -> None:
    import odc.stac
    from odc.geo.geobox import GeoBox

    grid = GeoBox.from_bbox(
        (100_000, 3_980_000, 1_000_000, 4_620_000), "EPSG:32613", resolution=100
    )
    chunks = {"y": 2048, "x": 2048}
    plain, ours = [], []
    for _ in range(2):
        begin = time.perf_counter()
        odc.stac.load(
            colorado, bands=[*xc.S2.bands, "SCL"], geobox=grid, chunks=chunks, groupby="solar_day"
        )
        plain.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        xc.open_cube(geobox=grid, datetime="2024", sensors=("s2",), source=colorado, chunks=chunks)
        ours.append(time.perf_counter() - begin)
    print(f"plain {min(plain):.2f} s, ours {min(ours):.2f} s")
    assert min(ours) < 1.2 * min(plain)


@pytest.mark.parametrize(
    ("properties", "name", "baseline", "offset"),
    [
        ({"s2:processing_baseline": "02.14"}, "", "02.14", 0),
        ({"s2:processing_baseline": "03.01"}, "", "03.01", 0),
        ({"s2:processing_baseline": "04.00"}, "", "04.00", -1000),
        ({"s2:processing_baseline": "05.11"}, "", "05.11", -1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True},
         "", "05.09", 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False},
         "", "05.09", -1000),
        ({"processing:version": "05.10"}, "", "05.10", -1000),
        ({"s2:product_uri": "S2B_MSIL2A_20210101T101319_N0214_R022_T32TPQ_20210101T121212.SAFE"},
         "", "02.14", 0),
        ({"s2:processing_baseline": "unknown"},
         "S2A_MSIL2A_20230101T101411_N0509_R022_T32TPQ_20230101T141714", "05.09", -1000),
        ({}, "tile", None, 0),
    ],
)  # fmt: skip
def test_the_offset_of_a_product(
    properties: dict, name: str, baseline: str | None, offset: int
) -> None:
    assert processing_baseline(properties, name) == baseline
    assert boa_offset(properties, name) == offset


def test_real_products_state_their_baseline_twice(colorado: list) -> None:
    for i in colorado:
        stated = i.properties["s2:processing_baseline"]
        assert processing_baseline({"s2:product_uri": i.properties["s2:product_uri"]}) == stated


@settings(deadline=None, max_examples=60)
@given(
    west=st.floats(-180, 179.9), width=st.floats(0.01, 40), south=st.floats(-80, 79),
    height=st.floats(0.01, 4),
)  # fmt: skip
def test_zones_tile_a_box(west: float, width: float, south: float, height: float) -> None:
    east = west + width
    east = east - 360 if east > 180 else east
    parts = xc.split_zones((west, south, east, south + height))
    assert sum(p[2] - p[0] for p in parts.values()) == pytest.approx(width, abs=1e-6)
    for epsg, (left, bottom, right, top) in parts.items():
        assert (bottom, top) == (south, south + height)
        start = (epsg % 100 - 1) * 6 - 180
        assert start - 1e-9 <= left < right <= start + 6 + 1e-9


@pytest.mark.parametrize(
    ("grid", "boxes"),
    [
        (("EPSG:32660", (740_000, 0, 900_000, 100_000)), 2),
        (("EPSG:32632", (500_000, 5_000_000, 600_000, 5_100_000)), 1),
        (("EPSG:4326", (10.0, 40.0, 11.0, 41.0)), 1),
    ],
)
def test_the_box_in_degrees_of_a_grid(grid: tuple, boxes: int) -> None:
    from odc.geo.geobox import GeoBox

    made = GeoBox.from_bbox(grid[1], grid[0], shape=(50, 50))
    areas = areas_of(made)
    assert len(areas) == boxes
    # Independent of it: every pixel's middle lies in one of the boxes.
    from pyproj import Transformer

    rows, columns = np.mgrid[0:50, 0:50] + 0.5
    a, b, c, d, e, f = list(made.affine)[:6]
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    lon, lat = Transformer.from_crs(grid[0], "EPSG:4326", always_xy=True).transform(x, y)
    inside = [(w <= lon) & (lon <= e) & (s <= lat) & (lat <= n) for w, s, e, n in areas]
    assert np.any(inside, axis=0).all()
    assert sum((e - w) for w, _, e, _ in areas) < 5


def test_a_grid_around_the_pole_asks_for_all_longitudes() -> None:
    from odc.geo.geobox import GeoBox

    polar = GeoBox.from_bbox((-500_000, -500_000, 500_000, 500_000), "EPSG:3413", shape=(50, 50))
    ((west, south, east, north),) = areas_of(polar)
    assert (west, east, north) == (-180, 180, 90)
    assert 80 < south < 86


def test_items_across_the_antimeridian_are_found_where_they_are() -> None:
    def footprint(name: str, bbox: list[float], rings: list) -> pystac.Item:
        shape = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
        when = np.datetime64("2024-01-01").astype(object)
        from datetime import datetime

        return pystac.Item(
            name, shape, bbox, datetime(when.year, 1, 1), {}, collection="sentinel-2-l2a"
        )

    east = [[179.5, -17], [180, -17], [180, -16], [179.5, -16], [179.5, -17]]
    west = [[-180, -17], [-179.5, -17], [-179.5, -16], [-180, -16], [-180, -17]]
    whole = footprint("wide", [-180.0, -17.0, 180.0, -16.0], [east, west])
    turned = footprint("turned", [179.5, -17.0, -179.5, -16.0], [east, west])
    listed = ItemList([whole, turned])
    for box, n in (((179.6, -17, 179.9, -16), 2), ((-179.9, -17, -179.6, -16), 2),
                   ((0, -17, 1, -16), 0), ((178.0, -17, 179.4, -16), 0)):  # fmt: skip
        assert len(listed.search(xc.S2, bbox=box, period=(None, None))) == n


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"bbox": (179, -18, -179, -16)}, r"one side of the antimeridian.*split_zones"),
        ({"bands": ("B04", "B77")}, r"bands of the sensors that are opened.*received B77"),
        ({"bands": {"s1": ("vv",)}, "sensors": ("s2",)}, r"received bands for s1"),
        ({"bands": {"s2": ("B04", "red")}}, r"each band of Sentinel-2 once"),
        ({"max_cloud": 300}, r"max_cloud in 0..100"),
        ({"bbox": (9, 45, 9.1)}, r"a bbox of four numbers.*bbox=\(9, 45, 9\.1\)"),
        ({"bbox": ("9", 45, 9.1, 45.1)}, r"a bbox of four numbers.*bbox=\('9', 45"),
        ({"resolution": 0}, r"a resolution above zero.*received resolution=0\. Do"),
        ({"resolution": -10}, r"a resolution above zero.*received resolution=-10\. Do"),
        ({"resolution": "10"}, r"a resolution above zero.*received resolution='10'"),
        ({"chunks": {"y": "auto", "x": "auto"}}, r"whole numbers of pixels.*'y': 'auto'"),
        ({"chunks": {"y": 0, "x": 32}}, r"whole numbers of pixels.*'y': 0"),
        ({"chunks": {"y": -2, "x": 32}}, r"whole numbers of pixels.*'y': -2"),
        ({"chunks": "auto"}, r"whole numbers of pixels.*chunks='auto'"),
        ({"on_error": "ignore"}, r"on_error 'raise' or 'nan'; received.*'ignore'"),
    ],
)
def test_bad_calls(call: dict, message: str) -> None:
    arguments = {"bbox": (9, 45, 9.1, 45.1), "datetime": "2023", "source": []} | call
    with pytest.raises(DataError, match=message):
        xc.open_cube(**arguments)


@pytest.mark.parametrize("crs", ["junk", 999999, "", 32632.5])
def test_a_crs_that_is_none(crs: object) -> None:
    with pytest.raises(
        DataError, match=rf"in their documented ranges: crs as a name.*received crs={crs!r}\."
    ):
        xc.CubeOptions(crs=crs)


def test_grids_and_chunks_in_any_form() -> None:
    """Nothing is refused that served: the call goes on to look for items."""
    box = np.array([9, 45, 9.1, 45.1], "float32")
    for crs in ("EPSG:32632", 32632, "utm", None):
        with pytest.raises(DataError, match=r"Sentinel-1 items in \(9\.000"):
            xc.open_cube(
                bbox=box, datetime="2023", source=[], resolution=np.float32(20),
                chunks={"y": np.int64(64), "x": -1}, options=xc.CubeOptions(crs=crs),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (None, {"s1": ("vv", "vh"), "s2": xc.S2.bands}),
        (["red", "VV", "B8"], {"s1": ("vv",), "s2": ("B04", "B08")}),
        ("B11", {"s1": ("vv", "vh"), "s2": ("B11",)}),
        ({"s2": ("nir",)}, {"s1": ("vv", "vh"), "s2": ("B08",)}),
    ],
)
def test_bands_in_any_form(bands: object, expected: dict) -> None:
    from xcontrast.cubes.cube import choose_bands

    assert choose_bands(bands, xc.sensors.SENSORS) == expected


def test_chunks_are_whole_blocks_and_shrink_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from odc.geo.geobox import GeoBox

    from xcontrast.cubes import zones

    grid = GeoBox.from_bbox((0, 0, 50_000, 30_000), "EPSG:32632", resolution=10)
    sides = []
    for memory in (64e9, 1e9, 0.3e9, 0.05e9):
        monkeypatch.setattr(zones, "_memory", lambda m=memory: m)
        sides.append(choose_chunks(grid, 10, None)["y"])
    assert sides == [1024, 1024, 512, 256]
    assert choose_chunks(grid, 10, {"y": -1, "x": 700}) == {"y": 3000, "x": 700}
    monkeypatch.undo()
    assert zones._memory() > 0


def test_an_api_that_is_busy_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archive_server import Trouble
    from servers import serve_archive

    monkeypatch.setattr("xcontrast.cubes.sources.ATTEMPTS", 2)
    (tmp_path / "items.json").write_text("{}")
    with serve_archive(tmp_path) as server:
        server.fail(Trouble("items", status=503))
        with pytest.raises(SourceError, match=r"a STAC API that answers.*503"):
            open_source(f"{server.address}/items.json")
        # The first request and two more.
        assert len(server.requests) == 3


def test_reach_is_half_a_percent() -> None:
    """Where a UTM grid is still used, lengths are right to half a percent."""
    from pyproj import Proj

    factors = Proj("EPSG:32632").get_factors(9.0 + REACH, 0.0)
    assert abs(factors.meridional_scale - 1) < 0.0055


def test_a_grid_across_the_antimeridian_is_read_from_both_sides(tmp_path: Path) -> None:
    """One day, two items in zones 60 and 1, on a grid of the Pacific."""
    from archives import item, write_band
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    items = []
    for epsg, lon, number in ((32760, 179.9, 3000), (32701, -179.9, 5000)):
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, -17.1)
        origin = (round(x / 60) * 60 - 6000, round(y / 60) * 60 + 6000)
        file = write_band(
            tmp_path / f"{epsg}.tif", np.full((120, 120), number, "uint16"),
            cell=100, origin=origin, crs=f"EPSG:{epsg}",
        )  # fmt: skip
        facts = {"s2:processing_baseline": "05.09", "eo:cloud_cover": 1.0}
        items.append(item(str(epsg), "sentinel-2-l2a", "2023-05-01T22:00:00", {"B04": file}, facts))
    x, y = Transformer.from_crs(4326, 3832, always_xy=True).transform(180.0, -17.1)
    box = (x - 20_000, y - 3_000, x + 20_000, y + 3_000)
    grid = GeoBox.from_bbox(box, "EPSG:3832", resolution=100)
    cube = xc.open_cube(geobox=grid, datetime="2023", sensors=("s2",), bands="B04", source=items)
    assert cube.sizes["s2_time"] == 1
    values = cube.s2.values[0, 0]
    middle = values.shape[1] // 2
    assert np.nanmedian(values[:, :middle]) == pytest.approx(0.2)
    assert np.nanmedian(values[:, middle:]) == pytest.approx(0.4)
