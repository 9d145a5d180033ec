"""BigEarthNet of 19 classes: linear probe and fine-tuning under Seasonal Contrast's protocol."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.errors import DataError, problem
from xcontrast.model import Model, SensorCard
from xcontrast.protocols.corine import CATEGORIES, encode_labels
from xcontrast.protocols.encoders import deepest_features, rescale
from xcontrast.protocols.files import (
    check_listed,
    find_file,
    find_folder,
    read_bands,
    stack_files,
)
from xcontrast.protocols.metrics import micro_precision
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.probing import Recipe, probe_features, probe_images
from xcontrast.protocols.resizing import resize
from xcontrast.protocols.subsets import draw_share
from xcontrast.protocols.tables import summarise

__all__ = ["INPUT", "depart", "open_bigearthnet", "run_bigearthnet"]

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]
Probe = Callable[[Rows, Floats, int], Floats]
"""From training rows, their targets and a seed to logits of what is scored."""
BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
)  # fmt: skip
S2_FOLDERS = ("BigEarthNet-v1.0", "BigEarthNet-S2-v1.0", ".")
S1_FOLDERS = ("BigEarthNet-S1-v1.0", ".")
BAD = ("patches_with_seasonal_snow.csv", "patches_with_cloud_and_shadow.csv")
SPLITS = ("train", "val", "test")
SIDE = 120
RESIZED = 128
STATISTICS = {
    "B04": (590.23569706, 675.88746967),
    "B03": (614.21682446, 582.87945694),
    "B02": (429.9430203, 572.41639287),
}
"""Mean and deviation, DN, in Seasonal Contrast's public code."""
INPUT = SensorCard(
    bands=tuple(STATISTICS),
    units="1",
    gsd=10.0,
    curve="clip",
    low=tuple((mean - 2 * std) / 1e4 for mean, std in STATISTICS.values()),
    high=tuple((mean + 2 * std) / 1e4 for mean, std in STATISTICS.values()),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
)
"""The published input: mean less to plus two deviations as 0 to 1."""
RECIPES = {
    "linear": Recipe(loss="soft-margin", learning_rate=1e-3, batch_size=1024, dropout=0.2),
    "fine-tune": Recipe(
        loss="soft-margin", learning_rate=1e-5, batch_size=256, dropout=0.2, trained="all"
    ),
}
SHARES = {"10 %": 0.1, "100 %": 1.0}


def open_bigearthnet(
    folder: str | os.PathLike[str],
    *,
    lists: str | os.PathLike[str] | None = None,
    s1: bool = False,
) -> xr.Dataset:
    """Open BigEarthNet's patches lazily, as a collection.

    Parameters
    ----------
    folder : path
        Holds ``BigEarthNet-v1.0/<patch>/<patch>_B02.tif`` and so on, and
        ``<patch>_labels_metadata.json``; or the patch folders themselves.
    lists : path, optional
        Folder of ``bigearthnet-train.txt``, ``-val.txt`` and ``-test.txt`` (or ``train.txt`` and
        so on), patch names line by line, where they do not lie in `folder`. The last is optional.
    s1 : bool, default False
        Also Sentinel-1, from ``BigEarthNet-S1-v1.0/<patch>/``; reads a small file a patch to see
        which belong together.

    Returns
    -------
    Dataset
        ``s2 (location, s2_band, y, x)`` float32 reflectance of all 12 bands on 120 x 120 px of
        10 m, coarser bands interpolated bilinearly; ``s1`` in dB; ``labels (location, category)``
        uint8, 1 where a patch has it, of the 19 categories; all lazy. Coords on ``location``:
        patch name, ``split`` and ``folder``. Patches listed with snow or clouds, in `folder`, are
        left out.

    Raises
    ------
    SourceError
        If patches or lists are missing.
    DataError
        If a list names a patch that is not there, or, when it is read, a label is no category of
        CORINE's.

    References
    ----------
    Sumbul et al. (2019), BigEarthNet; Sumbul et al. (2021), BigEarthNet-MM; splits of Neumann et
    al. (2019).

    Examples
    --------
    >>> patches = open_bigearthnet(files["bigearthnet"])
    >>> patches.s2.dims, patches.labels.shape
    (('location', 's2_band', 'y', 'x'), (12, 19))
    """
    root = Path(folder)
    patches = find_folder(root, S2_FOLDERS, holds="S2?_MSIL2A_*")
    places = [Path(lists)] if lists is not None else [root, patches]
    table = pd.concat([_read_list(places, split) for split in SPLITS], ignore_index=True)
    table = table[~table["patch"].isin(_read_bad(root))].reset_index(drop=True)
    check_listed(list(table["patch"]), os.listdir(patches), where=patches)
    table["folder"] = [str(patches / name) for name in table["patch"]]
    if s1:
        table["s1"] = _find_s1(root, list(table["patch"]))
    return _open_patches(table)


def _read_list(places: list[Path], split: str) -> pd.DataFrame:
    names = [f"bigearthnet-{split}.txt", f"{split}.txt"]
    if split == "test" and not any((p / n).is_file() for p in places for n in names):
        return pd.DataFrame({"patch": [], "split": []}, dtype=object)
    lines = find_file(places, names).read_text(encoding="utf-8").split()
    return pd.DataFrame({"patch": lines, "split": split}, dtype=object)


def _read_bad(root: Path) -> set[str]:
    texts = [(root / name).read_text(encoding="utf-8") for name in BAD if (root / name).is_file()]
    return {line for text in texts for line in text.split()}


def _find_s1(root: Path, patches: list[str]) -> list[str]:
    folder = find_folder(root, S1_FOLDERS, holds="S1?_IW_GRDH_*")
    partner = {}
    for own in folder.glob("S1?_IW_GRDH_*"):
        facts = json.loads((own / f"{own.name}_labels_metadata.json").read_text(encoding="utf-8"))
        partner[facts["corresponding_s2_patch"]] = str(own)
    check_listed(patches, partner, where=folder)
    return [partner[name] for name in patches]


def _open_patches(table: pd.DataFrame, bands: Sequence[str] = BANDS) -> xr.Dataset:
    """Open the patches of a table of ``patch``, ``split``, ``folder`` and perhaps ``s1``."""
    coords = {name: ("location", table[name].to_numpy(object)) for name in ("split", "folder")}
    coords["location"] = ("location", table["patch"].to_numpy(object))
    given = {"s2": _stack(table["folder"], [f"{band}.tif" for band in bands], bands, coords)}
    if "s1" in table:
        given["s1"] = _stack(table["s1"], ["VV.tif", "VH.tif"], ["vv", "vh"], coords)
    cube = as_cube(s1=given.get("s1"), s2=given["s2"], s2_scale=1e-4)
    notes = _name_files(table["folder"], ["labels_metadata.json"])
    size = (len(CATEGORIES),)
    labels = stack_files(notes, _read_labels, shape=size, dtype="uint8", chunk=4096)
    cube["labels"] = (("location", "category"), labels, {"long_name": "BigEarthNet, 19 classes"})
    cube = cube.assign_coords(category=np.array(CATEGORIES, object))
    return cube.assign_attrs(title="BigEarthNet")


def _stack(
    folders: Iterable[str], ends: list[str], bands: Sequence[str], coords: dict[str, Any]
) -> xr.DataArray:
    pixels = stack_files(
        _name_files(folders, ends),
        partial(read_bands, side=SIDE),
        shape=(len(bands), SIDE, SIDE),
        dtype="float32",
        chunk=64,
    )
    return xr.DataArray(pixels, coords | {"band": list(bands)}, ("location", "band", "y", "x"))


def _reopen(dataset: xr.Dataset, model: Model) -> xr.DataArray:
    """Open only the bands of a model, resized: the others would be read for nothing."""
    names = {"patch": "location", "split": "split", "folder": "folder"}
    table = pd.DataFrame({ours: dataset[theirs].values for ours, theirs in names.items()})
    known = [band for band in model.card.sensors["s2"].bands if band in BANDS]
    return resize(_open_patches(table, known)["s2"], RESIZED)


def _name_files(folders: Iterable[str], ends: list[str]) -> list[list[str]]:
    return [[f"{folder}/{Path(folder).name}_{end}" for end in ends] for folder in folders]


def _read_labels(files: list[str]) -> npt.NDArray[np.uint8]:
    facts = json.loads(Path(files[0]).read_text(encoding="utf-8"))
    return encode_labels(facts["labels"], source=files[0])


def run_bigearthnet(
    dataset: xr.Dataset,
    model: Model,
    *,
    ways: Sequence[Literal["linear", "fine-tune"]] = ("linear", "fine-tune"),
    options: ReproduceOptions | None = None,
) -> pd.DataFrame:
    """Probe and fine-tune an encoder on a tenth and on all of the training patches.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_bigearthnet`.
    model : Model
        With an encoder for Sentinel-2. The deepest level is used; batch norms keep their
        statistics, as published.
    ways : sequence of {"linear", "fine-tune"}
        Fine-tuning reads every patch in every epoch.
    options : ReproduceOptions, optional
        Where it departs from the published code, and how long it trains.

    Returns
    -------
    DataFrame
        Micro-averaged average precision in percent, as
        :func:`xcontrast.protocols.tables.published`.

    Raises
    ------
    DataError
        If the split that is scored is empty, or the model takes other bands.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4.1 and its public code.

    Examples
    --------
    >>> from xcontrast.protocols.encoders import make_random
    >>> from xcontrast.protocols.options import ReproduceOptions
    >>> untrained = make_random({"s2": INPUT}, encoder="test_resnet")
    >>> options = ReproduceOptions(max_steps=1, batch_size=2)
    >>> patches = open_bigearthnet(files["bigearthnet"])
    >>> list(run_bigearthnet(patches, untrained, ways=("linear",), options=options).task)
    ['linear, 10 %', 'linear, 100 %']
    """
    options = options or ReproduceOptions()
    scored = "val" if options.paper_compat else "test"
    train, test = (dataset.isel(location=dataset["split"].values == s) for s in ("train", scored))
    if not test.sizes["location"]:
        raise DataError(
            problem(
                expected="patches in the split 'test', which is scored",
                received="none: there is no bigearthnet-test.txt",
                do="fetch the list, or set paper_compat=True to score 'val' as the published code",
            )
        )
    if options.paper_compat:
        model = rescale(model, "s2", INPUT)
    targets, truth = (part["labels"].values for part in (train, test))
    rows = []
    for way in ways:
        probe = (_freeze if way == "linear" else _unfreeze)(train, test, model, options)
        size = RECIPES[way].batch_size if options.paper_compat else None
        for told, share in SHARES.items():
            scores = []
            for seed in range(options.seed, options.seed + options.repeats):
                drawn = draw_share(len(targets), share, seed=seed, replace=options.paper_compat)
                logits = probe(drawn, targets[drawn].astype("float32"), seed)
                scores.append(micro_precision(truth, logits, batch_size=size))
            rows.append(summarise(f"{way}, {told}", model.card.method, scores))
    return pd.DataFrame(rows)


def _freeze(train: xr.Dataset, test: xr.Dataset, model: Model, options: ReproduceOptions) -> Probe:
    """Probe features that are computed once: no augmentation and no batch norm changes them."""
    x, z = (
        deepest_features(_reopen(part, model), model, device=options.device)
        for part in (train, test)
    )

    def probe(rows: Rows, targets: Floats, seed: int) -> Floats:
        n = len(CATEGORIES)
        recipe = RECIPES["linear"]
        return probe_features(
            x[rows], targets, z, recipe, n_categories=n, seed=seed, options=options
        )

    return probe


def _unfreeze(
    train: xr.Dataset, test: xr.Dataset, model: Model, options: ReproduceOptions
) -> Probe:
    """Train the encoder too, with patches read as they are drawn."""
    told = ["split", "folder"]

    def read(part: xr.Dataset, rows: Rows) -> Floats:
        # Of the dataset's own chunks most would be read for nothing.
        images: Floats = _reopen(part.isel(location=rows), model).values
        return images

    def probe(rows: Rows, targets: Floats, seed: int) -> Floats:
        return probe_images(
            partial(read, train[told].isel(location=rows)), targets,
            partial(read, test[told]), test.sizes["location"], RECIPES["fine-tune"], model,
            n_categories=len(CATEGORIES), seed=seed, adapt=False, options=options,
        )  # fmt: skip

    return probe


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper's code does."""
    if options.paper_compat:
        return ["values are clipped after resizing, not before, and not rounded to 8 bits",
                "the score is that after the last epoch"]  # fmt: skip
    return [
        "images are in the bands and the scaling of the model's card, not red, green and blue from "
        "two deviations around the mean (but for a random model)",
        "the tenth is drawn without replacement",
        "the test split is scored, not the validation split, and all of it at once",
    ]
