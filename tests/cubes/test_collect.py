"""Collections: gathered from a simulated archive by the code that gathers from a real one."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import xarray as xr
from archive_server import Trouble
from servers import serve_api, serve_archive

import xcontrast as xc
from xcontrast.cubes.collecting.gather import REASONS, footprint_of
from xcontrast.cubes.collecting.plan import CollectPlan
from xcontrast.cubes.sources import ItemList, name_source, open_source
from xcontrast.errors import DataError, SourceError

QUIET = xc.CollectOptions(progress=False)
ASKED = {"datetime": "2023", "gap": "60D", "max_cloud": 80, "size": 32, "options": QUIET}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "simulated"
    return xc.simulate_archive(folder, size=256, cycle=12, cloud=0.1, progress=False)


@pytest.fixture(scope="module")
def items(archive: Path) -> list[pystac.Item]:
    return list(pystac.read_file(str(archive)).get_items(recursive=True))


@pytest.fixture(scope="module")
def region(items: list) -> tuple[float, float, float, float]:
    """Where a patch of 32 px lies wholly in every image."""
    boxes = np.array([i.bbox for i in items])
    west, south, east, north = (*boxes[:, :2].max(0), *boxes[:, 2:].min(0))
    return west + 0.004, south + 0.004, east - 0.004, north - 0.004


def _sample(n: int, region: tuple, distance: float = 100.0) -> geopandas.GeoDataFrame:
    return xc.sample_locations(n, kind="land", region=region, min_distance=distance, seed=3)


@pytest.fixture(scope="module")
def gathered(archive: Path, region: tuple, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    store = tmp_path_factory.mktemp("store") / "c.zarr"
    return xc.collect(
        _sample(12, region), store=store, source=archive, sensors=("s1", "s2"), dates=4, **ASKED
    )


def test_what_is_gathered_is_what_was_asked_for(gathered: xr.Dataset) -> None:
    assert gathered.s2.dims == ("location", "date", "s2_band", "y", "x")
    assert gathered.s1.dims == ("location", "date", "s1_band", "y", "x")
    assert dict(gathered.sizes) == {
        "location": 12, "date": 4, "s1_band": 2, "s2_band": 10, "y": 32, "x": 32,
    }  # fmt: skip
    assert gathered.s2.dtype == gathered.s1.dtype == np.float32
    assert gathered.s2.chunks is not None
    # Windows of 15 days lie 60 days apart.
    steps = np.diff(gathered.s2_time.values, axis=1) / np.timedelta64(1, "D")
    assert ((steps > 45) & (steps < 75)).all()
    lag = np.abs(gathered.s1_time.values - gathered.s2_time.values)
    assert (lag <= np.timedelta64(3, "D")).all()
    assert (np.ptp(gathered.s1_relative_orbit.values, axis=1) == 0).all()
    missing = np.isnan(gathered.s2).any("s2_band").mean(("y", "x"))
    assert (missing <= 0.05).all()
    assert np.isfinite(gathered.s1).all()
    summary = json.loads(gathered.attrs["xcontrast_summary"])
    assert summary["accepted"] == summary["locations"] == 12
    assert sum(summary["rejected_draws"].values()) == gathered.attempt.sum()
    assert "12 of 12 places accepted" in repr(gathered.contrast)


def test_pixels_are_those_of_the_files_to_the_bit(gathered: xr.Dataset, items: list) -> None:
    """Read again with rasterio alone, by the time and the corner that the collection states."""
    checked = 0
    for place in range(4):
        one = gathered.isel(location=place)
        for date in range(4):
            when = pd.Timestamp(one.s2_time.values[date]).tz_localize("UTC")
            own = next(i for i in items if i.datetime == when and "SCL" in i.assets)
            offset = 1000 if float(own.properties["s2:processing_baseline"]) >= 4 else 0
            with rasterio.open(own.assets["B04"].get_absolute_href()) as file:
                column, row = ~file.transform * (float(one.x0), float(one.y0))
                window = rasterio.windows.Window(round(column), round(row), 32, 32)
                numbers = file.read(1, window=window).astype(int)
            got = one.s2.sel(s2_band="B04").isel(date=date).values
            valid = np.isfinite(got)
            np.testing.assert_array_equal(np.rint(got[valid] * 1e4), (numbers - offset)[valid])
            checked += valid.sum()
    assert checked > 10_000


def test_radar_is_within_half_a_hundredth_of_a_decibel(gathered: xr.Dataset, items: list) -> None:
    one = gathered.isel(location=5, date=2)
    when = pd.Timestamp(one.s1_time.values).tz_localize("UTC")
    own = next(i for i in items if i.datetime == when and "vv" in i.assets)
    with rasterio.open(own.assets["vv"].get_absolute_href()) as file:
        column, row = ~file.transform * (float(one.x0), float(one.y0))
        power = file.read(1, window=rasterio.windows.Window(round(column), round(row), 32, 32))
    np.testing.assert_allclose(one.s1.values[0], 10 * np.log10(power), atol=0.00501)


def test_an_api_a_catalog_and_items_give_one_collection(
    archive: Path, items: list, region: tuple, tmp_path: Path
) -> None:
    places = _sample(5, region)
    asked = {**ASKED, "dates": 2}
    absolute = ItemList.__reduce__(ItemList(items))
    unpacked = absolute[0](*absolute[1]).items
    for own in unpacked:
        for asset in own.assets.values():
            asset.href = f"file://{asset.href}"
    with serve_api(unpacked, tmp_path) as api:
        sources = {"path": archive, "items": items, "api": api}
        stores = {
            name: xc.collect(places, store=tmp_path / f"{name}.zarr", source=source, **asked)
            for name, source in sources.items()
        }
    _same_but_source(stores["items"], stores["path"])
    _same_but_source(stores["api"], stores["path"])


def _same_but_source(found: xr.Dataset, expected: xr.Dataset) -> None:
    stated = []
    for own in (found, expected):
        plan = json.loads(own.attrs["xcontrast_plan"])
        del plan["reading"]["source"]
        stated.append(own.assign_attrs(xcontrast_plan=plan).compute())
    xr.testing.assert_identical(*stated)


SCRIPT = """
import sys, json
import xcontrast as xc, xcontrast.cubes.collecting.store
xcontrast.cubes.collecting.store.SHARD_BYTES = 0.44e6
store, source, region, n = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
places = xc.sample_locations(n, kind="land", region=region, min_distance=100.0, seed=3)
options = xc.CollectOptions(progress=False, threads=2)
xc.collect(places, store=store, source=source, datetime="2023", gap="60D", max_cloud=80, size=32,
           options=options)
"""


def _await_more(target: Path, n: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a collection holds more places than it did."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(SourceError):
            if xc.open_collection(target).sizes["location"] > n:
                return
        time.sleep(0.2)


@pytest.mark.slow
def test_killed_three_times_and_restarted_it_is_the_undisturbed_run(
    archive: Path, region: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 places, 5 dates; SIGKILL at random moments, of the whole process."""
    rng = np.random.default_rng()
    monkeypatch.setattr("xcontrast.cubes.collecting.store.SHARD_BYTES", 0.44e6)
    places = _sample(40, region)
    begin = time.monotonic()
    whole = xc.collect(places, store=tmp_path / "whole.zarr", source=archive, **ASKED)
    seconds = time.monotonic() - begin
    script = tmp_path / "collect.py"
    script.write_text(SCRIPT)
    target = tmp_path / "killed.zarr"
    command = [sys.executable, str(script), str(target), str(archive), json.dumps(region), "40"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = [0]
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        # Until it has done something, then a random part of the work.
        _await_more(target, done[-1], process)
        time.sleep(rng.uniform(0, 0.15) * seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done.append(xc.open_collection(target).sizes["location"])
    assert done == sorted(done)
    assert 0 < done[-1] < 40
    finished = xc.collect(places, store=target, source=archive, **ASKED)
    print(f"40 places x 5 dates in {seconds:.0f} s; there after each kill: {done}")
    xr.testing.assert_identical(finished.compute(), whole.compute())
    assert finished.sizes["location"] >= 38
    files = [f for f in target.rglob("*") if f.is_file()]
    # A file for the images of a shard and one for what is known of them, 10 each; the rest is
    # descriptions and the coords of all.
    assert len(files) < 2 * 10 + 40


def test_on_a_cluster_it_is_the_same(
    archive: Path, region: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setattr("xcontrast.cubes.collecting.store.SHARD_BYTES", 0.25e6)
    places = _sample(8, region)
    asked = {**ASKED, "dates": 3, "source": archive}
    here = xc.collect(places, store=tmp_path / "here.zarr", **asked)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        there = xc.collect(places, store=tmp_path / "there.zarr", client=client, **asked)
    xr.testing.assert_identical(there.compute(), here.compute())
    shards = [f for f in (tmp_path / "there.zarr" / "s2").rglob("*") if f.name.isdigit()]
    assert len(shards) > 1


def test_a_fault_of_the_network_keeps_what_was_gathered(
    archive: Path, items: list, region: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xcontrast.cubes.collecting.store.SHARD_BYTES", 0.1e6)
    unpack, packed = ItemList(items).__reduce__()
    remote = unpack(*packed).items
    patience = xc.Patience(timeout=2, attempts=2, limit=1)
    options = xc.CollectOptions(progress=False, cube=xc.CubeOptions(patience=patience))
    asked = {**ASKED, "dates": 2, "options": options}
    places = _sample(6, region)
    whole = xc.collect(places, store=tmp_path / "whole.zarr", source=archive, **asked)
    with serve_archive(archive.parent) as server:
        for own in remote:
            for asset in own.assets.values():
                path = Path(asset.href).relative_to(archive.parent).as_posix()
                asset.href = f"{server.address}/{path}"
        target = tmp_path / "c.zarr"
        first = whole.isel(location=2).s2_time.dt.strftime("%Y%m%d").values[0]
        server.fail(Trouble(f"{first}", status=503))
        with pytest.raises(SourceError, match=r"shards that failed.*HTTP 503.*call collect again"):
            xc.collect(places, store=target, source=remote, **asked)
        kept = xc.open_collection(target)
        assert 0 < kept.sizes["location"] < 6
        server.recover()
        mended = xc.collect(places, store=target, source=remote, **asked)
    _same_but_source(mended, whole)


def test_a_file_that_is_gone_is_a_draw_rejected(
    items: list, archive: Path, region: tuple, tmp_path: Path
) -> None:
    unpack, packed = ItemList(items).__reduce__()
    lost = unpack(*packed).items
    for own in lost:
        if "B8A" in own.assets and own.datetime.month % 2:
            own.assets["B8A"].href = str(tmp_path / "gone.tif")
    found = xc.collect(
        _sample(4, region), store=tmp_path / "c.zarr", source=lost, **{**ASKED, "dates": 1}
    )
    assert (found.s2_time.dt.month % 2 == 0).all()
    assert np.isfinite(found.s2).mean() > 0.95


def test_the_papers_rule_is_the_latest_of_each_window(
    items: list, archive: Path, region: tuple, tmp_path: Path
) -> None:
    """Both sensors, one date, 30 days back: checked against a search of all items by hand."""
    asked = {"datetime": "2023", "dates": 1, "window": "30D", "max_cloud": 50, "size": 32}
    found = xc.collect(
        _sample(10, region), store=tmp_path / "c.zarr", source=archive, sensors=("s1", "s2"),
        seed=5, options=xc.CollectOptions(progress=False, preset="paper"), **asked,
    )  # fmt: skip
    plan = CollectPlan(**_plan_of(found))
    for one in (found.isel(location=n) for n in range(found.sizes["location"])):
        ((start, end),) = plan.draw_windows(int(one.location), int(one.attempt))
        assert end - start == pd.Timedelta("30D")
        inside = [i for i in items if start <= i.datetime <= end]
        clear = [i for i in inside if i.properties.get("eo:cloud_cover", 100) <= 50]
        for name, own in (("s1", [i for i in inside if "vv" in i.assets]), ("s2", clear)):
            latest = max(i.datetime for i in own if (name == "s1") == ("vv" in i.assets))
            assert pd.Timestamp(one[f"{name}_time"].values[0], tz="UTC") == latest
    assert np.isfinite(found.s2).all()


def _plan_of(collection: xr.Dataset) -> dict:
    stated = json.loads(collection.attrs["xcontrast_plan"])["plan"]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in stated.items()}


def test_points_of_ones_own_are_kept(archive: Path, region: tuple, tmp_path: Path) -> None:
    west, south, east, north = region
    points = geopandas.points_from_xy([west, (west + east) / 2], [south, (south + north) / 2])
    own = geopandas.GeoDataFrame(geometry=points, crs=4326).to_crs(32632)
    found = xc.collect(own, store=tmp_path / "c.zarr", source=archive, **{**ASKED, "dates": 2})
    np.testing.assert_allclose(found.lon, points.x[found.location], atol=1e-9)
    np.testing.assert_allclose(found.lat, points.y[found.location], atol=1e-9)


def test_a_footprint_lies_on_the_pixels_of_its_zone() -> None:
    for lon, lat, epsg in ((11.0, 44.6, 32632), (-70.2, -33.4, 32719), (179.9, 0.1, 32660)):
        grid = footprint_of(lon, lat, 264)
        assert grid.crs.epsg == epsg
        assert grid.affine.c % 60 == grid.affine.f % 60 == 0
        middle = grid.geographic_extent.centroid.coords[0]
        np.testing.assert_allclose(middle, (lon, lat), atol=60 / 111e3 / np.cos(np.radians(lat)))


def test_one_shift_moves_all_dates_and_covers_the_room() -> None:
    plan = CollectPlan(
        sensors=("s2",), bands={"s2": xc.S2.bands}, start="2019-01-01T00:00:00+00:00",
        end="2020-12-31T23:59:59+00:00", dates=5, gap="84D", window="15D", tolerance="3D",
        max_cloud=10, max_invalid=0.0, size=264, seed=0, preset=None,
    )  # fmt: skip
    starts = []
    for location in range(400):
        windows = plan.draw_windows(location, 0)
        steps = {b - a for (a, _), (b, _) in itertools.pairwise(windows)}
        assert steps == {pd.Timedelta("84D")}
        assert windows[0][0] >= pd.Timestamp(plan.start)
        assert windows[-1][1] <= pd.Timestamp(plan.end)
        starts.append((windows[0][0] - pd.Timestamp(plan.start)) / plan.room)
    assert np.abs(np.quantile(starts, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.08
    assert plan.draw_windows(3, 1) != plan.draw_windows(3, 0)
    assert plan.draw_windows(3, 1) == plan.draw_windows(3, 1)


def test_a_collection_trains_an_encoder(gathered: xr.Dataset, tmp_path: Path) -> None:
    pairs = gathered.contrast.pairs()
    assert pairs.sizes["pair"] == 12 * 4
    chips = pairs.contrast.chips(size=32, min_valid=0.9)
    model = xc.pretrain(
        chips, max_steps=2, out=tmp_path / "model", options=xc.PretrainOptions(progress=False)
    )
    emb = gathered.isel(date=0).contrast.embed(model)
    assert np.isfinite(emb.s2.values).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dates": 12}, DataError, r"that fit into the period.*12 dates 60D apart.*675 days"),
        ({"size": 8}, DataError, r"size of 16 px or more.*size=8"),
        ({"size": 32.5}, DataError, r"whole numbers of dates, size.*size=32\.5\. Do"),
        ({"size": "32"}, DataError, r"whole numbers of dates, size.*size='32'"),
        ({"dates": 2.5}, DataError, r"whole numbers of dates.*received dates=2\.5\. Do"),
        ({"dates": 2.5, "datetime": None}, DataError, r"whole numbers of dates.*dates=2\.5"),
        ({"seed": -1}, DataError, r"seed of 0 or more.*received seed=-1\. Do"),
        ({"max_cloud": None}, DataError, r"max_cloud in 0\.\.100.*max_cloud=None"),
        ({"max_cloud": -1}, DataError, r"max_cloud in 0..100.*max_cloud=-1"),
        ({"gap": "often"}, DataError, r"a gap of at least zero.*received 'often'"),
        ({"gap": 60}, DataError, r"a gap of at least zero, such as '3D'.*received 60\."),
        ({"gap": "60"}, DataError, r"a gap of at least zero.*received '60'"),
        ({"gap": "-3D", "datetime": None}, DataError, r"a gap of at least zero.*received '-3D'"),
        ({"gap": 60, "datetime": None}, DataError, r"a gap of at least zero.*received 60\."),
        ({"window": "x"}, DataError, r"a window of at least zero.*received 'x'"),
        ({"window": "0D"}, DataError, r"that fit into the period.*windows of 0D"),
        ({"tolerance": "x"}, DataError, r"a tolerance of at least zero.*received 'x'"),
        ({"tolerance": 3.0}, DataError, r"a tolerance of at least zero.*received 3\.0"),
        ({"datetime": "2023/.."}, DataError, r"a period with both ends; received '2023/\.\.'"),
        ({"datetime": "then"}, DataError, r"Expected a date, month or year"),
        ({"sensors": ("s3",)}, DataError, r"sensors 's1' and/or 's2'; received 's3'"),
        ({"source": "nowhere/catalog.json"}, SourceError, r"a STAC API, a static catalog"),
    ],
)
def test_bad_calls(
    change: dict, error: type, message: str, archive: Path, region: tuple, tmp_path: Path
) -> None:
    asked = {**ASKED, "source": archive, **change}
    with pytest.raises(error, match=message):
        xc.collect(_sample(2, region), store=tmp_path / "c.zarr", **asked)


def test_no_locations_and_no_draws(archive: Path, region: tuple, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected locations; received none"):
        xc.collect(_sample(2, region).iloc[:0], store=tmp_path / "c.zarr", source=archive, **ASKED)
    with pytest.raises(DataError, match=r"at least one draw.*max_draws=0"):
        xc.CollectOptions(max_draws=0)
    with pytest.raises(DataError, match=r"at least one draw.*max_draws=2\.5"):
        xc.CollectOptions(max_draws=2.5)
    with pytest.raises(DataError, match=r"preset None or 'paper'; received.*'best'"):
        xc.CollectOptions(preset="best")


def test_a_store_of_another_call_is_left_alone(
    archive: Path, region: tuple, tmp_path: Path
) -> None:
    asked = {**ASKED, "dates": 1, "source": archive}
    store = tmp_path / "c.zarr"
    first = xc.collect(_sample(2, region), store=store, **asked).compute()
    with pytest.raises(SourceError, match=r"begun with the same call.*other seed"):
        xc.collect(_sample(2, region), store=store, seed=1, **asked)
    with pytest.raises(SourceError, match=r"begun with other locations"):
        xc.collect(_sample(4, region).iloc[2:], store=store, **asked)
    with pytest.raises(SourceError, match=r"other n, locations"):
        xc.collect(_sample(3, region), store=store, **asked)
    xr.testing.assert_identical(xc.open_collection(store).compute(), first)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SourceError, match=r"a store that does not exist"):
        xc.collect(_sample(2, region), store=other, **asked)
    with pytest.raises(SourceError, match=r"a collection that xc.collect wrote"):
        xc.open_collection(other)


def _options(max_draws: int = 50, **cube: object) -> xc.CollectOptions:
    return xc.CollectOptions(progress=False, max_draws=max_draws, cube=xc.CubeOptions(**cube))


def test_a_store_insists_on_what_changes_pixels_or_draws(
    archive: Path, items: list, region: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, store = _sample(2, region), tmp_path / "c.zarr"
    asked = {**ASKED, "dates": 1, "source": archive}
    first = xc.collect(places, store=store, **asked).compute()
    for options, named in (
        (_options(floor_db=-12), "floor_db"),
        (_options(invalid_scl=()), "invalid_scl"),
        (_options(resampling="nearest"), "resampling"),
        (_options(max_draws=3), "max_draws"),
    ):
        with pytest.raises(SourceError, match=rf"the same call; .*begun with other {named}\."):
            xc.collect(places, store=store, **{**asked, "options": options})
    for source in (items, None, "https://example.org/stac"):
        with pytest.raises(SourceError, match=r"the same call; .*begun with other source\."):
            xc.collect(places, store=store, **{**asked, "source": source})
    # How files are reached, and how numbers and paths are spelled, changes nothing.
    monkeypatch.chdir(archive.parent)
    patience = xc.Patience(attempts=2)
    same = xc.CubeOptions(
        sign=None, patience=patience, invalid_scl=[*xc.CubeOptions().invalid_scl][::-1],
        floor_db=np.float32(-40),
    )  # fmt: skip
    options = xc.CollectOptions(progress=False, threads=1, cube=same)
    change = {"source": archive.name, "options": options, "size": np.int64(32), "max_cloud": 80.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", xr.SerializationWarning)
        again = xc.collect(places, store=store, **{**asked, **change})
    xr.testing.assert_identical(again.compute(), first)


def test_a_source_states_no_secrets(archive: Path, items: list) -> None:
    plain = "https://example.org/stac"
    assert name_source("https://me:key@example.org/stac/?token=abc") == plain
    assert name_source(None) == name_source("https://planetarycomputer.microsoft.com/api/stac/v1")
    assert name_source(archive) == name_source(str(archive)) == str(archive.resolve())
    several = [name_source(own) for own in (items, items[::-1], items[1:])]
    assert several[0] == several[1] != several[2]
    assert name_source(open_source(items)) == several[0]


def test_a_store_of_an_earlier_version_is_gone_on_with(
    archive: Path, region: tuple, tmp_path: Path
) -> None:
    """Such stores do not state how they are read."""
    import zarr

    places, store = _sample(2, region), tmp_path / "c.zarr"
    asked = {**ASKED, "dates": 1, "source": archive}
    first = xc.collect(places, store=store, **asked).compute()
    group = zarr.open_group(str(store), mode="r+")
    told = json.loads(str(group.attrs["xcontrast_plan"]))
    del told["reading"]
    group.attrs["xcontrast_plan"] = json.dumps(told, sort_keys=True)
    zarr.consolidate_metadata(str(store))
    again = xc.collect(places, store=store, **asked)
    xr.testing.assert_equal(again.compute(), first)
    with pytest.raises(SourceError, match=r"begun with other seed\."):
        xc.collect(places, store=store, seed=1, **asked)


def test_a_wrong_source_begins_no_store(archive: Path, region: tuple, tmp_path: Path) -> None:
    store = tmp_path / "c.zarr"
    with pytest.raises(SourceError, match=r"a STAC API, a static catalog"):
        xc.collect(_sample(2, region), store=store, **{**ASKED, "source": tmp_path / "none.json"})
    assert not store.exists()


def test_an_address_is_no_store(
    archive: Path, region: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"a disk of this machine; received memory://c\.zarr"):
        xc.collect(_sample(1, region), store="memory://c.zarr", source=archive, **ASKED)
    assert not list(tmp_path.iterdir())


def test_a_place_without_images_is_given_up_and_said(
    archive: Path, region: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    far = geopandas.GeoDataFrame(
        geometry=geopandas.points_from_xy([region[0], 40.0], [region[1], 50.0]), crs=4326
    )
    options = xc.CollectOptions(max_draws=30)
    asked = {**ASKED, "dates": 1, "options": options, "source": archive}
    found = xc.collect(far, store=tmp_path / "c.zarr", **asked)
    assert found.location.values.tolist() == [0]
    summary = json.loads(found.attrs["xcontrast_summary"])
    assert (summary["accepted"], summary["given_up"]) == (1, 1)
    assert summary["rejected_draws"][REASONS[0]] >= 30
    assert "1 of 2 locations, 1 given up" in capsys.readouterr().out
