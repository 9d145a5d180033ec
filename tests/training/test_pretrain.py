from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from builders import build
from safetensors.numpy import load_file
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, ModelError, TrainingError

QUICK = xc.PretrainOptions(chip_size=32, progress=False)


@pytest.fixture(scope="module")
def chips() -> xc.Chips:
    return xc.chips(xc.pairs(planted_cube(256, n_times=2)), size=32, stride=16)


@pytest.fixture(scope="module")
def trained(chips: xc.Chips, tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    out = tmp_path_factory.mktemp("run") / "model"
    return xc.pretrain(chips, max_steps=40, batch_size=32, out=out, options=QUICK)


def test_sensors_find_each_other_on_held_out_ground(trained: xc.Model) -> None:
    held = trained.card.training["held_out"]
    assert held["n_val"] >= 8
    assert held["recall_at_1"] > 4 * held["chance_recall_at_1"]
    history = trained.history
    assert list(history.step) == list(range(1, 41))
    assert history.loss.iloc[-5:].mean() < history.loss.iloc[:5].mean() - 1


def test_shuffled_pairs_teach_nothing(chips: xc.Chips) -> None:
    pairs = chips.pairs
    # Each sensor keeps its own images; what belongs together is rolled far apart.
    wrong = pairs.assign(s2=pairs.s2.roll(y=97, x=59))
    broken = xc.chips(wrong, size=32, stride=16)
    model = xc.pretrain(broken, max_steps=40, batch_size=32, options=QUICK)
    held = model.card.training["held_out"]
    assert held["recall_at_1"] <= 3 * held["chance_recall_at_1"]


def test_the_card_says_what_was_done(trained: xc.Model, chips: xc.Chips) -> None:
    card = json.loads((trained.path / "card.json").read_text())
    assert card["sensors"]["s2"]["bands"] == ["B02", "B03", "B04", "B08"]
    assert card["sensors"]["s1"]["units"] == "dB"
    assert card["sensors"]["s1"]["gsd"] == 10.0
    assert card["training"]["steps"] == 40
    assert card["training"]["options"]["chip_size"] == 32
    assert card["training"]["n_train_chips"] + card["training"]["n_held_out_chips"] <= len(chips)
    assert card["training"]["dates"]["s1_time"] == ["2023-04-01", "2023-04-13"]
    assert "recall@1" in repr(trained)
    assert trained.digest in trained._repr_html_()


def test_weights_move_and_are_not_shared(trained: xc.Model, chips: xc.Chips) -> None:
    start = xc.pretrain(chips, max_steps=0, options=QUICK)
    assert start.card.training["steps"] == 0
    before, after = (load_file(m.path / "weights.safetensors") for m in (start, trained))
    assert before.keys() == after.keys()
    assert any(not np.array_equal(before[k], after[k]) for k in before if "s2.encoder" in k)
    network = build("multimodal")
    one, two = ({id(p) for p in network.encoder(s).parameters()} for s in ("s1", "s2"))
    assert not one & two


def test_one_seed_gives_one_model(chips: xc.Chips) -> None:
    few = chips[:80]
    weights = [
        load_file(
            xc.pretrain(few, max_steps=3, batch_size=8, options=QUICK).path / "weights.safetensors"
        )
        for _ in range(2)
    ]
    assert all(np.array_equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_each_sensor_gets_its_own_crop_and_nothing_else(chips: xc.Chips) -> None:
    network = build("multimodal")
    line = (torch.arange(64.0) + 0.5) / 64
    images = {}
    for name, n in (("s1", 2), ("s2", 3)):
        ramp = line[:, None].expand(3, 1, n, 64, 64)
        images[name] = ramp, torch.ones(3, 1, 1, 64, 64)
    views = network.make_views(images, size=32, generator=torch.Generator().manual_seed(0))
    for view in views.values():
        # Still a rising ramp in the same direction: no flip, no change of the values.
        assert (view.values.diff(dim=2) > -1e-5).all()
        assert torch.allclose(view.valid, torch.ones(()))
    assert not torch.equal(views["s1"].values[:, :1], views["s2"].values[:, :1])


def test_a_cube_is_paired_and_cut_first(cube: xr.Dataset, tmp_path: Path) -> None:
    model = cube.contrast.pretrain(max_steps=1, out=tmp_path / "m", options=QUICK)
    assert model.path == tmp_path / "m"
    assert model.card.training["n_pairs"] == 2
    with pytest.raises(ModelError, match=r"Expected a folder that does not exist.*another folder"):
        cube.contrast.pretrain(max_steps=1, out=tmp_path / "m", options=QUICK)


def test_stretched_data_of_unknown_units_train_too(cube: xr.Dataset) -> None:
    stretched = cube.copy()
    stretched["s1"] = (cube.s1 * 3 + 120).assign_attrs(units="unknown")
    model = xc.pretrain(stretched, max_steps=0, options=QUICK)
    own = model.card.sensors["s1"]
    assert own.units == "unknown"
    np.testing.assert_allclose(own.mean, stretched.s1.mean(("s1_time", "y", "x")), rtol=0.05)


def test_nan_and_collapse_stop_the_run(chips: xc.Chips, tmp_path: Path) -> None:
    wild = xc.PretrainOptions(chip_size=32, progress=False, learning_rate=1e6, precision="32")
    with pytest.raises(TrainingError, match=r"Expected (a finite loss|features that differ)"):
        xc.pretrain(chips, max_steps=30, batch_size=16, out=tmp_path / "m", options=wild)
    # It is over, what it logged tells why, and another one may take its place.
    log = pd.read_csv(tmp_path / "m" / "log.csv")
    assert {p.name for p in (tmp_path / "m").iterdir()} <= {"log.csv", "training.png"}
    model = xc.pretrain(chips, max_steps=1, batch_size=16, out=tmp_path / "m", options=QUICK)
    assert log.step.max() >= 1
    assert len(model.history) == 1
    assert not (model.path / "log.csv").exists()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"batch_size": 4096}, TrainingError, r"as many training chips as a batch \(4096"),
        ({"max_steps": -1}, DataError, "max_steps of 0 or more"),
        ({"method": "byol"}, DataError, "Expected a method of multimodal, simclr, moco"),
        ({"encoder": "no_such_net"}, ModelError, "Expected a timm model"),
        ({"preset": "mine"}, DataError, "received method='multimodal', preset='mine'"),
        ({"preset": "paper"}, DataError, "either a preset or options; received both"),
        ({"method": "seco"}, DataError, r"places with 3 or more dates for method='seco'"),
        ({"method": "moco_tp"}, DataError, "places with 2 or more dates"),
    ],
)
def test_bad_calls(chips: xc.Chips, call: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        xc.pretrain(chips, **{"max_steps": 1, "options": QUICK, **call})


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_dates_of_one_sensor_are_taken_one_by_one(method: str) -> None:
    # Twelve days apart, and nothing to pair with: two views of an image need no partner.
    cube = planted_cube(96, n_times=3)[["s2"]]
    model = xc.pretrain(cube, method=method, max_steps=2, batch_size=4, options=QUICK)
    assert list(model.sensors) == ["s2"]
    told = model.card.training
    assert told["n_pairs"] == 3
    assert told["n_train_chips"] + told["n_held_out_chips"] <= 27


@pytest.mark.parametrize("dates", [1, 2])
def test_places_of_one_sensor_are_taken_one_by_one(dates: int) -> None:
    cube = planted_cube(64, n_times=2)[["s2"]].drop_vars("s2_time")
    place = cube.rename(s2_time="date").isel(date=slice(None) if dates > 1 else 0)
    places = xr.concat([place, 1.1 * place, 1.2 * place], "location")
    model = xc.pretrain(places, method="simclr", max_steps=1, batch_size=4, options=QUICK)
    told = model.card.training
    assert told["n_pairs"] == 3 * dates
    assert told["n_train_chips"] + told["n_held_out_chips"] == 3 * dates * 4


def test_one_image_alone_is_enough_for_two_views_of_it() -> None:
    image = planted_cube(96)[["s2"]].isel(s2_time=0)
    model = xc.pretrain(image, method="simclr", max_steps=1, batch_size=4, options=QUICK)
    assert model.card.training["n_pairs"] == 1


@pytest.mark.parametrize("method", ["multimodal", "simclr", "moco"])
def test_a_run_without_negatives_is_stopped(method: str, tmp_path: Path) -> None:
    """Every window overlaps every other one: of nt-xent nothing is left, and its gradient is 0."""
    small = planted_cube(96, n_times=20).isel(y=slice(0, 40), x=slice(0, 80))
    chips = xc.chips(xc.pairs(small), size=32, stride=8)
    options = {"chip_size": 32, "progress": False, "crop_size": 16, "out_stride": 8}
    without = xc.PretrainOptions(dense_weight=0.0, **options)
    call = {"method": method, "max_steps": 2, "batch_size": 6, "out": tmp_path / "m"}
    with pytest.raises(TrainingError, match=r"chips of other ground.*none in the first 2 batches"):
        xc.pretrain(chips, options=without, **call)
    # What it says to do is possible in the same folder.
    papers = xc.PretrainOptions(dense_weight=0.0, min_distance=None, **options)
    model = xc.pretrain(chips, options=papers, **call)
    assert model.history.loss.min() > 0


def test_a_device_that_is_not_here_is_refused_at_once(chips: xc.Chips, tmp_path: Path) -> None:
    missing = "cuda:31" if torch.cuda.is_available() else "cuda"
    for device in (missing, "gpuu", "meta"):
        options = xc.PretrainOptions(chip_size=32, progress=False, device=device)
        with pytest.raises(DataError, match=rf"a device that computes here.*received '{device}'.*"):
            xc.pretrain(chips, max_steps=1, batch_size=16, out=tmp_path / "m", options=options)
    assert list(tmp_path.iterdir()) == []


def test_bad_data(cube: xr.Dataset) -> None:
    with pytest.raises(DataError, match="Expected chips with both sensors"):
        xc.pretrain(xc.chips(xc.pairs(cube)[["s1"]], size=32), options=QUICK)
    with pytest.raises(DataError, match="Expected a cube with both sensors"):
        xc.pretrain(cube[["s2"]], options=QUICK)
    with pytest.raises(DataError, match=r"Sentinel-1 alone.*add s2 .*method='simclr'"):
        xc.pretrain(cube[["s1"]], options=QUICK)
    with pytest.raises(DataError, match=r"temperature=-1.*PretrainOptions"):
        xc.PretrainOptions(temperature=-1)


def _weights(model: xc.Model) -> dict[str, np.ndarray]:
    return load_file(model.path / "weights.safetensors")


def test_lazy_data_are_written_once_and_train_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.sampling import gathering

    reads = []
    real = gathering.read_blocks

    def counted(*args):
        for block in real(*args):
            reads.append(block.group)
            yield block

    monkeypatch.setattr(gathering, "read_blocks", counted)
    cube = planted_cube(256, n_times=2)
    call = {"max_steps": 2, "batch_size": 16, "options": QUICK}
    eager = _weights(xc.pretrain(cube, **call))
    assert not reads
    lazy = cube.chunk(y=100, x=100, s1_time=1, s2_time=1)
    model = xc.pretrain(lazy, out=tmp_path / "m", **call)
    assert len(reads) == 2
    cached = _weights(model)
    assert all(np.array_equal(eager[k], cached[k]) for k in eager)
    assert len(xc.load_chips(tmp_path / "m" / "chips.zarr")) == 2 * 8 * 8
    # Copies of a model are weights, not what it was trained on.
    assert not (model.save(tmp_path / "copy").path / "chips.zarr").exists()
    assert xc.load_model(tmp_path / "m").digest == model.digest

    held = _weights(xc.pretrain(lazy, cache=False, out=tmp_path / "held", **call))
    assert all(np.array_equal(eager[k], held[k]) for k in eager)
    assert not (tmp_path / "held" / "chips.zarr").exists()


def test_a_stopped_run_finds_its_chips_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.sampling import gathering
    from xcontrast.training import loop

    lazy = planted_cube(256, n_times=2).chunk(y=100, x=100)
    call = {"max_steps": 1, "batch_size": 16, "out": tmp_path / "m"}

    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            xc.pretrain(lazy, options=QUICK, **call)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["chips.zarr", "run.json"]
    monkeypatch.setattr(gathering, "read_blocks", stop)
    other = xc.PretrainOptions(chip_size=48, progress=False)
    with pytest.raises(DataError, match=r"an earlier one wrote them; received other chips in"):
        xc.pretrain(lazy, options=other, **call)
    model = xc.pretrain(lazy, options=QUICK, **call)
    assert sorted(p.name for p in model.path.iterdir()) == [
        "card.json", "chips.zarr", "history.csv", "training.png", "weights.safetensors",
    ]  # fmt: skip


def test_training_reads_as_it_goes_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcontrast.sampling import loader, saving

    resident = []
    monkeypatch.setattr(loader, "fits", lambda *_: resident.append(False) or False)
    monkeypatch.setattr(saving, "CHUNK_BYTES", 8 * 32 * 32 * 4 * 2)
    cube = planted_cube(256, n_times=2).chunk(y=100, x=100)
    chips = xc.chips(xc.pairs(cube), size=32, stride=16).save(tmp_path / "chips.zarr")
    model = xc.pretrain(chips, max_steps=40, batch_size=32, out=tmp_path / "m", options=QUICK)
    assert len(resident) == 2
    held = model.card.training["held_out"]
    assert held["recall_at_1"] > 4 * held["chance_recall_at_1"]
