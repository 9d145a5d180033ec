"""Reads that survive: real COGs behind a real server with expiring tokens and faults on demand."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pystac
import pytest
from archive_server import Trouble
from archives import ORIGIN, item, write_band
from servers import ArchiveServer, serve_archive

import xcontrast as xc
from xcontrast.cubes import faults, signing
from xcontrast.cubes.reading import ReadSettings, SensorDriver
from xcontrast.errors import DataError, SourceError

N = 256
BANDS = ("B04", "B11")
STEADY = xc.Patience(timeout=20.0, attempts=6, limit=60.0)
"""For faults that answer: no pause of a busy machine looks like a silent server."""
LISTENING = xc.Patience(timeout=2.0, attempts=8, limit=60.0)
"""For a server that is silent for a while: longer than a pause, shorter than its silence."""
QUICK = xc.Patience(timeout=1.0, attempts=4, limit=6.0)
BOUND = 6.0 + 4 * 1.0 + 4.0
"""Seconds: as `Patience.limit` says of `QUICK`, and some slack for a busy machine."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of two bands and classes; every pixel differs, so that misplacing shows."""
    root = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for day in ("2023-06-01", "2023-06-06"):
        folder = root / "container" / day
        write_band(folder / "B04.tif", rng.integers(1001, 9000, (N, N)).astype("uint16"))
        write_band(
            folder / "B11.tif", rng.integers(1001, 9000, (N // 2, N // 2)).astype("uint16"), cell=20
        )
        write_band(folder / "SCL.tif", np.full((N // 2, N // 2), 4, "uint8"), cell=20)
    return root


@pytest.fixture
def server(files: Path) -> Iterator[ArchiveServer]:
    with serve_archive(files) as archive:
        yield archive


def _items(files: Path, base: str | None = None) -> list[pystac.Item]:
    made = []
    for folder in sorted((files / "container").iterdir()):
        assets = {key: folder / f"{key}.tif" for key in ("B04", "B11", "SCL")}
        facts = {"s2:processing_baseline": "05.09", "eo:cloud_cover": 1.0}
        own = item(folder.name, "sentinel-2-l2a", f"{folder.name}T10:00:00", assets, facts)
        for asset in own.assets.values():
            if base is not None:
                asset.href = f"{base}/{Path(asset.href).relative_to(files).as_posix()}"
        made.append(own)
    return made


def _open(items: list[pystac.Item], *, on_error: str = "nan", **options):
    from odc.geo.geobox import GeoBox

    x, y = ORIGIN
    grid = GeoBox.from_bbox((x, y - 10 * N, x + 10 * N, y), "EPSG:32632", resolution=10)
    return xc.open_cube(
        geobox=grid, datetime="2023", sensors=("s2",), bands=BANDS, source=items,
        chunks={"y": 128, "x": 128}, on_error=on_error,
        options=xc.CubeOptions(**({"patience": STEADY} | options)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth(files: Path) -> np.ndarray:
    return _open(_items(files)).s2.values


def _signer(server: ArchiveServer) -> xc.TokenSigner:
    # Storage on this machine: the container is the first part of the path, "protected".
    return xc.TokenSigner(endpoint=f"{server.address}/token", storage=f"127.0.0.1:{server.port}")


def test_tokens_that_expire_before_the_cube_is_computed(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    server.issue_for(3.0)
    items = _items(files, f"{server.address}/protected")
    cube = _open(items, sign=_signer(server))
    assert server.requests == []
    time.sleep(4)
    with dask.config.set(scheduler="threads"):
        np.testing.assert_array_equal(cube.s2.values, truth)
    assert server.n_tokens >= 1


def test_one_token_a_container_serves_all_blocks(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    cube = _open(_items(files, f"{server.address}/protected"), sign=_signer(server))
    np.testing.assert_array_equal(cube.s2.values, truth)
    assert server.n_tokens == 1


def test_a_cluster_computes_tomorrow_what_patch_url_cannot(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    """Tokens of 3 s, computed 8 s later by two worker processes: right, and wrong without."""
    import odc.stac
    from distributed import Client, LocalCluster

    server.issue_for(3.0)
    items = _items(files, f"{server.address}/protected")
    signer = _signer(server)
    cube = _open(items, sign=signer)
    signed_early = odc.stac.load(
        items, bands=["B04"], geobox=cube.odc.geobox, chunks={}, patch_url=signer
    )
    time.sleep(8)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        np.testing.assert_array_equal(cube.s2.compute().values, truth)
        with pytest.raises(Exception, match=r"403|does not exist"):
            signed_early.compute()
        # New processes: GDAL keeps what it read under a link, and would not ask the server again.
        client.restart()
        server.withdraw()
        server.fail(Trouble("B04", status=403))
        with pytest.raises(SourceError, match=r"B04 of 2023-06-01.*HTTP 403.*\(access"):
            cube.s2.isel(s2_time=0).compute()


def test_a_withdrawn_token_is_replaced_once(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    cube = _open(_items(files, f"{server.address}/protected"), sign=_signer(server))
    first = cube.s2.isel(s2_time=0).values
    server.withdraw()
    np.testing.assert_array_equal(cube.s2.values, truth)
    np.testing.assert_array_equal(first, truth[0])
    assert server.n_tokens == 2


def test_tokens_issued_expired_by_a_wrong_clock_are_still_tried(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    server.issue_for(3600.0, shift=-7200.0)
    cube = _open(_items(files, f"{server.address}/protected"), sign=_signer(server))
    np.testing.assert_array_equal(cube.s2.isel(s2_time=0).values, truth[0])


def test_a_signature_in_the_link_is_replaced(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    items = _items(files, f"{server.address}/protected")
    for asset in items[0].assets.values():
        asset.href += "?se=2020-01-01T00%3A00%3A00Z&sig=old"
    cube = _open(items, sign=_signer(server))
    np.testing.assert_array_equal(cube.s2.values, truth)


MENDED = [
    ("429 5 times, wait 1 s", Trouble("B04", status=429, retry_after="1", times=5)),
    ("500 5 times", Trouble("B04", status=500, times=5)),
    ("503 5 times", Trouble("SCL", status=503, times=5)),
    ("500 to every fifth request", Trouble("", status=500, share=0.2)),
    ("no answer 3 times", Trouble("B11", sleep=6.0, times=3)),
    ("body cut off once", Trouble("B04", cut_body=True, times=2)),
]


@pytest.mark.parametrize(("name", "trouble"), MENDED, ids=[name for name, _ in MENDED])
def test_faults_that_pass_leave_no_trace(
    name: str, trouble: Trouble, files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    server.fail(trouble)
    patience = LISTENING if trouble.sleep else STEADY
    cube = _open(_items(files, server.address), patience=patience)
    begin = time.monotonic()
    np.testing.assert_array_equal(cube.s2.values, truth)
    seconds = time.monotonic() - begin
    print(f"| {name} | the right values | {seconds:.1f} s |")
    assert seconds < 60
    assert server.left == [0] or trouble.share < 1
    assert xc.read_report(cube).empty


RAISED = [
    ("403", Trouble("B04", status=403), r"HTTP 403.*\(access; 1 attempts.*check that"),
    ("429, wait an hour", Trouble("B04", status=429, retry_after="3600"), r"429.*\(busy; 1 att"),
    ("500", Trouble("B04", status=500), r"HTTP 500.*\(busy; \d attempts.*compute again later"),
    ("no answer", Trouble("B04", sleep=60.0), r"\(network; .*check the network"),
]


@pytest.mark.parametrize(("name", "trouble", "message"), RAISED, ids=[r[0] for r in RAISED])
def test_faults_of_access_and_network_end_in_time(
    name: str, trouble: Trouble, message: str, files: Path, server: ArchiveServer
) -> None:
    server.fail(trouble)
    cube = _open(_items(files, server.address), patience=QUICK)
    begin = time.monotonic()
    with pytest.raises(SourceError, match=message), dask.config.set(scheduler="synchronous"):
        cube.s2.isel(s2_time=0, y=slice(128), x=slice(128)).compute()
    seconds = time.monotonic() - begin
    print(f"| {name}, always | SourceError | {seconds:.1f} s |")
    assert seconds < BOUND


def test_a_host_that_has_no_address(files: Path) -> None:
    cube = _open(_items(files, "http://no-such-host.invalid"), patience=QUICK)
    begin = time.monotonic()
    block = cube.s2.isel(s2_time=0, y=slice(128), x=slice(128))
    with pytest.raises(SourceError, match=r"(resolve|resolution|not known).*\(network; 4 attempts"):
        block.compute()
    seconds = time.monotonic() - begin
    print(f"| no such host | SourceError | {seconds:.1f} s |")
    assert seconds < BOUND


LOST = [
    ("file missing", Trouble("2023-06-01/B04", status=404), "missing", "HTTP 404"),
    ("file truncated", Trouble("2023-06-01/B04", cut_file=True), "damaged", ""),
]


@pytest.mark.parametrize(("name", "trouble", "kind", "message"), LOST, ids=[r[0] for r in LOST])
def test_a_file_at_fault_costs_its_pixels_and_a_line(
    name: str, trouble: Trouble, kind: str, message: str,
    files: Path, server: ArchiveServer, truth: np.ndarray,
) -> None:  # fmt: skip
    server.fail(trouble)
    items = _items(files, server.address)
    cube = _open(items)
    begin = time.monotonic()
    values = cube.s2.values
    seconds = time.monotonic() - begin
    report = xc.read_report(cube)
    print(f"| {name} | NaN, {len(report)} lines of the report | {seconds:.1f} s |")
    np.testing.assert_array_equal(values[1], truth[1])
    np.testing.assert_array_equal(values[0, 1], truth[0, 1])
    lost = np.isnan(values[0, 0])
    np.testing.assert_array_equal(values[0, 0][~lost], truth[0, 0][~lost])
    assert lost.any()
    assert set(report["item"]) == {"2023-06-01"}
    assert set(report["asset"]) == {"B04"}
    assert set(report["kind"]) == {kind}
    assert report["message"].str.contains(message).all()
    assert len(report) == lost.reshape(2, 128, 2, 128).any((1, 3)).sum()
    strict = _open(items, on_error="raise")
    with pytest.raises(SourceError, match=rf"to read B04 of 2023-06-01.*\({kind}"):
        strict.s2.compute()
    # Computing again adds no second line for a block.
    cube.s2.compute()
    assert len(xc.read_report(cube)) == len(report)


def test_clouds_that_cannot_be_known_are_no_clear_sky(files: Path, server: ArchiveServer) -> None:
    server.fail(Trouble("2023-06-06/SCL", status=404))
    cube = _open(_items(files, server.address))
    assert np.isnan(cube.s2.isel(s2_time=1)).all()
    assert np.isfinite(cube.s2.isel(s2_time=0)).all()
    assert set(xc.read_report(cube)["asset"]) == {"SCL"}


def test_an_item_without_one_of_the_bands(files: Path, truth: np.ndarray) -> None:
    items = _items(files)
    del items[0].assets["B11"]
    cube = _open(items)
    assert np.isnan(cube.s2.isel(s2_time=0).sel(s2_band="B11")).all()
    np.testing.assert_array_equal(cube.s2.isel(s2_time=0, s2_band=0).values, truth[0, 0])
    for own in items:
        own.assets.pop("B11", None)
    with pytest.raises(DataError, match=r"assets for the Sentinel-2 bands.*without B11.*bands="):
        _open(items)


def test_local_files_at_fault(files: Path, tmp_path: Path, truth: np.ndarray) -> None:
    items = _items(files)
    good = Path(items[0].assets["B04"].href)
    broken = tmp_path / "B04.tif"
    broken.write_bytes(good.read_bytes()[:2000])
    items[0].assets["B04"].href = str(broken)
    items[1].assets["B04"].href = str(tmp_path / "gone.tif")
    cube = _open(items)
    assert np.isnan(cube.s2.isel(s2_band=0)).all()
    np.testing.assert_array_equal(cube.s2.isel(s2_band=1).values, truth[:, 1])
    kinds = xc.read_report(cube).groupby("item")["kind"].unique()
    assert [list(own) for own in kinds] == [["damaged"], ["missing"]]


def test_workers_send_their_lines_to_the_client(files: Path, server: ArchiveServer) -> None:
    from distributed import Client, LocalCluster

    server.fail(Trouble("2023-06-01/B04", status=404))
    cube = _open(_items(files, server.address))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        assert np.isnan(cube.s2.compute().values[0, 0]).all()
        report = xc.read_report(cube, client=client)
        assert len(report) == 4
        assert list(xc.read_report(cube)["block"]) == list(report["block"])
    assert xc.read_report(cube).empty


def test_where_the_ground_is_seen_costs_the_scene_classes_alone(
    files: Path, server: ArchiveServer, truth: np.ndarray
) -> None:
    cube = _open(_items(files, server.address))
    assert cube.s2_valid.dims == ("s2_time", "y", "x")
    seen = cube.s2_valid.values
    assert seen.dtype == bool
    assert all("SCL" in line for line in server.requests)
    np.testing.assert_array_equal(seen, np.isfinite(truth).all(1))


def test_where_the_ground_is_seen_without_classes_is_the_first_band(files: Path) -> None:
    items = _items(files)
    for own in items:
        own.assets.pop("SCL")
    cube = _open(items)
    np.testing.assert_array_equal(cube.s2_valid.values, np.isfinite(cube.s2.values[:, 0]))


def test_the_report_needs_a_cube() -> None:
    import xarray as xr

    with pytest.raises(DataError, match=r"a cube from open_cube.*\(none\).*before attributes"):
        xc.read_report(xr.Dataset())


def test_files_read_in_two_ways_never_share_their_tasks(files: Path) -> None:
    """Computed in one go, dask would merge tasks of one name: offsets would be swapped."""
    raw = _items(files)
    for own in raw:
        own.properties["earthsearch:boa_offset_applied"] = True
    low, high = _open(_items(files)).s2, _open(raw).s2
    a, b = dask.compute(low, high)
    np.testing.assert_allclose(b.values - a.values, 0.1, atol=1e-6)


def test_the_graph_is_small_and_the_driver_smaller(files: Path) -> None:
    cube = _open(_items(files))
    settings = ReadSettings("reads", xc.TokenSigner(), QUICK, "nan", "bilinear", -40.0, (0,))
    assert len(pickle.dumps(SensorDriver(settings))) < 1000
    # A task a block with all its bands; opening an item is one more, the grid and options few.
    assert len(cube.s2.data.dask) <= 2 * 4 + 2 + 3
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_value_does_not_depend_on_the_chunks(files: Path, truth: np.ndarray) -> None:
    from odc.geo.geobox import GeoBox

    x, y = ORIGIN
    grid = GeoBox.from_bbox((x, y - 10 * N, x + 10 * N, y), "EPSG:32632", resolution=10)
    for side in (-1, 100, 37):
        cube = xc.open_cube(
            geobox=grid, datetime="2023", sensors=("s2",), bands=BANDS, source=_items(files),
            chunks={"y": side, "x": side},
        )  # fmt: skip
        np.testing.assert_allclose(cube.s2.values, truth, atol=1e-6)


@pytest.mark.parametrize(
    ("link", "said", "kind"),
    [
        ("s3://bucket/a.tif", "HTTP response code: 403", "access"),
        ("s3://bucket/a.tif", "AWS_SECRET_ACCESS_KEY and no valid credentials found", "access"),
        ("s3://bucket/a.tif", "NoSuchKey: The specified key does not exist.", "missing"),
        ("/vsis3/bucket/a.tif", "TIFFReadEncodedTile() failed", "damaged"),
        ("az://c/a.tif", "something never heard", "network"),
        ("file:///nowhere/a.tif", "No such file", "missing"),
    ],
)
def test_faults_of_other_stores_are_told_by_words(link: str, said: str, kind: str) -> None:
    assert faults.diagnose(link, OSError(said), timeout=1).kind == kind


def test_patience_has_bounds() -> None:
    with pytest.raises(DataError, match=r"a timeout above 0 s.*received timeout=0"):
        xc.Patience(timeout=0)
    patience = xc.Patience()
    waits = np.array([[patience.wait(n) for n in range(1, 12)] for _ in range(50)])
    assert (waits <= faults.LONGEST_WAIT).all()
    assert (waits[:, 0] >= faults.FIRST_WAIT / 2).all()
    assert np.unique(waits[:, 0]).size == 50


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_in_all_its_forms(header: str, seconds: float | None) -> None:
    assert faults._seconds(header) == seconds


def test_only_links_of_the_planetary_computer_are_signed() -> None:
    assert signing.choose_signer(None) == xc.TokenSigner()
    assert signing.choose_signer(f"{signing.PLANETARY_COMPUTER}/") == xc.TokenSigner()
    assert signing.choose_signer("https://earth-search.aws.element84.com/v1") is None
    href = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/B04.tif"
    assert xc.TokenSigner()(href) == href
