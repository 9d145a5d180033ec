"""A Zarr store that is filled region by region, by many processes, and can be gone on with.

A region is a whole number of files, so that no two writers touch one. It is marked as done after
its values are on disk; what is not marked is written again.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xcontrast.conventions import state_grid
from xcontrast.errors import SourceError, problem
from xcontrast.store import make_storable

__all__ = ["Region", "RegionStore"]

STATED = "xcontrast_plan"
"""Attribute of the store: what it was begun with."""
COMPLETE = "xcontrast_complete"
IDENTITY = "xcontrast_store"
"""Attribute of the store: drawn when it was created, so that no other's marks are taken for its."""
UNTOLD = ("source", "options")
"""Of what a store is begun with, compared only where both tell it."""
MARKS = ".done"
"""Ends the name of a folder beside the store, with a file for each region that is done."""
CHUNK_BYTES = 4e6
"""Values in a chunk, about."""
FILES = 16
"""Chunks of a region that may be a file each; more are gathered in a shard, which fewer tools read.
"""


@dataclass(frozen=True)
class Region:
    """A part of the store that is written at once."""

    name: str
    """Its indices, joined by dots."""
    slices: tuple[tuple[str, int, int], ...]
    """Dim, first index, one past the last."""

    @property
    def indexers(self) -> dict[str, slice]:
        """As ``isel`` and ``to_zarr(region=...)`` take them."""
        return {dim: slice(first, last) for dim, first, last in self.slices}


@dataclass(frozen=True)
class RegionStore:
    """A store of one lazy Dataset, and which of its regions are done."""

    path: Path
    sizes: Mapping[str, int]
    """Of the dims that are divided."""
    steps: Mapping[str, int]
    """Length of a region along each of them."""
    names: tuple[str, ...]
    """Variables that are filled; all others were written with the description."""
    identity: str = ""
    """Of the very store that was opened: another may come to lie at its path."""

    @classmethod
    def open(
        cls,
        lazy: xr.Dataset,
        path: str | os.PathLike[str],
        *,
        steps: Mapping[str, int],
        stated: Mapping[str, Any],
    ) -> RegionStore:
        """Create a store for a Dataset, empty, or find the one that was begun.

        Parameters
        ----------
        lazy : Dataset
            What it shall hold; only its description and its coords in memory are written.
        path : path
            The store, ``something.zarr``.
        steps : mapping of str to int
            Length of a region by dim; other dims are not divided.
        stated : mapping
            What the values depend on, as JSON: a store that was begun with another is refused.

        Returns
        -------
        RegionStore

        Raises
        ------
        SourceError
            If something else is there.
        """
        target = Path(path)
        told = {**stated, "sizes": dict(lazy.sizes), "steps": dict(steps)}
        text = json.dumps(told, sort_keys=True, default=str)
        if target.exists():
            identity = _check_same(target, text)
        else:
            identity = _create(make_storable(lazy), target, steps, text)
        sizes = {dim: lazy.sizes[dim] for dim in steps}
        lazily = {str(k) for k, v in lazy.variables.items() if v.chunks is not None}
        names = sorted(k for k in lazily if set(lazy[k].dims) & set(steps))
        return cls(target, sizes, dict(steps), tuple(names), identity)

    def absolute(self) -> RegionStore:
        """Give the same store by its whole path, for processes that work in other folders."""
        return replace(self, path=self.path.absolute())

    def __iter__(self) -> Iterator[Region]:
        """Give all regions, in the order of their indices."""
        counts = [range(-(-self.sizes[dim] // step)) for dim, step in self.steps.items()]
        for place in itertools.product(*counts):
            spans = (
                (dim, i * step, min((i + 1) * step, self.sizes[dim]))
                for i, (dim, step) in zip(place, self.steps.items(), strict=True)
            )
            yield Region(".".join(map(str, place)), tuple(spans))

    def __len__(self) -> int:
        """Count all regions."""
        counts = [-(-self.sizes[dim] // step) for dim, step in self.steps.items()]
        return int(np.prod(counts))

    @property
    def marks(self) -> Path:
        """Where it is noted which regions are done, until all are."""
        return self.path.with_name(f".{self.path.name}.{self.identity}{MARKS}")

    def pending(self) -> list[Region]:
        """Give the regions that are not done."""
        if _read_attrs(self.path).get(COMPLETE):
            return []
        done = {file.name for file in self.marks.glob("*")}
        return [region for region in self if region.name not in done]

    def write(self, region: Region, values: xr.Dataset) -> None:
        """Write the values of a region; :meth:`mark` it when they are all that it shall hold.

        Parameters
        ----------
        region : Region
            Which.
        values : Dataset
            Its part of the Dataset, computed.

        Raises
        ------
        SourceError
            If another store lies at its path by now.
        """
        if _read_attrs(self.path).get(IDENTITY) != self.identity:
            raise SourceError(
                problem(
                    expected="the store that was planned",
                    received=f"{self.path}, created anew since",
                    do="plan again, and run that plan",
                )
            )
        part = make_storable(values.reset_coords()[list(self.names)])
        part = part.drop_vars([name for name in part.variables if name not in self.names])
        with _quiet():
            part.to_zarr(self.path, region=region.indexers, consolidated=False)

    def mark(self, region: Region) -> None:
        """Note that a region is done.

        Parameters
        ----------
        region : Region
            Which; its values have been written.
        """
        attrs = _read_attrs(self.path)
        if attrs.get(COMPLETE) or attrs.get(IDENTITY) != self.identity:
            return  # Completed or created anew by another process: nobody would remove the mark.
        self.marks.mkdir(exist_ok=True)
        (self.marks / region.name).touch()

    def finish(self) -> bool:
        """State in the store whether all regions are done, and say so."""
        whole = not self.pending()
        self.describe({COMPLETE: whole})
        if whole:
            shutil.rmtree(self.marks, ignore_errors=True)
        return whole

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Add attributes to the store, and gather what it says of all that is in it.

        Parameters
        ----------
        attrs : mapping
            As JSON takes them.
        """
        import zarr

        # What a killed run began within it would be gathered too.
        for left in self.path.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        with _quiet():
            zarr.open_group(str(self.path), mode="r+").attrs.update(attrs)
            zarr.consolidate_metadata(str(self.path))

    def require_whole(self) -> None:
        """Refuse a store of which regions are not done.

        Raises
        ------
        SourceError
            With their number.
        """
        if left := len(self.pending()):
            raise SourceError(
                problem(
                    expected="a store of which all tiles are done",
                    received=f"{self.path}, {left} of {len(self)} not done",
                    do="run the plan to its end first; it makes only what is missing",
                )
            )


def _read_attrs(path: Path) -> dict[str, Any]:
    import zarr

    return dict(zarr.open_group(str(path), mode="r").attrs)


def _create(lazy: xr.Dataset, target: Path, steps: Mapping[str, int], text: str) -> str:
    """Write the description at once, and give the new store's identity."""
    identity = secrets.token_hex(8)
    told = {STATED: text, COMPLETE: False, IDENTITY: identity}
    template = state_grid(lazy).assign_attrs(told)
    encoding = {
        str(name): _encoding(variable, steps)
        for name, variable in template.variables.items()
        if set(variable.dims) & set(steps) and variable.chunks is not None
    }
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _quiet():
            template.to_zarr(
                partial,
                compute=False,
                zarr_format=3,
                consolidated=True,
                encoding=encoding,
                safe_chunks=False,  # Nothing is written yet, and later whole shards are.
            )
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _remove_marks(target, but=identity)
    return identity


def _remove_marks(target: Path, *, but: str) -> None:
    """Remove what stores left that lay at this path before."""
    pattern = f".{glob.escape(target.name)}.{'[0-9a-f]' * len(but)}{MARKS}"
    for left in target.parent.glob(pattern):
        if but not in left.name:
            shutil.rmtree(left, ignore_errors=True)


def _encoding(variable: xr.Variable, steps: Mapping[str, int]) -> dict[str, Any]:
    """Choose chunks within regions, shards for many of them, and what empty looks like."""
    shard = {dim: steps.get(str(dim), variable.sizes[dim]) for dim in variable.dims}
    chunk = dict(shard)
    n_bytes = int(np.prod(list(shard.values()))) * variable.dtype.itemsize
    for _ in range(12):
        wide = [dim for dim in ("y", "x") if dim in chunk and chunk[dim] % 2 == 0]
        if n_bytes <= CHUNK_BYTES or not wide:
            break
        for dim in wide:
            chunk[dim] //= 2
            n_bytes //= 2
    empty = variable.attrs.get("nodata", np.nan if variable.dtype.kind == "f" else 0)
    encoding: dict[str, Any] = {"chunks": tuple(chunk.values()), "fill_value": empty}
    if np.prod([-(-shard[dim] // chunk[dim]) for dim in shard]) > FILES:
        encoding["shards"] = tuple(shard.values())
    if variable.dtype.kind == "f":
        encoding["_FillValue"] = np.nan
    return encoding


def _check_same(path: Path, text: str) -> str:
    """Give the identity of a store that was begun so, and refuse any other."""
    try:
        attrs = _read_attrs(path)
    except (OSError, ValueError, KeyError):
        attrs = {}
    found = attrs.get(STATED)
    received = str(path)
    if found is not None:
        old, new = (json.loads(str(told)) for told in (found, text))
        compared = (new.keys() | old.keys()) - {k for k in UNTOLD if k not in old or k not in new}
        changed = sorted(key for key in compared if old.get(key) != new.get(key))
        if not changed and IDENTITY in attrs:
            return str(attrs[IDENTITY])
        received += f", begun with other {', '.join(changed) or 'versions of xcontrast'}"
    raise SourceError(
        problem(
            expected="a store that does not exist, or one begun with the same plan",
            received=received,
            do="choose another path, or plan as it was begun",
        )
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Zarr 3 has not settled: text, and gathered metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
