from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from layouts import write_eurosat
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

import xcontrast as xc
from xcontrast.errors import DataError, SourceError
from xcontrast.model import SensorCard
from xcontrast.protocols.encoders import deepest_features, load_encoder, make_random, rescale
from xcontrast.protocols.eurosat import EUROSAT, INPUT, RECIPE, open_eurosat, run_eurosat
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.probing import probe_features, probe_images

SIZES = {"train": 9, "val": 3, "test": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eurosat(tmp_path_factory.mktemp("eurosat"), sizes=SIZES)


def test_it_opens_lazily_with_splits_and_legend(folder: Path, no_compute: None) -> None:
    dataset = open_eurosat(folder)
    assert dataset["s2"].dims == ("location", "s2_band", "y", "x")
    assert dataset["s2"].shape == (160, 3, 64, 64)
    assert dataset["s2"].chunks
    assert list(dataset["s2_band"].values) == ["B04", "B03", "B02"]
    assert dataset["label"].attrs["flag_meanings"].split() == list(EUROSAT.names)
    splits = list(dataset["split"].values)
    assert {s: splits.count(s) for s in splits} == {s: 10 * n for s, n in SIZES.items()}
    with dask.config.set(scheduler="synchronous"):
        one = dataset["s2"].sel(location="River_3").values
    picture = Image.open(folder / "EuroSAT" / "2750" / "River" / "River_3.jpg")
    shown = np.moveaxis(np.asarray(picture), -1, 0).astype(float)
    # 1 to 255 are DN 0 to 2750.
    np.testing.assert_allclose(one * 1e4, (shown - 1) / 254 * 2750, atol=0.01)


def test_the_published_input_is_the_picture_from_0_to_1(folder: Path) -> None:
    images = open_eurosat(folder)["s2"][:2].values
    got = INPUT.scaling()(torch.from_numpy(images), torch.ones(2, 1, 64, 64)).numpy()
    files = (folder / "EuroSAT" / "2750" / "AnnualCrop" / f"AnnualCrop_{k}.jpg" for k in (1, 2))
    pictures = [np.moveaxis(np.asarray(Image.open(file)), -1, 0) / 255 for file in files]
    np.testing.assert_allclose(got, pictures, atol=1e-6)


def test_colours_are_told_apart_and_noise_is_not(
    folder: Path, seer: xc.Model, tmp_path: Path
) -> None:
    # Small batches: of 90 pictures the paper's 32 make too few steps in 100 epochs.
    options = ReproduceOptions(batch_size=4)
    found = run_eurosat(open_eurosat(folder), seer, options=options).set_index("task")
    assert found.loc["linear", "mean"] > 95
    assert found.loc["kNN-5", "mean"] > 95
    assert found.loc["linear", "start"] == "random"
    mixed = write_eurosat(tmp_path, sizes=SIZES, shuffled=True)
    chance = run_eurosat(open_eurosat(mixed), seer, options=options).set_index("task")["mean"]
    # 10 % is chance; .3 is more than four deviations of 40 pictures away.
    assert (chance < 30).all()


def test_neighbours_are_scikit_learns_on_the_pooled_deepest_level(
    folder: Path, seer: xc.Model
) -> None:
    dataset = open_eurosat(folder)
    images = dataset["s2"]
    pooled = xc.embed(images, seer, pool=True, precision="32").values
    got = deepest_features(images, seer)
    width = seer.card.levels[-1]["channels"]
    assert got.shape == (160, width)
    np.testing.assert_allclose(got, pooled[:, -width:], rtol=1e-6)
    train, test = (dataset["split"].values == split for split in ("train", "test"))
    codes = dataset["label"].values
    near = KNeighborsClassifier(5).fit(got[train], codes[train])
    expected = 100 * near.score(got[test], codes[test])
    options = ReproduceOptions(max_steps=1)
    found = run_eurosat(dataset, seer, options=options).set_index("task")
    assert found.loc["kNN-5", "mean"] == pytest.approx(expected)


@pytest.fixture(scope="module")
def some(folder: Path) -> xr.Dataset:
    dataset = open_eurosat(folder)
    return dataset.isel(location=slice(None, None, 4)).load()


def test_images_every_time_are_features_once(some: xr.Dataset, seer: xc.Model) -> None:
    """With fixed statistics both ways to train the layer are one."""
    images, codes = some["s2"].values, some["label"].values.astype("int64")
    options = ReproduceOptions(max_steps=8)
    told = {"n_categories": 10, "seed": 3, "options": options}
    features = deepest_features(some["s2"], seer)
    once = probe_features(features, codes, features, RECIPE, **told)
    every = probe_images(
        images.__getitem__, codes, images.__getitem__, len(images), RECIPE, seer,
        adapt=False, **told,
    )  # fmt: skip
    np.testing.assert_allclose(every, once, rtol=1e-3, atol=1e-4)


def test_adapting_batch_norms_learn_too(some: xr.Dataset, seer: xc.Model) -> None:
    images, codes = some["s2"].values, some["label"].values.astype("int64")
    read = images.__getitem__
    options = ReproduceOptions(max_steps=60, batch_size=16)
    recipe = replace(RECIPE, learning_rate=0.02)
    told = {"n_categories": 10, "seed": 3, "options": options}
    before = seer.digest
    logits = probe_images(read, codes, read, len(images), recipe, seer, adapt=True, **told)
    assert (logits.argmax(1) == codes).mean() > 0.6
    fixed = probe_images(read, codes, read, len(images), recipe, seer, adapt=False, **told)
    assert np.abs(logits - fixed).max() > 0.01
    assert xc.load_model(seer.path).digest == before


def test_the_published_way_scores_the_validation_split(folder: Path, seer: xc.Model) -> None:
    dataset = open_eurosat(folder)
    options = ReproduceOptions(paper_compat=True, max_steps=2, repeats=2)
    found = run_eurosat(dataset, seer, options=options).set_index("task")
    assert found.loc["linear", "n"] == 2
    features = deepest_features(dataset["s2"], rescale(seer, "s2", INPUT))
    train, val = (dataset["split"].values == split for split in ("train", "val"))
    codes = dataset["label"].values
    near = KNeighborsClassifier(5).fit(features[train], codes[train])
    expected = 100 * near.score(features[val], codes[val])
    assert found.loc["kNN-5", "mean"] == pytest.approx(expected)
    bare = dataset.isel(location=dataset["split"].values != "test")
    run_eurosat(bare, seer, options=replace(options, max_steps=1, repeats=1))
    with pytest.raises(DataError, match=r"split 'test'.*no eurosat-test.txt.*paper_compat=True"):
        run_eurosat(bare, seer)


def test_rescaling_picks_bands_by_name(seer: xc.Model) -> None:
    swapped = SensorCard(
        bands=("B02", "B04"), units="1", gsd=10.0, mean=(5.0, 6.0), std=(7.0, 8.0),
    )  # fmt: skip
    own = make_random({"s2": swapped}, out_stride=4)
    weights = own.card.sensors["s2"]
    published = SensorCard(
        bands=("B04", "B03", "B02"), units="1", gsd=10.0, curve="clip",
        low=(1.0, 2.0, 3.0), high=(4.0, 5.0, 6.0), mean=(0.0, 0.1, 0.2), std=(1.0, 1.1, 1.2),
    )  # fmt: skip
    found = rescale(own, "s2", published)
    card = found.card.sensors["s2"]
    assert (card.bands, card.low, card.mean) == (("B02", "B04"), (3.0, 1.0), (0.2, 0.0))
    assert card.curve == "clip"
    one, two = (load_encoder(m, "s2", "cpu")[0].state_dict() for m in (own, found))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert weights.mean == (5.0, 6.0)
    infrared = replace(swapped, bands=("B08",), mean=(0.0,), std=(1.0,))
    with pytest.raises(DataError, match=r"published input, B04, B03, B02; received one of B08"):
        rescale(make_random({"s2": infrared}, out_stride=4), "s2", published)


def test_a_random_encoder_is_fixed_by_its_seed_and_no_branch_is_silent() -> None:
    one, two, other = (make_random({"s2": INPUT}, out_stride=4, seed=s) for s in (1, 1, 2))
    assert one.digest == two.digest != other.digest
    state = load_encoder(one, "s2", "cpu")[0].state_dict()
    assert torch.all(state["body.layer1.0.bn2.weight"] == 1)


def test_a_model_of_other_bands_is_told(folder: Path, patch_seer: xc.Model) -> None:
    card = replace(INPUT, bands=("B04", "B03", "B02", "B08"), mean=(0.0,) * 4, std=(1.0,) * 4)
    model = make_random({"s2": card}, out_stride=4)
    with pytest.raises(DataError, match=r"bands that the model knows.*without B08"):
        run_eurosat(open_eurosat(folder), model)


def test_what_is_missing_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"EuroSAT/2750/AnnualCrop.*does not exist.*unpack"):
        open_eurosat(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"holds no such file"):
        open_eurosat(tmp_path)
    with pytest.raises(SourceError, match=r"the file eurosat-train.txt or train.txt.*fetch it"):
        open_eurosat(folder, lists=tmp_path)
    (tmp_path / "train.txt").write_text("River_1.jpg\nRiver_77.jpg\n")
    (tmp_path / "val.txt").write_text("Forest_1.jpg\n")
    with pytest.raises(DataError, match=r"every image that the split lists.*received no River_77"):
        open_eurosat(folder, lists=tmp_path)
    (tmp_path / "val.txt").write_text("Desert_1.jpg\n")
    with pytest.raises(DataError, match=r"EuroSAT's classes.*received Desert in the list of val"):
        open_eurosat(folder, lists=tmp_path)


def test_a_damaged_or_foreign_picture_is_told_when_it_is_read(tmp_path: Path) -> None:
    root = write_eurosat(tmp_path, sizes={"train": 1, "val": 1})
    river = root / "EuroSAT" / "2750" / "River" / "River_1.jpg"
    river.write_bytes(river.read_bytes()[:80])
    dataset = open_eurosat(root)
    with pytest.raises(SourceError, match=r"a readable image; received .*River_1.jpg"):
        dataset["s2"].sel(location="River_1").load()
    Image.fromarray(np.zeros((64, 64), "uint8")).save(river)
    with pytest.raises(DataError, match=r"3 bands of 64 x 64 px.*received 64 x 64 px in"):
        dataset["s2"].sel(location="River_1").load()


def test_real_pictures(data_dir: Path, real_lists: Path, seer: xc.Model) -> None:
    dataset = open_eurosat(data_dir / "eurosat_rgb", lists=real_lists)
    assert dataset.sizes["location"] == 300
    mean = dataset["s2"].mean(("y", "x")).compute()
    assert 0.02 < float(mean.median()) < 0.2
    # Water is darker in red than fields are.
    kinds = dict(zip(EUROSAT.names, EUROSAT.codes, strict=True))
    red = mean.sel(s2_band="B04")
    dark, bright = (red[dataset["label"].values == kinds[k]] for k in ("SeaLake", "AnnualCrop"))
    assert float(dark.mean()) < float(bright.mean())
    options = ReproduceOptions(batch_size=4)
    found = run_eurosat(dataset, seer, options=options).set_index("task")["mean"]
    # Random features are far above the chance of 10 %, and far below what is published.
    assert (found > 20).all()
    assert (found < 70).all()
