from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from builders import build
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import save_file
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, ModelError
from xcontrast.nn.levels import measure_levels
from xcontrast.nn.stems import spread_filters
from xcontrast.training.logs import Log
from xcontrast.training.optimisers import build_optimiser, build_schedule
from xcontrast.training.weights import begin_from

QUICK = xc.PretrainOptions(chip_size=32, progress=False)


@pytest.fixture(scope="module")
def chips() -> xc.Chips:
    return xc.chips(xc.pairs(planted_cube(256, n_times=2)), size=32, stride=16)


def test_the_papers_hyper_parameters() -> None:
    dual = xc.PretrainOptions.paper("multimodal")
    assert (dual.optimiser, dual.learning_rate, dual.weight_decay) == ("lars", 0.48, 1e-4)
    assert (dual.schedule, dual.temperature, dual.n_projected) == ("cosine", 0.1, 128)
    assert (dual.negatives, dual.min_distance, dual.stem) == ("both", None, "3x3")
    assert (dual.crop_size, dual.chip_size, dual.clip) == (256, 512, None)
    assert xc.PretrainOptions.paper("simclr", batch_size=512).learning_rate == 0.06
    for method in ("seco", "moco", "moco_tp"):
        season = xc.PretrainOptions.paper(method)
        assert (season.optimiser, season.learning_rate) == ("sgd", 0.03)
        assert (season.queue, season.key_momentum, season.temperature) == (16384, 0.999, 0.07)
        assert (season.schedule, season.crop_size, season.crop_scale) == ("steps", 224, (0.2, 1.0))
        assert season.s2_augmentation == xc.Augmentation()
    assert xc.PretrainOptions.paper("seco", seed=4).seed == 4
    with pytest.raises(DataError, match=r"Expected a method of multimodal.*received 'byol'"):
        xc.PretrainOptions.paper("byol")


def test_a_published_preset_trains(tmp_path: Path) -> None:
    """The paper's network, optimiser, scaling and loss, on few chips and in few steps."""
    cube = planted_cube(256, n_times=2).isel(s2_band=slice(3))
    cut = xc.chips(xc.pairs(cube), size=64, stride=32)
    model = xc.pretrain(cut, preset="paper", max_steps=2, batch_size=8, out=tmp_path / "m")
    card = model.card
    assert (card.encoder, card.stem, card.out_stride) == ("resnet50", "3x3", 32)
    assert card.sensors["s1"].curve == "clip"
    assert card.sensors["s2"].curve == "sigmoid"
    assert card.projector.n_features == 2048
    options = card.training["options"]
    assert options["learning_rate"] == pytest.approx(0.03 * 8 / 256)
    corner = cube.s1.isel(s1_time=0, y=slice(64), x=slice(64))
    joint = corner.contrast.embed(model, space="joint", stride=32).compute()
    assert joint.sizes["feature"] == 128
    np.testing.assert_allclose((joint**2).sum("feature"), 1, rtol=1e-4)


def test_the_papers_scaling_is_refused_for_other_bands(chips: xc.Chips) -> None:
    with pytest.raises(DataError, match=r"the paper of 'moco' scales; received vv, vh in 'dB'"):
        xc.pretrain(chips, method="moco", max_steps=0, options=replace(QUICK, scaling="paper"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimiser": "adam"}, {"negatives": "all"}, {"queue": 0}, {"key_momentum": 1.5},
        {"min_distance": -1}, {"dense_weight": -1}, {"micro_batch": 0}, {"scaling": "z"},
        {"stem": "deep"}, {"pooled": "first"}, {"schedule": "poly"}, {"clip": 0},
    ],
)  # fmt: skip
def test_options_out_of_range(wrong: dict) -> None:
    name = next(iter(wrong))
    with pytest.raises(DataError, match=rf"in their documented ranges: {name} .*received {name}="):
        xc.PretrainOptions(**wrong)


def test_rates_follow_their_schedules() -> None:
    method = build("moco", sensors=("s2",))
    for name, expected in (
        ("steps", {0: 1.0, 119: 1.0, 120: 0.1, 159: 0.1, 160: 0.01, 199: 0.01}),
        ("cosine", {0: 1.0, 100: 0.5, 199: 0.0}),
    ):
        options = xc.PretrainOptions(schedule=name, warmup=0, learning_rate=0.03, optimiser="sgd")
        optimiser = build_optimiser(method, options)
        schedule = build_schedule(optimiser, options, 200)
        rates = []
        for _ in range(200):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        for step, share in expected.items():
            assert rates[step] == pytest.approx(0.03 * share, abs=1e-4), (name, step)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_optimisers_leave_norms_and_keys_as_they_are(name: str) -> None:
    method = build("moco", sensors=("s2",))
    options = xc.PretrainOptions(optimiser=name, weight_decay=0.1, learning_rate=0.1)
    optimiser = build_optimiser(method, options)
    decayed, kept = optimiser.param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decayed["params"])
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in method.parameters() if p.requires_grad}
    assert not held & {id(p) for p in method.key_encoders.parameters()}


@pytest.mark.parametrize(
    "change", [{"optimiser": "lars"}, {"micro_batch": 8}, {"compile": True, "out_stride": 4}]
)
def test_ways_to_train(chips: xc.Chips, change: dict) -> None:
    model = xc.pretrain(chips, max_steps=2, batch_size=16, options=replace(QUICK, **change))
    assert np.isfinite(model.history.loss).all()
    assert all("_orig_mod" not in key for key in load_arrays(model.path / "weights.safetensors"))


def test_a_batch_in_parts_trains_alike(chips: xc.Chips) -> None:
    """But for batch norm, whose statistics are those of the parts."""
    found = [
        xc.pretrain(chips, max_steps=30, batch_size=32, options=replace(QUICK, micro_batch=size))
        for size in (None, 16)
    ]
    held = [m.card.training["held_out"]["recall_at_1"] for m in found]
    chance = found[0].card.training["held_out"]["chance_recall_at_1"]
    assert min(held) > 3 * chance


def test_a_file_of_weights_begins_both_sensors(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", in_chans=3).state_dict()
    save_file(state, tmp_path / "imagenet.safetensors")
    method = build("multimodal")
    assert begin_from(method, tmp_path / "imagenet.safetensors") == ("s1", "s2")
    first = state["conv1.weight"]
    own = {name: method.encoder(name).body.state_dict() for name in ("s1", "s2")}
    # Bands are B02, B03, B04: blue, green, red.
    assert torch.allclose(own["s2"]["conv1.weight"], first.flip(1))
    assert torch.allclose(own["s1"]["conv1.weight"], spread_filters(first, (), 2))
    for name in ("layer1.0.conv1.weight", "bn1.running_var", "layer2.1.bn2.bias"):
        assert torch.equal(own["s1"][name], state[name])
    with pytest.raises(ModelError, match=r"Expected weights of 'resnet34'; received others"):
        begin_from(build("multimodal", encoder="resnet34"), tmp_path / "imagenet.safetensors")


def test_convolutional_and_attention_networks_are_filled_by_timms_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How far they look does not matter here, and takes long to find.
    near = partial(measure_levels, largest=64)
    monkeypatch.setattr("xcontrast.training.methods.method.measure_levels", near)
    for name in ("convnext_atto", "vit_tiny_patch16_224"):
        state = timm.create_model(name).state_dict()
        save_file(state, tmp_path / "w.safetensors")
        method = build("simclr", encoder=name, sensors=("s2",), out_stride=16)
        begin_from(method, tmp_path / "w.safetensors")
        own = method.encoder("s2").body.state_dict()
        deep = [key for key in own if "blocks.1" in key or "blocks_1" in key]
        assert deep
        plain = {key.replace(".", "_"): value for key, value in state.items()}
        for key in deep:
            assert torch.equal(own[key], plain[key.removeprefix("model.").replace(".", "_")])


def test_keys_begin_where_their_queries_do(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", in_chans=3).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    method = build("seco")
    begin_from(method, tmp_path / "w.safetensors")
    weights = method.state_dict()
    keys = [key for key in weights if key.startswith("key_")]
    assert keys
    assert all(torch.equal(weights[key], weights[key.removeprefix("key_")]) for key in keys)


def test_scaling_as_a_model_needs_a_model(chips: xc.Chips) -> None:
    for weights in (None, "imagenet"):
        options = replace(QUICK, scaling="weights", weights=weights)
        with pytest.raises(DataError, match=r"the folder of a model as `weights`.*received"):
            xc.pretrain(chips, max_steps=0, options=options)


def test_imagenet_weights_out_of_reach_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"ImageNet weights of 'resnet18'.*a file of weights"):
        begin_from(build("multimodal"), "imagenet")


def test_pretraining_goes_on_from_a_model(chips: xc.Chips, tmp_path: Path) -> None:
    first = xc.pretrain(chips, max_steps=3, batch_size=16, options=QUICK)
    again = replace(QUICK, weights=first.path, seed=7)
    second = xc.pretrain(chips, max_steps=0, options=again)
    one, two = (load_arrays(m.path / "weights.safetensors") for m in (first, second))
    encoders = [key for key in one if ".encoder." in key]
    assert encoders
    assert all(np.array_equal(one[key], two[key]) for key in encoders)
    assert second.card.training["options"]["weights"] == str(first.path)
    with pytest.raises(ModelError, match=r"a model with the encoder 'resnet34'; received 'resn"):
        begin_from(build("multimodal", encoder="resnet34"), first.path)
    only = xc.chips(xc.pairs(planted_cube(256, n_times=2))[["s1"]], size=32)
    radar = xc.pretrain(only, method="simclr", max_steps=0, options=QUICK)
    mixed = xc.pretrain(chips, max_steps=0, options=replace(QUICK, weights=radar.path))
    three, four = (load_arrays(m.path / "weights.safetensors") for m in (radar, mixed))
    assert np.array_equal(
        three["s1.encoder.body.conv1.weight"], four["s1.encoder.body.conv1.weight"]
    )
    begun = build("simclr", sensors=("s2",))
    with pytest.raises(ModelError, match=r"an encoder for s2; received one for s1"):
        begin_from(begun, radar.path)


def test_a_log_can_be_followed_and_resumed(tmp_path: Path) -> None:
    log = Log(tmp_path, tmp_path / "board")
    log.add(1, {"loss": 2.0})
    log.add(2, {"loss": 1.5})
    log.add(2, {"recall_at_1": 0.5})
    log.close()
    assert log.rows == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "recall_at_1": 0.5}]
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines == ["step,name,value", "1,loss,2.0", "2,loss,1.5", "2,recall_at_1,0.5"]
    again = Log(tmp_path)
    again.resume(log.rows[:1])
    again.add(2, {"loss": 1.4})
    assert (tmp_path / "log.csv").read_text().splitlines()[1:] == ["1,loss,2.0", "2,loss,1.4"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert [event.value for event in board.Scalars("loss")] == [2.0, 1.5]


def test_tensorboard_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match=r"Expected the package tensorboard.*pip install"):
        Log(None, "somewhere")


def test_a_run_writes_its_log_as_it_goes(chips: xc.Chips, tmp_path: Path) -> None:
    options = replace(QUICK, tensorboard=tmp_path / "board", eval_every=2)
    model = xc.pretrain(chips, max_steps=4, batch_size=16, out=tmp_path / "m", options=options)
    assert list((tmp_path / "board").iterdir())
    # What was followed is the history now.
    assert sorted(p.name for p in model.path.iterdir()) == [
        "card.json", "history.csv", "training.png", "weights.safetensors",
    ]  # fmt: skip
    history = model.history
    watched = {"recall_at_1", "recall_at_5", "median_rank", "alignment", "uniformity",
               "feature_std", "effective_rank", "cells_recall_at_1"}  # fmt: skip
    assert watched <= set(history)
    assert history.recall_at_1.notna().tolist() == [False, True, False, True]
    json.dumps(model.card.to_json())


def test_seasonal_positives_are_found_at_other_dates(tmp_path: Path) -> None:
    """Planted: each place has a ground of its own under noise that differs by date."""
    cube = planted_cube(256, n_times=4)
    options = replace(QUICK, key_momentum=0.9)
    model = cube[["s2"]].contrast.pairs(kind="seasonal", gap="12D").contrast.pretrain(
        method="seco", max_steps=30, batch_size=16, out=tmp_path / "m", options=options
    )  # fmt: skip
    held = model.card.training["held_out"]
    assert held["recall_at_1"] > 5 * held["chance_recall_at_1"]
    assert model.card.spaces == ("encoder", "invariant", "season", "artificial")
    for space in model.card.projected:
        told = cube.s2.isel(s2_time=0).contrast.embed(model, space=space, stride=16)
        assert told.sizes["feature"] == 128
        assert told.attrs["space"] == space
        np.testing.assert_allclose((told**2).sum("feature").compute(), 1, rtol=1e-4)
    one, two = (
        xr.DataArray(cube.s2.isel(s2_time=k).contrast.embed(model, space="invariant", stride=16))
        for k in (0, 1)
    )
    assert float((one * two).sum("feature").mean()) > 0.9


def test_one_sensor_methods_train_each_sensor_there_is(chips: xc.Chips) -> None:
    both = xc.pretrain(chips, method="simclr", max_steps=1, batch_size=16, options=QUICK)
    assert both.sensors == ("s1", "s2")
    assert both.card.spaces == ("encoder", "artificial")
    only = xc.chips(chips.pairs[["s2"]], size=32)
    one = xc.pretrain(only, method="moco", max_steps=1, batch_size=16, options=QUICK)
    assert one.sensors == ("s2",)
    cube = planted_cube(256, n_times=3)
    own = cube[["s1"]].isel(s1_time=slice(2)).contrast.pairs(kind="seasonal", gap="12D")
    with pytest.raises(
        DataError, match=r"3 or more dates for method='seco'.*with 2.*longer period"
    ):
        own.contrast.pretrain(method="seco", max_steps=1, batch_size=16, options=QUICK)
    tp = own.contrast.pretrain(method="moco_tp", max_steps=1, batch_size=16, options=QUICK)
    assert tp.sensors == ("s1",)
    assert tp.card.spaces == ("encoder", "invariant")


def test_a_model_of_other_bands_is_put_in_order(tmp_path: Path) -> None:
    cube = planted_cube(160, n_times=3)
    own = cube[["s2"]].contrast.pairs(kind="seasonal", gap="12D")
    first = own.contrast.pretrain(method="moco", max_steps=0, options=QUICK)
    turned = own.isel(s2_band=[2, 0])
    again = replace(QUICK, weights=first.path, scaling="weights")
    second = turned.contrast.pretrain(method="moco", max_steps=0, options=again)
    assert second.card.sensors["s2"].bands == ("B04", "B02")
    mean = first.card.sensors["s2"].mean
    assert second.card.sensors["s2"].mean == (mean[2], mean[0])
    key = "s2.encoder.body.conv1.weight"
    one, two = (load_arrays(m.path / "weights.safetensors")[key] for m in (first, second))
    assert np.array_equal(two, one[:, [2, 0]])
    with pytest.raises(ModelError, match=r"a model with the bands B02, B03, B04, B08, or of red"):
        own.contrast.pretrain(
            method="moco", max_steps=0, options=replace(QUICK, weights=second.path)
        )


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "convnext_atto"])
def test_bands_go_to_the_first_layer_whatever_a_files_order(encoder: str, tmp_path: Path) -> None:
    """A file's tensors come in the alphabet's order: there the stem is not the first one."""
    own = planted_cube(160, n_times=3)[["s2"]].contrast.pairs(kind="seasonal", gap="12D")
    told = {"method": "moco", "max_steps": 0, "encoder": encoder}
    first = own.contrast.pretrain(**told, options=QUICK)
    turned = own.isel(s2_band=[2, 0])
    second = turned.contrast.pretrain(**told, options=replace(QUICK, weights=first.path, seed=7))
    one, two = (load_arrays(m.path / "weights.safetensors") for m in (first, second))
    stem = {"mobilenetv3_small_050": "conv_stem.weight", "convnext_atto": "stem_0.weight"}[encoder]
    keys = [key for key in one if ".encoder." in key]
    assert f"s2.encoder.body.{stem}" in keys
    assert next(key for key in keys if one[key].ndim == 4) != f"s2.encoder.body.{stem}"
    for key in keys:
        expected = one[key][:, [2, 0]] if key.endswith(stem) else one[key]
        assert np.array_equal(two[key], expected), key
    # The same from a plain file, for as many bands as the sensor has.
    body = {k.removeprefix("s2.encoder.body."): one[k] for k in keys}
    save_file({k: torch.from_numpy(v) for k, v in body.items()}, tmp_path / "four.safetensors")
    from_file = replace(QUICK, weights=tmp_path / "four.safetensors", seed=7)
    model = own.contrast.pretrain(**told, options=from_file)
    third = load_arrays(model.path / "weights.safetensors")
    assert all(np.array_equal(third[key], one[key]) for key in keys)


def test_colours_are_spread_over_more_bands(tmp_path: Path) -> None:
    cube = planted_cube(160, n_times=3)
    own = cube[["s2"]].contrast.pairs(kind="seasonal", gap="12D")
    colours = own.isel(s2_band=[2, 1, 0]).contrast.pretrain(
        method="moco", max_steps=0, options=QUICK
    )
    four = own.contrast.pretrain(
        method="moco", max_steps=0, options=replace(QUICK, weights=colours.path)
    )
    key = "s2.encoder.body.conv1.weight"
    one, two = (load_arrays(m.path / "weights.safetensors")[key] for m in (colours, four))
    expected = spread_filters(torch.from_numpy(one), (2, 1, 0), 4)
    np.testing.assert_allclose(two, expected, rtol=1e-5)
