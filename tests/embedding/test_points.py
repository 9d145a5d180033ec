from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import geopandas
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube
from shapely import Point, box

import xcontrast as xc
from xcontrast.embedding.points import plan_windows
from xcontrast.errors import DataError


def points_in(cube: xr.Dataset, n: int, *, seed: int = 0, crs: int | None = 4326) -> Any:
    """Draw points anywhere in a cube."""
    rng = np.random.default_rng(seed)
    west, south, east, north = cube.odc.geobox.boundingbox
    at = geopandas.GeoSeries(
        [Point(rng.uniform(west, east), rng.uniform(south, north)) for _ in range(n)],
        crs=cube.rio.crs.to_wkt(),
    )
    return geopandas.GeoDataFrame(geometry=at.to_crs(crs) if crs else at)


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_points_have_the_values_of_the_whole_embedding(untrained: xc.Model, stride: int) -> None:
    cube = planted_cube(300).isel(x=slice(0, 277))
    cube.s2[0, :, 60:180, 60:180] = np.nan
    points = points_in(cube, 25)
    lazy = cube.chunk(y=90, x=110)
    few = lazy.contrast.embed(untrained, at=points, stride=stride, precision="32")
    whole = cube.contrast.embed(untrained, stride=stride, precision="32").compute()
    assert few.s1.dims == ("s1_time", "feature", "point")
    cells = {"y": few.row, "x": few.column}
    for sensor in ("s1", "s2"):
        expected = whole[sensor].isel(cells)
        np.testing.assert_allclose(few[sensor], expected.transpose(..., "point"), atol=1e-4)
        valid = few[f"{sensor}_valid_fraction"]
        np.testing.assert_array_equal(valid, expected[f"{sensor}_valid_fraction"])
        np.testing.assert_array_equal(few.y, expected.y)
    assert np.isnan(few.s2).any()
    assert few.s2.attrs == whole.s2.attrs


def test_encoders_that_see_everything_do_too() -> None:
    cube = planted_cube(400)[["s1"]]
    options = xc.PretrainOptions(chip_size=64, progress=False)
    encoder = "mobilenetv3_small_050"
    model = xc.pretrain(cube, method="simclr", max_steps=0, encoder=encoder, options=options)
    assert model.card.halo is None
    points = points_in(cube, 6)
    few = cube.contrast.embed(model, at=points, precision="32").s1
    whole = cube.contrast.embed(model, precision="32").s1.compute()
    expected = whole.isel(y=few.row, x=few.column).transpose(..., "point")
    np.testing.assert_allclose(few, expected, atol=1e-4)


def test_only_windows_around_the_points_are_read(untrained: xc.Model, no_compute: None) -> None:
    source = planted_cube(64).s1.isel(s1_time=0)
    read: list[tuple[int, int]] = []

    def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info:
            read.append(tuple(block_info[0]["chunk-location"][-2:]))
        return np.zeros(block.shape, "float32")

    n = 4096
    pixels = da.map_blocks(
        note, da.zeros((2, n, n), chunks=(-1, 256, 256), dtype="float32"), dtype="float32"
    )
    dims, attrs = ("s1_band", "y", "x"), source.attrs
    grid = {"y": 5e6 - 10.0 * np.arange(n), "x": 5e5 + 10.0 * np.arange(n)}
    large = xr.DataArray(pixels, {"s1_band": source.s1_band, **grid}, dims, attrs=attrs)
    large = large.rio.write_crs(32632)
    at = geopandas.GeoDataFrame(geometry=[Point(510_000, 4_990_000)], crs=32632)
    lazy = large.contrast.embed(untrained, at=at)
    with dask.config.set(scheduler="synchronous"):
        assert np.isfinite(lazy.values).all()
    assert set(read) <= {(r, c) for r in (3, 4) for c in (3, 4)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_windows_hold_every_cell_once_and_are_few_pixels(data: st.DataObject) -> None:
    n, stride = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 4, 16]))
    span = data.draw(st.sampled_from([10, 300, 5000]))
    seed = data.draw(st.integers(0, 99))
    cells = np.random.default_rng(seed).integers(0, span, (2, n))
    halo, step = data.draw(st.sampled_from([0, 112])), 16
    places = plan_windows(cells, stride=stride, halo=halo, step=step)
    assert sorted(np.concatenate([p.cells for p in places])) == list(range(n))
    total = 0
    for place in places:
        rows, cols = cells[:, place.cells] * stride
        assert place.row % step == place.col % step == 0
        assert (rows >= place.row).all()
        assert (rows + stride <= place.row + place.height).all()
        assert (cols >= place.col).all()
        assert (cols + stride <= place.col + place.width).all()
        assert max(place.height, place.width) <= 2048
        total += (place.height + 2 * halo) * (place.width + 2 * halo)
    # Never more than a window for each of the places that points are at.
    alone = len(np.unique(cells * stride // step, axis=1).T) * (step + 2 * halo) ** 2
    assert total <= alone


def test_points_are_labelled_as_they_were_embedded(untrained: xc.Model) -> None:
    cube = planted_cube(64)[["s1"]].isel(s1_time=[0])
    points = points_in(cube, 12)
    points["kind"] = np.where(np.arange(12) % 2, "flood", "dry")
    few = cube.contrast.embed(untrained, at=points, stride=1).s1.isel(s1_time=0, drop=True)
    assert xc.fit(few, points, legend=xc.FLOOD, column="kind").facts["n_cells"] == {
        "dry": 6,
        "flood": 6,
    }
    with pytest.raises(DataError, match=r"points that were embedded, in their order.*elsewhere"):
        xc.fit(few, points[::-1], legend=xc.FLOOD, column="kind")


def test_a_head_is_fitted_at_points_as_on_the_whole(untrained: xc.Model) -> None:
    cube = planted_cube(200)
    points = points_in(cube, 40)
    points["kind"] = np.where(np.arange(40) % 2, "flood", "dry")
    few = cube.contrast.embed(untrained, at=points, precision="32")
    whole = cube.contrast.embed(untrained, precision="32")
    heads = [
        xc.fit(xc.before_after(emb), points, legend=xc.FLOOD, column="kind") for emb in (few, whole)
    ]
    # Of two points in one cell the grid keeps the last, the list both.
    assert heads[0].facts["n_cells"].keys() == heads[1].facts["n_cells"].keys()
    assert heads[0].facts["sensors"] == ["s1", "s2"]
    mapped = [xc.predict(xc.before_after(whole), head).probability for head in heads]
    assert float(np.abs(mapped[0] - mapped[1]).mean()) < 0.05
    listed = xc.predict(xc.before_after(few), heads[0])
    assert listed.label.dims == ("point",)
    row, column = few.row, few.column
    np.testing.assert_array_equal(
        listed.label, xc.predict(xc.before_after(whole), heads[0]).label.isel(y=row, x=column)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.translate(xoff=9), r"points inside the cube; received 9 of 9 outside"),
        (lambda p: p.buffer(0.1), r"points; received \['Polygon'\]"),
        (lambda p: p[:0], "points; received nothing"),
        (lambda _: 3, "points; received a int"),
        (lambda _: box(0, 0, 1, 1), r"points; received \['Polygon'\]"),
    ],
)
def test_what_is_no_point_of_the_cube(untrained: xc.Model, change: Any, message: str) -> None:
    cube = planted_cube(64)
    with pytest.raises(DataError, match=message):
        cube.contrast.embed(untrained, at=change(points_in(cube, 9)))


def test_points_need_a_crs(untrained: xc.Model) -> None:
    cube = planted_cube(64)
    points = points_in(cube, 3)
    with pytest.raises(DataError, match=r"a cube with a CRS.*write_crs"):
        cube.drop_vars("spatial_ref").contrast.embed(untrained, at=points)
