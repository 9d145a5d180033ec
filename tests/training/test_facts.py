"""Where a model was trained, as its card says it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer
from scenes import planted_cube

from xcontrast.training.facts import _find_bbox


def test_the_area_of_a_scene_holds_its_corners_and_little_more() -> None:
    cube = planted_cube(96)
    to_degrees = Transformer.from_crs(cube.rio.crs, "EPSG:4326", always_xy=True)
    west, south, east, north = _find_bbox(cube)
    x, y = (cube[name].values[[0, -1]] for name in ("x", "y"))
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    # Pixel centres: half a pixel, 5 m, within the edges.
    assert west == pytest.approx(lon.min(), abs=1e-4)
    assert west < lon.min()
    assert east == pytest.approx(lon.max(), abs=1e-4)
    assert east > lon.max()
    assert south == pytest.approx(lat.min(), abs=1e-4)
    assert north == pytest.approx(lat.max(), abs=1e-4)


def test_the_area_of_places_is_that_of_their_centres() -> None:
    places = xr.Dataset(coords={"lon": ("pair", [11.5, -3.0]), "lat": ("pair", [44.0, 50.25])})
    assert _find_bbox(places) == [-3.0, 44.0, 11.5, 50.25]


def test_what_has_no_place_has_no_area() -> None:
    assert _find_bbox(planted_cube(96, georeferenced=False)) is None
    assert _find_bbox(xr.Dataset()) is None
