from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from scenes import smooth

import xcontrast as xc
from xcontrast.cubes.registration import measure_shifts
from xcontrast.errors import DataError


def _move(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Move content down and right, periodically, by its Fourier series."""
    ky, kx = (np.fft.fftfreq(n) for n in image.shape[-2:])
    turn = np.exp(-2j * np.pi * (ky[:, None] * dy + kx * dx))
    return np.fft.ifft2(np.fft.fft2(image) * turn).real


def _make_cube(
    shifts: list[tuple[float, float]], *, n: int = 160, orbits: list[int] | None = None
) -> xr.Dataset:
    """One ground in two bands, each pass with a shift and white noise of its own, dB."""
    rng = np.random.default_rng(7)
    ground = np.stack([-11 + 3 * smooth(rng, n, 2), -17 + 3 * smooth(rng, n, 2)])
    seen = [_move(ground, *shift) + 1.5 * rng.normal(size=ground.shape) for shift in shifts]
    times = np.datetime64("2023-01-01", "ns") + 12 * np.arange(len(shifts)) * np.timedelta64(1, "D")
    cube = xr.Dataset(
        {"s1": (("s1_time", "s1_band", "y", "x"), np.array(seen, "float32"), {"units": "dB"})},
        {
            "s1_time": times,
            "s1_band": np.array(["vv", "vh"], object),
            "y": 5e6 - 10 * np.arange(n),
            "x": 5e5 + 10 * np.arange(n),
        },
    )
    return cube if orbits is None else cube.assign_coords(s1_relative_orbit=("s1_time", orbits))


def _shifts(result: xr.Dataset) -> np.ndarray:
    return np.stack([result.shift_y.values, result.shift_x.values], 1)


def _flags(result: xr.Dataset) -> list[int]:
    return np.flatnonzero(result.flagged.values).tolist()


@pytest.mark.parametrize("shift", [(2, 0), (0, -3), (1.5, -2.5), (-0.5, 2.25), (5, 6)])
@pytest.mark.parametrize("late", [0, 3])
def test_one_shifted_pass_is_measured_and_flagged(shift: tuple[float, float], late: int) -> None:
    planted = [(0.0, 0.0)] * 5
    planted[late] = shift
    result = measure_shifts(_make_cube(planted), window=64)
    np.testing.assert_allclose(_shifts(result), planted, atol=0.2)
    np.testing.assert_allclose(result["distance"], np.hypot(*_shifts(result).T))
    assert _flags(result) == [late]
    assert (result.n_windows == 9).all()
    assert (result.spread < 0.4).all()


def test_small_shifts_are_measured_and_not_flagged() -> None:
    planted = [(0, 0), (0, 0.5), (0, 0), (-0.5, 0), (0, 0)]
    result = measure_shifts(_make_cube(planted), window=64)
    np.testing.assert_allclose(_shifts(result), planted, atol=0.2)
    assert _flags(result) == []
    assert _flags(measure_shifts(_make_cube(planted), window=64, threshold=0.3)) == [1, 3]


@pytest.mark.parametrize(
    ("before", "after", "flagged"), [(4, 2, [4, 5]), (2, 4, [0, 1]), (3, 3, [3, 4, 5])]
)
def test_a_step_in_time_flags_the_minority(before: int, after: int, flagged: list[int]) -> None:
    result = measure_shifts(_make_cube([(0, 0)] * before + [(2, -1)] * after), window=64)
    assert _flags(result) == flagged
    sign = -1 if 0 in flagged else 1
    np.testing.assert_allclose(_shifts(result)[flagged] * sign, [[2, -1]] * len(flagged), atol=0.2)


def test_of_two_passes_the_later_is_flagged_in_whatever_order() -> None:
    cube = _make_cube([(0, 0), (0, 2)])
    for ordered in (cube, cube.isel(s1_time=[1, 0])):
        result = measure_shifts(ordered).sortby("s1_time")
        assert _flags(result) == [1]
        np.testing.assert_allclose(_shifts(result), [[0, 0], [0, 2]], atol=0.2)


def test_long_series_are_measured_with_fewer_pairs() -> None:
    planted = [(0.0, 0.0)] * 12 + [(2.0, 0.0)] + [(0.0, 0.0)] * 5
    result = measure_shifts(_make_cube(planted, n=64))
    np.testing.assert_allclose(_shifts(result), planted, atol=0.2)
    assert _flags(result) == [12]


def test_orbits_are_not_compared_with_each_other() -> None:
    cube = _make_cube([(0, 0), (3, 0)] * 3, orbits=[15, 95] * 3)
    result = measure_shifts(cube, window=64)
    assert _flags(result) == []
    np.testing.assert_allclose(_shifts(result), 0, atol=0.2)
    assert result.s1_relative_orbit.values.tolist() == [15, 95] * 3
    assert _flags(measure_shifts(cube.drop_vars("s1_relative_orbit"), window=64)) == [1, 3, 5]
    state = ("s1_time", np.array(["ascending", "descending"] * 3, object))
    by_state = cube.drop_vars("s1_relative_orbit").assign_coords(s1_orbit_state=state)
    assert _flags(measure_shifts(by_state, window=64)) == []


@pytest.mark.parametrize("window", [64, 256])
def test_invalid_borders_and_halves(window: int) -> None:
    planted = [(0, 0), (0, 0), (2, 1), (0, 0)]
    cube = _make_cube(planted)
    cube["s1"][:, :, :14] = np.nan
    cube["s1"][:, :, :, -11:] = np.nan
    cube["s1"][2, :, :, 80:] = np.nan
    result = measure_shifts(cube, window=window)
    np.testing.assert_allclose(_shifts(result), planted, atol=0.2)
    assert _flags(result) == [2]
    assert result.n_windows.values.tolist() == ([9, 9, 6, 9] if window == 64 else [1] * 4)


def test_what_cannot_be_measured_is_nan() -> None:
    cube = _make_cube([(0, 0), (0, 0), (2, 0), (2, 0), (0, 0)], orbits=[15, 15, 22, 15, 15])
    cube["s1"][3, :, :, :] = np.nan
    cube["s1"][4] = cube.s1[4].values[:, ::-1, ::-1]
    result = measure_shifts(cube)
    measured = [True, True, False, False, False]
    for name in ("shift_y", "shift_x", "distance", "spread"):
        assert np.isfinite(result[name].values).tolist() == measured
    assert (result.n_windows.values > 0).tolist() == measured
    assert result.n_windows.dtype.kind == "i"
    assert _flags(result) == []
    flat = cube.assign(s1=xr.full_like(cube.s1, -40.0))
    assert np.isnan(_shifts(measure_shifts(flat))).all()


def test_fields_and_coords_of_the_answer() -> None:
    result = measure_shifts(_make_cube([(0, 0)] * 2))
    assert set(result) == {"shift_y", "shift_x", "distance", "spread", "n_windows", "flagged"}
    assert set(result.coords) == {"s1_time"}
    assert all(result[name].dims == ("s1_time",) for name in result)
    assert result.flagged.dtype == bool
    assert result.spread.attrs["units"] == "pixels"


def test_chunks_do_not_matter_and_all_windows_are_read_at_once() -> None:
    cube = _make_cube([(0, 0), (0, 0), (1, 2)])
    whole = measure_shifts(cube, window=64)
    reads = []

    def count(graph: dict, keys: list, **options: object) -> object:
        reads.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=count):
        for chunks in ({"s1_time": 1, "y": 50, "x": 70}, {"s1_time": 2, "y": 160, "x": 33}):
            xr.testing.assert_identical(whole, measure_shifts(cube.chunk(chunks), window=64))
    assert len(reads) == 2
    few = measure_shifts(cube, window=64, n_windows=4)
    assert (few.n_windows == 4).all()
    np.testing.assert_allclose(_shifts(few), _shifts(whole), atol=0.2)


def test_the_peak_is_where_slow_correlation_has_it() -> None:
    rng = np.random.default_rng(3)
    for planted in rng.integers(-6, 7, (4, 2)):
        cube = _make_cube([(0, 0), tuple(planted)], n=96)
        one, two = cube.s1.values[:, 0]
        inner = one[8:-8, 8:-8]
        slow = {
            (dy, dx): np.corrcoef(inner.ravel(), two[8 + dy : 88 + dy, 8 + dx : 88 + dx].ravel())[
                0, 1
            ]
            for dy in range(-8, 9)
            for dx in range(-8, 9)
        }
        best = max(slow, key=slow.__getitem__)
        fast = measure_shifts(cube.isel(s1_band=[0]))
        assert np.rint(_shifts(fast)[1]).astype(int).tolist() == list(best)


def test_optical_dates_are_one_group(cube: xr.Dataset) -> None:
    values = np.tile(cube.s2.values[:1], (3, 1, 1, 1))
    values[2] = np.roll(values[2], -2, axis=-1)
    dates = cube.s2_time.values[0] + np.arange(3) * np.timedelta64(5, "D")
    shifted = xr.Dataset(
        {"s2": (cube.s2.dims, values)}, {"s2_time": dates, "s2_band": cube.s2_band}
    )
    result = measure_shifts(shifted, sensor="s2")
    np.testing.assert_allclose(_shifts(result), [[0, 0], [0, 0], [0, -2]], atol=0.2)
    assert _flags(result) == [2]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    catalog = xc.simulate_archive(
        tmp_path_factory.mktemp("simulated") / "a", size=256, cycle=48, progress=False
    )
    box = xc.read_truth(catalog.parent).odc.geobox
    cube = xc.open_cube(geobox=box, datetime="2023", sensors=("s1",), source=catalog)
    return cube.load()


@pytest.mark.parametrize("window", [128, 256])
def test_a_simulated_year_is_in_place(simulated: xr.Dataset, window: int) -> None:
    result = measure_shifts(simulated, window=window)
    assert _flags(result) == []
    assert float(result["distance"].max()) < 0.2
    assert {"s1_relative_orbit", "s1_orbit_state", "s1_platform"} <= set(result.coords)


@pytest.mark.parametrize("shift", [(2, 0), (0, -2), (0.5, 1.5)])
@pytest.mark.parametrize("index", [0, 5, 8])
def test_a_simulated_pass_is_moved(
    simulated: xr.Dataset, shift: tuple[float, float], index: int
) -> None:
    values = simulated.s1.values.copy()
    values[index] = _move(values[index], *shift)
    result = measure_shifts(simulated.assign(s1=simulated.s1.copy(data=values)), window=128)
    np.testing.assert_allclose(_shifts(result)[index], shift, atol=0.2)
    assert _flags(result) == [index]


@pytest.fixture(scope="module")
def april(data_dir: Path) -> xr.Dataset:
    """Ten dates of April 2023 on 66 x 64 pixels of fields; their orbits are not told."""
    s1 = xr.open_dataset(data_dir / "timeseries" / "s1_grd_2023-04.nc")
    bands = ["S1-SIGMA0-VV", "S1-SIGMA0-VH"]
    return xc.as_cube(
        s1=s1.assign({b: 20 * np.log10(s1[b].where(s1[b] > 0)) - 83 for b in bands})
    ).load()


def test_nothing_is_flagged_in_a_real_series(april: xr.Dataset) -> None:
    result = measure_shifts(april)
    assert _flags(result) == []
    assert int((result.n_windows > 0).sum()) >= 8


def test_a_real_pass_is_moved(april: xr.Dataset) -> None:
    before = measure_shifts(april)
    index = int(np.nanargmin(before.spread.values))
    values = april.s1.values.copy()
    values[index] = np.roll(values[index], 2, axis=-1)
    after = measure_shifts(april.assign(s1=april.s1.copy(data=values)))
    # Against its own place before: one window of growing fields leaves that open by half a pixel.
    np.testing.assert_allclose((_shifts(after) - _shifts(before))[index], [0, 2], atol=0.3)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"sensor": "s2"}, r"a cube with 's1' or 's2'.*received sensor='s2' and .*'s1'"),
        ({}, {"sensor": "s3"}, r"received sensor='s3'.*give the cube of xc.open_cube"),
        ({"s1_time": 0}, {}, r"along time, band, y and x; received sensor='s1'"),
        ({"x": slice(31)}, {}, r"at least 32 x 32 pixels; received 160 x 31.*larger bbox"),
        ({}, {"window": 31}, r"window of at least 32.*received window=31.*leave them out"),
        ({}, {"n_windows": 0}, r"n_windows of at least 1.*received.*n_windows=0"),
        ({}, {"threshold": 0}, r"threshold above 0.*received.*threshold=0"),
        ({}, {"threshold": float("nan")}, r"threshold above 0.*received.*threshold=nan"),
    ],
)
def test_cubes_and_numbers_that_cannot_be(change: dict, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure_shifts(_make_cube([(0, 0)] * 2).isel(change), **options)
