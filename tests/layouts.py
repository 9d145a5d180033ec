"""Small files made to the official layouts of the papers' data sets, with a planted answer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from xcontrast.legends import DYNAMIC_WORLD
from xcontrast.protocols.eurosat import EUROSAT
from xcontrast.protocols.sen1floods11 import WATER


def write_tif(path: Path, values: np.ndarray, *, grid: bool = True) -> None:
    """Write (C, H, W) as a GeoTIFF, on a map grid or on none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(5e5, 5e6, 10, 10)}
    n, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=n, height=height, width=width, dtype=values.dtype,
            compress="deflate", **(place if grid else {}),
        ) as file:  # fmt: skip
            file.write(values)


def write_eurosat(
    folder: Path, *, sizes: Mapping[str, int], shuffled: bool = False, seed: int = 0
) -> Path:
    """Write EuroSAT/2750 and its lists: each class has a colour of its own, or none if shuffled."""
    rng = np.random.default_rng(seed)
    colours = rng.permutation(
        [(r, g, b) for r in (30, 120, 210) for g in (30, 120, 210) for b in (60, 180)]
    )[: len(EUROSAT.names)]
    lists: dict[str, list[str]] = {split: [] for split in sizes}
    for k, name in enumerate(EUROSAT.names):
        place = folder / "EuroSAT" / "2750" / name
        place.mkdir(parents=True)
        number = 0
        for split, n in sizes.items():
            for _ in range(n):
                number += 1
                colour = colours[rng.integers(len(colours)) if shuffled else k]
                pixels = colour + rng.normal(0, 8, (64, 64, 3))
                file = f"{name}_{number}.jpg"
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(place / file, quality=95)
                lists[split].append(file)
    for split, files in lists.items():
        (folder / f"eurosat-{split}.txt").write_text("\n".join(files) + "\n")
    return folder


S2_SIDES = {
    "B01": 20, "B02": 120, "B03": 120, "B04": 120, "B05": 60, "B06": 60, "B07": 60, "B08": 120,
    "B8A": 60, "B09": 20, "B11": 60, "B12": 60,
}  # fmt: skip
WATER_LABELS, FOREST_LABELS = ["Water bodies", "Airports"], ["Coniferous forest", "Peatbogs"]


def write_bigearthnet(
    folder: Path, *, sizes: Mapping[str, int], s1: bool = False, seed: int = 0
) -> Path:
    """Write BigEarthNet-v1.0 and its lists: half of the patches dark water, half bright forest."""
    rng = np.random.default_rng(seed)
    number = 0
    for split, n in sizes.items():
        names = []
        for _ in range(n):
            number += 1
            water = number % 2 == 0
            name = f"S2A_MSIL2A_20170613T101031_{number}_7"
            names.append(name)
            place = folder / "BigEarthNet-v1.0" / name
            for band, side in S2_SIDES.items():
                level = 200 if water else 1100
                dn = (level + rng.normal(0, 60, (1, side, side))).clip(1).astype("uint16")
                write_tif(place / f"{name}_{band}.tif", dn)
            facts = {"labels": WATER_LABELS if water else FOREST_LABELS}
            (place / f"{name}_labels_metadata.json").write_text(json.dumps(facts))
            if s1:
                own = f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{number}_7"
                place = folder / "BigEarthNet-S1-v1.0" / own
                for band, level in (("VV", -10.0), ("VH", -17.0)):
                    db = np.full((1, 120, 120), level - number, "float32")
                    write_tif(place / f"{own}_{band}.tif", db)
                facts |= {"corresponding_s2_patch": name}
                (place / f"{own}_labels_metadata.json").write_text(json.dumps(facts))
        (folder / f"bigearthnet-{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def write_sen1floods11(folder: Path, *, sizes: Mapping[str, int], seed: int = 0) -> Path:
    """Write v1.1 with chips whose left part is dark water; 16 rows are not labelled."""
    rng = np.random.default_rng(seed)
    hand = folder / "v1.1" / "data" / "flood_events" / "HandLabeled"
    splits = folder / "v1.1" / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    number = 0
    for split, n in sizes.items():
        lines = []
        for _ in range(n):
            number += 1
            chip = f"{'Bolivia' if split == 'bolivia' else 'Ghana'}_{100 + number}"
            truth = np.zeros((1, 512, 512), "int16")
            truth[..., : 64 + 8 * number] = 1
            db = np.where(truth == 1, -22, -8) + rng.normal(0, 1, (2, 512, 512))
            db[:, -4:] = np.nan
            truth[:, :16] = -1
            write_tif(hand / "S1Hand" / f"{chip}_S1Hand.tif", db.astype("float32"))
            write_tif(hand / "LabelHand" / f"{chip}_LabelHand.tif", truth)
            lines.append(f"{chip}_S1Hand.tif,{chip}_LabelHand.tif")
        (splits / f"flood_{split}_data.csv").write_text("\n".join(lines) + "\n")
    assert WATER.codes == (0, 1)
    return folder


def write_dynamic_world(folder: Path, *, n_train: int, n_test: int, seed: int = 0) -> Path:
    """Write labelled tiles with images whose colour tells the category."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(300, 3000, (len(DYNAMIC_WORLD.codes), 3))
    for split, n in (("train", n_train), ("test", n_test)):
        names = [f"dw_{10 + k}.5_{45 + k}.25-2019060{k % 9 + 1}_{split}" for k in range(n)]
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            category = rng.integers(0, 9, (10, 10)).repeat(51, 0).repeat(51, 1)
            raw = (category + 1).astype("uint8")
            raw[:8], raw[-8:] = 0, 10
            write_tif(folder / "label" / f"{name}.tif", raw[None])
            dn = np.moveaxis(colours[category], -1, 0) + rng.normal(0, 40, (3, 510, 510))
            write_tif(folder / "s2" / f"{name}.tif", dn.clip(1).astype("uint16"))
            db = -20 + category[None] + rng.normal(0, 0.2, (2, 510, 510))
            write_tif(folder / "s1" / f"{name}.tif", db.astype("float32"))
    return folder


CITIES = {"train": {"abudhabi": (110, 200), "beirut": (96, 96)}, "test": {"dubai": (100, 97)}}


def write_oscd(folder: Path, *, seed: int = 0) -> Path:
    """Write three cities of odd sizes in which a square has become bright."""
    rng = np.random.default_rng(seed)
    images = folder / "Onera Satellite Change Detection dataset - Images"
    for split, cities in CITIES.items():
        labels = folder / f"Onera Satellite Change Detection dataset - {split.capitalize()} Labels"
        for city, (height, width) in cities.items():
            changed = np.zeros((height, width), bool)
            changed[20:60, 30:70] = True
            for date in (1, 2):
                for band, level in (("B02", 1000), ("B03", 1100), ("B04", 1200), ("B08", 2000)):
                    dn = level + rng.normal(0, 30, (height, width)) + 900 * changed * (date - 1)
                    place = images / city / f"imgs_{date}_rect" / f"{band}.tif"
                    write_tif(place, dn[None].astype("uint16"), grid=False)
            place = labels / city / "cm" / f"{city}-cm.tif"
            write_tif(place, (1 + changed[None]).astype("uint8"), grid=False)
        (images / f"{split}.txt").write_text(",".join(cities))
    return folder
