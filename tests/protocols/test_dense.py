"""The three data sets whose labels are maps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import xarray as xr
from layouts import CITIES, write_dynamic_world, write_oscd, write_sen1floods11, write_tif
from rasterio.errors import NotGeoreferencedWarning
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, SourceError, TrainingError
from xcontrast.model import SensorCard
from xcontrast.protocols import dynamic_world, segmenting, sen1floods11
from xcontrast.protocols.dynamic_world import open_dynamic_world, run_dynamic_world
from xcontrast.protocols.encoders import make_random
from xcontrast.protocols.metrics import overall_accuracy
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.oscd import CHANGE, INPUT, QUANTILES, open_oscd, run_oscd
from xcontrast.protocols.segmenting import Share
from xcontrast.protocols.sen1floods11 import WATER, open_sen1floods11, run_sen1floods11
from xcontrast.protocols.tables import published


@pytest.fixture(autouse=True)
def no_maps() -> Iterator[None]:
    """OSCD's images lie on no map grid, and rasterio says so of every file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@pytest.fixture(scope="module")
def floods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"train": 3, "valid": 1, "test": 1, "bolivia": 1}
    return write_sen1floods11(tmp_path_factory.mktemp("floods"), sizes=sizes)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dynamic_world(tmp_path_factory.mktemp("dw"), n_train=5, n_test=1)


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oscd(tmp_path_factory.mktemp("oscd"))


def test_sen1floods11_opens_lazily(floods: Path, no_compute: None) -> None:
    for folder in (floods, floods / "v1.1"):
        dataset = open_sen1floods11(folder)
    assert dataset["s1"].shape == (6, 2, 512, 512)
    assert dataset["s1"].attrs["units"] == "dB"
    assert dataset["label"].dtype == np.uint8
    assert dataset["label"].attrs["flag_meanings"] == "dry water"
    assert list(dataset["split"].values) == ["train"] * 3 + ["valid", "test", "bolivia"]
    assert list(dataset["event"].values) == ["Ghana"] * 5 + ["Bolivia"]
    with dask.config.set(scheduler="synchronous"):
        chip = dataset.sel(location="Ghana_102").load()
    assert (chip["label"][:16] == 255).all()
    assert (chip["label"][16:, :80] == 1).all()
    assert (chip["label"][16:, 80:] == 0).all()
    assert np.isnan(chip["s1"][:, -4:]).all()
    water = chip["s1"].sel(s1_band="vv")[16:500, :80]
    assert float(water.mean()) == pytest.approx(-22, abs=0.1)


def test_sen1floods11_with_optical_images(floods: Path) -> None:
    with pytest.raises(DataError, match=r"split lists in .*S2Hand; received no Ghana_101_S2Hand"):
        open_sen1floods11(floods, sensors=("s1", "s2"))
    hand = floods / "v1.1" / "data" / "flood_events" / "HandLabeled"
    for file in (hand / "S1Hand").iterdir():
        dn = np.full((13, 512, 512), 1500, "int16")
        dn[:, 0] = 0
        write_tif(hand / "S2Hand" / file.name.replace("S1Hand", "S2Hand"), dn)
    dataset = open_sen1floods11(floods, sensors=("s2",))
    assert "s1" not in dataset
    image = dataset["s2"][0].load()
    assert list(image["s2_band"].values[[7, 8, 10]]) == ["B08", "B8A", "B10"]
    assert np.isnan(image[:, 0]).all()
    np.testing.assert_allclose(image[:, 1:], 0.15, rtol=1e-5)


def test_what_is_missing_of_sen1floods11_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"v1.1/data/flood_events/HandLabeled/S1Hand/\*.tif"):
        open_sen1floods11(tmp_path)
    sizes = {"train": 1, "valid": 1, "test": 1}
    root = write_sen1floods11(tmp_path, sizes=sizes)
    with pytest.raises(SourceError, match=r"Expected the file flood_bolivia_data.csv"):
        open_sen1floods11(root)
    splits = root / "v1.1" / "splits" / "flood_handlabeled"
    (splits / "flood_bolivia_data.csv").write_text("Bolivia_1_S1Hand.tif,Bolivia_1_LabelHand.tif")
    with pytest.raises(DataError, match=r"received no Bolivia_1_S1Hand.tif"):
        open_sen1floods11(root)
    (splits / "flood_bolivia_data.csv").write_text("Ghana_101_S1Hand.tif,Ghana_101_LabelHand.tif")
    hand = root / "v1.1" / "data" / "flood_events" / "HandLabeled"
    write_tif(hand / "S1Hand" / "Ghana_101_S1Hand.tif", np.zeros((3, 512, 512), "float32"))
    dataset = open_sen1floods11(root)
    with pytest.raises(DataError, match=r"2 bands of 512 x 512 px.*received 3 bands of 512 x 512"):
        dataset["s1"][0].load()


def test_dynamic_world_opens_lazily(tiles: Path, no_compute: None) -> None:
    dataset = open_dynamic_world(tiles)
    assert dataset["s1"].shape == (6, 2, 510, 510)
    assert dataset["s2"].shape == (6, 3, 510, 510)
    assert sorted(dataset["split"].values) == ["test"] + ["train"] * 4 + ["valid"]
    assert (open_dynamic_world(tiles)["split"].values == dataset["split"].values).all()
    with dask.config.set(scheduler="synchronous"):
        tile = dataset.isel(location=0).load()
    with rasterio.open(tiles / "label" / f"{tile['location'].item()}.tif") as file:
        raw = file.read(1)
    assert (tile["label"].values[:8] == 255).all()
    assert (tile["label"].values[-8:] == 255).all()
    assert (tile["label"].values[8:-8] == raw[8:-8] - 1).all()
    assert tile["label"].attrs["flag_meanings"].startswith("water trees grass")
    # The planted radar tells the category.
    level = tile["s1"].sel(s1_band="vh").values[8:-8] + 20
    assert np.abs(level - tile["label"].values[8:-8]).mean() < 0.3
    assert 0.03 < float(tile["s2"].mean()) < 0.3
    assert "s2" not in open_dynamic_world(tiles, sensors=("s1",))


def test_what_is_missing_of_dynamic_world_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"with label/\*.tif below the folder"):
        open_dynamic_world(tmp_path)
    root = write_dynamic_world(tmp_path, n_train=2, n_test=1)
    name = (root / "test.txt").read_text().strip()
    write_tif(root / "label" / f"{name}.tif", np.full((1, 510, 510), 44, "uint8"))
    with pytest.raises(DataError, match=r"codes 0 \(not marked\), 1 to 9.*also 44 in"):
        open_dynamic_world(root)["label"][-1].load()
    (root / "s2" / f"{name}.tif").unlink()
    with pytest.raises(DataError, match=rf"split lists in .*s2; received no {name}"):
        open_dynamic_world(root)
    (root / "test.txt").unlink()
    with pytest.raises(SourceError, match=r"Expected the file test.txt"):
        open_dynamic_world(root, sensors=("s1",))


def test_oscd_opens_lazily_as_tiles(cities: Path, no_compute: None) -> None:
    dataset = open_oscd(cities)
    # 110 x 200 px are 2 x 3 tiles, 96 x 96 one, 100 x 97 four.
    assert dataset["s2"].shape == (11, 2, 3, 96, 96)
    assert list(dataset["split"].values) == ["train"] * 7 + ["test"] * 4
    with dask.config.set(scheduler="synchronous"):
        dataset = dataset.load()
    whole = dataset.isel(location=dataset["city"].values == "beirut").isel(location=0)
    changed = np.zeros((96, 96), bool)
    changed[20:60, 30:70] = True
    assert (whole["label"].values == changed).all()
    difference = whole["s2"][1] - whole["s2"][0]
    assert float(difference.values[:, changed].mean()) == pytest.approx(0.09, abs=0.002)
    assert float(difference.values[:, ~changed].mean()) == pytest.approx(0, abs=0.002)
    edge = dataset.sel(location="dubai_96_96")
    assert int((edge["label"] != 255).sum()) == 4 * 1
    assert int(edge["s2"].notnull().sum()) == 2 * 3 * 4
    assert np.isnan(edge["s2"].values[..., 4:, :]).all()


def test_tiles_of_oscd_hold_each_pixel_once(cities: Path) -> None:
    dataset = open_oscd(cities, bands=("B08",), side=40)
    for split, shapes in CITIES.items():
        for city, (height, width) in shapes.items():
            own = dataset.isel(location=dataset["city"].values == city)
            assert set(own["split"].values) == {split}
            assert int((own["label"] != 255).sum()) == height * width
            assert int((own["label"] == 1).sum()) == 40 * 40


def test_the_published_input_of_oscd_is_between_quantiles() -> None:
    dn = np.random.default_rng(0).uniform(0, 5000, (1, 3, 8, 8))
    got = INPUT.scaling()(torch.from_numpy(dn / 1e4).float(), torch.ones(1, 1, 8, 8)).numpy()
    for k, (low, high) in enumerate(QUANTILES.values()):
        np.testing.assert_allclose(
            got[0, k], ((dn[0, k] - low) / (high - low)).clip(0, 1), atol=1e-5
        )
    assert tuple(QUANTILES) == INPUT.bands == ("B04", "B03", "B02")


def test_what_is_missing_of_oscd_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"dataset - Images/\*/imgs_1_rect/B02.tif"):
        open_oscd(tmp_path)
    root = write_oscd(tmp_path)
    images = root / "Onera Satellite Change Detection dataset - Images"
    label = root / "Onera Satellite Change Detection dataset - Test Labels/dubai/cm/dubai-cm.tif"
    label.unlink()
    with pytest.raises(SourceError, match=r"labels of dubai.*Test Labels' beside the images"):
        open_oscd(root)
    (images / "test.txt").write_text("dubai,atlantis")
    with pytest.raises(DataError, match=r"received no atlantis"):
        open_oscd(root)
    (images / "test.txt").unlink()
    with pytest.raises(SourceError, match=r"Expected the file test.txt"):
        open_oscd(root)


def test_a_model_of_bands_that_were_not_opened_is_told(cities: Path) -> None:
    card = replace(INPUT, bands=("B04", "B03", "B08"))
    model = make_random({"s2": card}, out_stride=4)
    with pytest.raises(DataError, match=r"received one that also takes B08.*open_oscd"):
        run_oscd(open_oscd(cities), model)


def test_legends_have_the_scored_category() -> None:
    assert WATER.names[WATER.codes.index(1)] == "water"
    assert CHANGE.names[CHANGE.codes.index(1)] == "change"


# A step a training, and few trainings, whose number is tested with the subsets: the whole way is
# gone, and nothing learnt.
QUICK = ReproduceOptions(max_steps=1, batch_size=2)
FEW = (Share("10 %", 0.1, 2), Share("100 %", 1.0, 1))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenting, "RATES", (1e-2, 1e-3))
    for module in (sen1floods11, dynamic_world):
        monkeypatch.setattr(module, "SHARES", FEW)


def radar_model() -> xc.Model:
    card = SensorCard(
        bands=("vv", "vh"), units="dB", gsd=10.0, mean=(-14.0,) * 2, std=(6.0,) * 2
    )  # fmt: skip
    return make_random({"s1": card}, encoder="test_resnet")


def test_sen1floods11_is_run(floods: Path, few: None) -> None:
    found = run_sen1floods11(open_sen1floods11(floods), radar_model(), options=QUICK)
    assert list(found["task"]) == ["10 %", "100 %"]
    assert set(found["task"]) == set(published("sen1floods11")["task"])
    assert list(found["n"]) == [2, 1]
    assert found["mean"].between(0, 100).all()


def test_dynamic_world_is_run(tiles: Path, few: None) -> None:
    dataset = open_dynamic_world(tiles, sensors=("s1",))
    found = run_dynamic_world(dataset, radar_model(), options=QUICK)
    assert list(found["task"]) == ["s1, 10 %", "s1, 100 %"]
    assert set(found["task"]) <= set(published("dynamic-world")["task"])
    assert found["mean"].between(0, 100).all()


WATERS = xc.Legend(
    title="waters", codes=(0, 1, 2), names=("dry", "water", "rare"), colors=("#000",) * 3
)


def small_floods() -> xr.Dataset:
    """Give twelve small tiles with dark water; a rare category lies in two of them."""
    cube = planted_cube(32, n_times=12, georeferenced=False)
    tiles = cube.s1.rename(s1_time="location").assign_coords(location=np.arange(12))
    label = (tiles.isel(s1_band=0, drop=True) < -12).astype("uint8")
    label[[0, 7], :4, :4] = 2
    split = np.array(["train"] * 6 + ["valid"] * 3 + ["test"] * 3, object)
    dataset = xr.Dataset({"s1": tiles, "label": label})
    return dataset.assign_coords(split=("location", split))


def follow(shares: tuple[Share, ...]) -> pd.DataFrame:
    return segmenting.follow_shares(
        small_floods(), radar_model(), sensor="s1", legend=WATERS, shares=shares, n_steps=3,
        metric=lambda label, truth: overall_accuracy(label, truth, legend=WATERS),
        options=ReproduceOptions(max_steps=3, batch_size=2, device="cpu"),
    )  # fmt: skip


def test_a_rate_that_diverges_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (Share("100 %", 1.0, 1),)
    monkeypatch.setattr(segmenting, "RATES", (1e-2,))
    expected = follow(whole)
    monkeypatch.setattr(segmenting, "RATES", (1e30, 1e-2))
    pd.testing.assert_frame_equal(follow(whole), expected)
    monkeypatch.setattr(segmenting, "RATES", (1e30, 1e29))
    with pytest.raises(TrainingError, match=r"a score of one rate at least.*1e\+30, 1e\+29"):
        follow(whole)


def test_a_share_may_lack_a_category_of_the_validation_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segmenting, "RATES", (1e-2,))
    found = follow((Share("33 %", 1 / 3, 3),))
    assert list(found["n"]) == [3]
    assert found["mean"].between(0, 100).all()


def test_oscd_is_run_and_finds_the_planted_change(cities: Path) -> None:
    model = make_random({"s2": INPUT}, encoder="test_resnet")
    options = ReproduceOptions(max_steps=60, batch_size=4)
    found = run_oscd(open_oscd(cities), model, options=options).set_index("task")["mean"]
    assert set(found.index) == set(published("oscd")["task"])
    # To call everything changed has an F1 of 28.
    assert found["F1"] > 70


def test_a_model_without_a_sensor_of_the_data_is_told(tiles: Path) -> None:
    dataset = open_dynamic_world(tiles, sensors=("s2",))
    with pytest.raises(DataError, match=r"encoder for a sensor of the data; received one for s1"):
        run_dynamic_world(dataset, radar_model())
