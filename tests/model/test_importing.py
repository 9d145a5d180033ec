"""Published layouts, imitated by files that the tests make: there is no hub here."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from safetensors.torch import load_file, save_file
from torch.utils.data import IterableDataset

import xcontrast as xc
from xcontrast.errors import ModelError
from xcontrast.model import load_network
from xcontrast.model.unpickling import read_weights

SEQUENCE = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")


class AttributeDict(dict):
    """Lightning's kind of settings."""


class Callback:
    """A class that is a key, as old Lightning wrote its callbacks' states."""


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def _resnet(n_bands: int) -> tuple[torch.nn.Module, OrderedDict]:
    torch.manual_seed(0)
    network = timm.create_model("resnet18", in_chans=n_bands, num_classes=7).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network, network.state_dict()


def _seco_names(state: dict) -> OrderedDict:
    """torchvision's ResNet without its last layer as a Sequential: 0, 1, 4, 5, 6, 7."""
    numbers = {name: k for k, name in enumerate(SEQUENCE)}
    renamed = OrderedDict()
    for name, tensor in state.items():
        first, _, rest = name.partition(".")
        if first != "fc":
            renamed[f"encoder_q.{numbers[first]}.{rest}"] = tensor
            renamed[f"encoder_k.{numbers[first]}.{rest}"] = tensor + 1
    renamed["heads_q.0.0.weight"] = torch.zeros(512, 512)
    renamed["queue"] = torch.zeros(3, 128, 8)
    renamed["queue_ptr"] = torch.zeros(1, dtype=torch.long)
    return renamed


def _lightning(state: OrderedDict, **more: object) -> dict:
    return {
        "epoch": 199,
        "pytorch-lightning_version": "1.1.8",
        "state_dict": state,
        "callbacks": {Callback: {"best_model_score": torch.tensor(0.7), "monitor": "acc"}},
        "hyper_parameters": AttributeDict(lr=0.03, args=argparse.Namespace(gpus=1)),
        "scalar": np.float64(0.5),
        **more,
    }


def _features(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """The last level, by timm's own network."""
    with torch.no_grad():
        return network.forward_features(image)


def _embed_scaled(model: xc.Model, sensor: str, scaled: torch.Tensor) -> torch.Tensor:
    network = load_network(str(model.path), model.digest, sensor, "cpu")
    with torch.no_grad():
        return network.encoder(scaled)[-1]


@pytest.mark.parametrize("zipped", [True, False])
def test_seasonal_contrasts_checkpoints(tmp_path: Path, zipped: bool) -> None:
    network, state = _resnet(3)
    path = tmp_path / "seco.ckpt"
    torch.save(_lightning(_seco_names(state)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    model = xc.import_weights(path, layout="seco", encoder="resnet18", out=tmp_path / "m")
    card = model.card.sensors["s2"]
    assert card.bands == ("B04", "B03", "B02")
    assert model.card.spaces == ("encoder",)
    assert [level["stride"] for level in model.card.levels] == [2, 4, 8, 16, 32]
    stored = load_file(model.path / "weights.safetensors")
    # Every tensor of the query encoder is there, and only the last layer is not.
    assert {k.removeprefix("s2.encoder.body.") for k in stored} == {
        k for k in state if not k.startswith("fc.")
    }
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(_embed_scaled(model, "s2", image), _features(network, image), atol=1e-4)


def test_a_value_is_scaled_as_the_papers_code_does_it(tmp_path: Path) -> None:
    _, state = _resnet(3)
    torch.save(_lightning(_seco_names(state)), tmp_path / "seco.ckpt")
    model = xc.import_weights(tmp_path / "seco.ckpt", layout="seco", encoder="resnet18")
    network = load_network(str(model.path), model.digest, "s2", "cpu")
    values = torch.full((1, 3, 1, 1), 60 / 255)
    scaled = network.normalise(values, torch.ones(1, 1, 1, 1)).flatten()
    expected = []
    for low, high, mean, std in (
        (0, 129, 0.485, 0.229), (2, 103, 0.456, 0.224), (3, 88, 0.406, 0.225),
    ):  # fmt: skip
        share = min(max((60 - low) / (high - low), 0), 1)
        expected.append((share - mean) / std)
    assert scaled.tolist() == pytest.approx(expected, rel=1e-4)


def test_torchvision_names_and_timm_names(tmp_path: Path) -> None:
    network, state = _resnet(3)
    torch.save(state, tmp_path / "plain.pth")
    save_file(dict(state), tmp_path / "plain.safetensors")
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, tmp_path / "b.pth")
    image = torch.rand(1, 3, 64, 64)
    for name, layout in (
        ("plain.pth", "seco"), ("plain.pth", "torchgeo"), ("plain.safetensors", "timm"),
        ("b.pth", "torchgeo"),
    ):  # fmt: skip
        model = xc.import_weights(tmp_path / name, layout=layout, encoder="resnet18")
        found = _embed_scaled(model, "s2", image)
        assert torch.allclose(found, _features(network, image), atol=1e-4), name
        assert model.card.sensors["s2"].curve == ("none" if layout == "timm" else "clip")


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "convnext_atto"])
def test_the_first_layer_is_found_in_the_alphabets_order(tmp_path: Path, encoder: str) -> None:
    network = timm.create_model(encoder, in_chans=3, num_classes=0)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    model = xc.import_weights(
        tmp_path / "w.safetensors", layout="timm", encoder=encoder, bands=["B02", "B04"]
    )
    assert model.card.sensors["s2"].bands == ("B02", "B04")
    stored = load_file(model.path / "weights.safetensors")
    stem = {"mobilenetv3_small_050": "conv_stem", "convnext_atto": "stem.0"}[encoder]
    filters = network.state_dict()[f"{stem}.weight"]
    found = stored[f"s2.encoder.body.{stem.replace('.', '_')}.weight"]
    # The file's channels are red, green, blue.
    assert torch.equal(found, filters[:, [2, 0]])


@pytest.mark.parametrize(
    ("prefix", "wrap"),
    [("module.encoder_q.", "state_dict"), ("module.backbone.", "teacher"), ("", None)],
)
def test_ssl4eo_weights_of_both_sensors(tmp_path: Path, prefix: str, wrap: str | None) -> None:
    for sensor, n_bands in (("s2", 13), ("s1", 2)):
        network, state = _resnet(n_bands)
        named = {f"{prefix}{k}": v for k, v in state.items()}
        path = tmp_path / f"{sensor}.pth"
        torch.save({wrap: named, "epoch": 99} if wrap else named, path)
        model = xc.import_weights(path, layout="ssl4eo", encoder="resnet18", sensor=sensor)
        own = model.card.sensors[sensor]
        image = torch.rand(1, n_bands, 64, 64)
        if sensor == "s1":
            assert own.bands == ("vv", "vh")
            assert own.units == "dB"
            assert own.mean == (-12.59, -20.26)
            used = image
        else:
            # Level-2A has no B10; where it was 0 nothing changes.
            assert own.bands == (
                "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
            )  # fmt: skip
            assert set(own.mean) == {0.0}
            image[:, 10] = 0
            used = image[:, [*range(10), 11, 12]]
        found = _embed_scaled(model, sensor, used)
        assert torch.allclose(found, _features(network, image), atol=1e-4)


def test_bands_can_be_chosen_and_the_model_embeds(tmp_path: Path, cube: xr.Dataset) -> None:
    _, state = _resnet(13)
    torch.save(state, tmp_path / "w.pth")
    model = xc.import_weights(
        tmp_path / "w.pth", layout="torchgeo", encoder="resnet18", out_stride=8,
        bands=["red", "B03", "B2", "B08"],
    )  # fmt: skip
    assert model.card.sensors["s2"].bands == ("B04", "B03", "B02", "B08")
    embedded = cube.s2.contrast.embed(model).isel(s2_time=0).compute()
    assert embedded.sizes["feature"] == 64 + 64 + 128
    assert bool(np.isfinite(embedded).all())
    with pytest.raises(ModelError, match="an encoder for Sentinel-1"):
        cube.s1.contrast.embed(model)
    with pytest.raises(ModelError, match="a space of this model: encoder; received 'joint'"):
        cube.s2.contrast.embed(model, space="joint")


def test_a_pickle_that_would_run_something_does_not(tmp_path: Path) -> None:
    _, state = _resnet(3)
    mark = tmp_path / "ran"
    torch.save(_lightning(_seco_names(state), trap=Bomb(mark)), tmp_path / "trap.ckpt")
    tensors = read_weights(tmp_path / "trap.ckpt")
    assert "encoder_q.0.weight" in tensors
    assert not mark.exists()
    # It is a trap indeed.
    torch.load(tmp_path / "trap.ckpt", weights_only=False)
    assert mark.exists()


def test_an_unguarded_reader_within_a_tensor_is_not_called(tmp_path: Path) -> None:
    """torch.storage._load_from_bytes unpickles what it is given, whatever that is."""
    mark = tmp_path / "ran"
    inner = pickle.dumps(Bomb(mark))

    class Nested:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner,)

    torch.save({"conv.weight": torch.ones(2, 3, 1, 1), "x": Nested()}, tmp_path / "n.pth")
    assert list(read_weights(tmp_path / "n.pth")) == ["conv.weight"]
    assert not mark.exists()


def _other_network() -> dict:
    return timm.create_model("resnet50", in_chans=3).state_dict()


@pytest.mark.parametrize(
    ("content", "call", "message"),
    [
        (None, {}, r"Expected a file of weights.*FileNotFoundError.*download it again"),
        (b"not a pickle", {}, "Expected a file of weights"),
        ({"epoch": 3}, {}, r"Expected weights by their names.*state dict"),
        ({"a.weight": torch.ones(3)}, {}, "weights in the layout 'timm'; received names such as"),
        (_other_network, {}, r"Expected weights of 'resnet18'; received others: layer1.*not \(64"),
        (
            lambda: _resnet(5)[1],
            {},
            r"'timm' has published: 3 for s2; received 5 for s2",
        ),
        (lambda: _resnet(3)[1], {"layout": "ssl4eo"}, r"published: 2 for s1, 13 for s2"),
        (lambda: _resnet(3)[1], {"layout": "croma"}, "Expected a layout of seco, torchgeo"),
        (
            lambda: _resnet(3)[1],
            {"bands": ["B08"]},
            r"bands of the weights: B04, B03, B02; rec.*B08",
        ),
    ],
)
def test_what_cannot_be_imported_says_why(
    tmp_path: Path, content, call: dict, message: str
) -> None:
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content() if callable(content) else content, path)
    with pytest.raises(ModelError, match=message):
        xc.import_weights(path, **{"layout": "timm", "encoder": "resnet18", **call})


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    torch.save(_resnet(3)[1], tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"Expected a file of weights.*download it again"):
        xc.import_weights(tmp_path / "w.pth", layout="timm", encoder="resnet18")


def test_an_iterable_dataset_pickled_beside_weights_is_inert(tmp_path: Path) -> None:
    """A class that PyTorch itself knows is a stand-in too."""
    content = {"state_dict": {"conv.weight": torch.ones(1, 3, 1, 1)}, "data": IterableDataset}
    torch.save(content, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == ["conv.weight"]
