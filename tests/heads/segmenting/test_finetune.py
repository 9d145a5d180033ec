from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, ModelError, TrainingError


def finetune(
    scene: tuple, model: xc.Model, options: xc.FinetuneOptions, **told: Any
) -> xc.Segmenter:
    told = {"legend": xc.FLOOD, "max_steps": 2, "batch_size": 2, "options": options} | told
    cube, truth = scene
    return xc.finetune(cube, truth, model, **told)


def flood_iou(scene: tuple, segmenter: xc.Segmenter, **told: Any) -> float:
    cube, truth = scene
    label = xc.predict(cube, segmenter, **told).label
    return float(xc.score(label, truth, legend=xc.FLOOD).iou.sel(category="flood"))


def test_a_planted_change_is_found_where_nothing_was_labelled(
    scene: tuple, segmenter: xc.Segmenter
) -> None:
    cube, truth = scene
    south = {"y": slice(90, None)}
    label = cube.contrast.predict(segmenter).label.isel(south)
    found = xc.score(label, truth.isel(south), legend=xc.FLOOD)
    assert float(found.iou.sel(category="flood")) > 0.75
    # What naming at random, or all of it, would get.
    share = float(truth.isel(south).mean())
    assert share < 0.45
    assert segmenter.facts["val_iou"] > 0.75


def test_facts_and_history_tell_what_was_done(scene: tuple, segmenter: xc.Segmenter) -> None:
    told = segmenter.facts
    assert told["n_pixels"].keys() == {"dry", "flood"}
    assert "a strip of" in told["held_out"]
    history = segmenter.history
    assert {"step", "loss", "val_loss", "val_iou"} == set(history)
    best = history.loc[history.val_loss.idxmin()]
    assert told["best_step"] == best.step
    assert told["val_loss"] == pytest.approx(best.val_loss)
    text = repr(segmenter)
    for part in ("flood: dry, flood", "before, after, difference", "test_resnet, unet", "vv, vh"):
        assert part in text
    assert "<td" in segmenter._repr_html_()


@pytest.mark.parametrize("part", ["none", "deepest", "all"])
def test_what_is_trained_changes_and_the_rest_stays(
    part: str, scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    segmenter = finetune(scene, tiny, replace(quick, trained=part))
    began = load_file(tiny.path / "weights.safetensors")
    ended = load_file(segmenter.path / "weights.safetensors")
    changed = set()
    for name in ("s1", "s2"):
        prefix = f"{name}.encoder."
        for key, own in began.items():
            if key.startswith(prefix):
                now = ended[f"encoders.{name}.{key.removeprefix(prefix)}"]
                if not torch.equal(own, now):
                    changed.add(key.removeprefix(prefix))
    weights = {k for k in changed if "running" not in k and "num_batches" not in k}
    if part == "none":
        assert not changed
    elif part == "deepest":
        assert changed
        assert all(".layer3." in key for key in changed)
        assert weights == changed
    else:
        assert {key.split(".")[1] for key in weights} >= {"conv1", "layer1", "layer2", "layer3"}
        assert any("running" in key for key in changed)


@pytest.mark.parametrize("decoder", ["unet", "deeplabv3plus"])
@pytest.mark.parametrize("sensors", [("s1",), ("s2",), ("s1", "s2")])
@pytest.mark.parametrize("n_dates", [1, 2])
def test_sensors_dates_and_decoders(
    decoder: str, sensors: tuple, n_dates: int, scene: tuple, tiny: xc.Model,
    quick: xc.FinetuneOptions,
) -> None:  # fmt: skip
    cube, truth = scene
    cube = cube[list(sensors)]
    if n_dates == 1:
        cube = cube.isel({f"{s}_time": -1 for s in sensors})
    segmenter = finetune((cube, truth), tiny, quick, decoder=decoder)
    assert tuple(segmenter.card.sensors) == sensors
    assert segmenter.card.n_dates == n_dates
    assert segmenter.card.decoder == decoder
    mapped = xc.predict(cube, segmenter).compute()
    assert mapped.label.shape == (128, 128)
    assert np.isfinite(mapped.probability).all()
    array = cube[sensors[0]]
    if len(sensors) == 1:
        xr.testing.assert_equal(mapped, xc.predict(array, segmenter).compute())


def test_polygons_teach_as_pixels_do(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    import geopandas
    from shapely.geometry import box

    cube, _ = scene
    x, y = cube.x.values, cube.y.values
    shapes = [box(x[k], y[k + 40], x[k + 30], y[k]) for k in (4, 60)]
    frame = geopandas.GeoDataFrame({"class": ["dry", "flood"]}, geometry=shapes, crs=32632)
    with pytest.warns(UserWarning, match="too little is labelled to hold some out"):
        segmenter = finetune((cube, frame.to_crs(4326)), tiny, quick, column="class")
    assert segmenter.facts["held_out"].startswith("nothing: too few labels")
    assert segmenter.facts["best_step"] == segmenter.facts["steps"] == 2
    assert segmenter.facts["n_pixels"] == pytest.approx({"dry": 1200, "flood": 1200}, rel=0.05)
    assert "val_loss" not in segmenter.history
    none = replace(quick, val_fraction=0.0)
    assert finetune((cube, frame), tiny, none, column="class").facts["held_out"].endswith("asked")


def test_only_the_ground_around_labels_is_read(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    import dask.array as da

    cube, truth = scene
    read = []

    def note(block: np.ndarray, block_info: dict) -> np.ndarray:
        read.append(block_info[0]["chunk-location"][-2:])
        return block

    lazy = cube[["s2"]].chunk(y=32, x=32)
    lazy["s2"].data = da.map_blocks(note, lazy.s2.data, meta=np.empty((0,) * 4, "float32"))
    labels = truth.copy(data=np.full(truth.shape, 255, "uint8"))
    labels[100:120, 100:120] = truth[100:120, 100:120]
    labels[100, 100], labels[101, 101] = 0, 1
    finetune((lazy, labels), tiny, replace(quick, val_fraction=0.0))
    # Crops of 32 px that hold a label reach 31 px beyond it.
    assert set(read) == {(i, j) for i in (2, 3) for j in (2, 3)}


def test_averaged_weights_are_a_running_mean_of_the_steps(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.heads.segmenting.steps import Stepper

    states: list[dict] = []
    step = Stepper.step

    def note(self: Stepper, *rest: object) -> torch.Tensor:
        loss = step(self, *rest)
        states.append({k: v.clone() for k, v in self.network.state_dict().items()})
        return loss

    monkeypatch.setattr(Stepper, "step", note)
    told = replace(quick, average=0.8, val_fraction=0)
    segmenter = finetune(scene, tiny, told, max_steps=5)
    kept = load_file(segmenter.path / "weights.safetensors")
    moved = 0
    for name, value in states[0].items():
        if not value.is_floating_point():
            continue
        mean = value
        for n, state in enumerate(states[1:], start=1):
            share = max(1 - 0.8, 9 / (n + 10))
            mean = (1 - share) * mean + share * state[name]
        torch.testing.assert_close(kept[name], mean)
        moved += not torch.equal(kept[name], states[-1][name])
    assert moved > 5


def test_the_best_weights_are_kept_and_training_stops_early(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.heads.segmenting.steps import Stepper

    losses = iter([0.9, 0.5, 0.7, 0.8, 0.1])
    states: list[dict] = []

    def look(self: Stepper, _held: object) -> dict[str, float]:
        states.append({k: v.clone() for k, v in self.network.state_dict().items()})
        return {"val_loss": next(losses), "val_iou": 0.5}

    monkeypatch.setattr(Stepper, "look", look)
    told = replace(quick, eval_every=1, patience=2)
    segmenter = finetune(scene, tiny, told, max_steps=30)
    assert (segmenter.facts["steps"], segmenter.facts["best_step"]) == (4, 2)
    kept = load_file(segmenter.path / "weights.safetensors")
    assert all(torch.equal(kept[k], v) for k, v in states[1].items())
    assert not all(torch.equal(kept[k], v) for k, v in states[3].items())


def test_one_seed_gives_one_segmenter(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    one, two, other = (
        load_file(finetune(scene, tiny, replace(quick, seed=k)).path / "weights.safetensors")
        for k in (0, 0, 1)
    )
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


def test_interruption_leaves_what_was_learnt(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.heads.segmenting.steps import Stepper

    step = Stepper.step

    def stop(self: Stepper, plots: list, number: int) -> torch.Tensor:
        if number == 3:
            raise KeyboardInterrupt
        return step(self, plots, number)

    monkeypatch.setattr(Stepper, "step", stop)
    segmenter = finetune(scene, tiny, quick, max_steps=20)
    assert segmenter.facts["interrupted"]
    assert np.isfinite(xc.predict(scene[0], segmenter).probability.values).all()


def test_nan_stops_the_run(scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions) -> None:
    told = replace(quick, learning_rate=1e30, optimiser="sgd", clip=None)
    with pytest.raises(TrainingError, match=r"a finite loss.*lower learning_rate"):
        finetune(scene, tiny, told, max_steps=20)


@pytest.mark.parametrize(
    ("preset", "decoder", "size"), [("dual-encoder", "deeplabv3plus", 64), ("oscd", "unet", 32)]
)
def test_presets_are_the_papers(
    preset: str, decoder: str, size: int, scene: tuple, tiny: xc.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from xcontrast.heads.segmenting import finetune as module

    seen: dict[str, Any] = {}

    def stop(card: Any, _model: Any, ground: Any, options: Any, **told: Any) -> None:
        seen.update(told, card=card, crop=ground.crop, options=options)
        raise InterruptedError

    monkeypatch.setattr(module, "_train", stop)
    # The scene is too small for a strip and a crop beside it.
    warnings.simplefilter("ignore")
    with pytest.raises(InterruptedError):
        xc.finetune(*scene, tiny, legend=xc.FLOOD, preset=preset)
    told = seen["options"]
    assert told == xc.FinetuneOptions.paper(preset)
    assert seen["card"].decoder == decoder
    assert seen["size"] == size
    if preset == "dual-encoder":
        assert (seen["steps"], told.optimiser, told.weight_decay) == (20_000, "sgd", 1e-6)
        assert (told.schedule, told.trained, told.loss) == ("poly", "all", "ce")
        assert seen["crop"] == 128, "the scene is smaller than 321 px"
    else:
        assert (told.trained, told.norms, told.temporal) == ("none", "batch", "difference")
        assert (told.optimiser, told.learning_rate, told.weight_decay) == ("adam", 1e-3, 1e-4)
        assert (told.schedule, told.dropout, seen["crop"]) == ("exponential", 0.3, 96)


def test_schedules_and_rates(tiny: xc.Model, quick: xc.FinetuneOptions) -> None:
    from xcontrast.heads.segmenting.optimisers import build_optimiser, build_schedule
    from xcontrast.nn.encoders import Encoder
    from xcontrast.nn.segmentation import SegmentationNetwork

    network = SegmentationNetwork({"s1": Encoder("test_resnet", 2)}, n_categories=2)
    expected = {
        "poly": lambda k: (1 - k / 200) ** 0.9,
        "exponential": lambda k: 0.95 ** (k // 2),
        "cosine": lambda k: (1 + np.cos(np.pi * k / 200)) / 2,
    }
    for name, factor in expected.items():
        told = replace(quick, schedule=name, encoder_rate=0.25)
        optimiser = build_optimiser(network, told)
        schedule = build_schedule(optimiser, told, 200)
        for k in range(200):
            rates = [group["lr"] for group in optimiser.param_groups]
            assert rates == pytest.approx([1e-3 * factor(k), 0.25e-3 * factor(k)])
            optimiser.step()
            schedule.step()
    inside = {id(p) for p in network.encoders.parameters()}
    assert {id(p) for p in optimiser.param_groups[1]["params"]} == inside


def test_balance_makes_rare_categories_heavier(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    from xcontrast.heads.segmenting.finetune import _weigh

    assert _weigh({"dry": 3, "flood": 1}, xc.FLOOD, 0.0) is None
    full = _weigh({"dry": 3, "flood": 1}, xc.FLOOD, 1.0)
    assert full == pytest.approx((2 / 3, 2.0))
    half = _weigh({"dry": 3, "flood": 1}, xc.FLOOD, 0.5)
    assert 1 < half[1] / half[0] == pytest.approx(3**0.5)
    assert 0.75 * half[0] + 0.25 * half[1] == pytest.approx(1)
    finetune(scene, tiny, replace(quick, balance=1.0, loss="focal"))


def test_events_average_what_is_before_and_after(
    tiny: xc.Model, quick: xc.FinetuneOptions, scene: tuple
) -> None:
    cube = planted_cube(64, n_times=4)
    cube["s1"].values[0, :, 3, 3] = np.nan
    truth = scene[1].isel(y=slice(64), x=slice(64))
    with pytest.raises(DataError, match=r"exactly two times, or an event.*4 times"):
        finetune((cube, truth), tiny, quick)
    quick = replace(quick, val_fraction=0.0)
    segmenter = finetune((cube, truth), tiny, quick, event="2023-04-20")
    mapped = xc.predict(cube, segmenter, event="2023-04-20")
    assert segmenter.facts["event"] == "2023-04-20"
    assert np.isfinite(mapped.probability.values).all(), "seen at another date of the period"
    times = ("s1_time", "s2_time")
    parts = [cube.isel(dict.fromkeys(times, part)) for part in (slice(2), slice(2, 4))]
    two = xr.concat([part.mean(times, keep_attrs=True) for part in parts], "date")
    xr.testing.assert_allclose(
        xc.predict(two, segmenter).probability, mapped.probability, atol=1e-5
    )
    with pytest.raises(DataError, match="exactly two times, or an event"):
        xc.predict(cube, segmenter)


@pytest.mark.parametrize(
    ("change", "told", "error", "message"),
    [
        (lambda c, t: (c, t), {"preset": "seco"}, DataError, "a preset of 'dual-encoder', 'oscd'"),
        (lambda c, t: (c, t), {"preset": "oscd"}, DataError, "either a preset or options"),
        (lambda c, t: (c, t), {"decoder": "fpn"}, DataError, "decoder 'unet' or 'deeplabv3plus'"),
        (lambda c, t: (c, t), {"max_steps": 0}, DataError, r"1 step or more.*max_steps=0"),
        (lambda c, t: (c, t.where(t == 1, 255)), {}, DataError, "at least two categories"),
        (lambda c, t: (c.s1.assign_attrs(units="1"), t), {}, DataError, "Sentinel-1 in 'dB'"),
        (lambda c, t: (c.drop_vars(["s1", "s2"]), t), {}, DataError, r"with 's1' and/or 's2'"),
        (lambda c, t: (c.isel(s1_time=0), t), {}, DataError, r"one date of each sensor.*1 of s1"),
        (lambda c, t: (c.isel(s1_time=0, s2_time=0), t), {"event": "2023-04-10"}, DataError,
         r"images with a time dim.*event='2023-04-10'.*leave `event` out"),
        (lambda c, t: (c.isel(y=slice(8)), t.isel(y=slice(8))), {}, DataError, "16 pixels a side"),
        (lambda c, t: (c, t.expand_dims(location=2)), {}, DataError, r"labels with the dims \('y"),
    ],
)  # fmt: skip
def test_what_cannot_be_finetuned(
    change: Any, told: dict, error: type, message: str, scene: tuple, tiny: xc.Model,
    quick: xc.FinetuneOptions,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message):
        finetune(change(*scene), tiny, quick, **told)


def test_nothing_seen_is_nothing_to_learn(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    cube, truth = scene
    blind = cube.copy(deep=True)
    for name in ("s1", "s2"):
        blind[name].values[:] = np.nan
    with pytest.raises(DataError, match=r"two categories on pixels that a sensor sees.*none"):
        finetune((blind, truth), tiny, quick)


def blind_tiles(scene: tuple, blind: list[int]) -> tuple:
    """Give six tiles without a grid, and their labels; some are labelled, but never seen."""
    cube, truth = scene
    s1 = cube.s1.isel(s1_time=1).drop_vars(["y", "x", "spatial_ref", "s1_time"])
    corners = [(row, col) for row in (0, 40) for col in (0, 40, 80)]
    cuts = [{"y": slice(row, row + 40), "x": slice(col, col + 40)} for row, col in corners]
    tiles = xr.concat([s1.isel(cut) for cut in cuts], "location").copy(deep=True)
    tiles.values[blind] = np.nan
    plain = truth.drop_vars(["y", "x", "spatial_ref"])
    return tiles, xr.concat([plain.isel(cut) for cut in cuts], "location")


@pytest.mark.parametrize("place", range(6))
def test_what_is_held_out_is_ground_that_is_seen(
    place: int, scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    segmenter = finetune(blind_tiles(scene, [place]), tiny, quick, max_steps=1)
    assert segmenter.facts["held_out"] in ("1 of 5 places", "1 of 6 places")
    assert np.isfinite(segmenter.facts["val_iou"])


def test_too_little_seen_to_hold_some_out_is_told_and_all_of_it_is_trained_on(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    tiles, truth = blind_tiles(scene, [1, 2, 3, 4, 5])
    with pytest.warns(UserWarning, match="too little is labelled to hold some out"):
        segmenter = finetune((tiles, truth), tiny, quick, max_steps=1)
    assert segmenter.facts["held_out"].startswith("nothing: too few labels")
    assert "val_iou" not in segmenter.facts
    counts = {n: int((truth[0] == k).sum()) for k, n in enumerate(("dry", "flood"))}
    assert segmenter.facts["n_pixels"] == counts


def test_groups_named_that_no_sensor_sees_cannot_be_held_out(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions
) -> None:
    tiles, truth = blind_tiles(scene, [4, 5])
    tiles = tiles.assign_coords(scene=("location", list("aabbcc")))
    named = replace(quick, groups="scene", held_groups=("c",))
    with pytest.raises(DataError, match=r"groups of 'scene' that can be held out.*\('c',\)"):
        finetune((tiles, truth), tiny, named)


def test_nothing_is_called_held_out_that_was_never_scored(
    scene: tuple, tiny: xc.Model, quick: xc.FinetuneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.heads.segmenting.steps import Stepper

    def stop(_self: Stepper, _plots: list, _number: int) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stepper, "step", stop)
    segmenter = finetune(scene, tiny, quick)
    assert "val_iou" not in segmenter.facts
    assert segmenter.facts["held_out"].startswith("nothing that was scored; a strip of")


def test_a_model_must_know_the_sensor(
    scene: tuple, quick: xc.FinetuneOptions, tmp_path: Any
) -> None:
    cube, truth = scene
    options = xc.PretrainOptions(chip_size=32, progress=False)
    optical = xc.pretrain(cube[["s2"]], method="simclr", encoder="test_resnet", max_steps=0,
                          out=tmp_path / "m", options=options)  # fmt: skip
    with pytest.raises(ModelError, match=r"an encoder for s1.*received one for s2"):
        finetune((cube[["s1"]], truth), optical, quick)
    with pytest.raises(ModelError, match="a folder that does not exist or is empty"):
        finetune(scene, optical, quick, out=tmp_path / "m")
    assert tuple(finetune(scene, optical, quick).card.sensors) == ("s2",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trained": "some"}, {"loss": "bce"}, {"crop_size": 8}, {"dropout": 1.0},
        {"learning_rate": 0.0}, {"patience": 0}, {"held_groups": ("a",)}, {"val_fraction": 1.0},
    ],
)  # fmt: skip
def test_options_out_of_range(wrong: dict) -> None:
    name = next(iter(wrong))
    with pytest.raises(DataError, match=rf"documented ranges.*{name}=.*xc.FinetuneOptions"):
        xc.FinetuneOptions(**wrong)
