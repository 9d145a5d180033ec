"""The real Planetary Computer, for whoever can reach it: ``pytest -m network``."""

from __future__ import annotations

import numpy as np
import pytest

import xcontrast as xc

pytestmark = pytest.mark.network

PO = (11.30, 44.60, 11.32, 44.62)


def test_a_cube_of_both_sensors_has_plausible_values() -> None:
    cube = xc.open_cube(bbox=PO, datetime="2023-06-01/2023-06-20", max_cloud=60)
    assert "Sentinel-1" in repr(cube.contrast)
    one, two = cube.s1.isel(s1_time=0).values, cube.s2.values
    assert np.isfinite(one).mean() > 0.9
    assert -25 < np.nanmedian(one[0]) < 0
    assert 0 < np.nanmedian(two) < 0.6
    assert xc.read_report(cube).empty


def test_a_place_is_gathered(tmp_path) -> None:
    places = xc.sample_locations(1, kind="land", region=PO, min_distance=0)
    found = xc.collect(
        places, store=tmp_path / "c.zarr", datetime="2022/2023", dates=2, size=66, max_cloud=30
    )
    assert found.sizes["location"] == 1
    assert np.isfinite(found.s2).mean() > 0.9
