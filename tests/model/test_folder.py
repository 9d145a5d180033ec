from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import xcontrast as xc
from xcontrast.errors import ModelError
from xcontrast.model import load_network


@pytest.fixture
def folder(untrained: xc.Model, tmp_path: Path) -> Path:
    return untrained.save(tmp_path / "copy").path


def test_a_saved_model_is_the_same_model(untrained: xc.Model, folder: Path) -> None:
    copy = xc.load_model(folder)
    assert copy.digest == untrained.digest
    assert copy.card == untrained.card
    assert sorted(f.name for f in folder.iterdir()) == ["card.json", "weights.safetensors"]
    assert not list(folder.parent.glob(".*partial"))
    with pytest.raises(ModelError, match=r"does not exist or is empty.*with xc\.load_model"):
        untrained.save(folder)


def test_only_what_is_finished_is_said_to_be_read(untrained: xc.Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"remove that one first\.$"):
        untrained.save(tmp_path)


def test_a_process_loads_a_network_once(untrained: xc.Model) -> None:
    key = (str(untrained.path), untrained.digest, "s1", "cpu")
    assert load_network(*key) is load_network(*key)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), r"Expected a folder with weights.*give the folder"),
        (lambda f: (f / "weights.safetensors").unlink(), "Expected a folder with weights"),
        (lambda f: (f / "card.json").write_text("{"), "Expected a folder with weights"),
        (lambda f: (f / "card.json").write_text("[1]"), "Expected a folder with weights"),
        (lambda f: _truncate(f / "weights.safetensors"), "weights that do not match"),
        (lambda f: _edit(f, "method", "other"), "a card that does not match its digest"),
        (lambda f: _edit(f, "format_version", 99), "format version 2 or older.*upgrade"),
        (lambda f: _edit(f, "format", "theirs"), "Expected a folder with weights"),
    ],
)
def test_damaged_folders_are_refused(folder: Path, damage, message: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message):
        xc.load_model(folder)


def test_a_path_that_holds_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"Expected model 0123.*embed again"):
        load_network(str(folder), "0123", "s1", "cpu")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _edit(folder: Path, key: str, value: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, key: value}))


def test_a_model_whose_folder_was_moved_says_so(untrained: xc.Model, tmp_path: Path) -> None:
    model = untrained.save(tmp_path / "m")
    model.path.rename(tmp_path / "moved")
    for use in (
        lambda: model.save(tmp_path / "deeper" / "copy"),
        lambda: model.push_to_hub("me/mine"),
        lambda: model.stac_item(bbox=(9.0, 45.1, 9.1, 45.2)),
    ):
        with pytest.raises(ModelError, match=r"which is not there any more\. Do this: load it aga"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


def test_a_copy_that_fails_leaves_nothing(
    untrained: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source, partial, **_options):
        (partial / "half").write_bytes(b"")
        raise OSError("the disk is full")

    monkeypatch.setattr("xcontrast.folders.shutil.copytree", fail)
    with pytest.raises(OSError, match="the disk is full"):
        untrained.save(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
