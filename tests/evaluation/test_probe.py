from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import torch
import xarray as xr
from imagery import open_ombria
from pyproj import Geod
from scenes import planted_cube, smooth
from shapely.geometry import Point
from torchmetrics.functional.classification import multiclass_calibration_error

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.evaluation import material, rounds

QUICK = {"progress": False, "n_draws": 200}


def textured(n: int = 96, seed: int = 0) -> tuple[xr.Dataset, xr.DataArray]:
    """Give a radar scene of two textures with the same values, and which is where."""
    rng = np.random.default_rng(seed)
    coarse = (np.add.outer(np.arange(n) // 32, np.arange(n) // 32) % 2).astype("uint8")
    cube = planted_cube(n, n_times=1, seed=seed)
    values = np.stack([np.where(coarse, smooth(rng, n, 3), rng.normal(size=(n, n))) for _ in "ab"])
    s1 = cube.s1.copy(data=(-12 + 3 * values[None]).astype("float32"))
    truth = xr.DataArray(coarse, {k: cube[k] for k in ("y", "x", "spatial_ref")}, ("y", "x"))
    return s1.to_dataset(name="s1"), truth


@pytest.fixture(scope="module")
def texture(untrained: xc.Model) -> tuple[xr.Dataset, xr.DataArray, xr.Dataset]:
    """A probe of two textures, some pixels invalid and some without a label."""
    cube, truth = textured()
    cube.s1.values[..., 40:56, 60:80] = np.nan
    truth[80:, :10] = 255
    options = xc.ProbeOptions(block=16, buffer=4, windows=(9,), **QUICK)
    scores = xc.probe(
        cube, truth, legend=xc.FLOOD, model=untrained, n_folds=3, fractions=(0.3, 1.0),
        options=options,
    )  # fmt: skip
    return cube, truth, scores


def test_an_encoder_sees_textures_that_single_pixels_do_not(texture) -> None:
    _, _, scores = texture
    assert scores.variant.values.tolist() == ["embedding", "statistics", "random", "pixels"]
    wet = scores.sel(category="flood", fraction=1.0)
    assert float(wet.iou.sel(variant="embedding")) > 0.6
    assert float(wet.iou.sel(variant="pixels")) < 0.5
    assert float(wet.iou_gain_interval.sel(variant="pixels", bound="low")) > 0.3
    # The model has never learnt: what it gains on its like is exactly nothing.
    assert (scores.iou_gain.sel(variant="random") == 0).all()
    few = scores.iou.sel(variant="embedding", category="flood", fraction=0.3)
    assert float(few) < float(wet.iou.sel(variant="embedding"))
    assert (scores.ece.sel(variant="embedding") < 0.3).all()


def test_all_variants_are_judged_on_the_same_pixels(texture) -> None:
    cube, truth, scores = texture
    labelled = int((truth != 255).sum())
    judged = scores.confusion.sum(("truth", "predicted"))
    assert (judged == labelled - int(scores.n_unjudged.sum())).all()
    invalid = int((cube.s1.isel(s1_time=0, s1_band=0).isnull() & (truth != 255)).sum())
    # A cell at the border of what is valid may still be embedded, or not.
    assert 0.5 * invalid < int(scores.n_unjudged.sum()) < 2 * invalid
    rows = scores.confusion.sum("predicted")
    assert (rows == rows.isel(variant=0, fraction=0)).all()
    assert (scores.n_train.sel(fraction=0.3) < 0.5 * scores.n_train.sel(fraction=1.0)).all()
    assert (scores.n_train.sel(fraction=1.0) + scores.n_dropped < labelled).all()


def test_scores_survive_the_disk_and_can_be_drawn(texture, tmp_path: Path) -> None:
    _, _, scores = texture
    scores.to_netcdf(tmp_path / "scores.nc")
    scores.to_zarr(tmp_path / "scores.zarr", zarr_format=2)
    for again in (
        xr.open_dataset(tmp_path / "scores.nc"),
        xr.open_zarr(tmp_path / "scores.zarr"),
    ):
        xr.testing.assert_allclose(again.load(), scores)
        assert again.attrs["buffer"] == 4
        assert again.attrs["baselines"] == "statistics, random, pixels"
    ax = scores.contrast.plot()
    assert "IoU of flood" in ax.get_title(loc="left")


def planted(n: int = 48, *, finer: int = 1) -> tuple[xr.DataArray, xr.DataArray]:
    """Give an embedding of cells whose features follow the truth, and the truth of pixels."""
    rng = np.random.default_rng(0)
    cells = (smooth(rng, n, 3) > 0).astype("uint8")
    features = np.stack([cells + rng.normal(0, 0.5, (n, n)) for _ in range(4)])
    attrs = {"model_digest": "d", "space": "encoder", "sensor": "s1", "stride": 4, "halo": 4}
    emb = xr.DataArray(features.astype("float32"), dims=("feature", "y", "x"), attrs=attrs)
    return emb, xr.DataArray(cells.repeat(finer, 0).repeat(finer, 1), dims=("y", "x"))


def probe_alone(*args, **options) -> xr.Dataset:
    """Probe an embedding, which warns."""
    told = {"legend": xc.FLOOD, "options": xc.ProbeOptions(**QUICK)} | options
    with pytest.warns(UserWarning, match=r"cannot be compared with anything.*model="):
        return xc.probe(*args, **told)


def test_an_embedding_alone_is_judged_and_says_that_it_is_alone() -> None:
    emb, truth = planted(finer=4)
    scores = probe_alone(emb, truth)
    assert scores.variant.values.tolist() == ["embedding"]
    assert "alone" in scores.attrs["baselines"]
    assert scores.accuracy.item() > 0.85
    assert int(scores.confusion.sum()) == truth.size
    # A cell of 4 px sees 4 px to each side; two cells more for what lies between cells.
    assert scores.attrs["buffer"] == 12
    assert not [name for name in scores if "gain" in str(name)]
    xr.testing.assert_identical(probe_alone(emb, truth), scores)
    other = probe_alone(emb, truth, options=xc.ProbeOptions(seed=1, **QUICK))
    assert not other.block_fold.equals(scores.block_fold)
    lazy = probe_alone(emb.chunk(y=20), truth)
    xr.testing.assert_allclose(lazy, scores, atol=1e-6)


def test_calibration_is_that_of_the_most_probable_category(monkeypatch) -> None:
    """A label that leans to the rarer need not be the most probable, whose confidence it is not."""
    rng = np.random.default_rng(0)
    hidden = smooth(rng, 60, 3)
    wet = 1 / (1 + np.exp(3.2 - 1.6 * hidden / hidden.std()))
    truth = xr.DataArray((rng.random((60, 60)) < wet).astype("uint8"), dims=("y", "x"))
    attrs = {"model_digest": "d", "space": "encoder", "sensor": "s1", "stride": 1, "halo": 1}
    features = np.stack([hidden, rng.normal(size=(60, 60))]).astype("float32")
    emb = xr.DataArray(features, dims=("feature", "y", "x"), attrs=attrs)
    seen = []

    def remember(maps, dims, here):
        found = compute(maps, dims, here)
        ((own, (label, _, _)),) = zip(maps, found, strict=True)
        seen.append((own.probability.values[:, here], truth.values[here], label))
        return found

    compute = rounds._compute
    monkeypatch.setattr(rounds, "_compute", remember)
    scores = probe_alone(emb, truth)
    p, y, label = (np.concatenate(parts, axis=-1) for parts in zip(*seen, strict=True))
    assert (p.argmax(0) != label).mean() > 0.02
    expected = multiclass_calibration_error(
        torch.from_numpy(p.T.copy()),
        torch.from_numpy(y.astype(int)),
        2,
        n_bins=xc.ProbeOptions().n_bins,
    )
    assert float(scores.ece.squeeze()) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("wider", [1, 2])
def test_the_buffer_covers_a_cell_on_a_grid_in_degrees(wider: int) -> None:
    """A degree of longitude is short in the north, so that a cell is many pixels wide there."""
    coords = {"y": 7.2e6 - 40.0 * np.arange(50) - 20, "x": 5e5 + 40.0 * np.arange(50) + 20}
    attrs = {"stride": 4, "halo": 8}
    emb = xr.DataArray(np.zeros((50, 50)), coords, ("y", "x"), attrs=attrs).rio.write_crs(32632)
    west, north = 9.0, 64.92
    truth = xr.DataArray(
        np.zeros((100, 100), "u1"),
        {"y": north - 1e-4 * np.arange(100), "x": west + wider * 1e-4 * np.arange(100)},
        ("y", "x"),
    ).rio.write_crs(4326)
    ellipsoid = Geod(ellps="WGS84")
    wide = ellipsoid.inv(west, north, west + wider * 1e-4, north)[2]
    tall = ellipsoid.inv(west, north, west, north - 1e-4)[2]
    needed = (8 / 4 + 2) * 40 / min(wide, tall)
    assert material._find_reach(emb, truth) == pytest.approx(needed, abs=1.1)


def test_blocks_of_ground_tell_memory_from_knowledge() -> None:
    # Features know nothing but where they are; each block of 8 cells has a category by chance.
    rng = np.random.default_rng(1)
    n = 64
    truth = rng.integers(0, 2, (n // 8, n // 8)).repeat(8, 0).repeat(8, 1).astype("uint8")
    waves = [f(np.arange(n) * k * np.pi / n) for k in (1, 3, 9) for f in (np.sin, np.cos)]
    where = [np.broadcast_to(w[:, None], (n, n)) for w in waves] + [
        np.broadcast_to(w, (n, n)) for w in waves
    ]
    emb = planted(n)[0].isel(feature=[0] * 12).copy(data=np.stack(where).astype("float32"))
    emb.attrs["halo"] = 0
    labels = xr.DataArray(truth, dims=("y", "x"))
    blocks = probe_alone(emb, labels, kind="knn", options=xc.ProbeOptions(block=8, **QUICK))
    assert 0.3 < blocks.accuracy.item() < 0.7
    # Cells drawn at random, as folds of single pixels would: the same head looks excellent.
    half = rng.random(truth.shape) < 0.5
    head = xc.fit(emb, labels.where(half, 255).astype("uint8"), legend=xc.FLOOD, kind="knn")
    seen = xc.score(xc.predict(emb, head).label, labels.where(~half, 255), legend=xc.FLOOD)
    assert float(seen.accuracy) > 0.9


def tiles(n_scenes: int = 5) -> tuple[xr.DataArray, xr.DataArray]:
    """Give embedded tiles, three a scene; the first scene's features mean the contrary."""
    emb, truth = planted()
    parts = [(i % 4) * 12 for i in range(3 * n_scenes)]
    own = [emb.isel(y=slice(k, k + 12)) for k in parts]
    own = [1 - e if i < 3 else e for i, e in enumerate(own)]
    names = np.repeat([f"scene {k}" for k in range(n_scenes)], 3)
    stacked = xr.concat(own, "location").assign_coords(scene=("location", names))
    stacked.attrs = emb.attrs
    return stacked, xr.concat([truth.isel(y=slice(k, k + 12)) for k in parts], "location")


def test_one_event_at_a_time_is_left_out() -> None:
    emb, truth = tiles()
    scores = probe_alone(emb, truth, folds="scene", n_folds=None, fractions=(0.25, 1))
    assert scores.sizes["fold"] == 5
    assert sorted(scores.block.values) == [f"scene {k}" for k in range(5)]
    assert scores.attrs["buffer"] == 0
    counts = scores.block_confusion.isel(variant=0, fraction=1)
    right = [float(np.trace(c) / c.sum()) for c in counts.values]
    # Only the odd scene is mapped the wrong way round, when the others are fitted on.
    odd = scores.block.values.tolist().index("scene 0")
    assert right[odd] < 0.3
    assert min(right[:odd] + right[odd + 1 :]) > 0.7
    # A quarter of the 12 locations of the other scenes, whole.
    assert (scores.n_train == np.array([[3 * 12 * 48, 12 * 12 * 48]] * 5)).all()


def test_groups_may_be_given_as_an_array_or_be_the_locations() -> None:
    emb, truth = tiles()
    named = probe_alone(emb, truth, folds="scene", n_folds=3)
    bare = emb.drop_vars("scene")
    given = probe_alone(bare, truth, folds=emb.scene, n_folds=3)
    xr.testing.assert_equal(given, named)
    assert probe_alone(bare, truth, folds="location").sizes["block"] == 15
    scene_of_pixels = xr.DataArray(np.arange(48) // 12, dims="y").broadcast_like(planted()[1])
    emb, truth = planted()
    strips = probe_alone(emb, truth, folds=scene_of_pixels, n_folds=None)
    assert strips.sizes["block"] == 4
    # Strips touch, so that a buffer is kept.
    assert strips.attrs["buffer"] == 3
    assert (strips.n_dropped == np.array([3, 6, 6, 3]) * 48).all()


def test_images_with_one_label_each_are_probed_pooled(untrained: xc.Model) -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(24) % 2
    level = (kind + rng.normal(0, 0.2, 24))[:, None, None, None]
    values = (-12 + 3 * (level + rng.normal(size=(24, 2, 32, 32)))).astype("float32")
    s1 = xr.DataArray(
        values, {"s1_band": np.array(["vv", "vh"], object)},
        ("location", "s1_band", "y", "x"), attrs={"units": "dB"},
    )  # fmt: skip
    labels = xr.DataArray(kind, dims="location")
    scores = xc.probe(
        s1, labels, legend=xc.FLOOD, model=untrained, folds="location", n_folds=4,
        options=xc.ProbeOptions(**QUICK),
    )  # fmt: skip
    assert scores.variant.values.tolist() == ["embedding", "statistics", "random"]
    assert (scores.accuracy > 0.9).all()
    assert (scores.confusion.sum(("truth", "predicted")) == 24).all()
    pooled = xc.embed(s1, untrained, pool=True)
    alone = probe_alone(pooled, labels, folds="location", n_folds=4)
    np.testing.assert_array_equal(alone.confusion[0], scores.confusion.sel(variant="embedding"))


def test_two_dates_or_an_event_are_put_side_by_side(untrained: xc.Model) -> None:
    cube, truth = textured(96)
    later = cube.s1.assign_coords(s1_time=cube.s1_time + np.timedelta64(12, "D"))
    two = xr.concat([cube.s1, later], "s1_time")
    options = xc.ProbeOptions(baselines=("pixels",), buffer=0, stride=8, **QUICK)
    told = {"legend": xc.FLOOD, "model": untrained, "n_folds": 2, "options": options}
    scores = xc.probe(two, truth, **told)
    assert scores.attrs["composite"] == "before, after, difference"
    three = xr.concat([two, later.assign_coords(s1_time=later.s1_time + np.timedelta64(1, "D"))],
                      "s1_time")  # fmt: skip
    with pytest.raises(DataError, match=r"one time, two .*3 steps of s1_time.*event="):
        xc.probe(three, truth, **told)
    assert xc.probe(three, truth, event="2023-04-10", **told).confusion.shape == (2, 1, 2, 2)


def test_a_network_is_trained_from_scratch_beside(untrained: xc.Model) -> None:
    cube, truth = textured(128)
    options = xc.ProbeOptions(
        baselines=("pixels", "unet"), unet_steps=12, block=64, buffer=0, stride=8, **QUICK
    )
    with pytest.warns(UserWarning, match="val_fraction"):
        scores = xc.probe(cube, truth, legend=xc.FLOOD, model=untrained, n_folds=2, options=options)
    assert scores.variant.values.tolist() == ["embedding", "pixels", "unet"]
    wet = scores.iou.sel(category="flood", fraction=1.0)
    assert float(wet.sel(variant="unet")) > float(wet.sel(variant="pixels"))


def test_a_network_from_scratch_sees_both_sides_of_an_event(untrained: xc.Model) -> None:
    s1 = planted_cube(64, n_times=4).s1
    truth = (s1.isel(s1_time=3, s1_band=0, drop=True) < -12).astype("uint8")
    sides = [s1.isel(s1_time=own) for own in (slice(2), slice(2, 4))]
    means = [own.mean("s1_time", keep_attrs=True) for own in sides]
    two = xr.concat(means, "s1_time").assign_coords(s1_time=s1.s1_time[[0, 3]])
    options = xc.ProbeOptions(
        baselines=("unet",), unet_steps=3, block=16, buffer=0, stride=8, **QUICK
    )
    told = {"legend": xc.FLOOD, "model": untrained, "n_folds": 2, "options": options}
    with pytest.warns(UserWarning, match="val_fraction"):
        found, expected = (
            xc.probe(cube, truth, event=event, **told).confusion.sel(variant="unet")
            for cube, event in ((s1, "2023-04-20"), (two, None))
        )
    np.testing.assert_allclose(found, expected, atol=5)
    assert found.sum() == 64 * 64


def test_both_sensors_are_judged_together_and_lazily_read_once(untrained: xc.Model) -> None:
    cube = planted_cube(64)
    truth = (cube.s1.isel(s1_time=0, s1_band=0) > -12).astype("uint8").drop_vars("s1_time")
    options = xc.ProbeOptions(baselines=("statistics", "pixels"), buffer=0, stride=8, **QUICK)
    told = {"legend": xc.FLOOD, "model": untrained, "n_folds": 2, "options": options}
    scores = xc.probe(cube, truth, **told)
    wet = scores.iou.sel(category="flood", fraction=1.0)
    assert float(wet.sel(variant="pixels")) > 0.9
    xr.testing.assert_allclose(xc.probe(cube.chunk(y=32), truth, **told), scores, atol=1e-3)


def test_points_are_labels_too() -> None:
    cube = planted_cube(96, n_times=1)
    emb, _ = planted(24)
    emb = emb.assign_coords(
        y=cube.y.values.reshape(24, 4).mean(1), x=cube.x.values.reshape(24, 4).mean(1)
    ).rio.write_crs(32632)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 24, (2, 200))
    kinds = np.where(emb.mean("feature").values[rows, cols] > 0.5, "flood", "dry")
    places = [Point(emb.x[c], emb.y[r]) for r, c in zip(rows, cols, strict=True)]
    frame = geopandas.GeoDataFrame({"kind": kinds}, geometry=places, crs=32632)
    scores = probe_alone(emb, frame, column="kind", options=xc.ProbeOptions(buffer=1, **QUICK))
    assert int(scores.confusion.sum()) == len(set(zip(rows, cols, strict=True)))
    assert scores.accuracy.item() > 0.9


def test_real_floods_are_probed_by_scene(data_dir: Path) -> None:
    cube, truth = open_ombria(data_dir, every=60)
    options = xc.PretrainOptions(chip_size=64, out_stride=4, progress=False)
    cube, truth = (v.isel(y=slice(0, 128), x=slice(0, 128)) for v in (cube, truth))
    model = xc.pretrain(cube, max_steps=0, encoder="resnet10t", options=options)
    scores = xc.probe(
        cube.s1, truth, legend=xc.FLOOD, model=model, folds="scene", n_folds=2,
        options=xc.ProbeOptions(windows=(5,), **QUICK),
    )  # fmt: skip
    # By hand: whatever is not of the fold's scenes is fitted on, and they are mapped.
    emb = xc.before_after(xc.embed(cube.s1, model))
    for fold in range(2):
        own = scores.block.values[scores.block_fold.values == fold]
        tested = np.isin(cube.scene.values, own)
        head = xc.fit(emb, truth.where(~tested[:, None, None], 255), legend=xc.FLOOD)
        there, real = (v.isel(location=tested) for v in (emb, truth))
        label = xc.predict(there, head, like=real).label.compute()
        by_scene = xc.score(label, real, legend=xc.FLOOD, groups="scene")
        np.testing.assert_array_equal(
            scores.block_confusion.sel(variant="embedding", fraction=1.0, block=by_scene.group),
            by_scene.group_confusion,
        )
    wet = scores.iou.sel(category="flood")
    bounds = scores.iou_interval.sel(category="flood")
    assert (bounds.sel(bound="low") <= wet).all()
    assert (wet <= bounds.sel(bound="high")).all()


BOTH = xr.DataArray(np.tile([0, 1], (48, 24)).astype("uint8"), dims=("y", "x"))


@pytest.mark.filterwarnings("ignore:an embedding alone", "ignore:the buffer of 60 pixels")
@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (BOTH, {"folds": "scene"}, r"the name of a coord.*'scene', with coords.*assign"),
        (BOTH, {"fractions": (0.0, 1)}, r"above 0 and up to 1.*fractions="),
        (BOTH, {"fractions": (0.5, 0.5)}, "different fractions"),
        (BOTH, {"n_folds": 1}, "2 folds or more"),
        (
            BOTH,
            {"options": xc.ProbeOptions(block=24, buffer=0, **QUICK)},
            r"5 blocks.*4 with labels.*smaller blocks",
        ),
        (BOTH * 0 + 255, {}, "at least one label"),
        (
            BOTH.copy(data=np.repeat([0, 1], 24)[:, None].repeat(48, 1)),
            {"folds": xr.DataArray(np.arange(48) // 24, dims="y"), "n_folds": 2},
            "two categories or more to fit on.*smaller buffer",
        ),
        (
            BOTH,
            {"options": xc.ProbeOptions(block=8, buffer=60, **QUICK)},
            "two categories or more to fit on.*all that may be fitted on",
        ),
    ],
)
def test_what_cannot_be_probed(labels: xr.DataArray, options: dict, message: str) -> None:
    told = {"legend": xc.FLOOD, "options": xc.ProbeOptions(**QUICK)} | options
    with pytest.raises(DataError, match=message):
        xc.probe(planted()[0], labels, **told)


@pytest.mark.filterwarnings("ignore:an embedding alone")
def test_a_buffer_that_takes_most_labels_is_told() -> None:
    emb, truth = planted()
    with pytest.warns(UserWarning, match=r"buffer of 5 pixels takes \d+% .*block="):
        xc.probe(emb, truth, legend=xc.FLOOD,
                 options=xc.ProbeOptions(block=8, buffer=5, **QUICK))  # fmt: skip


def test_a_model_must_know_the_sensor_and_the_cube_have_one(untrained: xc.Model) -> None:
    cube, truth = textured(32)
    told = {"legend": xc.FLOOD, "model": untrained}
    with pytest.raises(DataError, match=r"a Dataset with 's1' and/or 's2'"):
        xc.probe(cube.rename(s1="radar"), truth, **told)
    with pytest.raises(DataError, match=r"bands that the model knows: vv, vh"):
        xc.probe(cube.isel(s1_band=[0]), truth, **told)


def test_tiles_have_no_spatial_folds_and_unknown_reach_is_told() -> None:
    emb, truth = tiles()
    with pytest.raises(DataError, match=r"one scene.*folds='scene', or folds='location'"):
        probe_alone(emb, truth)
    emb, truth = planted()
    del emb.attrs["halo"]
    with pytest.warns(UserWarning, match="how far its cells see"):
        assert probe_alone(emb, truth).attrs["buffer"] == 0


@pytest.mark.parametrize(
    "wrong", [{"block": 0}, {"buffer": -1}, {"baselines": ("otsu",)}, {"windows": (4,)},
              {"n_draws": 0}, {"n_bins": 0}, {"unet_steps": 0}]
)  # fmt: skip
def test_options_out_of_range(wrong: dict) -> None:
    with pytest.raises(DataError, match=rf"documented ranges.*{next(iter(wrong))}="):
        xc.ProbeOptions(**wrong)
