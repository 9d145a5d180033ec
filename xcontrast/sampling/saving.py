"""Chips written once in a training layout, opened again, or read into memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xcontrast.errors import SourceError, problem
from xcontrast.progress import track
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.gathering import ATTRS, Gathered, coords_alone, gather
from xcontrast.sampling.identity import image_of
from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.windows import Indices
from xcontrast.sensors import SENSORS, STORED_NODATA
from xcontrast.store import write_zarr

__all__ = ["is_saved", "load_chips", "partial_of", "save_chips"]

TITLE = "xcontrast_chips"
CHUNK_BYTES = 8e6
"""Of the larger sensor: smaller ones cost more to find than to decode."""
SHARD_CHUNKS = 8
COLUMNS = {
    "pair": "pair_number", "row": "row", "col": "col",
    "valid_fraction": "valid_fraction", "weight": "weight",
}  # fmt: skip
"""Of the table, by the field of Chips."""
OF_PAIR = "of_pair_"
"""Before the names of coords of pairs that are those of columns."""
SAMPLES = 4
"""Windows by which pixels are told apart: few, as each reads source chunks."""


def save_chips(
    chips: Chips,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Chips:
    """Write chips; see :meth:`Chips.save`."""
    target = Path(path)
    if target.exists() and not overwrite:
        raise SourceError(
            problem(
                expected="a store that does not exist yet",
                received=str(target),
                do="open it with xc.load_chips, choose another path, or set overwrite=True",
            )
        )
    slot = np.random.default_rng(seed).permutation(len(chips))
    table = _make_table(chips, slot)
    partial = partial_of(target)
    gathered = Gathered.begin(partial, chips, table.attrs[TITLE])
    pixels = gather(chips, slot, gathered, progress=progress)
    shutil.rmtree(partial / "store", ignore_errors=True)
    write_zarr(table, partial / "store", progress=False)
    _write_pixels(partial / "store", pixels, progress)
    if target.exists():
        shutil.rmtree(target)
    (partial / "store").rename(target)
    shutil.rmtree(partial)
    return load_chips(target)


def partial_of(target: Path) -> Path:
    """Give the folder in which a store is gathered, so that a stopped call can go on."""
    return target.parent / f".{target.name}.partial"


def is_saved(chips: Chips, path: Path, *, seed: int) -> bool:
    """Say whether a store holds just these windows of these dates, with these pixels.

    Of the pixels some windows are compared.

    Parameters
    ----------
    chips : Chips
        As given to :func:`save_chips`.
    path : Path
        Of a store.
    seed : int
        As given to :func:`save_chips`.

    Returns
    -------
    bool
    """
    import zarr

    table = _make_table(chips, np.random.default_rng(seed).permutation(len(chips)))
    stored = json.loads(str(zarr.open_group(str(path), mode="r").attrs[TITLE]))
    wanted = json.loads(table.attrs[TITLE])
    # Stores of earlier versions do not tell of their pixels.
    same = stored.get("sample", wanted["sample"]) == wanted["sample"]
    return bool(same and stored["digest"] == wanted["digest"])


def load_chips(path: str | os.PathLike[str]) -> Chips:
    """Open the chips that :meth:`Chips.save` wrote.

    Parameters
    ----------
    path : path
        Of the Zarr store.

    Returns
    -------
    Chips
        In the order in which they were saved; pixels stay on disk, int16.

    Raises
    ------
    SourceError
        If it is no such store, or parts of it are gone.

    Examples
    --------
    >>> _ = xc.chips(xc.pairs(cube), size=32).save(folder / "chips.zarr", progress=False)
    >>> len(xc.load_chips(folder / "chips.zarr"))
    18
    """
    import zarr

    try:
        group: Any = zarr.open_group(str(path), mode="r")
        facts = json.loads(str(group.attrs[TITLE]))
        arrays = {name: group[name] for name in facts["scale"]}
        kept = xr.open_zarr(
            path, chunks=None, drop_variables=list(arrays), decode_timedelta=True
        ).load()
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(
            problem(
                expected="chips that Chips.save wrote",
                received=f"{path} ({type(error).__name__}: {error})",
                do="check the path",
            )
        ) from error
    for name, array in arrays.items():
        there, needed = array.nchunks_initialized, array.nchunks
        if there < needed:
            raise SourceError(
                problem(
                    expected=f"all {needed} chunks of {name} in {path}",
                    received=f"{there}",
                    do="copy the store again, or save the chips again",
                )
            )
    order = np.argsort(kept["number"].values)
    grid = {axis: kept[f"grid_{axis}"].rename({f"grid_{axis}": axis}) for axis in "yx"}
    own = kept.drop_vars([*COLUMNS.values(), "number", "grid_y", "grid_x"]).assign_coords(
        {axis: (axis, values.values, values.attrs) for axis, values in grid.items()}
    )
    own = own.rename({n: str(n).removeprefix(OF_PAIR) for n in own.variables})
    own.attrs = {key: value for key, value in kept.attrs.items() if key != TITLE}
    attrs = {
        name: {k: v for k, v in dict(array.attrs).items() if k in ATTRS}
        for name, array in arrays.items()
    }
    pixels = Pixels(arrays, facts["scale"], attrs, order, facts["chunk"], str(path))
    return Chips(
        pairs=own.set_coords(list(own.data_vars)),
        size=facts["size"],
        told=facts["told"],
        pixels=pixels,
        **{field: kept[name].values[order] for field, name in COLUMNS.items()},
    )


def _make_table(chips: Chips, slot: Indices) -> xr.Dataset:
    """Describe the chips in their order on disk."""
    order = np.argsort(slot)
    known = coords_alone(chips).rename(y="grid_y", x="grid_x").reset_coords()
    # Text of fixed length has no place in Zarr's specification yet.
    fixed = {name: own for name, own in known.variables.items() if own.dtype.kind == "U"}
    known = known.assign({name: own.astype(object) for name, own in fixed.items()})
    taken = {*COLUMNS.values(), "number"} & set(known.variables)
    known = known.rename({name: OF_PAIR + name for name in taken})
    columns = {name: getattr(chips, field) for field, name in COLUMNS.items()}
    columns["number"] = np.arange(len(chips))
    table = known.assign({name: ("chip", own[order]) for name, own in columns.items()})
    largest = max(
        chips.pairs.sizes[s.band] * chips.size**2 * chips.pairs.sizes.get("date", 1) * 2
        for s in chips.sensors
    )
    facts = {
        "size": chips.size,
        "chunk": int(max(1, min(len(chips), CHUNK_BYTES // largest))),
        "told": dict(chips.told),
        "digest": _digest(table),
        "sample": _sample(chips),
    }
    return table.assign_attrs({TITLE: json.dumps(facts)})


def _digest(table: xr.Dataset) -> str:
    whole = hashlib.sha256()
    # The names of lazy images may be others in each process.
    unsure = set(map(image_of, SENSORS))
    for name in sorted(set(map(str, table.variables)) - unsure):
        own = table[name].values
        whole.update(f"{name} {own.dtype} {own.shape}".encode())
        whole.update(repr(own.tolist()).encode() if own.dtype == object else own.tobytes())
    return whole.hexdigest()[:16]


def _sample(chips: Chips) -> str:
    """Tell apart pixels by some windows, as names of lazy arrays change from call to call."""
    import dask

    whole = hashlib.sha256()
    for i in np.unique(np.linspace(0, len(chips) - 1, SAMPLES).astype(int)).tolist():
        chip = chips[i]
        read = dask.compute(*(chip[sensor.name] for sensor in chips.sensors))
        for sensor, values in zip(chips.sensors, read, strict=True):
            known = sorted((k, str(v)) for k, v in values.attrs.items() if k in ATTRS)
            whole.update(f"{sensor.name} {known}".encode())
            pixels = np.nan_to_num(values.values, nan=np.inf)
            if chips.units(sensor) == sensor.units:
                # As coarse as what is stored, lest the last digit tells apart what is the same.
                pixels = np.rint(pixels / np.float32(sensor.stored_scale))
            whole.update(pixels.tobytes())
    return whole.hexdigest()[:16]


def _write_pixels(store: Path, pixels: Pixels, progress: bool) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    group: Any = zarr.open_group(str(store), mode="r+")
    facts: Mapping[str, Any] = json.loads(str(group.attrs[TITLE]))
    chunk = facts["chunk"]
    n_bytes = sum(own.nbytes for own in pixels.arrays.values())
    with (
        track(total=n_bytes, what="writing", unit="B", unit_scale=True, on=progress) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # Zarr 3 has not settled gathered metadata.
        for sensor in pixels.sensors:
            own = pixels.arrays[sensor.name]
            n_shard = chunk * min(SHARD_CHUNKS, -(-len(own) // chunk))
            dates = ["date"] if own.ndim == 5 else []
            array = group.create_array(
                sensor.name,
                shape=own.shape,
                chunks=(chunk, *own.shape[1:]),
                shards=(n_shard, *own.shape[1:]),
                dtype="int16",
                fill_value=STORED_NODATA,
                # A shard that is not there is damage, never a shard of nothing but gaps.
                config={"write_empty_chunks": True},
                # Of real imagery lz4 decodes 3 GB/s a core at a ratio of 1.1, zstd 1 GB/s at 1.6.
                compressors=(BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),),
                dimension_names=["chip", *dates, "y", "x", sensor.band],
                attributes={
                    **pixels.attrs[sensor.name],
                    "scale_factor": pixels.scale[sensor.name],
                    "_FillValue": STORED_NODATA,
                },
            )
            for first in range(0, len(own), n_shard):
                part = own[first : first + n_shard]
                array[first : first + n_shard] = part
                bar.update(part.nbytes)
        group.attrs[TITLE] = json.dumps({**facts, "scale": dict(pixels.scale)})
        zarr.consolidate_metadata(str(store))
