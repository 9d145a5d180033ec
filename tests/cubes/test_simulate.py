from __future__ import annotations

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

import xcontrast as xc
from xcontrast.cubes.landscape import FOREST, WATER, flooded_at, make_landscape, smooth_noise
from xcontrast.cubes.physics import Weather, green_cover, see_optical, see_radar, speckle
from xcontrast.errors import DataError, SourceError

N = 160


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "a"
    xc.simulate_archive(folder, size=N, cycle=48, cloud=0.3, progress=False)
    return folder


@pytest.fixture(scope="module")
def cube(archive: Path) -> xr.Dataset:
    grid = xc.read_truth(archive).odc.geobox
    return xc.open_cube(geobox=grid, datetime="2023", source=archive / "catalog.json").load()


def _weather(day: int = 120, **changes: object) -> Weather:
    calm = {"moisture": 0.5, "wind": 0.0, "cloud": 0.0, "depth": np.zeros((N, N), "float32")}
    return Weather(day=day, **(calm | changes))


def test_the_catalog_is_stac_with_links_that_travel(archive: Path) -> None:
    top = pystac.Catalog.from_file(str(archive / "catalog.json"))
    assert "SIMULATED" in top.description
    items = list(top.get_items(recursive=True))
    assert {i.collection_id for i in items} == {"sentinel-1-rtc", "sentinel-2-l2a"}
    for item in items:
        assert "SIMULATED" in item.properties["description"]
        for asset in item.assets.values():
            assert asset.href.startswith("./")
            assert Path(asset.get_absolute_href()).is_file()


def test_files_are_cogs_on_the_stated_grid(archive: Path) -> None:
    for name, cell, dtype in (("vv", 10, "float32"), ("B04", 10, "uint16"), ("B11", 20, "uint16")):
        path = sorted(archive.glob(f"sentinel-*/*/{name}.tif"))[0]
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.crs.to_epsg() == 32632
            assert file.res == (cell, cell)
            assert file.dtypes == (dtype,)
            assert "SIMULATED" in file.tags()["ImageDescription"]


def test_relative_paths_mean_the_same(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    xc.simulate_archive("a/b", size=N, cycle=48, cloud=0.3, progress=False)
    grid = xc.read_truth("a/b").odc.geobox
    for source in ("a/b/catalog.json", Path("a/b/catalog.json")):
        cube = xc.open_cube(geobox=grid, datetime="2023-01", sensors=("s1",), source=source)
        reference = xc.open_cube(
            geobox=grid, datetime="2023-01", sensors=("s1",), source=archive / "catalog.json"
        )
        np.testing.assert_array_equal(cube.s1.values, reference.s1.values)


def test_one_seed_gives_one_archive(archive: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        xc.simulate_archive(tmp_path / name, size=N, cycle=48, cloud=0.3, seed=seed, progress=False)
    for path in sorted(archive.glob("sentinel-*/*/*.tif"))[::40]:
        part = path.relative_to(archive)
        reference, same, other = (
            rasterio.open(root / part).read(1)
            for root in (archive, tmp_path / "same", tmp_path / "other")
        )
        np.testing.assert_array_equal(reference, same)
        assert not np.array_equal(reference, other)


def test_speckle_has_unit_mean_and_the_looks_of_the_product() -> None:
    grain = speckle(np.random.default_rng(0), 512)
    assert float(grain.mean()) == pytest.approx(1, abs=0.01)
    looks = float(grain.mean() ** 2 / grain.var())
    assert looks == pytest.approx(4.4, rel=0.05)
    near = np.corrcoef(grain[:, :-1].ravel(), grain[:, 1:].ravel())[0, 1]
    far = np.corrcoef(grain[:, :-8].ravel(), grain[:, 8:].ravel())[0, 1]
    assert 0.1 < near < 0.6
    assert abs(far) < 0.02


def test_noise_fields_have_unit_variance_and_the_asked_length() -> None:
    field = smooth_noise(np.random.default_rng(0), 400, 5)
    assert float(field.std()) == pytest.approx(1, abs=1e-3)
    # A Gaussian of standard deviation s correlates over sqrt(2) s: exp(-d^2 / 4 s^2).
    at = np.corrcoef(field[:, :-10].ravel(), field[:, 10:].ravel())[0, 1]
    assert at == pytest.approx(np.exp(-100 / 100), abs=0.08)


def test_water_is_dark_and_wind_brightens_it() -> None:
    land = make_landscape(N, 0)
    calm, windy = (
        see_radar(land, _weather(wind=w), ascending=True, rng=np.random.default_rng(0))
        for w in (0.0, 1.0)
    )
    water, forest = land.cover == WATER, land.cover == FOREST
    decibels = [10 * np.log10(x[0][water].mean()) for x in (calm, windy)]
    assert decibels[0] < -18
    assert decibels[1] > decibels[0] + 4
    assert 10 * np.log10(calm[0][forest].mean()) > -11
    assert calm[1][forest].mean() < calm[0][forest].mean()


def test_floods_darken_fields_and_brighten_woods() -> None:
    land = make_landscape(N, 0)
    wet = flooded_at(land, 3.0)
    depth = np.where(wet, 3.0 - land.height, 0).astype("float32")
    dry, flooded = (
        see_radar(land, _weather(depth=d), ascending=True, rng=np.random.default_rng(0))[0]
        for d in (np.zeros_like(depth), depth)
    )
    deep = wet & (depth > 1) & (land.cover != WATER)
    open_ground = deep & np.isin(land.cover, (2, 3, 4, 5))
    assert 10 * np.log10(flooded[open_ground].mean() / dry[open_ground].mean()) < -5
    woods = deep & (land.cover == FOREST)
    assert woods.sum() > 20
    assert 10 * np.log10(flooded[woods].mean() / dry[woods].mean()) > 1


def test_crops_follow_the_season() -> None:
    land = make_landscape(N, 0)
    cereal, maize = land.cover == 3, land.cover == 4
    spring, summer = green_cover(land, 125), green_cover(land, 210)
    assert spring[cereal].mean() > 0.8 > 0.2 > summer[cereal].mean()
    assert summer[maize].mean() > 0.8 > 0.2 > spring[maize].mean()
    seen = see_optical(land, _weather(125), rng=np.random.default_rng(0)).reflectance
    ndvi = (seen[6] - seen[2]) / (seen[6] + seen[2])
    assert ndvi[cereal].mean() > ndvi[maize].mean() + 0.3


def test_scene_classes_tell_clouds_water_and_plants_nearly_right() -> None:
    land = make_landscape(N, 0)
    seen = see_optical(land, _weather(180, cloud=0.4), rng=np.random.default_rng(0))
    cloud = np.isin(seen.scl, (8, 9))
    assert 0.3 < cloud.mean() < 0.6
    assert seen.reflectance[0][seen.scl == 9].mean() > 0.4
    assert (seen.scl == 3).any()
    clear = see_optical(land, _weather(180), rng=np.random.default_rng(0))
    assert (clear.scl[land.cover == WATER] == 6).mean() > 0.95
    assert (clear.scl[land.cover == FOREST] == 4).mean() > 0.9


def test_the_same_ground_before_and_after_the_new_baseline(cube: xr.Dataset) -> None:
    baselines = cube.s2_processing_baseline.values
    assert set(baselines) == {"03.01", "05.09"}
    # Asphalt hardly changes over the year: an offset forgotten would be 0.1.
    dark = cube.s2.sel(s2_band="B12").quantile(0.02, ("y", "x"))
    old, new = (float(dark[baselines == b].median()) for b in ("03.01", "05.09"))
    assert abs(old - new) < 0.03


def test_the_flood_is_where_the_truth_says(archive: Path, cube: xr.Dataset) -> None:
    truth = xc.read_truth(archive)
    flood = truth.flood.values == 1
    assert 0.10 < flood.mean() < 0.16
    assert not (flood & (truth.land_cover.values == WATER)).any()
    assert truth.attrs["note"].startswith("SIMULATED")
    descending = cube.s1.sel(s1_time=cube.s1_orbit_state == "descending")
    days = descending.s1_time.values.astype("datetime64[D]")
    peak = np.flatnonzero(days == np.datetime64(truth.attrs["peak"]))
    assert len(peak) == 1
    vv = descending.sel(s1_band="vv")
    change = (vv[int(peak[0])] - vv[int(peak[0]) - 1]).values
    assert np.median(change[flood]) < np.median(change[~flood]) - 3
    later = (vv[int(peak[0]) + 1] - vv[int(peak[0]) - 1]).values
    assert abs(np.median(later[flood]) - np.median(later[~flood])) < 1.5


@pytest.mark.parametrize("options", [{"size": 64}, {"size": 201}, {"cycle": 7}, {"cloud": 1.5}])
def test_archives_that_cannot_be(tmp_path: Path, options: dict) -> None:
    with pytest.raises(DataError, match="Expected an even size of at least 128"):
        xc.simulate_archive(tmp_path / "a", **options)


def test_folders_in_use_and_folders_without(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Expected a folder that simulate_archive wrote"):
        xc.read_truth(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SourceError, match="does not exist or is empty"):
        xc.simulate_archive(tmp_path)
