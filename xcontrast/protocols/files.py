"""Folders of images as one lazy array, and what is said when a layout is not the official one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, SourceError, problem

__all__ = [
    "check_listed",
    "find_file",
    "find_folder",
    "read_bands",
    "read_picture",
    "read_raster",
    "stack_files",
]

Read = Callable[[list[str]], npt.NDArray[Any]]
"""From the files of one place to its image."""


def find_folder(root: Path, names: Sequence[str], *, holds: str) -> Path:
    """Find the first of several folders that is there.

    Parameters
    ----------
    root : Path
        Where the data set lies.
    names : sequence of str
        Below it, the official one first; ``"."`` is the root itself.
    holds : str
        What it is recognised by: a pattern of which it must hold a match.

    Returns
    -------
    Path

    Raises
    ------
    SourceError
        If none holds it.
    """
    for name in names:
        if next((root / name).glob(holds), None) is not None:
            return root / name
    raise SourceError(
        problem(
            expected=f"the official layout, with {Path(names[0]) / holds} below the folder",
            received=f"{root}, which {'holds no such file' if root.is_dir() else 'does not exist'}",
            do="unpack the data set there and give that folder; the page 'The papers' tables' of "
            "the docs shows the layout",
        )
    )


def find_file(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """Find the first of several files that is there.

    Parameters
    ----------
    folders : sequence of Path
        Where it may lie.
    names : sequence of str
        What it may be called, the official name first.

    Returns
    -------
    Path

    Raises
    ------
    SourceError
        If none is there.
    """
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise SourceError(
        problem(
            expected=f"the file {' or '.join(names)}",
            received=f"none in {', '.join(map(str, dict.fromkeys(folders)))}",
            do="fetch it from where the page 'The papers' tables' of the docs says",
        )
    )


def check_listed(listed: Sequence[str], present: Collection[str], *, where: Path) -> None:
    """Refuse a list that names what is not there.

    Parameters
    ----------
    listed : sequence of str
        Names in a split.
    present : collection of str
        Names of what is there.
    where : Path
        Where they should lie.

    Raises
    ------
    DataError
        If one is missing, or nothing is listed.
    """
    there = set(present)
    missing = [name for name in listed if name not in there]
    if missing or not listed:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            problem(
                expected=f"every image that the split lists in {where}",
                received=f"no {', '.join(missing[:3])}{more}" if missing else "an empty list",
                do="unpack the data set whole, or cut the lists to what there is",
            )
        )


def stack_files(
    files: Sequence[Sequence[str]],
    read: Read,
    *,
    shape: tuple[int, ...],
    dtype: str,
    chunk: int = 1,
) -> Any:
    """Stack the images of many places, each read in a task.

    Parameters
    ----------
    files : sequence of sequence of str
        Of each place.
    read : callable
        From a place's files to its image.
    shape : tuple of int
        Of an image.
    dtype : str
        Of an image.
    chunk : int, default 1
        Places a task.

    Returns
    -------
    dask array (location, *shape)
    """
    import dask.array as da

    names = np.empty((len(files), len(files[0])), object)
    names[:] = files
    source = da.from_array(names, chunks=(chunk, -1))
    return source.map_blocks(
        _read_np,
        read=read,
        shape=shape,
        drop_axis=1,
        new_axis=list(range(1, 1 + len(shape))),
        chunks=(source.chunks[0], *((n,) for n in shape)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype),
    )


def _read_np(
    names: npt.NDArray[Any], *, read: Read, shape: tuple[int, ...]
) -> npt.NDArray[np.generic]:
    images = []
    for files in names:
        try:
            image = read(list(files))
        except OSError as error:
            # PIL's and rasterio's errors of reading are both OSErrors.
            raise SourceError(
                problem(
                    expected="a readable image",
                    received=f"{files[0]} ({error})",
                    do="unpack the data set again",
                )
            ) from error
        if image.shape != shape:
            raise DataError(
                problem(
                    expected=f"{_tell(shape)}, as the data set is published",
                    received=f"{_tell(image.shape)} in {files[0]}",
                    do="use the official files, neither cut nor converted",
                )
            )
        images.append(image)
    return np.stack(images)


def _tell(shape: tuple[int, ...]) -> str:
    bands = f"{shape[0]} bands of " if len(shape) == 3 else ""
    return f"{bands}{' x '.join(map(str, shape[-2:]))} px"


def read_picture(files: list[str]) -> npt.NDArray[np.uint8]:
    """Read a JPEG or PNG: (C, H, W), or (H, W) if grey."""
    from PIL import Image

    with Image.open(files[0]) as picture:
        values = np.asarray(picture)
    return np.moveaxis(values, -1, 0) if values.ndim == 3 else values


def read_raster(files: list[str]) -> npt.NDArray[Any]:
    """Read all bands of one GeoTIFF: (C, H, W), or (H, W) if it has one."""
    import rasterio

    with rasterio.open(files[0]) as file:
        values: npt.NDArray[Any] = file.read()
    return values[0] if len(values) == 1 else values


def read_bands(files: list[str], *, side: int) -> npt.NDArray[np.float32]:
    """Read a GeoTIFF a band at one size, bilinearly where a band is coarser: (C, side, side)."""
    import rasterio
    from rasterio.enums import Resampling

    bands = np.empty((len(files), side, side), np.float32)
    for band, name in zip(bands, files, strict=True):
        with rasterio.open(name) as file:
            file.read(1, out=band, resampling=Resampling.bilinear)
    return bands
