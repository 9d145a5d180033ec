from __future__ import annotations

import pickle
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube
from shapely.geometry import Point

import xcontrast as xc
from xcontrast.errors import DataError, ModelError
from xcontrast.model import load_network
from xcontrast.nn.dense import dense_features


def test_building_computes_nothing_and_holds_no_weights(
    cube: xr.Dataset, untrained: xc.Model, no_compute: None
) -> None:
    lazy = cube.chunk(y=40).contrast.embed(untrained)
    assert lazy.s1.chunks is not None
    own = {k: v for k, v in dict(lazy.s1.__dask_graph__()).items() if "embed" in str(k)}
    assert len(pickle.dumps(own)) < 50_000
    weights = (untrained.path / "weights.safetensors").stat().st_size
    assert weights > 10_000_000


def test_labels_grid_and_attrs(untrained: xc.Model) -> None:
    cube = planted_cube(96).isel(x=slice(0, 90), y=slice(0, 77))
    emb = cube.contrast.embed(untrained)
    assert emb.s1.dims == ("s1_time", "feature", "y", "x")
    assert emb.s1.name == "s1"
    assert emb.s1.shape == (2, 512, 20, 23)
    assert emb.s1.dtype == emb.s1.compute().dtype == np.float32
    box = emb.s2.odc.geobox
    assert box == cube.odc.geobox.zoom_out(4)
    assert emb.s2.rio.transform() == box.transform
    assert emb.s2.rio.crs == cube.rio.crs
    assert emb.s1.attrs["model_digest"] == untrained.digest
    one = cube.s2.contrast.embed(untrained, stride=1)
    assert one.name == "embedding"
    assert one.shape == (2, 512, 77, 90)
    np.testing.assert_array_equal(one.x, cube.x)


def test_a_grid_of_degrees_is_embedded_as_one_of_metres(untrained: xc.Model) -> None:
    metres = planted_cube(96, n_times=1)[["s1"]]
    degrees = metres.drop_vars("spatial_ref").assign_coords(
        y=45 - 1e-4 * np.arange(96), x=9 + 1e-4 * np.arange(96)
    )
    degrees = degrees.rio.write_crs(4326)
    for stride in (1, 4):
        emb = xc.embed(degrees.s1, untrained, stride=stride)
        assert emb.dims == ("s1_time", "feature", "y", "x")
        assert emb.odc.geobox.crs.epsg == 4326
        np.testing.assert_allclose(emb.y[0], 45 - 1e-4 * (stride - 1) / 2)
    expected = xc.embed(metres.s1, untrained)
    np.testing.assert_array_equal(emb, expected)
    points = [Point(float(emb.x[5]), float(emb.y[7]))]
    taken = xc.embed(degrees.s1, untrained, at=gpd.GeoSeries(points, crs=4326))
    np.testing.assert_allclose(taken[..., 0], expected[..., 7, 5], atol=1e-4)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("dim", ["y", "x"])
def test_a_single_row_of_pixels_keeps_its_crs(untrained: xc.Model, dim: str, told: bool) -> None:
    cube = planted_cube(96, n_times=1)
    if told:
        cube = cube.rio.write_transform()
    strip = cube.isel({dim: [40]})
    emb = xc.embed(strip.s1, untrained)
    assert emb.sizes[dim] == 1
    assert emb.odc.crs.epsg == emb.rio.crs.to_epsg() == 32632
    # The cell holds the pixel and reaches beyond it, away from the first one.
    inner = float(cube[dim][40] + 1.5 * (cube[dim][1] - cube[dim][0]))
    assert float(emb[dim][0]) == inner


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize(("sensor", "value"), [("s1", -np.inf), ("s2", np.inf)])
def test_an_infinite_pixel_is_an_invalid_one(
    untrained: xc.Model, sensor: str, value: float, precision: str
) -> None:
    infinite = planted_cube(64, n_times=1)[sensor]
    infinite.values[0, 1, 33, 40] = value
    infinite.values[0, 0, 2, 3] = -value
    missing = infinite.where(np.isfinite(infinite)).assign_attrs(infinite.attrs)
    for pool in (False, True):
        found, expected = (
            xc.embed(array, untrained, precision=precision, pool=pool).compute()
            for array in (infinite, missing)
        )
        assert np.isfinite(found).all()
        xr.testing.assert_equal(found, expected)
        assert float(found.valid_fraction.min()) < 1


@pytest.mark.parametrize("space", ["encoder", "joint"])
def test_blocks_equal_one_pass_over_the_scene(
    untrained: xc.Model, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = planted_cube(640, n_times=1).isel(x=slice(0, 505))
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK", 256)
    tiled = cube.s2.contrast.embed(untrained, space=space, precision="32").values[0]

    # The reference: the bare network over the whole scene, by hand; 7 columns fill it to 512.
    card = untrained.card.sensors["s2"]
    network = load_network(str(untrained.path), untrained.digest, "s2", "cpu")
    mean, std = (np.array(v, "float32")[:, None, None] for v in (card.mean, card.std))
    assert untrained.card.halo == 112
    scene = np.pad((cube.s2.values[0] - mean) / std, [(0, 0), (0, 0), (0, 7)])
    with torch.inference_mode():
        maps = network.encoder(torch.from_numpy(scene)[None])
        whole = dense_features(maps, network.levels, stride=4, start=(0, 0), shape=(160, 127))
        if space == "joint":
            cells = whole[0].permute(1, 2, 0).flatten(0, 1)
            unit = torch.nn.functional.normalize(network.projectors["joint"](cells), dim=1)
            whole = unit.reshape(160, 127, -1).permute(2, 0, 1)[None]
    np.testing.assert_allclose(tiled, whole[0].numpy(), atol=1e-4 * float(whole.std()))


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_the_value_does_not_depend_on_the_chunks(untrained: xc.Model, data: st.DataObject) -> None:
    cube = planted_cube(64)[["s1"]]
    reference = cube.contrast.embed(untrained).s1.values
    sizes = {dim: data.draw(st.integers(1, n)) for dim, n in cube.s1.sizes.items()}
    chunked = cube.chunk(sizes).contrast.embed(untrained).s1.values
    np.testing.assert_array_equal(chunked, reference)


def test_encoders_that_see_everything_run_on_windows_of_the_grid(
    cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = xc.PretrainOptions(chip_size=32, progress=False)
    model = xc.pretrain(cube, encoder="mobilenetv3_small_050", max_steps=0, options=options)
    assert model.card.halo is None
    monkeypatch.setattr("xcontrast.embedding.embed.STEP", 64)
    monkeypatch.setattr("xcontrast.embedding.embed.OVERLAP", 32)
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK_STEP", 64)
    wide = planted_cube(160, n_times=1)
    reference = wide.s2.contrast.embed(model, precision="32").values
    assert reference.shape[-2:] == (40, 40)
    assert np.isfinite(reference).all()
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK", 64)
    for chunks in ({"y": 50, "x": 160}, {"y": 13}):
        np.testing.assert_allclose(
            wide.s2.chunk(chunks).contrast.embed(model, precision="32").values, reference, atol=1e-4
        )
    # A mean of unit vectors is none: windows are blended before they are projected.
    joint = wide.s2.contrast.embed(model, space="joint", precision="32")
    np.testing.assert_allclose((joint**2).sum("feature"), 1, atol=1e-5)


def test_invalid_in_is_nan_out_with_the_fraction_beside(untrained: xc.Model) -> None:
    cube = planted_cube(64, n_times=1)
    cube["s2"].values[0, 1, 16:32, 16:40] = np.nan
    cube["s2"].values[0, 0, 0, 0:3] = np.nan
    emb = cube.s2.contrast.embed(untrained).compute()
    share = emb.valid_fraction.values[0]
    assert share[0, 0] == 1 - 3 / 16
    assert (share[4:8, 4:10] == 0).all()
    bad = np.isnan(emb.values[0]).all(0)
    assert bad[4:8, 4:10].all()
    assert bad.sum() == 4 * 6
    strict = cube.s2.contrast.embed(untrained, min_valid=1.0).values[0]
    assert np.isnan(strict[:, 0, 0]).all()


def test_bands_are_picked_by_name(cube: xr.Dataset, untrained: xc.Model) -> None:
    shuffled = cube.isel(s2_band=[3, 1, 0, 2])
    np.testing.assert_array_equal(
        shuffled.s2.contrast.embed(untrained).values, cube.s2.contrast.embed(untrained).values
    )


def test_any_leading_dims(untrained: xc.Model) -> None:
    cube = planted_cube(32, n_times=2, georeferenced=False)
    reference = cube.s1.contrast.embed(untrained).values
    stack = cube.s1.drop_vars("s1_time").rename(s1_time="date").expand_dims(location=2)
    emb = stack.assign_coords(scene=("location", ["a", "b"])).contrast.embed(untrained)
    assert emb.dims == ("location", "date", "feature", "y", "x")
    assert emb.scene.values.tolist() == ["a", "b"]
    np.testing.assert_allclose(emb.y.values[:2], [1.5, 5.5])
    np.testing.assert_array_equal(emb.values[1], reference)


def test_a_huge_result_warns(untrained: xc.Model, no_compute: None) -> None:
    import dask.array as da

    big = xr.DataArray(
        da.zeros((8, 4, 10_980, 10_980), chunks=(1, 4, 2048, 2048), dtype="float32"),
        dims=("s2_time", "s2_band", "y", "x"),
        coords={"s2_band": ["B02", "B03", "B04", "B08"]},
        attrs={"units": "1"},
    )
    with pytest.warns(UserWarning, match="this embedding is 123 GB"):
        big.contrast.embed(untrained)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda c: c.drop_vars(["s1", "s2"]), {}, DataError, "Expected a Dataset with 's1'"),
        (lambda c: c.s1.isel(s1_band=0), {}, DataError, "Expected a DataArray with the dim"),
        (lambda c: c.s1.transpose("y", ...), {}, DataError, r"Expected dims ending in \(s1_band"),
        (lambda c: c.isel(s2_band=[0, 1]), {}, DataError, r"without B04, B08.*load those bands"),
        (lambda c: c.s1.assign_attrs(units="1"), {}, DataError, "Sentinel-1 in 'dB'"),
        (lambda c: c.s1.astype("int16"), {}, DataError, r"as floats.*received int16"),
        (
            lambda c: c.isel(s1_time=[]),
            {},
            DataError,
            r"at least one date.*received 0 along s1",
        ),
        (lambda c: c.isel(y=[]), {}, DataError, r"at least one date and pixel.*received 0 along y"),
        (lambda c: c, {"precision": "16"}, DataError, r"'auto', '32' or 'bf16'.*'16'.*leave it"),
        (lambda c: c, {"stride": 3}, DataError, r"a power of two.*received 3"),
        (lambda c: c, {"stride": 32}, DataError, "1 to 16 px"),
        (lambda c: c, {"space": "season"}, ModelError, "a space of this model: encoder, joint"),
    ],
)
def test_what_a_model_does_not_fit(
    cube: xr.Dataset, untrained: xc.Model, change, options: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        xc.embed(change(cube), untrained, **options)


def test_the_coarsest_stride_is_the_deepest_level(cube: xr.Dataset, tmp_path: Path) -> None:
    options = xc.PretrainOptions(chip_size=32, progress=False, out_stride=64)
    model = xc.pretrain(
        cube, max_steps=0, encoder="resnet10t", batch_size=2, out=tmp_path / "m", options=options
    )
    assert xc.embed(cube.s1, model, stride=32).compute().shape[-2:] == (3, 3)
    with pytest.raises(DataError, match=r"a power of two, 1 to 32 px.*received 64.*leave it out"):
        xc.embed(cube.s1, model, stride=64)


def test_a_moved_model_says_so(
    cube: xr.Dataset, untrained: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests may have sent this model to workers, which keep a copy.
    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    moved = untrained.save(tmp_path / "here")
    emb = cube.s1.contrast.embed(moved)
    moved.path.rename(tmp_path / "there")
    from xcontrast.model import network

    network._networks.clear()
    with pytest.raises(ModelError, match=r"at its path or in the cache.*xc.share\(model, client\)"):
        emb.compute()


def test_bfloat16_changes_features_by_little(untrained: xc.Model) -> None:
    cube = planted_cube(128, n_times=1)
    exact = cube.s2.contrast.embed(untrained, precision="32")
    rough = cube.s2.contrast.embed(untrained, precision="bf16")
    assert exact.attrs["precision"] == "32"
    difference = (rough - exact).std("feature") / exact.std("feature")
    assert 0 < float(difference.mean()) < 0.02


def test_blocks_are_as_large_as_their_features_allow() -> None:
    from xcontrast.embedding.embed import BLOCK_BYTES, _choose_block

    assert _choose_block(512, 16) == 2048
    assert _choose_block(512, 4) == 1536
    assert _choose_block(4096, 1) == 256
    for stride in (1, 2, 4, 8, 16):
        side = _choose_block(512, stride)
        assert side % 256 == 0
        assert side == 256 or 512 * (side // stride) ** 2 * 4 <= BLOCK_BYTES
