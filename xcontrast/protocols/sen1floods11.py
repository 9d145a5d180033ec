"""Sen1Floods11: water from Sentinel-1 under the dual-encoder paper's protocol."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.model import Model
from xcontrast.protocols.files import check_listed, find_file, find_folder, read_raster, stack_files
from xcontrast.protocols.metrics import iou_of
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.segmenting import Share, follow_shares

__all__ = ["WATER", "depart", "open_sen1floods11", "run_sen1floods11"]

WATER = Legend(
    title="water", codes=(0, 1), names=("dry", "water"), colors=("#e8e2d0", "#1f6fb4")
)  # fmt: skip
SPLITS = ("train", "valid", "test", "bolivia")
SIDE = 512
S2_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
STEPS = 20_000
SHARES = (Share("10 %", 0.1, 5), Share("100 %", 1.0, 3))
"""No 1 %: there are 252 training images."""


def open_sen1floods11(
    folder: str | os.PathLike[str], *, sensors: Sequence[Literal["s1", "s2"]] = ("s1",)
) -> xr.Dataset:
    """Open the hand-labelled chips of Sen1Floods11 lazily, as a collection.

    Parameters
    ----------
    folder : path
        Holds ``v1.1/data/flood_events/HandLabeled`` and ``v1.1/splits/flood_handlabeled``, or is
        ``v1.1`` itself.
    sensors : sequence of {"s1", "s2"}
        Which images; the paper has Sentinel-1 alone.

    Returns
    -------
    Dataset
        ``s1 (location, s1_band, y, x)`` float32 dB and perhaps ``s2``, 13 bands of
        top-of-atmosphere reflectance, NaN where invalid; ``label (location, y, x)`` uint8 with
        the legend `WATER`, 255 where not labelled; 512 x 512 px, lazy. Coords on ``location``:
        chip name, ``split`` (train, valid, test and bolivia, the event that is held out whole)
        and ``event``. The chips' grids differ, so that there are no ``y`` and ``x`` coords.

    Raises
    ------
    SourceError
        If images, labels or splits are missing.
    DataError
        If a split names a chip that is not there, or, when it is read, a chip has another size or
        other bands.

    References
    ----------
    Bonafilia et al. (2020), Sen1Floods11, version 1.1.

    Examples
    --------
    >>> floods = open_sen1floods11(files["sen1floods11"])
    >>> floods.s1.shape, sorted(set(floods.split.values))
    ((13, 2, 512, 512), ['bolivia', 'test', 'train', 'valid'])
    """
    root = Path(folder)
    base = find_folder(root, ("v1.1", "."), holds="data/flood_events/HandLabeled/S1Hand/*.tif")
    hand = base / "data" / "flood_events" / "HandLabeled"
    table = pd.concat(
        [_read_split(base / "splits" / "flood_handlabeled", split) for split in SPLITS],
        ignore_index=True,
    )
    folders = {"s1": "S1Hand", "s2": "S2Hand"}
    wanted = {name: folders[name] for name in sensors} | {"label": "LabelHand"}
    files = {}
    for name, kind in wanted.items():
        own = [f"{chip}_{kind}.tif" for chip in table["chip"]]
        check_listed(own, [f.name for f in (hand / kind).glob("*.tif")], where=hand / kind)
        files[name] = [[str(hand / kind / file)] for file in own]
    coords = {
        "location": table["chip"].to_numpy(object),
        "split": ("location", table["split"].to_numpy(object)),
        "event": ("location", table["chip"].str.rsplit("_", n=1).str[0].to_numpy(object)),
    }
    given = {}
    for name, bands in (("s1", ("vv", "vh")), ("s2", S2_BANDS)):
        if name in sensors:
            shape, kind = (len(bands), SIDE, SIDE), "float32" if name == "s1" else "int16"
            pixels = stack_files(files[name], read_raster, shape=shape, dtype=kind)
            dims = ("location", "band", "y", "x")
            given[name] = xr.DataArray(pixels, coords | {"band": list(bands)}, dims)
    cube = as_cube(s1=given.get("s1"), s2=given.get("s2"), s2_scale=1e-4)
    codes = stack_files(files["label"], _read_label, shape=(SIDE, SIDE), dtype="uint8")
    cube["label"] = (("location", "y", "x"), codes, WATER.attrs)
    return cube.assign_attrs(title="Sen1Floods11, labelled by hand")


def _read_split(folder: Path, split: str) -> pd.DataFrame:
    name = f"flood_{split}_data.csv"
    with find_file([folder], [name]).open(encoding="utf-8", newline="") as file:
        chips = [row[0].strip().removesuffix("_S1Hand.tif") for row in csv.reader(file) if row]
    return pd.DataFrame({"chip": chips, "split": split}, dtype=object)


def _read_label(files: list[str]) -> npt.NDArray[np.uint8]:
    """Give codes; -1 is not labelled."""
    codes = read_raster(files)
    return np.where(np.isin(codes, WATER.codes), codes, NO_LABEL).astype(np.uint8)


def run_sen1floods11(
    dataset: xr.Dataset, model: Model, *, options: ReproduceOptions | None = None
) -> pd.DataFrame:
    """Fine-tune an encoder under DeepLabV3+ on a tenth and on all of the training chips.

    The learning rate is the best of four on the validation chips, with all training chips.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_sen1floods11`.
    model : Model
        With an encoder for Sentinel-1.
    options : ReproduceOptions, optional
        How long it trains, and the seed of subsets and weights.

    Returns
    -------
    DataFrame
        IoU of water, in percent, over all pixels of the test chips, as
        :func:`xcontrast.protocols.tables.published`: mean and deviation over five subsets without
        overlap, and over three runs with all.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 4.

    Examples
    --------
    Hours: a dozen trainings, each of 20,000 steps or more.

    >>> run_sen1floods11(open_sen1floods11("data/sen1floods11"), model)  # doctest: +SKIP
    """
    return follow_shares(
        dataset,
        model,
        sensor="s1",
        legend=WATER,
        shares=SHARES,
        n_steps=STEPS,
        metric=lambda label, truth: iou_of(label, truth, legend=WATER, category="water"),
        options=options or ReproduceOptions(),
    )


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper did."""
    del options  # There is no published code to follow.
    return [
        "the paper's subsets are not published: five others, fixed by the seed",
        "pixels without a valid image are left out, and not scored as dark ones",
    ]
