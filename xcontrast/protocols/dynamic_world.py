"""Dynamic World's expert labels: land cover under the dual-encoder paper's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.errors import DataError, problem
from xcontrast.legends import DYNAMIC_WORLD, NO_LABEL
from xcontrast.model import Model
from xcontrast.protocols.files import check_listed, find_file, find_folder, read_raster, stack_files
from xcontrast.protocols.metrics import overall_accuracy
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.segmenting import Share, follow_shares
from xcontrast.protocols.subsets import hold_out
from xcontrast.sensors import SENSORS

__all__ = ["depart", "open_dynamic_world", "run_dynamic_world"]

BANDS = {"s1": ("vv", "vh"), "s2": ("B04", "B03", "B02")}
SIDE = 510
HELD = 4_598 / 22_891
"""Share of the training tiles that the paper holds out for validation."""
STEPS = 100_000
SHARES = (Share("1 %", 0.01, 5), Share("10 %", 0.1, 5), Share("100 %", 1.0, 3))


def open_dynamic_world(
    folder: str | os.PathLike[str],
    *,
    sensors: Sequence[Literal["s1", "s2"]] = ("s1", "s2"),
    seed: int = 42,
) -> xr.Dataset:
    """Open labelled tiles of Dynamic World with images of one's own lazily, as a collection.

    The labels are published without images, so that the layout is ours.

    Parameters
    ----------
    folder : path
        Holds ``label/<id>.tif`` as published (0 not marked, 1 to 9 the categories, 10 cloud),
        ``s1/<id>.tif`` (VV and VH, dB, float) and ``s2/<id>.tif`` (red, green and blue, DN of
        10,000 a reflectance of 1, 0 is no data) on the same pixels, and ``train.txt`` and
        ``test.txt`` with ids line by line.
    sensors : sequence of {"s1", "s2"}
        Which images.
    seed : int, default 42
        Draws the fifth of the training tiles that is held out for validation.

    Returns
    -------
    Dataset
        ``s1`` and ``s2 (location, …_band, y, x)`` float32 in dB and reflectance, NaN where
        invalid; ``label (location, y, x)`` uint8 with the legend ``DYNAMIC_WORLD``, 255 where not
        marked or cloudy; 510 x 510 px, lazy. Coords on ``location``: id and ``split`` (train,
        valid, test).

    Raises
    ------
    SourceError
        If labels or lists are missing.
    DataError
        If a list names a tile without label or image, or, when it is read, a label has another
        code, or a tile another size or other bands.

    References
    ----------
    Tait et al. (2021), doi 10.1594/PANGAEA.933475, supplement to Brown et al. (2022), Dynamic
    World.

    Examples
    --------
    >>> tiles = open_dynamic_world(files["dynamic_world"])
    >>> list(tiles.data_vars), tiles.s2.shape
    (['s1', 's2', 'label'], (11, 3, 510, 510))
    """
    root = find_folder(Path(folder), (".",), holds="label/*.tif")
    train, test = (
        find_file([root], [f"{split}.txt"]).read_text(encoding="utf-8").split()
        for split in ("train", "test")
    )
    held = hold_out(len(train), round(HELD * len(train)), seed=seed)
    names = [*train, *test]
    split = np.array([*np.where(held, "valid", "train"), *["test"] * len(test)], object)
    for kind in (*sensors, "label"):
        check_listed(names, [f.stem for f in (root / kind).glob("*.tif")], where=root / kind)
    coords = {"location": np.array(names, object), "split": ("location", split)}
    files = {kind: [[str(root / kind / f"{n}.tif")] for n in names] for kind in (*BANDS, "label")}
    given: dict[str, Any] = {}
    for sensor in SENSORS:
        bands = BANDS[sensor.name]
        if sensor.name in sensors:
            dtype, shape = "float32" if sensor.name == "s1" else "uint16", (len(bands), SIDE, SIDE)
            pixels = stack_files(files[sensor.name], read_raster, shape=shape, dtype=dtype)
            dims = ("location", "band", "y", "x")
            given[sensor.name] = xr.DataArray(pixels, coords | {"band": list(bands)}, dims)
    cube = as_cube(s1=given.get("s1"), s2=given.get("s2"), s2_scale=1e-4)
    codes = stack_files(files["label"], _read_label, shape=(SIDE, SIDE), dtype="uint8")
    cube["label"] = (("location", "y", "x"), codes, DYNAMIC_WORLD.attrs)
    return cube.assign_attrs(title="Dynamic World, expert labels")


def _read_label(files: list[str]) -> npt.NDArray[np.uint8]:
    """Give codes from 0; 0 (not marked) and 10 (cloud) become 255."""
    codes = read_raster(files)
    unknown = np.setdiff1d(codes, np.arange(11))
    if len(unknown):
        raise DataError(
            problem(
                expected="codes 0 (not marked), 1 to 9 and 10 (cloud)",
                received=f"also {', '.join(map(str, unknown[:5]))} in {files[0]}",
                do="use the published labels of Dynamic World, not its maps",
            )
        )
    known = (codes >= 1) & (codes <= len(DYNAMIC_WORLD.codes))
    return np.where(known, codes - 1, NO_LABEL).astype(np.uint8)


def run_dynamic_world(
    dataset: xr.Dataset, model: Model, *, options: ReproduceOptions | None = None
) -> pd.DataFrame:
    """Fine-tune each encoder under DeepLabV3+ on 1 %, 10 % and all of the training tiles.

    The learning rate is the best of four on the validation tiles, with all training tiles.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_dynamic_world`.
    model : Model
        With an encoder for Sentinel-1, Sentinel-2 (red, green and blue) or both; those of the
        dataset's sensors are run.
    options : ReproduceOptions, optional
        How long it trains, and the seed of subsets and weights.

    Returns
    -------
    DataFrame
        Overall accuracy in percent over all marked pixels of the test tiles, as
        :func:`xcontrast.protocols.tables.published`: mean and deviation over five subsets without
        overlap, and over three runs with all.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 4.

    Examples
    --------
    Days: dozens of trainings, each of 100,000 steps.

    >>> run_dynamic_world(open_dynamic_world("data/dynamic_world"), model)  # doctest: +SKIP
    """
    tables = []
    for sensor in (s for s in model.sensors if s in dataset.data_vars):
        rows = follow_shares(
            dataset,
            model,
            sensor=sensor,
            legend=DYNAMIC_WORLD,
            shares=SHARES,
            n_steps=STEPS,
            metric=lambda label, truth: overall_accuracy(label, truth, legend=DYNAMIC_WORLD),
            options=options or ReproduceOptions(),
        )
        tables.append(rows.assign(task=[f"{sensor}, {task}" for task in rows["task"]]))
    if not tables:
        raise DataError(
            problem(
                expected="a model with an encoder for a sensor of the data",
                received=f"one for {', '.join(model.sensors)}",
                do="open the sensor that the model has: sensors=...",
            )
        )
    return pd.concat(tables, ignore_index=True)


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper did."""
    del options  # There is no published code to follow.
    return [
        "images are those that you fetched: the labels are published without any",
        "the paper's subsets and validation tiles are not published: others, fixed by the seed",
        "pixels without a valid image are left out, and not scored as dark ones",
    ]
