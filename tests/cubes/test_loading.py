"""Items of other archives and awkward days: planted values, one file a band."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import xarray as xr
from archives import ORIGIN, item, write_band
from odc.geo.geobox import GeoBox

import xcontrast as xc
from xcontrast.cubes.collecting.gather import _Place
from xcontrast.cubes.loading import number_passes
from xcontrast.cubes.sources import ItemList

N = 32
X, Y = ORIGIN
GRID = GeoBox.from_bbox((X, Y - 10 * N, X + 10 * N, Y), "EPSG:32632", resolution=10)
TALL = GeoBox.from_bbox((X, Y - 15 * N, X + 10 * N, Y), "EPSG:32632", resolution=10)
MIDDLE = GRID[N // 2 + 4 : N - 4, 4 : N - 4]
A = {"platform": "sentinel-1a", "sat:relative_orbit": 15, "sat:orbit_state": "ascending"}


def _radar(
    root: Path, name: str, when: str, power: float, facts: dict[str, Any], **place: Any
) -> pystac.Item:
    values = np.full((N, N), power, "float32")
    files = {band: write_band(root / name / f"{band}.tif", values, **place) for band in xc.S1.bands}
    return item(name, "sentinel-1-rtc", when, files, facts)


def _open(items: list[pystac.Item], grid: GeoBox = GRID, **given: Any) -> xr.Dataset:
    given = {"datetime": "2015/2023", "sensors": ("s1",)} | given
    return xc.open_cube(geobox=grid, source=items, **given).compute()


PASSES = [
    (
        "two platforms count alike",
        [("2015-12-01T05:30:00", A | {"sat:absolute_orbit": 9000}),
         ("2018-01-05T05:30:00", A | {"sat:absolute_orbit": 9000, "platform": "sentinel-1b"})],
        [0, 1],
    ),
    ("no facts, morning and evening", [("2023-04-01T05:00:00", {}), ("2023-04-01T17:00:00", {})],
     [0, 1]),
    ("no facts, over midnight", [("2023-04-01T23:59:50", {}), ("2023-04-02T00:00:10", {})], [0, 0]),
    (
        "over the equator",
        [("2023-04-01T17:00:00", A | {"sat:absolute_orbit": 100}),
         ("2023-04-01T17:00:25", A | {"sat:absolute_orbit": 101})],
        [0, 0],
    ),
    (
        "the next orbit",
        [("2023-04-01T17:00:00", A | {"sat:absolute_orbit": None}),
         ("2023-04-01T18:38:00", A | {"sat:absolute_orbit": None})],
        [0, 1],
    ),
    ("one orbit number, far apart", [("2023-04-01T17:00:00", A), ("2023-04-01T17:30:01", A)],
     [0, 1]),
    ("platforms written in two ways", [("2023-04-01T17:00:00", A),
     ("2023-04-01T17:30:00", A | {"platform": "SENTINEL-1A"})], [0, 0]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "steps"), PASSES, ids=[p[0] for p in PASSES])
def test_a_pass_is_one_platform_without_a_gap(
    name: str, made: list, steps: list[int], tmp_path: Path
) -> None:
    """The second image lies half an image to the south of the first, at a tenth of its power."""
    items = [
        _radar(tmp_path, str(n), when, 10.0 ** -(n + 1), facts, origin=(X, Y - 5 * N * n))
        for n, (when, facts) in enumerate(made)
    ]
    assert number_passes(items) == steps
    assert [n == steps[1] for n in number_passes(items[::-1])] == [True, steps[0] == steps[1]]
    cube = _open(items, TALL)
    n_steps = steps[1] + 1
    assert cube.sizes["s1_time"] == n_steps
    assert cube.s1_time.values[0] == np.datetime64(made[0][0], "ns")
    np.testing.assert_allclose(cube.s1[0, 0, :N], -10, rtol=1e-5)
    np.testing.assert_allclose(cube.s1[-1, 0, N:], -20, rtol=1e-5)
    assert np.isnan(cube.s1[0, 0, N:]).all() == (n_steps == 2)
    # A collection goes by the same passes; where both images lie each covers the ground alone.
    place = _Place(SimpleNamespace(max_cloud=80), ItemList(items), xc.CubeOptions(), MIDDLE)
    start, end = pd.Timestamp("2015", tz="UTC"), pd.Timestamp("2024", tz="UTC")
    assert len(place.find(xc.S1, start, end)) == n_steps
