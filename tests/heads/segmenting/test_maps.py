from __future__ import annotations

import pickle
from dataclasses import replace

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.heads.segmenting.networks import load_segmentation
from xcontrast.heads.segmenting.stacking import arrays_of, stack_layers


def make_windows(patch: pytest.MonkeyPatch) -> None:
    """Make any scene a large one: windows of 48 px, 32 apart, blocks of 64."""
    patch.setattr("xcontrast.heads.segmenting.maps.WHOLE", 64)
    patch.setattr("xcontrast.heads.segmenting.maps.STEP", 32)
    patch.setattr("xcontrast.heads.segmenting.maps.OVERLAP", 16)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    make_windows(monkeypatch)


def test_building_computes_nothing_and_holds_no_weights(
    scene: tuple, segmenter: xc.Segmenter, no_compute: None
) -> None:
    lazy = scene[0].chunk(y=40, s1_time=1).contrast.predict(segmenter)
    assert lazy.label.chunks is not None
    own = {k: v for k, v in dict(lazy.probability.__dask_graph__()).items() if "segment" in str(k)}
    assert len(own) == 1
    assert len(pickle.dumps(own)) < 20_000
    assert (segmenter.path / "weights.safetensors").stat().st_size > 200_000


def test_grid_coords_and_attrs(scene: tuple, segmenter: xc.Segmenter) -> None:
    cube = scene[0].isel(y=slice(5, 95), x=slice(0, 77))
    mapped = cube.contrast.predict(segmenter)
    assert mapped.label.dims == ("y", "x")
    assert mapped.label.shape == (90, 77)
    assert mapped.label.odc.geobox == cube.odc.geobox
    assert mapped.probability.dims == ("category", "y", "x")
    assert mapped.label.dtype == mapped.label.compute().dtype == np.uint8
    assert mapped.probability.dtype == mapped.probability.compute().dtype == np.float32
    assert mapped.category.values.tolist() == ["dry", "flood"]
    assert mapped.label.attrs["flag_meanings"] == "dry flood"
    assert mapped.label.rio.nodata == 255
    for attrs in (mapped.attrs, mapped.label.attrs):
        assert attrs["segmenter_digest"] == segmenter.digest
        assert attrs["model_digest"] == segmenter.card.model_digest
        assert attrs["head_kind"] == "segmenter, unet"
    np.testing.assert_allclose(mapped.probability.sum("category"), 1, atol=1e-5)


def test_one_piece_is_the_bare_network(scene: tuple, segmenter: xc.Segmenter) -> None:
    cube = scene[0].isel(y=slice(96))
    mapped = cube.contrast.predict(segmenter).probability.values
    card = segmenter.card
    loaded = load_segmentation(str(segmenter.path), segmenter.digest, "cpu", "auto")
    images = {}
    for name, own in card.sensors.items():
        mean, std = (np.array(v, "float32")[:, None, None] for v in (own.mean, own.std))
        images[name] = torch.from_numpy((cube[name].values - mean) / std)[None]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=loaded.bf16):
        reference = loaded.network(images).float().softmax(1)[0].numpy()
    np.testing.assert_allclose(mapped, reference, atol=0.03 if loaded.bf16 else 1e-4)


@given(
    y=st.integers(7, 128),
    x=st.integers(7, 115),
    times=st.sampled_from([{}, {"s1_time": 1}, {"s2_time": 1, "s2_band": 1}]),
)
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
def test_maps_do_not_depend_on_chunks(
    scene: tuple, segmenter: xc.Segmenter, y: int, x: int, times: dict
) -> None:
    cube = scene[0].isel(x=slice(0, 115))
    with pytest.MonkeyPatch.context() as patch:
        make_windows(patch)
        whole = cube.contrast.predict(segmenter)
        lazy = cube.chunk({"y": y, "x": x, **times}).contrast.predict(segmenter)
    reference = whole.compute()
    assert np.isfinite(reference.probability).all()
    assert lazy.probability.data.numblocks == (1, 2, 2)
    xr.testing.assert_allclose(lazy.probability.compute(), reference.probability, atol=1e-6)


def test_windows_fade_into_each_other(
    scene: tuple, segmenter: xc.Segmenter, windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = scene[0]
    blended = cube.contrast.predict(segmenter).compute()
    np.testing.assert_allclose(blended.probability.sum("category"), 1, atol=1e-5)
    # By hand: each window by itself, added up by weights that fall off linearly in angle.
    layers, _ = stack_layers(arrays_of(cube), segmenter.card.sensors, event=None)
    values = np.pad(layers.values, ((0, 0), (24, 72), (24, 72)), constant_values=np.nan)
    loaded = load_segmentation(str(segmenter.path), segmenter.digest, "cpu", "auto")
    ramp = np.sin(np.minimum(np.minimum(np.arange(48) + 0.5, 47.5 - np.arange(48)) / 16, 1)
                  * np.pi / 2) ** 2  # fmt: skip
    total = np.zeros((2, *values.shape[1:]))
    for i in range(0, 161, 32):
        for j in range(0, 161, 32):
            cut = (slice(None), slice(i, i + 48), slice(j, j + 48))
            with torch.inference_mode():
                named, _ = loaded.probability(torch.from_numpy(values[cut][None].copy()))
            total[cut] += named[0].numpy() * ramp[:, None] * ramp
    expected = total[:, 24 : 24 + 128, 24 : 24 + 128]
    np.testing.assert_allclose(blended.probability, expected, atol=0.02 if loaded.bf16 else 1e-4)
    best = np.array([0, 1])[blended.probability.values.argmax(0)]
    np.testing.assert_array_equal(blended.label, best)


@pytest.mark.parametrize("large", [False, True])
def test_invalid_is_what_no_sensor_sees(
    scene: tuple, segmenter: xc.Segmenter, large: bool, request: pytest.FixtureRequest
) -> None:
    if large:
        request.getfixturevalue("windows")
    cube = scene[0].copy(deep=True)
    cube["s1"].values[0, 0, 10:20, 10:30] = np.nan
    cube["s2"].values[1, 2, 15:25, 10:30] = np.nan
    mapped = cube.contrast.predict(segmenter).compute()
    expected = np.zeros((128, 128), bool)
    expected[15:20, 10:30] = True
    np.testing.assert_array_equal(mapped.label == 255, expected)
    np.testing.assert_array_equal(np.isnan(mapped.probability).all("category"), expected)
    np.testing.assert_array_equal(np.isnan(mapped.probability).any("category"), expected)


def test_tiles_are_mapped_tile_by_tile(scene: tuple, tiny: xc.Model, quick) -> None:
    cube, truth = scene
    arrays = {
        name: cube[name]
        .drop_vars(["y", "x", "spatial_ref", f"{name}_time"])
        .rename({f"{name}_time": "date"})
        for name in ("s1", "s2")
    }
    plain = xr.Dataset(arrays)
    corners = [(i, j) for i in (0, 64) for j in (0, 64)]
    quarters = [plain.isel(y=slice(i, i + 64), x=slice(j, j + 64)) for i, j in corners]
    tiles = xr.concat(quarters, "location").assign_coords(scene=("location", list("aabb")))
    labels = np.stack([truth.values[i : i + 64, j : j + 64] for i, j in corners])
    labels = xr.DataArray(labels, dims=("location", "y", "x"))
    options = replace(quick, groups="scene", val_fraction=0.5)
    segmenter = xc.finetune(
        tiles, labels, tiny, legend=xc.FLOOD, max_steps=2, batch_size=2, options=options
    )
    assert segmenter.facts["held_out"] == "1 of 2 by scene"
    mapped = tiles.chunk(location=1).contrast.predict(segmenter)
    assert mapped.label.dims == ("location", "y", "x")
    assert mapped.scene.values.tolist() == list("aabb")
    done = mapped.compute()
    alone = tiles.isel(location=2).contrast.predict(segmenter)
    np.testing.assert_array_equal(done.probability[2], alone.probability)


def test_another_grid_gets_interpolated_probabilities(
    scene: tuple, segmenter: xc.Segmenter
) -> None:
    cube = scene[0]
    fine = cube.odc.geobox.zoom_out(0.5)
    result = cube.contrast.predict(segmenter, like=fine)
    assert result.label.odc.geobox == fine
    coarse = cube.contrast.predict(segmenter).label
    assert (result.label.values[1::2, 1::2] == coarse.values).mean() > 0.95


@pytest.mark.parametrize(
    ("change", "told", "message"),
    [
        (lambda c: c[["s1"]], {}, r"a cube with s1 and s2.*received s1, without s2"),
        (lambda c: c.isel(s1_time=0, s2_time=0), {}, r"2 date\(s\) of each sensor.*received 1"),
        (lambda c: c.isel(s2_band=[0, 1]), {}, "without B04, B08"),
        (lambda c: c, {"event": "2030-01-01"}, "times on both sides of the event"),
        (lambda c: c.rename(s1="a", s2="b"), {}, "not embeddings"),
    ],
)
def test_what_a_segmenter_does_not_fit(
    scene: tuple, segmenter: xc.Segmenter, change, told: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        xc.predict(change(scene[0]), segmenter, **told)


def test_a_head_knows_no_event(scene: tuple, tiny: xc.Model) -> None:
    cube, truth = scene
    emb = cube.s1.isel(s1_time=1).contrast.embed(tiny)
    head = emb.contrast.fit(truth, legend=xc.FLOOD)
    with pytest.raises(DataError, match=r"for a segmenter of two dates only.*before_after"):
        xc.predict(emb, head, event="2023-04-05")


def test_workers_load_it_by_themselves(scene: tuple, segmenter: xc.Segmenter) -> None:
    from xcontrast.heads.segmenting import networks

    lazy = scene[0].chunk(y=64).contrast.predict(segmenter)
    networks._loaded.clear()
    with dask.config.set(scheduler="synchronous"):
        lazy.label.compute()
    assert len(networks._loaded) == 1
