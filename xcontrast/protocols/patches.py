"""BigEarthNet's patches as a lazy collection: folders, lists, labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.cubes.arrays import as_cube
from xcontrast.protocols.corine import CATEGORIES, encode_labels
from xcontrast.protocols.files import (
    check_listed,
    find_file,
    find_folder,
    read_bands,
    stack_files,
)

__all__ = ["BANDS", "open_bigearthnet", "open_patches"]

BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
)  # fmt: skip
S2_FOLDERS = ("BigEarthNet-v1.0", "BigEarthNet-S2-v1.0", ".")
S1_FOLDERS = ("BigEarthNet-S1-v1.0", ".")
BAD = ("patches_with_seasonal_snow.csv", "patches_with_cloud_and_shadow.csv")
SPLITS = ("train", "val", "test")
SIDE = 120


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
    return open_patches(table)


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


def open_patches(table: pd.DataFrame, bands: Sequence[str] = BANDS) -> xr.Dataset:
    """Open the patches of a table lazily.

    Parameters
    ----------
    table : DataFrame
        Columns ``patch``, ``split``, ``folder`` and perhaps ``s1``, the folder of its other sensor.
    bands : sequence of str, optional
        Of Sentinel-2, all 12 by default.

    Returns
    -------
    Dataset
        As of :func:`open_bigearthnet`.
    """
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


def _name_files(folders: Iterable[str], ends: list[str]) -> list[list[str]]:
    return [[f"{folder}/{Path(folder).name}_{end}" for end in ends] for folder in folders]


def _read_labels(files: list[str]) -> npt.NDArray[np.uint8]:
    facts = json.loads(Path(files[0]).read_text(encoding="utf-8"))
    return encode_labels(facts["labels"], source=files[0])
