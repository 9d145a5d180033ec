from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.sampling.pairing import match_nearest

hours = st.lists(st.integers(0, 400), min_size=0, max_size=12)


def _times(values: list[int]) -> np.ndarray:
    return np.datetime64("2023-01-01", "ns") + np.array(values, "timedelta64[h]")


@given(hours, hours, st.integers(0, 100))
def test_matching_equals_brute_force(a: list[int], b: list[int], tolerance: int) -> None:
    i, j = match_nearest(_times(a), _times(b), tolerance=pd.Timedelta(tolerance, "h"))
    got = dict(zip(i.tolist(), j.tolist(), strict=True))
    for k, time in enumerate(a):
        # Nearest; of equals the earlier date; of equal dates the first given.
        best = min(range(len(b)), key=lambda m: (abs(b[m] - time), b[m], m), default=None)
        if best is None or abs(b[best] - time) > tolerance:
            assert k not in got
        else:
            assert got[k] == best


def test_pairs_hold_the_matched_images_and_the_signed_lag(cube: xr.Dataset) -> None:
    p = cube.contrast.pairs(tolerance="2D")
    assert p.s1.dims == ("pair", "s1_band", "y", "x")
    assert p.s2.dims == ("pair", "s2_band", "y", "x")
    assert p.lag.dtype == "timedelta64[ns]"
    np.testing.assert_array_equal(p.lag.values, np.timedelta64(-1, "D"))
    np.testing.assert_array_equal(p.s1.values, cube.s1.values)
    np.testing.assert_array_equal(p.s2_time.values, cube.s2_time.values)
    assert p.rio.crs == cube.rio.crs


def test_one_radar_image_may_serve_two_optical_ones() -> None:
    cube = planted_cube(16, n_times=3).isel(s1_time=[1])
    p = xc.pairs(cube, tolerance="30D")
    assert p.sizes["pair"] == 3
    assert len(np.unique(p.s1_time)) == 1
    assert json.loads(p.attrs["pairing"])["matched"] == 3


def test_pairing_reads_nothing(cube: xr.Dataset, no_compute: None) -> None:
    assert xc.pairs(cube.chunk(y=32)).s1.chunks is not None


def test_min_valid_drops_cloudy_pairs_and_says_so(cube: xr.Dataset) -> None:
    cloudy = cube.copy(deep=True)
    cloudy["s2"][1, :, :60] = np.nan
    p = xc.pairs(cloudy.chunk(y=40), min_valid=0.9)
    assert p.sizes["pair"] == 1
    assert float(p.valid_fraction[0]) == 1.0
    assert json.loads(p.attrs["pairing"])["rejected_by_validity"] == 1
    with pytest.raises(DataError, match=r"Expected a pair with at least 90%.*best 38%.*lower"):
        xc.pairs(cloudy.isel(s2_time=[1]), min_valid=0.9)


def test_collections_become_pairs_with_their_coords() -> None:
    cube = planted_cube(16, n_times=6, georeferenced=False)
    stack = {
        name: cube[name]
        .drop_vars(f"{name}_time")
        .rename({f"{name}_time": "k"})
        .assign_coords(location=("k", [0, 0, 1, 1, 2, 2]), date=("k", [0, 1] * 3))
        .set_index(k=["location", "date"])
        .unstack("k")
        .transpose("location", "date", f"{name}_band", "y", "x")
        for name in ("s1", "s2")
    }
    collection = xr.Dataset(stack).assign_coords(scene=("location", ["a", "b", "b"]))
    p = xc.pairs(collection)
    assert p.sizes["pair"] == 6
    assert p.scene.values.tolist() == ["a", "a", "b", "b", "b", "b"]
    np.testing.assert_array_equal(p.s1.values, cube.s1.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[["s1"]], r"Expected a cube with both sensors.*received.*\['s1'\].*add s2"),
        (lambda c: c.transpose("x", ...), r"Expected s1 with dims.*as_cube"),
        (
            lambda c: c.assign_coords(s1_time=c.s1_time + np.timedelta64(90, "D")),
            r"within 3 days.*77 days.*widen",
        ),
    ],
)
def test_cubes_that_give_no_pairs(cube: xr.Dataset, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.pairs(change(cube))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": "soon"}, "Expected a tolerance.*'soon'"),
        ({"tolerance": "-1D"}, "Expected a tolerance"),
        ({"min_valid": 3}, r"min_valid in 0\.\.1"),
        ({"kind": "twins"}, "Expected kind 'cross-sensor'"),
    ],
)
def test_wrong_options(cube: xr.Dataset, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.pairs(cube, **options)
