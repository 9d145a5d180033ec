from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr

import xcontrast as xc
from xcontrast.errors import ModelError
from xcontrast.heads.segmenting import networks


def test_segmenters_survive_the_disk(scene: tuple, segmenter: xc.Segmenter, tmp_path: Path) -> None:
    kept = segmenter.save(tmp_path / "kept")
    again = xc.load_segmenter(tmp_path / "kept")
    assert again == kept
    assert again.digest == segmenter.digest
    assert again.card == segmenter.card
    assert again.legend == xc.FLOOD
    assert len(again.history) == len(segmenter.history) > 0
    cube = scene[0]
    one = cube.contrast.predict(segmenter).compute()
    networks._loaded.clear()
    xr.testing.assert_identical(cube.contrast.predict(again).compute(), one)
    with pytest.raises(ModelError, match="a folder that does not exist or is empty"):
        segmenter.save(tmp_path / "kept")


def test_without_a_folder_it_is_in_the_cache_by_its_digest(segmenter: xc.Segmenter) -> None:
    assert segmenter.path.name == segmenter.digest


def test_what_was_changed_is_refused(segmenter: xc.Segmenter, tmp_path: Path) -> None:
    folder = segmenter.save(tmp_path / "s").path
    card = json.loads((folder / "card.json").read_text())
    assert card["format"] == "xcontrast-segmenter"
    (folder / "card.json").write_text(json.dumps({**card, "decoder": "deeplabv3plus"}))
    with pytest.raises(ModelError, match="does not match its digest"):
        xc.load_segmenter(folder)
    (folder / "card.json").write_text(json.dumps(card))
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(weights))
    with pytest.raises(ModelError, match="do not match their checksum"):
        xc.load_segmenter(folder)


def test_a_card_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    from xcontrast.folders import publish_folder, stage_folder

    publish_folder(
        stage_folder(tmp_path / "s"), tmp_path / "s", form="xcontrast-segmenter", version=1,
        facts={"decoder": "unet"}, arrays={},
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"a complete card.json.*'legend' is missing"):
        xc.load_segmenter(tmp_path / "s")


def test_other_folders_are_refused(segmenter: xc.Segmenter, tiny: xc.Model) -> None:
    with pytest.raises(ModelError, match="of format 'xcontrast-segmenter'"):
        xc.load_segmenter(tiny.path)
    with pytest.raises(ModelError, match="of format 'xcontrast-model'"):
        xc.load_model(segmenter.path)


def test_a_moved_segmenter_is_found_in_the_cache_or_says_so(
    scene: tuple, segmenter: xc.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = segmenter.save(tmp_path / "here")
    lazy = scene[0].contrast.predict(moved)
    moved.path.rename(tmp_path / "there")
    networks._loaded.clear()
    lazy.label.compute()
    networks._loaded.clear()
    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"at its path or in the cache.*predict again"):
        lazy.label.compute()
