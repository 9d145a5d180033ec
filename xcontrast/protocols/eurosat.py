"""EuroSAT in RGB: a linear probe under Seasonal Contrast's protocol, and five neighbours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.errors import DataError, problem
from xcontrast.legends import Legend
from xcontrast.model import Model, SensorCard
from xcontrast.protocols.encoders import deepest_features, rescale
from xcontrast.protocols.files import (
    check_listed,
    find_file,
    find_folder,
    read_picture,
    stack_files,
)
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.probing import Recipe, probe_features, probe_images
from xcontrast.protocols.tables import summarise

__all__ = ["EUROSAT", "INPUT", "depart", "open_eurosat", "run_eurosat"]

EUROSAT = Legend(
    title="EuroSAT",
    codes=tuple(range(10)),
    names=(
        "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
        "PermanentCrop", "Residential", "River", "SeaLake",
    ),
    colors=(
        "#e49635", "#397d49", "#88b053", "#a0a0a0", "#8c3b8c", "#b9d77e", "#c9a227", "#c4281b",
        "#419bdf", "#1b4f9c",
    ),
)  # fmt: skip
"""Helber et al. (2019), in the order of the folders."""
FOLDERS = ("EuroSAT/2750", "2750", "EuroSAT_RGB", "EuroSAT", ".")
SPLITS = ("train", "val", "test")
SIDE = 64
RANGE = 0.275
"""Reflectance of 255: the published pictures show DN 0 to 2750 of Level-1C as 1 to 255."""
INPUT = SensorCard(
    bands=("B04", "B03", "B02"),
    units="1",
    gsd=10.0,
    mean=(-RANGE / 254,) * 3,
    std=(RANGE * 255 / 254,) * 3,
)
"""The published input: the picture as 0 to 1, and no more."""
RECIPE = Recipe(loss="cross-entropy", learning_rate=1e-3, batch_size=32)
NEIGHBOURS = 5


def open_eurosat(
    folder: str | os.PathLike[str], *, lists: str | os.PathLike[str] | None = None
) -> xr.Dataset:
    """Open EuroSAT's RGB pictures lazily, as a collection.

    Parameters
    ----------
    folder : path
        Holds ``EuroSAT/2750/<class>/<class>_<n>.jpg``, or ``EuroSAT_RGB/…``, or the class folders.
    lists : path, optional
        Folder of ``eurosat-train.txt``, ``eurosat-val.txt`` and ``eurosat-test.txt``, file names
        line by line, where they do not lie in `folder` or beside the classes. The last is
        optional.

    Returns
    -------
    Dataset
        ``s2 (location, s2_band, y, x)`` float32, lazy: red, green and blue reflectance of 64 x 64
        px, top of atmosphere, cut off at .275 as published; ``label (location)`` uint8 with the
        legend `EUROSAT`; coords ``location`` (file stem) and ``split`` on it.

    Raises
    ------
    SourceError
        If class folders or lists are missing.
    DataError
        If a list names a picture that is not there, or of no class of EuroSAT.

    References
    ----------
    Helber et al. (2019), EuroSAT; splits of Neumann et al. (2019), In-domain representation
    learning for remote sensing.

    Examples
    --------
    >>> images = open_eurosat(files["eurosat"])
    >>> images.s2.shape, images.label.attrs["flag_meanings"].split()[:2]
    ((40, 3, 64, 64), ['AnnualCrop', 'Forest'])
    """
    root = Path(folder)
    classes = find_folder(root, FOLDERS, holds="AnnualCrop/*.jpg")
    places = [Path(lists)] if lists is not None else [root, classes, classes.parent]
    table = pd.concat([_read_list(places, split) for split in SPLITS], ignore_index=True)
    present = {file.stem for name in EUROSAT.names for file in (classes / name).glob("*.jpg")}
    check_listed(list(table["name"]), present, where=classes)
    files = [
        [str(classes / kind / f"{name}.jpg")]
        for kind, name in zip(table["class"], table["name"], strict=True)
    ]
    pixels = stack_files(files, read_picture, shape=(3, SIDE, SIDE), dtype="uint8", chunk=256)
    images = xr.DataArray(
        pixels.astype("float32"),
        {
            "location": table["name"].to_numpy(object),
            "band": list(INPUT.bands),
            "split": ("location", table["split"].to_numpy(object)),
        },
        ("location", "band", "y", "x"),
    )
    cube = as_cube(s2=images, s2_scale=RANGE / 254, s2_offset=-RANGE / 254)
    codes = table["class"].map(dict(zip(EUROSAT.names, EUROSAT.codes, strict=True)))
    cube["label"] = ("location", codes.to_numpy("uint8"), EUROSAT.attrs)
    return cube.assign_attrs(title="EuroSAT, RGB")


def _read_list(places: list[Path], split: str) -> pd.DataFrame:
    names = [f"eurosat-{split}.txt", f"{split}.txt"]
    if split == "test" and not any((p / n).is_file() for p in places for n in names):
        return pd.DataFrame({"name": [], "class": [], "split": []}, dtype=object)
    lines = find_file(places, names).read_text(encoding="utf-8").split()
    stems = [Path(line).stem for line in lines]
    classes = [stem.split("_")[0] for stem in stems]
    unknown = sorted(set(classes) - set(EUROSAT.names))
    if unknown:
        raise DataError(
            problem(
                expected=f"pictures of EuroSAT's classes, {', '.join(EUROSAT.names)}",
                received=f"{', '.join(unknown)} in the list of {split}",
                do="use the official lists, whose lines are such as River_12.jpg",
            )
        )
    return pd.DataFrame({"name": stems, "class": classes, "split": split})


def run_eurosat(
    dataset: xr.Dataset, model: Model, *, options: ReproduceOptions | None = None
) -> pd.DataFrame:
    """Probe a frozen encoder: a linear layer of 100 epochs, and the five nearest neighbours.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_eurosat`.
    model : Model
        With an encoder for Sentinel-2 of red, green and blue. The deepest level is used.
    options : ReproduceOptions, optional
        Where it departs from the published code, and how long it trains.

    Returns
    -------
    DataFrame
        Accuracy in percent, as :func:`xcontrast.protocols.tables.published`: tasks ``linear`` and
        ``kNN-5``.

    Raises
    ------
    DataError
        If the split that is scored is empty, or the model takes other bands.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4.2 and its public code.

    Examples
    --------
    >>> from xcontrast.protocols.encoders import make_random
    >>> from xcontrast.protocols.options import ReproduceOptions
    >>> untrained = make_random({"s2": INPUT}, encoder="test_resnet")
    >>> options = ReproduceOptions(max_steps=1, batch_size=2)
    >>> list(run_eurosat(open_eurosat(files["eurosat"]), untrained, options=options).task)
    ['linear', 'kNN-5']
    """
    from sklearn.neighbors import KNeighborsClassifier

    options = options or ReproduceOptions()
    scored = "val" if options.paper_compat else "test"
    train, test = (dataset.isel(location=dataset["split"].values == s) for s in ("train", scored))
    if not test.sizes["location"]:
        raise DataError(
            problem(
                expected="pictures in the split 'test', which is scored",
                received="none: there is no eurosat-test.txt",
                do="fetch the list, or set paper_compat=True to score 'val' as the published code",
            )
        )
    if options.paper_compat:
        model = rescale(model, "s2", INPUT)
    x, z = (deepest_features(part["s2"], model, device=options.device) for part in (train, test))
    y, truth = (part["label"].values.astype("int64") for part in (train, test))
    seeds = range(options.seed, options.seed + options.repeats)
    linear = [_probe(train, test, x, z, model, seed, options) for seed in seeds]
    near = KNeighborsClassifier(min(NEIGHBOURS, len(x))).fit(x, y)
    start = model.card.method
    rows = [
        summarise("linear", start, linear),
        summarise(f"kNN-{NEIGHBOURS}", start, [100 * float((near.predict(z) == truth).mean())]),
    ]
    return pd.DataFrame(rows)


def _probe(
    train: xr.Dataset,
    test: xr.Dataset,
    x: np.ndarray,
    z: np.ndarray,
    model: Model,
    seed: int,
    options: ReproduceOptions,
) -> float:
    y, truth = (part["label"].values.astype("int64") for part in (train, test))
    k = len(EUROSAT.codes)
    if not options.paper_compat:
        logits = probe_features(
            x, y, z, RECIPE, n_categories=k, seed=seed, options=options
        )  # fmt: skip
        return 100 * float((logits.argmax(1) == truth).mean())
    # The encoder sees batches anew in every epoch, as its batch norms take their statistics.
    images, held = train["s2"].values, test["s2"].values
    logits = probe_images(
        images.__getitem__, y, held.__getitem__, len(held), RECIPE, model,
        n_categories=k, seed=seed, adapt=True, options=options,
    )  # fmt: skip
    whole = max(len(truth) - len(truth) % RECIPE.batch_size, min(len(truth), RECIPE.batch_size))
    return 100 * float((logits.argmax(1) == truth)[:whole].mean())


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper's code does."""
    if options.paper_compat:
        return ["the score is that after the last epoch"]
    return [
        "images are scaled as the model's card says, not as 0 to 1 (but for a random model)",
        "batch norms keep the statistics of pretraining, and do not adapt",
        "the test split is scored, not the validation split",
    ]
