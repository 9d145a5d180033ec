"""Onera Satellite Change Detection (OSCD) under Seasonal Contrast's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.heads.maps import predict
from xcontrast.heads.segmenting.finetune import finetune
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.model import Model, SensorCard
from xcontrast.protocols.encoders import rescale
from xcontrast.protocols.files import check_listed, find_file, find_folder, stack_files
from xcontrast.protocols.metrics import change_scores
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.tables import summarise

__all__ = ["CHANGE", "INPUT", "depart", "open_oscd", "run_oscd"]

CHANGE = Legend(
    title="change", codes=(0, 1), names=("same", "change"), colors=("#e8e2d0", "#c4281b")
)
IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = "Onera Satellite Change Detection dataset - {} Labels"
SPLITS = ("train", "test")
SIDE = 96
QUANTILES = {"B04": (426.0, 3698.0), "B03": (667.0, 2969.0), "B02": (885.0, 2620.0)}
"""Lowest and highest DN of the published input."""
INPUT = SensorCard(
    bands=tuple(QUANTILES),
    units="1",
    gsd=10.0,
    curve="clip",
    low=tuple(low / 1e4 for low, _ in QUANTILES.values()),
    high=tuple(high / 1e4 for _, high in QUANTILES.values()),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
)
EPOCHS = 100
BATCH = 32


def open_oscd(
    folder: str | os.PathLike[str], *, bands: Sequence[str] = INPUT.bands, side: int = SIDE
) -> xr.Dataset:
    """Open OSCD's cities lazily, as a collection of tiles of two dates.

    Parameters
    ----------
    folder : path
        Holds ``Onera Satellite Change Detection dataset - Images/<city>/imgs_1_rect/B02.tif`` and
        so on with ``train.txt`` and ``test.txt``, and ``… - Train Labels`` and ``… - Test Labels``
        with ``<city>/cm/<city>-cm.tif``.
    bands : sequence of str
        Which; red, green and blue as published.
    side : int, default 96
        Of a tile, pixels. Cities differ in size, so that they are cut, from the upper left.

    Returns
    -------
    Dataset
        ``s2 (location, date, s2_band, y, x)`` float32 top-of-atmosphere reflectance, NaN beyond a
        city's edge; ``label (location, y, x)`` uint8 with the legend `CHANGE`, 255 there; lazy.
        Coords on ``location``: name, ``split``, ``city``, ``row`` and ``col``.

    Raises
    ------
    SourceError
        If images, labels or lists are missing.
    DataError
        If a list names a city that is not there.

    References
    ----------
    Daudt et al. (2018), Urban change detection for multispectral Earth observation.

    Examples
    --------
    >>> tiles = open_oscd(files["oscd"])
    >>> tiles.s2.dims, tiles.label.dtype
    (('location', 'date', 's2_band', 'y', 'x'), dtype('uint8'))
    """
    root = Path(folder)
    images = find_folder(root, (IMAGES, "."), holds="*/imgs_1_rect/B02.tif")
    tiles = pd.concat([_lay_tiles(root, images, split, side) for split in SPLITS])
    dates = []
    for date in (1, 2):
        files = [
            [str(images / city / f"imgs_{date}_rect" / f"{band}.tif") for band in bands]
            for city in tiles["city"]
        ]
        dates.append(_stack_windows(files, tiles, side))
    import dask.array as da

    coords = {
        "location": tiles["name"].to_numpy(object),
        "split": ("location", tiles["split"].to_numpy(object)),
        "city": ("location", tiles["city"].to_numpy(object)),
        "row": ("location", tiles["row"].to_numpy()),
        "col": ("location", tiles["col"].to_numpy()),
    }
    dims = ("location", "date", "band", "y", "x")
    pixels = xr.DataArray(da.stack(dates, axis=1), coords | {"band": list(bands)}, dims)
    cube = as_cube(s2=pixels, s2_scale=1e-4)
    truth = _stack_windows([[name] for name in tiles["label"]], tiles, side)[:, 0]
    # 1 and 2 in the files; NaN beyond the edge.
    codes = da.where(da.isnan(truth), NO_LABEL, truth > 1).astype("uint8")
    cube["label"] = (("location", "y", "x"), codes, CHANGE.attrs)
    return cube.assign_attrs(title="OSCD")


def _lay_tiles(root: Path, images: Path, split: str, side: int) -> pd.DataFrame:
    import rasterio

    listed = find_file([images, root], [f"{split}.txt"]).read_text(encoding="utf-8")
    cities = [name.strip() for name in listed.replace("\n", ",").split(",") if name.strip()]
    check_listed(cities, [p.name for p in images.iterdir()], where=images)
    rows = []
    for city in cities:
        label = root / LABELS.format(split.capitalize()) / city / "cm" / f"{city}-cm.tif"
        if not label.is_file():
            raise SourceError(
                problem(
                    expected=f"the labels of {city}, {label.relative_to(root)}",
                    received=f"none in {root}",
                    do=f"unpack '{LABELS.format(split.capitalize())}' beside the images",
                )
            )
        with rasterio.open(images / city / "imgs_1_rect" / "B02.tif") as file:
            height, width = file.shape
        rows += [
            {"name": f"{city}_{row}_{col}", "split": split, "city": city, "row": row, "col": col,
             "label": str(label)}
            for row in range(0, height, side) for col in range(0, width, side)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def _stack_windows(files: list[list[str]], tiles: pd.DataFrame, side: int) -> Any:
    """Stack windows of files, whose corners travel with their names."""
    placed = [
        [f"{row},{col}", *names]
        for row, col, names in zip(tiles["row"], tiles["col"], files, strict=True)
    ]
    read = partial(_read_window, side=side)
    return stack_files(placed, read, shape=(len(files[0]), side, side), dtype="float32", chunk=8)


def _read_window(placed: list[str], *, side: int) -> npt.NDArray[np.float32]:
    import rasterio
    from rasterio.windows import Window

    corner, *names = placed
    row, col = map(int, corner.split(","))
    result = np.full((len(names), side, side), np.nan, np.float32)
    for band, name in zip(result, names, strict=True):
        with rasterio.open(name) as file:
            height, width = min(side, file.height - row), min(side, file.width - col)
            band[:height, :width] = file.read(1, window=Window(col, row, width, height))
    return result


def run_oscd(
    dataset: xr.Dataset, model: Model, *, options: ReproduceOptions | None = None
) -> pd.DataFrame:
    """Train a U-Net on the difference of frozen features, and find changes in the test cities.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_oscd`.
    model : Model
        With an encoder for Sentinel-2.
    options : ReproduceOptions, optional
        How long it trains, how often, and whether with the published input.

    Returns
    -------
    DataFrame
        Precision, recall and F1 of change in percent over all pixels of the test cities, as
        :func:`xcontrast.protocols.tables.published`.

    Raises
    ------
    DataError
        If the model takes bands that the dataset lacks.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4.3 and its public code.

    Examples
    --------
    >>> from xcontrast.protocols.encoders import make_random
    >>> from xcontrast.protocols.options import ReproduceOptions
    >>> untrained = make_random({"s2": INPUT}, encoder="test_resnet")
    >>> options = ReproduceOptions(max_steps=1, batch_size=2)
    >>> list(run_oscd(open_oscd(files["oscd"]), untrained, options=options).task)
    ['precision', 'recall', 'F1']
    """
    options = options or ReproduceOptions()
    if options.paper_compat:
        model = rescale(model, "s2", INPUT)
    missing = set(model.card.sensors["s2"].bands) - set(dataset["s2_band"].values)
    if missing:
        raise DataError(
            problem(
                expected="a model of the bands that were opened",
                received=f"one that also takes {', '.join(sorted(missing))}",
                do="open them: open_oscd(folder, bands=...)",
            )
        )
    train, test = (dataset.isel(location=dataset["split"].values == s) for s in SPLITS)
    found = []
    for seed in range(options.seed, options.seed + options.repeats):
        label = _train_and_map(train, test, model, seed, options)
        found.append(change_scores(label, test["label"], legend=CHANGE, category="change"))
    return pd.DataFrame(
        summarise(task, model.card.method, [own[task] for own in found]) for task in found[0]
    )


def _train_and_map(
    train: xr.Dataset, test: xr.Dataset, model: Model, seed: int, options: ReproduceOptions
) -> xr.DataArray:
    size = options.batch_size or BATCH
    n_steps = EPOCHS * max(1, train.sizes["location"] // size)
    segmenter = finetune(
        train[["s2"]],
        train["label"],
        model,
        legend=CHANGE,
        decoder="unet",
        max_steps=options.limit(n_steps),
        batch_size=size,
        options=FinetuneOptions.paper("oscd", val_fraction=0.0, seed=seed, device=options.device),
    )
    label: xr.DataArray = predict(test[["s2"]], segmenter)["label"]
    return label


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper's code does."""
    edges = "what lies beyond a city's edge is left out, not taken as black ground without change"
    pooled = "scores are of all pixels together after the last epoch, not means over batches"
    if options.paper_compat:
        return [edges, pooled]
    return [
        "images are scaled as the model's card says, not from quantiles (but for a random model)",
        edges,
        pooled,
    ]
