from __future__ import annotations

import geopandas
import numpy as np
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
