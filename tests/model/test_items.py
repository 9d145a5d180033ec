"""Items of the Machine Learning Model extension: by its classes, by pystac, by their numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pystac
import pystac.validation
import pytest
import torch
from pystac.extensions.mlm import MLMExtension
from stac_model.schema import MLModelProperties

import xcontrast as xc
from xcontrast.model.network import build_encoder, build_projector
from xcontrast.nn.segmentation import SegmentationNetwork

REQUIRED = ("mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output")


@pytest.fixture(params=["tiny", "tiny_segmenter"])
def thing(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_items_are_valid_by_the_extensions_own_classes(thing: Any) -> None:
    item = thing.stac_item()
    properties = item.to_dict()["properties"]
    parsed = MLModelProperties(**properties)
    assert [own.name for own in parsed.input] == list(thing.card.sensors)
    assert len(parsed.input[0].value_scaling) == len(parsed.input[0].bands)
    assert set(REQUIRED) <= set(properties)
    # The core's own schema comes with pystac; the extension's lies on the network.
    pystac.validation.validate_dict(item.to_dict(), extensions=[])
    # Bands that an input names are described in the item, as STAC 1.1 does it.
    assert item.to_dict()["stac_version"] == "1.1.0"
    described = {band["name"] for band in properties["bands"]}
    for own in properties["mlm:input"]:
        assert set(own["bands"]) <= described
        assert len(own["input"]["shape"]) == len(own["input"]["dim_order"])
    assert properties["mlm:hyperparameters"]


def test_items_survive_pystac(thing: Any, tmp_path: Any) -> None:
    item = thing.stac_item(id="flood", href="https://example.org/model/")
    file = tmp_path / "item.json"
    item.save_object(include_self_link=False, dest_href=str(file))
    again = pystac.Item.from_file(file)
    assert again.to_dict(include_self_link=False) == item.to_dict(include_self_link=False)
    mlm = MLMExtension.ext(again)
    assert mlm.mlm_name == f"xcontrast {thing.digest}"
    assert mlm.input[0].bands == list(thing.card.sensors["s1"].bands)
    assert again.assets["model"].href == "https://example.org/model/weights.safetensors"
    assert again.assets["model"].extra_fields["mlm:artifact_type"] == "safetensors"
    assert "mlm:model" in again.assets["model"].roles


def test_the_weights_are_named_by_size_and_checksum(thing: Any) -> None:
    asset = thing.stac_item().assets["model"]
    content = (thing.path / "weights.safetensors").read_bytes()
    assert asset.extra_fields["file:size"] == len(content)
    assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert asset.href == str(thing.path.resolve() / "weights.safetensors")


def test_parameters_are_those_of_the_networks(tiny: xc.Model, tiny_segmenter: xc.Segmenter) -> None:
    parts = [build_encoder(tiny.card, name) for name in tiny.sensors]
    parts += [build_projector(tiny.card) for _ in tiny.sensors]
    expected = sum(p.numel() for part in parts for p in part.parameters())
    assert tiny.stac_item().properties["mlm:total_parameters"] == expected
    card = tiny_segmenter.card
    network = SegmentationNetwork(
        {"s1": build_encoder(tiny.card, "s1")},
        n_categories=2, n_dates=2, temporal=card.temporal, decoder=card.decoder,
    )  # fmt: skip
    expected = sum(p.numel() for p in network.parameters())
    assert tiny_segmenter.stac_item().properties["mlm:total_parameters"] == expected


def test_place_and_period_are_the_cards(tiny: xc.Model) -> None:
    item = tiny.stac_item()
    assert item.bbox == tiny.card.training["bbox"]
    assert item.geometry["coordinates"][0][0] == item.bbox[:2]
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2023-04-01T00:00:00Z"
    assert item.properties["end_datetime"] == "2023-04-14T23:59:59Z"


def test_what_the_card_does_not_tell_is_not_claimed(tiny: xc.Model) -> None:
    bare = replace(tiny, card=replace(tiny.card, training={}))
    item = bare.stac_item()
    assert item.geometry is None
    assert item.bbox is None
    written = datetime.fromtimestamp((tiny.path / "weights.safetensors").stat().st_mtime, UTC)
    assert item.datetime == written
    assert "mlm:framework_version" not in item.properties
    assert item.properties["mlm:pretrained"] is False
    assert item.properties["mlm:pretrained_source"] is None
    json.dumps(item.to_dict())
    assert bare.stac_item(bbox=(1, 2, 3, 4)).bbox == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("training", "pretrained", "source"),
    [
        ({"steps": 5}, True, "nothing said"),
        ({"steps": 0, "options": {"weights": "imagenet"}}, True, "ImageNet"),
        ({"imported": {"file": "b2.pth", "layout": "ssl4eo"}}, True, "ssl4eo, b2.pth"),
        ({"steps": 0}, False, None),
    ],
)
def test_where_weights_come_from(
    training: dict[str, Any], pretrained: bool, source: str | None, tiny: xc.Model
) -> None:
    model = replace(tiny, card=replace(tiny.card, training=training))
    found = model.stac_item().properties
    assert found["mlm:pretrained"] is pretrained
    assert found.get("mlm:pretrained_source", "nothing said") == source


@pytest.mark.parametrize("curve", ["none", "clip", "sigmoid"])
def test_scalings_are_those_of_the_network(curve: Any, tiny: xc.Model) -> None:
    own = replace(
        tiny.card.sensors["s1"], curve=curve, mean=(0.4, 0.5), std=(0.2, 0.3),
        low=() if curve == "none" else (0.1, 0.2), high=() if curve == "none" else (1.5, 2.0),
    )  # fmt: skip
    model = replace(tiny, card=replace(tiny.card, sensors={"s1": own}))
    told = model.stac_item().properties["mlm:input"][0]["value_scaling"]
    values = np.linspace(-0.5, 2.5, 32).reshape(4, 4, 2).transpose(2, 0, 1)
    expected = own.scaling()(torch.tensor(values[None]).float(), torch.ones(1, 1, 4, 4))[0]
    for band, scaling, wanted in zip(values, told, expected.numpy(), strict=True):
        if curve == "none":
            assert scaling["type"] == "z-score"
            found = (band - scaling["mean"]) / scaling["stddev"]
        else:
            assert scaling["format"] == "gdal-calc"
            found = eval(scaling["expression"], {**vars(np), "A": band})
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_segmenters_legend_is_its_classes(tiny_segmenter: xc.Segmenter) -> None:
    legend = xc.Legend(
        title="cover", codes=(10, 20), names=("tree cover", "built-up"), colors=("#064", "#fa0000")
    )
    card = replace(tiny_segmenter.card, legend=legend)
    properties = replace(tiny_segmenter, card=card).stac_item().properties
    (output,) = properties["mlm:output"]
    assert [own["value"] for own in output["classification:classes"]] == [10, 20]
    assert [own["name"] for own in output["classification:classes"]] == ["tree_cover", "built_up"]
    assert [own["color_hint"] for own in output["classification:classes"]] == ["006644", "FA0000"]
    assert output["result"]["shape"] == [-1, 2, -1, -1]
    (entry,) = properties["mlm:input"]
    assert entry["input"]["dim_order"] == ["batch", "time", "bands", "height", "width"]
    assert entry["input"]["shape"] == [-1, 2, 2, -1, -1]
    MLModelProperties(**properties)
