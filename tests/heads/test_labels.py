from __future__ import annotations

import geopandas
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Point, Polygon, box

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.heads.labels import match_labels

LAND = xc.Legend(title="land", codes=(1, 2, 5), names=("a", "b", "c"), colors=("#000",) * 3)


def grid(n: int, cell: float, *, epsg: int = 32632) -> xr.DataArray:
    import rioxarray  # noqa: F401

    half = cell / 2
    coords = {"y": 5e6 - cell * np.arange(n) - half, "x": 5e5 + cell * np.arange(n) + half}
    return xr.DataArray(np.zeros((n, n), "uint8"), coords, ("y", "x")).rio.write_crs(epsg)


codes = arrays(np.uint8, (8, 12), elements=st.sampled_from([1, 2, 5, 255]))


def _majority(cell: np.ndarray) -> int:
    counts = {code: int((cell == code).sum()) for code in LAND.codes}
    best = max(counts.values())
    return min(code for code, n in counts.items() if n == best) if best else 255


@given(codes)
def test_pixels_without_georeference_vote_in_cells(values: np.ndarray) -> None:
    like = xr.DataArray(np.zeros((3, 2, 3)), dims=("feature", "y", "x"))
    labels = xr.DataArray(values, dims=("y", "x"))
    if (values == 255).all():
        with pytest.raises(DataError, match="at least one label"):
            match_labels(labels, like, legend=LAND)
        return
    got = match_labels(labels, like, legend=LAND)
    for i in range(2):
        for j in range(3):
            cell = values[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            assert int(got[i, j]) == _majority(cell)


def test_finer_labels_vote_and_coarser_are_nearest() -> None:
    rng = np.random.default_rng(0)
    fine = grid(32, 10).copy(data=rng.choice([1, 2, 255], (32, 32), p=[0.5, 0.2, 0.3]).astype("u1"))
    got = match_labels(fine, grid(8, 40), legend=LAND)
    wrong = 0
    for i in range(8):
        for j in range(8):
            cell = fine.values[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            counts = [(cell == c).sum() for c in (1, 2)]
            # Which of equals GDAL gives is its own affair; elsewhere it must be the majority.
            wrong += counts[0] != counts[1] and int(got[i, j]) != _majority(cell)
    assert wrong == 0
    coarse = grid(4, 80).copy(data=np.array([1, 2, 5, 255] * 4, "u1").reshape(4, 4))
    got = match_labels(coarse, grid(8, 40), legend=LAND)
    np.testing.assert_array_equal(got, np.kron(coarse.values, np.ones((2, 2), "u1")))
    assert got.attrs["flag_meanings"] == "a b c"


def test_no_code_is_ever_invented_by_another_projection() -> None:
    rng = np.random.default_rng(0)
    utm = grid(60, 10).copy(data=rng.choice([1, 5], (60, 60)).astype("u1"))
    degrees = utm.rio.reproject(4326, nodata=255)
    got = match_labels(degrees, grid(10, 40), legend=LAND)
    assert set(np.unique(got)) <= {1, 5, 255}
    assert (got != 255).mean() > 0.9


def test_geometries_of_any_crs_with_codes_or_names() -> None:
    like = grid(8, 40)
    shapes = geopandas.GeoDataFrame(
        {"code": [1, 5], "name": ["a", "c"]},
        geometry=[box(5e5, 5e6 - 160, 5e5 + 160, 5e6), Point(5e5 + 300, 5e6 - 300)],
        crs=32632,
    )
    expected = np.full((8, 8), 255)
    expected[:4, :4] = 1
    expected[7, 7] = 5
    for frame, column in ((shapes, "code"), (shapes.to_crs(4326), "name")):
        got = match_labels(frame, like, legend=LAND, column=column)
        np.testing.assert_array_equal(got, expected)


def test_nan_and_nodata_are_no_labels() -> None:
    like = grid(4, 40)
    values = np.full((4, 4), 1.0)
    values[0, 0], values[1, 1] = np.nan, -7
    labels = like.copy(data=values).assign_attrs(nodata=-7)
    got = match_labels(labels, like, legend=LAND).values
    assert got[0, 0] == got[1, 1] == 255
    assert (got == 1).sum() == 14


@pytest.mark.parametrize(
    ("labels", "column", "message"),
    [
        (grid(8, 40) + np.uint8(3), None, r"codes of the legend 'land'.*also 3"),
        (grid(8, 40).copy(data=np.full((8, 8), 255, "u1")), None, "everything is ignored"),
        (grid(8, 40).assign_coords(x=np.arange(8) * 40.0) + np.uint8(1), None, "that overlap"),
        (grid(8, 40).rename(x="lon"), None, "dims y and x"),
        ([1, 2], None, "received a list"),
        (xr.DataArray(np.ones((5, 5), "u1"), dims=("y", "x")), None, "finer by a whole factor"),
        (Point(0, 0), None, r"column=None.*name it"),
        (geopandas.GeoDataFrame({"k": ["z"]}, geometry=[Point(5e5, 5e6)]), "k", "z in column 'k'"),
        (geopandas.GeoDataFrame({"k": [1]}, geometry=[Polygon()]), "k", "at least one label"),
        (geopandas.GeoDataFrame({"k": [1]}, geometry=[Point(0, 0)]), "k", "at least one label"),
    ],
)
def test_bad_labels(labels, column: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        match_labels(labels, grid(8, 40), legend=LAND, column=column)


def test_geometries_need_a_crs() -> None:
    frame = geopandas.GeoDataFrame({"k": [1]}, geometry=[Point(0, 0)])
    with pytest.raises(DataError, match="Expected an embedding with a CRS"):
        match_labels(frame, grid(8, 40).drop_vars("spatial_ref"), legend=LAND, column="k")


def test_labels_of_locations_go_where_their_coords_say() -> None:
    like = xr.DataArray(
        np.zeros((4, 2, 3, 3)), {"location": list("abcd")}, ("location", "feature", "y", "x")
    )
    codes = np.array([1, 2, 5, 1], "u1")[:, None, None] * np.ones((4, 3, 3), "u1")
    labels = xr.DataArray(codes, {"location": list("abcd")}, ("location", "y", "x"))
    np.testing.assert_array_equal(match_labels(labels[::-1], like, legend=LAND), codes)
    some = match_labels(labels.sel(location=["d", "b"]), like, legend=LAND)
    assert some[:, 0, 0].values.tolist() == [255, 2, 255, 1]
    pooled = match_labels(labels[::-1, 0, 0], like[..., 0, 0], legend=LAND)
    assert pooled.values.tolist() == [1, 2, 5, 1]
    many = xr.DataArray(np.ones((5, 3, 3), "u1"), dims=("location", "y", "x"))
    with pytest.raises(DataError, match=r"labels for the 4 of 'location'.*received 5 without"):
        match_labels(many, like, legend=LAND)


@pytest.mark.parametrize("name", [None, "crs"])
def test_rows_that_run_the_other_way_are_turned(name: str | None) -> None:
    """A CRS under another name is one, and coords count without one."""
    rng = np.random.default_rng(0)
    truth = rng.choice([1, 2, 5], (8, 8)).astype("u1")
    like, fine = grid(8, 40), np.kron(truth, np.ones((4, 4), "u1"))
    labels = grid(32, 10).copy(data=fine).drop_vars("spatial_ref")[::-1]
    if name is not None:
        labels = labels.rio.write_crs(32632, grid_mapping_name=name)
    np.testing.assert_array_equal(match_labels(labels, like, legend=LAND), truth)
    message = "that overlap" if name else r"8 x 8 cells.*at the same y and x"
    with pytest.raises(DataError, match=message):
        match_labels(labels.assign_coords(x=labels.x + 1e5), like, legend=LAND)


def test_cells_are_as_wide_as_the_embedding_says() -> None:
    """264 px make 9 cells at strides 30, 31 and 32; only one of them is right."""
    right = np.arange(264) // 32
    values = np.where(right == 8, 2, 1) * np.ones((264, 1), int)
    labels = xr.DataArray(values.astype("u1"), dims=("y", "x"))
    like = xr.DataArray(np.zeros((1, 9, 9)), dims=("feature", "y", "x"))
    told = match_labels(labels, like.assign_attrs(stride=32), legend=LAND)
    assert told[0].values.tolist() == [1] * 8 + [2]
    with pytest.raises(DataError, match=r"which may be \[30, 31, 32\] a cell"):
        match_labels(labels, like, legend=LAND)


@pytest.mark.parametrize("dtype", ["Int64", "string", object])
def test_what_is_missing_in_a_column_is_no_label(dtype) -> None:
    names = dtype == "string"
    given = ["a", None, "c"] if names else [1, None, 5]
    points = [Point(5e5 + 40 * i + 20, 5e6 - 20) for i in range(3)]
    frame = geopandas.GeoDataFrame({"k": pd.array(given, dtype=dtype)}, geometry=points, crs=32632)
    got = match_labels(frame, grid(8, 40), legend=LAND, column="k")
    assert got[0, :3].values.tolist() == [1, 255, 5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (geopandas.GeoDataFrame({"k": [[1, 2]]}, geometry=[Point(0, 0)]), r"\[1, 2\] in column"),
        (grid(8, 40).astype(str), r"labels as numbers.*type <U\d"),
    ],
)
def test_what_is_no_code(labels, message: str) -> None:
    with pytest.raises(DataError, match=message):
        match_labels(labels, grid(8, 40), legend=LAND, column="k")


def test_a_date_of_several_may_have_no_label() -> None:
    empty = grid(8, 40).copy(data=np.full((8, 8), 255, "u1"))
    got = match_labels(empty, grid(8, 40), legend=LAND, may_be_empty=True)
    assert (got == 255).all()
