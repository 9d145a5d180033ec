from __future__ import annotations

import itertools
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
from xcontrast.sampling.matching import (
    choose_apart,
    match_all,
    match_latest,
    match_nearest,
    match_one_to_one,
)

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


few = st.lists(st.integers(0, 60), min_size=0, max_size=6)


@given(few, few, st.integers(0, 40))
def test_one_to_one_is_the_best_of_all_assignments(a: list[int], b: list[int], limit: int) -> None:
    i, j = match_one_to_one(_times(a), _times(b), tolerance=pd.Timedelta(limit, "h"))
    assert len(set(i.tolist())) == len(i)
    assert len(set(j.tolist())) == len(j)
    lags = [abs(a[m] - b[n]) for m, n in zip(i, j, strict=True)]
    assert max(lags, default=0) <= limit

    def best(m: int, used: frozenset) -> tuple[int, int]:
        """Most pairs, then least lag, of times m and later, by trying all."""
        if m == len(a):
            return 0, 0
        options = [best(m + 1, used)]
        for n in range(len(b)):
            lag = abs(a[m] - b[n])
            if n not in used and lag <= limit:
                more, total = best(m + 1, used | {n})
                options.append((more - 1, total + lag))
        return min(options)

    assert (-len(i), sum(lags)) == best(0, frozenset())


@given(hours, hours, st.integers(0, 100))
def test_all_within_the_tolerance_are_found(a: list[int], b: list[int], limit: int) -> None:
    i, j = match_all(_times(a), _times(b), tolerance=pd.Timedelta(limit, "h"))
    expected = {(m, n) for m in range(len(a)) for n in range(len(b)) if abs(a[m] - b[n]) <= limit}
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert len(i) == len(expected)


@given(
    st.lists(st.integers(0, 60), max_size=5, unique=True),
    st.lists(st.integers(0, 60), max_size=5, unique=True),
    st.integers(1, 40),
)
def test_the_papers_rule_at_every_moment(a: list[int], b: list[int], window: int) -> None:
    """Moments every hour, each pair looked up by hand; how often one comes is its duration."""
    i, j, durations = match_latest(_times(a), _times(b), window=pd.Timedelta(window, "h"))
    got = {
        (int(m), int(n)): d / np.timedelta64(1, "h")
        for m, n, d in zip(i, j, durations, strict=True)
    }
    assert len(got) == len(i)
    seen: dict[tuple[int, int], int] = {}
    for moment in range(0, 120):
        own = [[t for t in times if moment - window <= t <= moment] for times in (a, b)]
        if all(own):
            pair = a.index(max(own[0])), b.index(max(own[1]))
            seen[pair] = seen.get(pair, 0) + 1
    assert set(got) == set(seen)
    for pair, n in seen.items():
        # Hours touched, of which the last may be the instant at which the window closes.
        assert got[pair] <= n <= got[pair] + 1


@given(st.lists(st.integers(0, 200), max_size=9), st.integers(1, 80))
def test_dates_apart_are_the_most_that_there_are(a: list[int], gap: int) -> None:
    sets = choose_apart(_times(a), gap=pd.Timedelta(gap, "h"))
    used = [k for own in sets for k in own.tolist()]
    assert len(set(used)) == len(used)
    for own in sets:
        steps = np.diff([a[k] for k in own])
        assert (steps >= gap).all()
        assert len(own) == len(sets[0])
    longest = max(
        (
            len(chosen)
            for size in range(len(a) + 1)
            for chosen in itertools.combinations(sorted(a), size)
            if all(y - x >= gap for x, y in itertools.pairwise(chosen))
        ),
        default=0,
    )
    assert (len(sets[0]) if sets else 0) == longest


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
        ({"min_valid": 3}, r"min_valid in 0\.\.1; received min_valid=3"),
        ({"kind": "twins"}, "Expected kind 'cross-sensor' or 'seasonal' or 'both'.*kind='twins'"),
        ({"match": "best"}, "match nearest, one-to-one, all, paper.*match='best'"),
        ({"max_cloud": 101}, "max_cloud in 0..100 percent.*max_cloud=101"),
        ({"max_cloud": 50}, "a cube with s2_cloud_cover on s2_time.*use min_valid"),
        ({"orbit": "ascending"}, "orbit 'ascending'.*s1_orbit_state is not there"),
        ({"kind": "seasonal", "gap": "often"}, "Expected a gap of at least zero.*'often'"),
        ({"kind": "seasonal"}, r"2 or more Sentinel-2 dates.*received 2 dates, .*lower `gap`"),
    ],
)
def test_wrong_options(cube: xr.Dataset, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.pairs(cube, **options)


def _dated_cube(n1: int = 8, n2: int = 5, cloud: float = 0.0) -> xr.Dataset:
    """Passes every 6 days, of two orbits in turn, and optical dates every 10."""
    cube = planted_cube(16, n_times=max(n1, n2))
    start = np.datetime64("2023-01-01", "ns")
    day = np.timedelta64(1, "D")
    one = (
        cube[["s1"]].isel(s1_time=slice(n1)).assign_coords(s1_time=start + 6 * np.arange(n1) * day)
    )
    two = (
        cube[["s2"]]
        .isel(s2_time=slice(n2))
        .assign_coords(s2_time=start + (10 * np.arange(n2) + 1) * day)
    )
    states = np.array(["ascending", "descending"] * n1, object)[:n1]
    both = xr.merge([one, two], compat="override", join="exact")
    return both.assign_coords(
        s1_orbit_state=("s1_time", states),
        s1_relative_orbit=("s1_time", [15, 95] * (n1 // 2)),
        s2_cloud_cover=("s2_time", [0.0, 90.0, np.nan, 40.0, 5.0][:n2]),
    )


def _lazy(cube: xr.Dataset) -> xr.Dataset:
    """Lazy images, but not coords, as open_cube gives them."""
    return cube.assign({name: cube[name].chunk(y=8) for name in cube.data_vars})


def test_only_passes_of_the_orbit_asked_for() -> None:
    cube = _dated_cube()
    down = cube.contrast.pairs(orbit="descending", tolerance="7D")
    assert set(down.s1_orbit_state.values) == {"descending"}
    assert set(cube.contrast.pairs(orbit=15, tolerance="7D").s1_relative_orbit.values) == {15}
    told = json.loads(down.attrs["pairing"])
    assert (told["orbit"], told["rejected_by_orbit"]) == ("descending", 4)
    with pytest.raises(DataError, match=r"received 16, while s1_relative_orbit is \[15, 95\]"):
        cube.contrast.pairs(orbit=16)


def test_the_same_orbit_is_the_one_with_the_most_pairs() -> None:
    cube = _dated_cube()
    counts = {
        orbit: cube.contrast.pairs(orbit=orbit, tolerance="2D").sizes["pair"] for orbit in (15, 95)
    }
    same = cube.contrast.pairs(orbit="same", tolerance="2D")
    (chosen,) = set(same.s1_relative_orbit.values.tolist())
    assert same.sizes["pair"] == max(counts.values()) == counts[chosen]


def test_cloudy_dates_are_left_out_by_what_their_items_say(no_compute: None) -> None:
    found = _lazy(_dated_cube()).contrast.pairs(max_cloud=20, tolerance="9D")
    assert found.sizes["pair"] == 3
    assert json.loads(found.attrs["pairing"])["rejected_by_cloud"] == 2


@pytest.mark.parametrize(
    ("match", "n"), [("nearest", 5), ("one-to-one", 5), ("all", 10), ("paper", 10)]
)
def test_rules_of_matching_on_a_cube(match: str, n: int) -> None:
    found = _dated_cube().contrast.pairs(match=match, tolerance="6D")
    assert found.sizes["pair"] == n
    assert ("duration" in found.coords) == (match == "paper")
    assert (np.abs(found.lag.values) <= np.timedelta64(6, "D")).all()


def test_seasons_of_a_cube() -> None:
    cube = _dated_cube().drop_vars("s1")
    found = cube.contrast.pairs(kind="seasonal", gap="20D")
    assert found.s2.dims == ("pair", "date", "s2_band", "y", "x")
    assert dict(found.sizes)["pair"] == 1
    assert found.s2_time.dims == ("pair", "date")
    np.testing.assert_array_equal(found.s2.values[0], cube.s2.values[[0, 2, 4]])
    told = json.loads(found.attrs["pairing"])
    assert (told["dates"], told["rejected_by_time"], told["replace"]) == (3, 2, False)
    every = cube.contrast.pairs(kind="seasonal", gap="10D", replace=True)
    assert every.sizes["date"] == 5
    assert json.loads(every.attrs["pairing"])["replace"] is True


def test_seasons_of_a_cube_without_its_cloudy_date() -> None:
    cube = _dated_cube().drop_vars("s1").copy(deep=True)
    cube["s2"][2, :, :10] = np.nan
    with pytest.raises(DataError, match=r"2 or more Sentinel-2 dates.*4 dates, 1 so"):
        cube.contrast.pairs(kind="seasonal", gap="60D", min_valid=0.9)
    assert cube.contrast.pairs(kind="seasonal", gap="20D", min_valid=0.9).sizes["date"] == 2
    found = cube.contrast.pairs(kind="seasonal", gap="10D", min_valid=0.9)
    assert found.sizes["date"] == 4
    assert json.loads(found.attrs["pairing"])["rejected_by_validity"] == 1


def test_seasons_of_a_collection() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((4, 3, 2, 8, 8)).astype("float32")
    values[2, 1, :, :6] = np.nan
    start = np.datetime64("2023-01-01", "ns")
    days = np.array([[0, 90, 180], [0, 20, 180], [5, 95, 185], [10, 100, 190]])
    collection = xr.Dataset(
        {"s2": (("location", "date", "s2_band", "y", "x"), values)},
        {
            "s2_band": np.array(["B04", "B08"], object), "location": [3, 5, 8, 9],
            "s2_time": (("location", "date"), start + days * np.timedelta64(1, "D")),
            "scene": ("location", ["a", "b", "c", "d"]),
        },
    )  # fmt: skip
    found = collection.chunk(location=1).contrast.pairs(kind="seasonal", min_valid=0.9)
    assert found.s2.dims == ("pair", "date", "s2_band", "y", "x")
    assert found.location.values.tolist() == [3, 9]
    assert found.scene.values.tolist() == ["a", "d"]
    np.testing.assert_array_equal(found.s2.values, values[[0, 3]])
    told = json.loads(found.attrs["pairing"])
    assert (told["rejected_by_time"], told["rejected_by_validity"]) == (1, 1)
    with pytest.raises(DataError, match=r"4 places, their dates at most 90 days.*apart"):
        collection.contrast.pairs(kind="seasonal", gap="200D")
    two = collection.isel(date=slice(2)).contrast.pairs(kind="seasonal")
    assert two.location.values.tolist() == [3, 8, 9]
    with pytest.raises(DataError, match=r"2 or more Sentinel-2 dates"):
        collection.isel(date=slice(1)).contrast.pairs(kind="seasonal")


def test_the_table_of_pairs_can_be_judged(no_compute: None) -> None:
    found = _lazy(_dated_cube()).contrast.pairs(max_cloud=50, tolerance="2D", orbit=15)
    text = repr(found.contrast)
    assert text.startswith("xcontrast pairs")
    assert f"{found.sizes['pair']} of both sensors" in text
    assert "By orbit" in text
    assert "15: " in text
    assert "By month" in text
    assert "1 with cloud over 50 %, 4 passes not of orbit 15" in text
    assert "dates without a partner within 2 d" in text
    assert "<table" in found.contrast._repr_html_()
    seasons = _dated_cube().contrast.pairs(kind="seasonal", gap="20D")
    assert "1 of 3 dates each" in repr(seasons.contrast)
    assert "2 dates left over, 20 d apart or more" in repr(seasons.contrast)


def test_both_sensors_at_several_dates_of_a_cube() -> None:
    cube = planted_cube(32, n_times=5)
    found = cube.contrast.pairs(kind="both", gap="24D")
    assert found.s1.dims == ("pair", "date", "s1_band", "y", "x")
    assert found.s2.dims == ("pair", "date", "s2_band", "y", "x")
    assert dict(found.sizes)["date"] == 3
    assert (found.lag == -np.timedelta64(1, "D")).all()
    steps = np.diff(found.s2_time.values, axis=1) / np.timedelta64(1, "D")
    assert (steps >= 24).all()
    for k, date in enumerate(found.s2_time.values[0]):
        np.testing.assert_array_equal(found.s2.values[0, k], cube.s2.sel(s2_time=date).values)
    assert "3 dates and both sensors each" in repr(found.contrast)
    with pytest.raises(DataError, match=r"two or more pairs of both sensors.*at least 300 days"):
        cube.contrast.pairs(kind="both", gap="300D")
    with pytest.raises(DataError, match="Expected a cube with both sensors"):
        cube[["s2"]].contrast.pairs(kind="both")


@pytest.mark.parametrize("kind", ["both", "seasonal"])
def test_places_without_a_name_are_still_places(kind: str) -> None:
    """Two places share no ground: they must not pass for one."""
    n = 3
    images = np.random.default_rng(0).normal(size=(4, n, 2, 16, 16)).astype("float32")
    cube = xc.as_cube(
        s1=xr.DataArray(
            images - 12, {"band": ["vv", "vh"]}, ("location", "date", "band", "y", "x")
        ),
        s2=xr.DataArray(
            images * 0.01 + 0.2, {"band": ["B04", "B08"]}, ("location", "date", "band", "y", "x")
        ),
    )
    found = cube.contrast.pairs(kind=kind)
    assert found.location.values.tolist() == [0, 1, 2, 3]
    chips = found.contrast.chips(size=16)
    assert sorted(chips.location.tolist()) == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"two or more pairs of both|2 or more Sentinel-2 dates"):
        cube.isel(date=[0]).contrast.pairs(kind=kind)


def test_seasons_of_radar_are_seen_from_one_side() -> None:
    cube = _dated_cube(8).drop_dims("s2_time").isel(s1_time=slice(1, None))
    found = cube.contrast.pairs(kind="seasonal", gap="10D")
    assert set(found.s1_orbit_state.values.ravel()) == {"descending"}
    told = json.loads(found.attrs["pairing"])
    assert (told["orbit"], told["rejected_by_orbit"]) == ("descending", 3)
    up = cube.contrast.pairs(kind="seasonal", gap="10D", orbit="ascending")
    np.testing.assert_array_equal(up.s1.values[0], cube.s1.values[1::2])
    assert set(cube.contrast.pairs(kind="seasonal", gap="10D", orbit="same")
               .s1_relative_orbit.values.ravel()) == {95}  # fmt: skip
    unknown = cube.drop_vars("s1_orbit_state")
    assert unknown.contrast.pairs(kind="seasonal", gap="6D").sizes["date"] == 7
    with pytest.raises(DataError, match=r"'ascending', while s1_orbit_state is not there"):
        unknown.contrast.pairs(kind="seasonal", gap="6D", orbit="ascending")
    with pytest.raises(DataError, match=r"orbit=15, while the cube's Sentinel-2 is paired"):
        _dated_cube().contrast.pairs(kind="seasonal", gap="6D", orbit=15)


def test_only_the_orbit_asked_for_of_a_collection() -> None:
    start = np.array(["2023-01-01", "2023-06-01"], "datetime64[ns]")
    orbits = [[15, 15], [15, 95], [95, 95]]
    values = np.random.default_rng(0).random((3, 2, 2, 8, 8)).astype("float32")
    dims = ("location", "date")
    places = xr.Dataset(
        {f"s{n}": ((*dims, f"s{n}_band", "y", "x"), values) for n in (1, 2)},
        {
            "location": [4, 5, 6], "s1_relative_orbit": (dims, orbits),
            "s1_time": (dims, np.tile(start, (3, 1))), "s2_time": (dims, np.tile(start, (3, 1))),
        },
    )  # fmt: skip
    found = places.contrast.pairs(orbit=95)
    assert found.location.values.tolist() == [5, 6, 6]
    np.testing.assert_array_equal(found.s1.values, values[[1, 2, 2], [1, 0, 1]])
    told = json.loads(found.attrs["pairing"])
    assert (told["rejected_by_orbit"], told["rejected_by_time"]) == (3, 0)
    same = places.contrast.pairs(orbit="same")
    assert same.s1_relative_orbit.values.tolist() == [15, 15, 15, 95, 95]
    both = places.contrast.pairs(kind="both", orbit=95)
    assert both.location.values.tolist() == [6]
    radar = places.drop_vars("s2").contrast.pairs(kind="seasonal", orbit="same")
    assert radar.location.values.tolist() == [4, 6]
    with pytest.raises(DataError, match=r"received 7, while s1_relative_orbit is \[15, 95\]"):
        places.contrast.pairs(orbit=7)
    with pytest.raises(DataError, match=r"'ascending', while s1_orbit_state is not there"):
        places.contrast.pairs(orbit="ascending")


def test_a_cube_needs_times() -> None:
    cube = planted_cube(64).drop_vars("s2_time")
    with pytest.raises(DataError, match=r"s2 with times, the coord 's2_time'.*assign_coords"):
        xc.pairs(cube)
