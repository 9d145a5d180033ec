"""Exported files: the numbers of `embed`, their facts, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, ModelError
from xcontrast.model import exporting, files


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """Of 160 x 128 px, with a hole in one band and one pixel that is infinite."""
    cube = planted_cube(160).isel(y=slice(0, 160), x=slice(0, 128)).copy(deep=True)
    cube["s1"].values[:, 1, 30:63, 20:51] = np.nan
    cube["s1"].values[:, 0, 100, 100] = -np.inf
    return cube


@pytest.fixture(scope="module")
def as_onnx(tiny: xc.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.export(tmp_path_factory.mktemp("onnx") / "s1.onnx", sensor="s1")


@pytest.fixture(scope="module")
def as_torch(tiny: xc.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torch") / "deep" / "s1.pt2"
    with warnings.catch_warnings():
        # torch's own, of which a person can make nothing.
        warnings.filterwarnings("error", message="No complete tensor found")
        return tiny.export(
            path, format="torch", sensor="s1", space="joint", stride=8, min_valid=0.9
        )


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"images": images})[0]


def check_against_embed(
    embedding: np.ndarray, cube: xr.Dataset, model: xc.Model, facts: dict[str, Any]
) -> None:
    """Compare with what `embed` gives for the scene; its edges are those of the images here."""
    keys = ("space", "stride", "min_valid")
    own = {key: facts[key] for key in keys}
    expected = cube.s1.contrast.embed(model, precision="32", device="cpu", **own).values
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-4)


def test_an_onnx_file_gives_the_numbers_of_embed(
    as_onnx: Path, tiny: xc.Model, cube: xr.Dataset
) -> None:
    facts = xc.read_export(as_onnx)
    embedding = run_onnx(as_onnx, cube.s1.values)
    check_against_embed(embedding, cube, tiny, facts)
    # One date alone: the number of images is free.
    np.testing.assert_allclose(run_onnx(as_onnx, cube.s1.values[:1]), embedding[:1], atol=1e-5)


def test_a_window_of_a_scene_agrees_beyond_the_halo(
    as_onnx: Path, tiny: xc.Model, cube: xr.Dataset
) -> None:
    facts = xc.read_export(as_onnx)
    top, left, side, cut = 16, 0, 144, facts["halo"] // facts["stride"]
    assert facts["halo"] == 48
    window = cube.s1.values[:, :, top : top + side, left : left + 128]
    whole = cube.s1.contrast.embed(tiny, precision="32", device="cpu").values
    inner = (slice(None), slice(None), slice(cut, side // 4 - cut), slice(cut, 128 // 4 - cut))
    expected = whole[:, :, top // 4 : (top + side) // 4, left // 4 : (left + 128) // 4][inner]
    assert min(expected.shape) > 0
    np.testing.assert_allclose(run_onnx(as_onnx, window)[inner], expected, rtol=0, atol=1e-4)


def test_a_torch_file_gives_the_numbers_of_embed(
    as_torch: Path, tiny: xc.Model, cube: xr.Dataset
) -> None:
    extra = {"xcontrast.json": ""}
    program = torch.export.load(as_torch, extra_files=extra)
    facts = json.loads(extra["xcontrast.json"])
    assert (facts["space"], facts["stride"], facts["min_valid"]) == ("joint", 8, 0.9)
    with torch.no_grad():
        embedding = program.module()(torch.from_numpy(cube.s1.values))
    check_against_embed(embedding.numpy(), cube, tiny, facts)


@pytest.mark.parametrize("name", ["as_onnx", "as_torch"])
def test_a_file_says_what_it_takes_and_how_near_it_is(
    name: str, tiny: xc.Model, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    facts = xc.read_export(path)
    assert facts["model_digest"] == tiny.digest
    assert (facts["sensor"], facts["units"], facts["gsd"]) == ("s1", "dB", 10.0)
    assert facts["bands"] == ["vv", "vh"]
    assert facts["multiple"] == 16
    assert 0 <= facts["max_difference"] < 1e-4
    assert [f.name for f in path.parent.iterdir()] == [path.name]


def test_onnx_metadata_is_read_by_the_runtime(as_onnx: Path) -> None:
    session = onnxruntime.InferenceSession(as_onnx, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["xcontrast"])
    assert facts["stride"] == 4
    (images,), (embedding,) = session.get_inputs(), session.get_outputs()
    assert (images.name, embedding.name) == ("images", "embedding")
    assert (images.shape[1], embedding.shape[1]) == (2, facts["n_features"])


def test_a_network_of_the_whole_image_takes_its_window(
    tiny: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = tuple({**level, "radius": None} for level in tiny.card.levels)
    whole = replace(tiny, card=replace(tiny.card, levels=levels))
    monkeypatch.setattr(exporting, "WINDOW", 64)
    path = whole.export(tmp_path / "s2.pt2", format="torch", sensor="s2", stride=16)
    facts = xc.read_export(path)
    assert facts["window"] == 64
    assert not {"multiple", "halo"} & set(facts)
    program = torch.export.load(path)
    n = len(facts["bands"])
    assert program.module()(torch.zeros(3, n, 64, 64)).shape == (3, facts["n_features"], 4, 4)
    with pytest.raises(AssertionError, match="images"):
        program.module()(torch.zeros(3, n, 64, 80))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ModelError, r"one of the model's sensors: s1, s2; received none.*sensor='s1'"),
        ({"sensor": "s3"}, ModelError, r"sensors: s1, s2; received 's3'"),
        ({"sensor": "s1", "space": "season"}, ModelError, r"a space of this model: encoder, joint"),
        ({"sensor": "s1", "stride": 3}, DataError, r"a power of two, 1 to 16 px; received 3"),
        ({"sensor": "s1", "format": "trt"}, DataError, r"format 'onnx' or 'torch'; received 'trt'"),
    ],
)
def test_what_cannot_be_exported_is_said(
    options: dict[str, Any], error: type[Exception], message: str, tiny: xc.Model, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tiny.export(tmp_path / "file", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept(as_onnx: Path, tiny: xc.Model) -> None:
    before = as_onnx.read_bytes()
    with pytest.raises(DataError, match=r"a file that does not exist yet.*remove that file"):
        tiny.export(as_onnx, sensor="s1")
    assert as_onnx.read_bytes() == before


def test_a_missing_package_is_named(
    tiny: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    expected = r"received no onnxscript here.*pip install 'xcontrast\[export\]'"
    with pytest.raises(ModelError, match=expected):
        tiny.export(tmp_path / "s1.onnx", sensor="s1")


def test_a_file_that_differs_from_the_model_is_not_written(
    tiny: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = exporting._freeze(tiny, xc.S1, "encoder", 16, 0.5).requires_grad_(False)
    monkeypatch.setattr(exporting, "_trace", lambda *_: b"")
    monkeypatch.setattr(files.TorchFile, "run", lambda _, __, images: network(images) + 2e-4)
    with pytest.raises(ModelError, match=r"embedding to 0\.0001; received a difference of 0\.0002"):
        tiny.export(tmp_path / "s1.pt2", format="torch", sensor="s1", stride=16)
    monkeypatch.setattr(files.TorchFile, "run", lambda *_: torch.zeros(1, 304, 6, 3))
    with pytest.raises(ModelError, match="received a difference of inf"):
        tiny.export(tmp_path / "s1.pt2", format="torch", sensor="s1", stride=16)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_traced_is_said(
    tiny: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(torch.export, "export", refuse)
    expected = r"exporter can trace; received 'test_resnet': RuntimeError: no such operation\. Do"
    with pytest.raises(ModelError, match=expected):
        tiny.export(tmp_path / "s1.pt2", format="torch", sensor="s1", stride=16)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_weight(path: Path) -> None:
    """Change one number, as another program could."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        weight = max(model.graph.initializer, key=lambda own: len(own.raw_data))
        weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
        path.write_bytes(model.SerializeToString())
        return
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in content if "weights/weight_" in n)
    content[name] = bytes([content[name][0] ^ 1]) + content[name][1:]
    with zipfile.ZipFile(path, "w") as archive:
        for name, own in content.items():
            archive.writestr(name, own)


@pytest.mark.parametrize("name", ["as_onnx", "as_torch"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"Expected a whole file that Model\.export wrote.*FileNotFound"),
        (_cut, r"Expected a whole file that Model\.export wrote.*cut short"),
        (lambda path: path.write_text("{}"), r"Expected a whole file that Model\.export wrote"),
        (_flip_weight, r"does not match its checksum.*export the model again"),
    ],
)
def test_what_is_not_ours_or_was_changed_is_refused(
    name: str, damage: Any, message: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original = request.getfixturevalue(name)
    path = tmp_path / original.name
    path.write_bytes(original.read_bytes())
    xc.read_export(path)
    damage(path)
    with pytest.raises(ModelError, match=message):
        xc.read_export(path)


def test_files_of_others_and_of_newer_versions_are_refused(as_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(as_onnx)
    facts = json.loads(model.metadata_props[0].value)
    path = tmp_path / "file.onnx"
    onnx.helper.set_model_props(model, {"xcontrast": json.dumps({**facts, "format_version": 2})})
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"format version 1 or older; received version 2.*upgrade"):
        xc.read_export(path)
    onnx.helper.set_model_props(model, {"producer": "another"})
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"Expected a whole file that Model\.export wrote"):
        xc.read_export(path)
