from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError


def series(n: int = 4) -> xr.DataArray:
    times = pd.date_range("2023-05-01", periods=n, freq="6D").values.astype("datetime64[ns]")
    values = np.arange(n * 2 * 3 * 3, dtype="float32").reshape(n, 2, 3, 3)
    values[0, :, 1, 1] = np.nan
    values[-1, :, 2, 2] = np.nan
    return xr.DataArray(
        values,
        {"s1_time": times, "s1_orbit_state": ("s1_time", ["ascending"] * n)},
        ("s1_time", "feature", "y", "x"),
        "embedding",
        {"sensor": "s1", "model_digest": "d"},
    )


def test_means_before_and_after_ignore_the_invalid() -> None:
    emb = series()
    got = xc.before_after(emb, event="2023-05-10")
    assert got.dims == ("feature", "y", "x")
    before, after, change = got.values.reshape(3, 2, 3, 3)
    np.testing.assert_allclose(before, np.nanmean(emb.values[:2], 0))
    np.testing.assert_allclose(after, np.nanmean(emb.values[2:], 0))
    np.testing.assert_allclose(change, after - before)
    assert np.isfinite(before).all()
    assert got.attrs["composite"] == "before, after, difference"
    assert got.attrs["model_digest"] == "d"
    assert got.name == "embedding"


def test_two_times_need_no_event_and_the_earlier_is_before(no_compute: None) -> None:
    lazy = series(2).isel(s1_time=[1, 0]).chunk(y=2)
    got = xc.before_after(lazy)
    import dask

    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(got.values[:2], series(2).values[0])


@pytest.mark.parametrize(
    ("orbits", "warned"),
    [
        ([95, 95, 95, 95], False),
        ([22, 95, 95, 22], True),  # Both sides of the event hold both: means of two views.
        ([22, 95, 95, 95], True),
        ([95, 95, 22, 22], True),
        ([-1, 95, 95, 95], False),  # -1: not known.
        ([-1, -1, 95, 95], False),
        ([-1, -1, 22, 95], True),
    ],
)
def test_a_change_between_orbits_is_told(orbits: list[int], warned: bool) -> None:
    emb = series().assign_coords(s1_relative_orbit=("s1_time", orbits))
    expected = pytest.warns(UserWarning, match=r"passes before are of.* orbit.*keep to one orbit")
    with expected if warned else nullcontext():
        xc.before_after(emb, event="2023-05-10")


def test_a_dataset_gives_a_dataset() -> None:
    both = xr.Dataset(
        {"s1": series(2), "s2": series(2).rename(s1_time="s2_time", s1_orbit_state="o")}
    )
    got = both.contrast.before_after(event="2023-05-03")
    assert got.s1.sizes["feature"] == got.s2.sizes["feature"] == 6


@pytest.mark.parametrize(
    ("change", "event", "message"),
    [
        (lambda e: e, None, r"exactly two times.*4 times and no event"),
        (lambda e: e, "2024-01-01", r"both sides of the event.*2023-05-01 to 2023-05-19"),
        (lambda e: e.isel(s1_time=0), None, "an embedding with a time dim"),
        (lambda e: e.drop_vars("s1_time"), "2023-05-03", "dates on 's1_time'"),
        (
            lambda e: e.isel(s1_time=[]),
            "2023-05-03",
            r"received no s1_time.*np.unique\(cube.s1_relative_orbit\)",
        ),
        (
            lambda e: e.isel(s1_time=[]),
            None,
            r"received no s1_time.*np.unique\(cube.s1_relative_orbit\)",
        ),
        (
            lambda e: e.isel(s1_time=[]).drop_vars("s1_orbit_state").rename(s1_time="s2_time"),
            "2023-05-03",
            r"received no s2_time.*longer period",
        ),
    ],
)
def test_what_cannot_be_split(change, event: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.before_after(change(series()), event=event)


@pytest.mark.parametrize(
    ("compose", "reference"),
    [
        (lambda e: e.mean("s2_time"), np.nanmean),
        (lambda e: e.median("s2_time"), np.nanmedian),
        (lambda e: e.groupby("s2_time.season").mean().sel(season="MAM"), np.nanmean),
        (lambda e: e.resample(s2_time="YS").mean().isel(s2_time=0), np.nanmean),
    ],
)
def test_xarrays_own_composites_stay_lazy_and_skip_the_invalid(
    untrained: xc.Model,
    no_compute: None,
    compose: Callable[[xr.DataArray], xr.DataArray],
    reference: Callable[..., np.ndarray],
) -> None:
    cube = planted_cube(64, n_times=4)
    cube["s2"].values[1, :, :16] = np.nan
    cube["s2"].values[:, :, -8:, -8:] = np.nan
    emb = cube.s2.chunk(y=20, s2_time=1).contrast.embed(untrained)
    assert set(emb["s2_time.season"].values) == {"MAM"}
    composite = compose(emb)
    assert composite.chunks
    assert composite.attrs["model_digest"] == untrained.digest
    assert composite.odc.geobox == emb.odc.geobox
    with dask.config.set(scheduler="threads"):
        values = emb.values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = reference(values, axis=0)
        np.testing.assert_allclose(composite.values, expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(expected[:, -1, -1]).all()
    assert np.isfinite(expected[:, 0, 0]).all()
