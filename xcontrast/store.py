"""Zarr on disk: written whole or not at all, with types and attributes that survive."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xcontrast.conventions import drop_levels
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.progress import track

__all__ = ["local_path", "make_storable", "write_zarr"]


def write_zarr(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Compute a lazy cube, embedding or map block by block into a Zarr 3 store.

    Parameters
    ----------
    obj : Dataset or DataArray
        What to write; a DataArray needs a name.
    path : path
        The store, ``something.zarr``.
    overwrite : bool, default False
        Replace a store that is there, once the new one is whole.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    Path

    Raises
    ------
    SourceError
        If the store is there and `overwrite` is not set, or it is an address, such as ``s3://``.
    DataError
        If a DataArray has no name.

    Notes
    -----
    Labels stay uint8: their 255 is named by the attribute ``nodata``, which rioxarray reads and
    which, unlike ``_FillValue``, does not turn them into floats on opening.

    Examples
    --------
    >>> path = xc.write_zarr(cube, folder / "cube.zarr", progress=False)
    >>> xr.open_zarr(path).s1.dtype
    dtype('float32')
    """
    target = local_path(path)
    if target.exists() and not overwrite:
        raise SourceError(
            problem(
                expected="a store that does not exist yet",
                received=str(target),
                do="choose another path, or set overwrite=True",
            )
        )
    data = _to_dataset(obj)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _bar(progress), warnings.catch_warnings():
            # Zarr 3 has settled neither text nor gathered metadata; both are read back as written,
            # and without the latter xarray opens more slowly and warns.
            warnings.simplefilter("ignore", UserWarning)
            make_storable(data).to_zarr(partial, zarr_format=3, consolidated=True)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def local_path(path: str | os.PathLike[str]) -> Path:
    """Give the path of a store on disk: elsewhere it could not be made whole by a renaming.

    Parameters
    ----------
    path : path
        Of the store.

    Returns
    -------
    Path

    Raises
    ------
    SourceError
        If it is an address.
    """
    # Two letters at least: one is a drive. A Path has made one slash of two.
    if re.match(r"[A-Za-z][\w+.:-]+:/", str(path)):
        raise SourceError(
            problem(
                expected="a path on a disk of this machine",
                received=str(path),
                do="write to a local path, then copy the store to where it belongs",
            )
        )
    return Path(path)


def _to_dataset(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj
    if not isinstance(obj, xr.DataArray) or obj.name is None or obj.name in obj.coords:
        named = f"a DataArray named {obj.name!r}" if isinstance(obj, xr.DataArray) else repr(obj)
        raise DataError(
            problem(
                expected="a Dataset, or a DataArray with a name of its own",
                received=named if len(named) < 80 else f"{named[:80]} …",
                do="name it: array.rename('label')",
            )
        )
    return obj.to_dataset()


def make_storable(data: xr.Dataset) -> xr.Dataset:
    """Even out chunks, drop encodings of the source, and make attributes JSON.

    Parameters
    ----------
    data : Dataset
        Any; it is left as it is.

    Returns
    -------
    Dataset
    """
    data = data.drop_encoding()
    data.attrs = _plain(drop_levels(data.attrs))
    for variable in data.variables.values():
        variable.attrs = _plain(variable.attrs)
        # Of each variable apart: sensors may be chunked differently along dims that they share.
        uneven = {dim: max(sizes) for dim, sizes in variable.chunksizes.items() if _uneven(sizes)}
        if uneven:
            variable.data = variable.chunk(uneven).data
    return data


def _uneven(sizes: tuple[int, ...]) -> bool:
    """Tell whether Zarr cannot hold such chunks: all but the last are of one length there."""
    return len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]


def _plain(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Keep numbers, text and lists of them; a mapping becomes JSON text, None is dropped."""
    plain: dict[str, Any] = {}
    for key, value in attrs.items():
        own = _plain_value(value)
        if own is not None:
            plain[str(key)] = json.dumps(own) if isinstance(own, dict) else own
    return plain


def _plain_value(value: Any) -> Any:
    """Make what JSON cannot hold numbers, lists or text, at any depth."""
    if isinstance(value, np.ndarray):
        return _plain_value(list(value) if value.ndim else value[()])
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        return _plain_value(value.item())  # Of times it would be a bare number: these become text.
    if isinstance(value, dict):
        return {str(key): _plain_value(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(own) for own in value]
    return value if isinstance(value, str | int | float | None) else str(value)


@contextmanager
def _bar(progress: bool) -> Iterator[None]:
    """Show how many tasks are done, whichever local scheduler runs them."""
    if not progress:
        yield
        return
    from dask.callbacks import Callback

    bar = track(what="writing", unit="task")

    def start(_dsk: Any, state: Any) -> None:
        bar.reset(total=len(state["ready"]) + len(state["waiting"]))

    def step(*_: Any) -> None:
        bar.update(1)

    with Callback(start_state=start, posttask=step):
        yield
    bar.close()
