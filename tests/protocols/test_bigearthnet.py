from __future__ import annotations

import json
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
from layouts import FOREST_LABELS, write_bigearthnet
from PIL import Image

import xcontrast as xc
from xcontrast.errors import DataError, SourceError
from xcontrast.protocols.bigearthnet import INPUT, STATISTICS, open_bigearthnet, run_bigearthnet
from xcontrast.protocols.corine import CATEGORIES, DROPPED, MEMBERS, encode_labels
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.resizing import resize

SIZES = {"train": 20, "val": 6, "test": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bigearthnet(tmp_path_factory.mktemp("ben"), sizes=SIZES)


def test_it_opens_lazily_with_labels_of_19_categories(folder: Path, no_compute: None) -> None:
    dataset = open_bigearthnet(folder)
    assert dataset["s2"].dims == ("location", "s2_band", "y", "x")
    assert dataset["s2"].shape == (34, 12, 120, 120)
    assert dataset["s2"].chunks
    assert dataset["labels"].chunks
    assert dataset["labels"].shape == (34, 19)
    splits = dataset["split"].values
    assert {str(s): int((splits == s).sum()) for s in np.unique(splits)} == SIZES
    with dask.config.set(scheduler="synchronous"):
        level = dataset["s2"].mean(("y", "x")).values
        labels = dataset["labels"].load()
    water = np.arange(1, 35) % 2 == 0
    np.testing.assert_allclose(level[water], 0.02, atol=0.002)
    np.testing.assert_allclose(level[~water], 0.11, atol=0.002)
    expected = np.where(water, "Inland waters", "Coniferous forest")
    assert (labels.sum("category") == np.where(water, 1, 2)).all()
    for row, name in zip(labels, expected, strict=True):
        assert int(row.sel(category=name)) == 1


def test_both_sensors_of_a_patch_belong_together(tmp_path: Path) -> None:
    dataset = open_bigearthnet(
        write_bigearthnet(tmp_path, sizes={"train": 2, "val": 1}, s1=True), s1=True
    )
    vv = dataset["s1"].sel(s1_band="vv").mean(("y", "x")).values
    np.testing.assert_allclose(vv, [-11, -12, -13])
    assert list(dataset["split"].values) == ["train", "train", "val"]


def test_patches_with_snow_or_clouds_are_left_out(tmp_path: Path) -> None:
    root = write_bigearthnet(tmp_path, sizes={"train": 3, "val": 1})
    bad = (root / "bigearthnet-train.txt").read_text().split()[1]
    (root / "patches_with_cloud_and_shadow.csv").write_text(f"{bad}\n")
    assert bad not in open_bigearthnet(root)["location"].values
    assert open_bigearthnet(root).sizes["location"] == 3


def test_water_and_forest_are_told_apart(folder: Path, patch_seer: xc.Model) -> None:
    dataset = open_bigearthnet(folder)
    found = run_bigearthnet(
        dataset, patch_seer, options=ReproduceOptions(max_steps=100), ways=("linear",)
    ).set_index("task")["mean"]
    assert found["linear, 100 %"] > 99
    assert list(found.index) == ["linear, 10 %", "linear, 100 %"]
    # With labels that say nothing of the image it is the share of ones among 19 x 8 labels.
    rng = np.random.default_rng(0)
    mixed = dataset.copy()
    mixed["labels"] = dataset["labels"].copy(data=rng.integers(0, 2, (34, 19)).astype("uint8"))
    chance = run_bigearthnet(
        mixed, patch_seer, options=ReproduceOptions(max_steps=100), ways=("linear",)
    )["mean"]
    assert (abs(chance - 50) < 15).all()


@pytest.mark.parametrize("compat", [False, True])
def test_both_ways_and_both_shares_run_as_published(
    folder: Path, patch_seer: xc.Model, compat: bool
) -> None:
    options = ReproduceOptions(max_steps=2, batch_size=4, paper_compat=compat)
    found = run_bigearthnet(open_bigearthnet(folder), patch_seer, options=options)
    assert list(found["task"]) == [
        "linear, 10 %", "linear, 100 %", "fine-tune, 10 %", "fine-tune, 100 %",
    ]  # fmt: skip
    assert found["mean"].between(0, 100).all()


def test_the_published_input_is_two_deviations_around_the_mean() -> None:
    dn = np.random.default_rng(0).uniform(0, 4000, (1, 3, 8, 8))
    got = INPUT.scaling()(torch.from_numpy(dn / 1e4).float(), torch.ones(1, 1, 8, 8)).numpy()
    for k, (mean, std) in enumerate(STATISTICS.values()):
        low, high = mean - 2 * std, mean + 2 * std
        # As published, there rounded to 8 bits.
        shown = np.clip((dn[0, k] - low) / (high - low) * 255, 0, 255).astype("uint8") / 255
        np.testing.assert_allclose(got[0, k], shown, atol=1 / 254)


def test_resizing_is_pillows(folder: Path) -> None:
    image = open_bigearthnet(folder)["s2"][0, 1]
    for side in (128, 60):
        wanted = Image.fromarray(image.values).resize((side, side), Image.Resampling.BICUBIC)
        got = resize(image, side)
        assert got.dims == ("y", "x")
        np.testing.assert_allclose(got.values, np.asarray(wanted), atol=1e-6)


def test_19_categories_hold_32_of_corines_43() -> None:
    members = [old for own in MEMBERS.values() for old in own]
    assert len(CATEGORIES) == 19
    assert len(set(members)) == len(members) == 32
    assert len({*members, *DROPPED}) == 43
    assert encode_labels(FOREST_LABELS, source="").sum() == 2
    assert encode_labels(["Burnt areas"], source="").sum() == 0


def test_what_is_missing_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"BigEarthNet-v1.0/S2\?_MSIL2A_.*holds no such file"):
        open_bigearthnet(tmp_path)
    with pytest.raises(SourceError, match=r"bigearthnet-train.txt or train.txt"):
        open_bigearthnet(folder, lists=tmp_path)
    with pytest.raises(SourceError, match=r"BigEarthNet-S1-v1.0/S1\?_IW_GRDH"):
        open_bigearthnet(folder, s1=True)
    (tmp_path / "train.txt").write_text("S2A_MSIL2A_20170613T101031_1_7\nS2B_9_9\n")
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(DataError, match=r"every image that the split lists.*received no S2B_9_9"):
        open_bigearthnet(folder, lists=tmp_path)


def test_an_unknown_class_is_told_when_it_is_read(tmp_path: Path) -> None:
    root = write_bigearthnet(tmp_path, sizes={"train": 1, "val": 1})
    dataset = open_bigearthnet(root)
    name = str(dataset["location"].values[0])
    notes = root / "BigEarthNet-v1.0" / name / f"{name}_labels_metadata.json"
    notes.write_text(json.dumps({"labels": ["Steppe"]}))
    with pytest.raises(DataError, match=r"CORINE's 43 classes; received Steppe in .*metadata"):
        dataset["labels"].load()
    notes.unlink()
    with pytest.raises(SourceError, match=r"received .*labels_metadata.json"):
        dataset["labels"].load()


def test_real_patches(data_dir: Path, tmp_path: Path) -> None:
    root = data_dir / "bigearthnet"
    names = sorted(p.name for p in root.glob("S2*"))
    for name, split in zip(names, ("train", "val", "test"), strict=True):
        (tmp_path / f"{split}.txt").write_text(f"{name}\n")
    dataset = open_bigearthnet(root, lists=tmp_path, s1=True).load()
    assert list(dataset["location"].values) == names
    assert dataset["s2"].shape == (3, 12, 120, 120)
    found = [
        [str(dataset["category"].values[k]) for k in np.flatnonzero(row)]
        for row in dataset["labels"].values
    ]
    assert found[:2] == [["Arable land", "Pastures"], ["Pastures"]]
    assert found[2][-1] == "Transitional woodland, shrub"
    # Plants are bright in the near infrared, and radar in dB is negative.
    assert (dataset["s2"].sel(s2_band="B08").mean(("y", "x")) > 0.15).all()
    assert (dataset["s1"].mean(("y", "x")) < -5).all()
