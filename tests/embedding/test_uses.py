"""What embeddings are used for: similarity, kinds of ground, change."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from scipy.spatial.distance import cosine
from shapely.geometry import Point, box
from sklearn.metrics import adjusted_rand_score

import xcontrast as xc
from xcontrast.errors import DataError


def _embedding(seed: int = 0, *, n_times: int = 2, **attrs: str) -> xr.DataArray:
    """Three kinds of ground in stripes, on a grid of 40 m in UTM, with a hole."""
    import odc.geo.xr
    from odc.geo.geobox import GeoBox

    rng = np.random.default_rng(seed)
    grid = GeoBox.from_bbox((500000, 5000000, 500960, 5000800), "EPSG:32632", resolution=40)
    kinds = np.repeat([0, 1, 2], 8)
    centres = np.random.default_rng(99).normal(size=(3, 6)) * 3
    values = centres[kinds].T[None, :, None, :] + rng.normal(size=(n_times, 6, 20, 24)) * 0.3
    values[:, :, 3, 4] = np.nan
    coords = dict(odc.geo.xr.xr_coords(grid, dims=("y", "x")))
    coords["s2_time"] = np.array(["2023-05-01", "2023-06-01", "2023-07-01"], "M8[ns]")[:n_times]
    dims = ("s2_time", "feature", "y", "x")
    told = {"model_digest": "d", "space": "encoder", "sensor": "s2"} | attrs
    return xr.DataArray(values.astype("float32"), coords, dims, attrs=told)


def test_similarity_is_the_cosine_to_the_nearest_point() -> None:
    emb = _embedding()
    rows, cols = np.array([2, 10]), np.array([1, 20])
    points = np.stack([emb.x.values[cols], emb.y.values[rows]], axis=1)
    found = emb.contrast.similar(points, of=emb.isel(s2_time=0))
    assert found.dims == ("s2_time", "y", "x")
    queries = emb.isel(s2_time=0).values[:, rows, cols]
    for t, y, x in [(0, 5, 5), (1, 0, 23), (1, 19, 12)]:
        own = emb.values[t, :, y, x]
        expected = max(1 - cosine(own, query) for query in queries.T)
        assert float(found[t, y, x]) == pytest.approx(expected, abs=1e-5)
    assert float(found[0, 2, 1]) == pytest.approx(1, abs=1e-5)
    assert np.isnan(found[:, 3, 4]).all()
    mean = emb.contrast.similar(points, of=emb.isel(s2_time=0), reduce="mean")
    unit = queries / np.linalg.norm(queries, axis=0)
    own = emb.values[1, :, 5, 5]
    assert float(mean[1, 5, 5]) == pytest.approx(
        float(own / np.linalg.norm(own) @ unit.mean(1)), abs=1e-5
    )


@pytest.mark.parametrize("keep", ["default", False])
@pytest.mark.parametrize("lazily", [True, False])
def test_what_is_made_of_an_embedding_lies_where_it_does(
    keep: str | bool, lazily: bool, tmp_path: Path
) -> None:
    emb = _embedding().assign_coords(x=_embedding().x.assign_attrs(units="metre"))
    emb = emb.chunk(s2_time=1, y=7) if lazily else emb
    one = emb.isel(s2_time=0)
    labels = (one.isel(feature=0) > 0).astype("uint8").drop_attrs().compute()
    with xr.set_options(keep_attrs=keep):  # type: ignore[arg-type]
        head = xc.fit(one, labels, legend=xc.FLOOD)
        mapped = [xc.predict(one, head) for _ in range(2)]
        made = {
            "similar": emb.contrast.similar([(500100.0, 5000400.0)], of=one),
            "cluster": emb.contrast.cluster(3),
            "change": emb.contrast.change(),
            "change of an event": emb.contrast.change(event="2023-05-15"),
            "label": mapped[0].label,
            "probability": mapped[0].probability,
            "entropy": mapped[0].entropy,
            "combined label": xc.combine(mapped).label,
            "combined entropy": xc.combine(mapped).entropy,
        }
    for name, found in made.items():
        assert found.odc.geobox == emb.odc.geobox, name
        assert found.x.attrs == emb.x.attrs, name
    xc.write_zarr(made["change of an event"], tmp_path / "change.zarr", progress=False)
    assert xr.open_zarr(tmp_path / "change.zarr").rio.crs.to_epsg() == 32632


def test_similarity_is_lazy_and_does_not_depend_on_chunks(no_compute: None) -> None:
    emb = _embedding(n_times=1)
    lazy = emb.chunk(y=7, x=5, feature=2).contrast.similar([(500100.0, 5000400.0)])
    assert lazy.chunks is not None


def test_points_come_as_geometries_in_any_crs() -> None:
    emb = _embedding(n_times=1)
    points = gpd.GeoSeries([Point(500100, 5000420), Point(500900, 5000100)], crs="EPSG:32632")
    bare = emb.contrast.similar([(p.x, p.y) for p in points])
    for given in (points, points.to_crs(4326), points.to_frame("geometry").to_crs(3857)):
        xr.testing.assert_allclose(emb.contrast.similar(given), bare)
    chunked = emb.chunk(y=7, x=5, feature=2).contrast.similar(points)
    xr.testing.assert_allclose(chunked.compute(), bare)
    one = emb.contrast.similar(box(500080, 5000400, 500120, 5000440))
    assert float(one.max()) == pytest.approx(1, abs=1e-5)


def test_the_other_sensor_can_be_asked_in_the_joint_space_alone() -> None:
    s2 = _embedding(n_times=1, space="joint")
    s1 = _embedding(1, n_times=1, space="joint", sensor="s1")
    found = s1.contrast.similar([(500020.0, 5000780.0)], of=s2)
    assert float(found[0, :, :8].mean()) > float(found[0, :, 8:].mean()) + 0.3
    s1.attrs["space"] = s2.attrs["space"] = "encoder"
    with pytest.raises(DataError, match=r"one model and space.*embed both.*space='joint'"):
        s1.contrast.similar([(500020.0, 5000780.0)], of=s2)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0.0, 0.0)], r"points on the embedding.*none of them inside.*CRS"),
        ([1.0, 2.0], r"pairs of x and y.*shape \(2,\).*give \[\(x, y\)"),
    ],
)
def test_points_that_cannot_be_read(points: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _embedding(n_times=1).contrast.similar(points)
    with pytest.raises(DataError, match=r"one time.*2 along s2_time.*select one"):
        _embedding().contrast.similar([(500100.0, 5000400.0)])


def test_clusters_find_the_kinds_that_were_planted(tmp_path) -> None:
    emb = _embedding()
    kinds = emb.contrast.cluster(3)
    assert kinds.dtype == np.uint8
    assert kinds.dims == ("s2_time", "y", "x")
    planted = np.broadcast_to(np.repeat([0, 1, 2], 8), kinds.shape)
    valid = np.isfinite(emb).all("feature").values
    assert adjusted_rand_score(planted[valid], kinds.values[valid]) > 0.99
    assert (kinds.values[~valid] == 255).all()
    assert kinds.attrs["flag_values"] == [0, 1, 2]
    # The nearest centre by hand, for all cells, whatever the chunks.
    again = emb.chunk(s2_time=1, y=6, x=24, feature=4).contrast.cluster(3)
    assert again.chunks is not None
    assert adjusted_rand_score(planted[valid], again.values[valid]) > 0.99
    xc.write_zarr(again, tmp_path / "kinds.zarr", progress=False)
    assert xr.open_zarr(tmp_path / "kinds.zarr").cluster.dtype == np.uint8


def test_clusters_by_distance_tell_lengths_apart() -> None:
    values = np.array([1.0, 1.1, 5.0, 5.1], "float32").reshape(1, 1, 4).repeat(2, 0).repeat(3, 1)
    emb = xr.DataArray(values, dims=("feature", "y", "x"))
    kinds = emb.contrast.cluster(2, unit=False)
    assert (kinds.values[:, :2] == kinds.values[0, 0]).all()
    assert (kinds.values[:, 2:] != kinds.values[0, 0]).all()


def test_clusters_need_kinds_and_cells() -> None:
    emb = _embedding(n_times=1)
    with pytest.raises(DataError, match=r"2 to 254 kinds.*k=1"):
        emb.contrast.cluster(1)
    with pytest.raises(DataError, match=r"at least 3 valid cells.*received 0"):
        (emb * np.nan).contrast.cluster(3)


def test_change_is_the_cosine_distance_between_dates() -> None:
    emb = _embedding(n_times=3)
    moved = emb.contrast.change()
    assert moved.dims == ("s2_time", "y", "x")
    np.testing.assert_array_equal(moved.s2_time, emb.s2_time[1:])
    for t, y, x in [(0, 0, 0), (1, 7, 9)]:
        expected = cosine(emb.values[t, :, y, x], emb.values[t + 1, :, y, x])
        assert float(moved[t, y, x]) == pytest.approx(expected, abs=1e-5)
    event = emb.contrast.change(event="2023-05-20")
    assert event.dims == ("y", "x")
    before, after = emb.values[0], emb.values[1:].mean(0)
    expected = cosine(before[:, 4, 4], after[:, 4, 4])
    assert float(event[4, 4]) == pytest.approx(expected, abs=1e-5)
    assert np.isnan(event[3, 4])
    lazy = emb.chunk(y=6, feature=3).contrast.change(event="2023-05-20")
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), event, atol=1e-5)


@pytest.mark.parametrize(
    ("orbits", "warned"),
    [
        ([95, 95, 95], False),
        ([95, 95, 22], True),
        ([22, 95, 95], True),
        ([-1, 95, 95], False),  # -1: not known.
        ([-1, 95, 22], True),
    ],
)
def test_passes_of_two_orbits_side_by_side_are_told(orbits: list[int], warned: bool) -> None:
    emb = _embedding(n_times=3).rename(s2_time="s1_time")
    emb = emb.assign_coords(s1_relative_orbit=("s1_time", orbits))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        emb.contrast.change()
    assert ["relative orbit" in str(w.message) for w in told] == [True] * warned


def test_change_between_sensors_needs_the_joint_space() -> None:
    s1, s2 = (
        _embedding(k, n_times=1, space="joint", sensor=f"s{k}").isel(s2_time=0, drop=True)
        for k in (1, 2)
    )
    both = xr.Dataset({"s1": s1, "s2": s2})
    apart = both.contrast.change()
    expected = cosine(s1.values[:, 0, 0], s2.values[:, 0, 0])
    assert float(apart[0, 0]) == pytest.approx(expected, abs=1e-5)
    both.s1.attrs["space"] = "encoder"
    with pytest.raises(DataError, match=r"two sensors in the space 'joint'.*encoder, joint"):
        both.contrast.change()
    with pytest.raises(DataError, match=r"two times or more.*embed a cube"):
        s1.contrast.change()


def test_seams_are_seen_and_smooth_ground_has_none() -> None:
    rng = np.random.default_rng(0)
    ground = rng.normal(size=(4, 96, 96)).cumsum(1).cumsum(2).astype("float32")
    smooth = xr.DataArray(ground, dims=("feature", "y", "x")).chunk(y=32, x=32)
    assert smooth.contrast.seam_score() == pytest.approx(1, abs=0.1)
    tiles = np.kron(rng.normal(size=(3, 3)), np.ones((32, 32))) * np.abs(np.diff(ground)).mean() * 4
    assert (smooth + tiles).contrast.seam_score() > 1.5
    assert (smooth + tiles).compute().contrast.seam_score(every=32) > 1.5
    with pytest.raises(DataError, match=r"several blocks.*give `every`"):
        smooth.compute().contrast.seam_score()


def test_the_cells_of_the_encoder_are_no_seams() -> None:
    # Levels of 4 cells side by side: every fourth step is larger, at borders and elsewhere.
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.normal(size=(8, 32, 32)), np.ones((4, 4)))
    fine = coarse + 0.1 * rng.normal(size=coarse.shape)
    emb = xr.DataArray(fine, dims=("feature", "y", "x")).chunk(y=32, x=32)
    assert emb.contrast.seam_score() > 2
    emb.attrs |= {"stride": 4, "encoder_stride": 16}
    assert emb.contrast.seam_score() == pytest.approx(1, abs=0.05)
    shifted = emb + np.kron(rng.normal(size=(4, 4)), np.ones((32, 32)))
    shifted.attrs = emb.attrs
    assert shifted.contrast.seam_score() > 1.2
