"""What is held, told by its dims: a cube, pairs, an embedding or a map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from xcontrast.cubes.facts import describe
from xcontrast.cubes.lines import say_grid, say_places, say_size, say_times
from xcontrast.legends import Legend
from xcontrast.regions import COMPLETE
from xcontrast.sampling.tables import describe_pairs
from xcontrast.sensors import SENSORS
from xcontrast.sheets import Sheet

__all__ = ["describe_any", "describe_embedding", "describe_map"]

UNNAMED = "values"
FLAGS = {"flag_values", "flag_meanings"}


def describe_any(obj: xr.Dataset | xr.DataArray) -> Sheet:
    """Describe whatever it is; nothing is read.

    Parameters
    ----------
    obj : Dataset or DataArray
        Any.

    Returns
    -------
    Sheet
        Of a cube, a collection, pairs, an embedding or a map; of anything else its dims.
    """
    try:
        return _describe(_as_dataset(obj))
    except Exception as error:
        # What raises in a repr hides the very thing that a person looks at to find out why.
        rows = [("Dims", _say_sizes(obj)), ("Not told", f"{type(error).__name__}: {error}")]
        return Sheet(type(obj).__name__, rows)


def describe_embedding(data: xr.Dataset) -> Sheet:
    """Describe embeddings: of which sensors and times, in which space, by which model.

    Parameters
    ----------
    data : Dataset
        Of variables with the dim ``feature``.

    Returns
    -------
    Sheet
    """
    parts = [array for array in data.data_vars.values() if "feature" in array.dims]
    rows = [_place_row(data)]
    rows += [(_title(array), _features_line(array)) for array in parts]
    rows.append(("Space", _once(_space_line(array) for array in parts)))
    rows.append(("Model", _once(_model_line(array.attrs) for array in parts)))
    rows.append(("Size", say_size(parts)))
    notes = _note_gaps(data)
    if any(array.dtype.kind == "i" for array in parts):
        notes.append("packed, one byte a feature: .contrast.unpack() gives floats")
    return Sheet("xcontrast embedding", rows, notes)


def describe_map(data: xr.Dataset) -> Sheet:
    """Describe a map: its legend, what it holds, and what made it.

    Parameters
    ----------
    data : Dataset
        With codes that have CF flags, or with the dim ``category``.

    Returns
    -------
    Sheet
    """
    layers = list(data.data_vars.values())
    flagged = _flagged(data)
    rows = [_place_row(data, "px")]
    if told := _once("; ".join(_tell_times(array)) for array in layers[:1]):
        rows.append(("Times", told))
    rows.append(("Legend", _legend_line(data, flagged)))
    if names := [str(name) for name in data.data_vars if name != UNNAMED]:
        rows.append(("Holds", ", ".join(names)))
    attrs = (flagged[0].attrs if flagged else {}) | data.attrs
    rows.append(("Made by", _maker_line(attrs)))
    rows.append(("Size", say_size(layers)))
    return Sheet("xcontrast map", rows, _note_gaps(data))


def _as_dataset(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj
    for sensor in SENSORS:
        if sensor.band in obj.dims:
            return obj.to_dataset(name=sensor.name).assign_attrs(title=f"{sensor.title} of a cube")
    name = UNNAMED if obj.name is None or obj.name in obj.coords else obj.name
    return obj.to_dataset(name=name)


def _describe(data: xr.Dataset) -> Sheet:
    if "feature" in data.dims:
        return describe_embedding(data)
    if "pair" in data.dims:
        return describe_pairs(data)
    if any(sensor.band in data.dims for sensor in SENSORS):
        return describe(data)
    if "category" in data.dims or _flagged(data):
        return describe_map(data)
    return Sheet("No cube, pairs, embedding or map", [("Dims", _say_sizes(data))])


def _flagged(data: xr.Dataset) -> list[xr.DataArray]:
    return [array for array in data.data_vars.values() if set(array.attrs) >= FLAGS]


def _say_sizes(obj: xr.Dataset | xr.DataArray) -> str:
    return ", ".join(f"{dim} {n:,}" for dim, n in obj.sizes.items()) or "none"


def _place_row(data: xr.Dataset, unit: str = "cells") -> tuple[str, str]:
    if "location" in data.dims:
        return "Places", say_places(data, unit)
    if {"y", "x"} <= set(data.dims):
        pairs = f"{data.sizes['pair']:,} pairs of " if "pair" in data.dims else ""
        return "Grid", pairs + say_grid(data, unit)
    return "Dims", _say_sizes(data)


def _title(array: xr.DataArray) -> str:
    told = array.attrs.get("sensor", array.name)
    return next((s.title for s in SENSORS if s.name == told), str(told))


def _features_line(array: xr.DataArray) -> str:
    parts = _tell_times(array)
    if "composite" in array.attrs:
        event = f" of {array.attrs['event']}" if "event" in array.attrs else ""
        parts.append(f"{array.attrs['composite']}{event}")
    return "; ".join([*parts, f"{array.sizes['feature']:,} features"])


def _tell_times(array: xr.DataArray) -> list[str]:
    for sensor in SENSORS:
        if sensor.time in array.dims:
            return say_times(array, sensor)
        if sensor.time in array.coords and array[sensor.time].ndim == 0:
            return [f"{pd.Timestamp(array[sensor.time].item()):%Y-%m-%d}"]
    return [f"{array.sizes['date']} dates"] if "date" in array.dims else []


def _space_line(array: xr.DataArray) -> str:
    space = str(array.attrs.get("space", "not told"))
    if "pooled" in array.attrs:
        return f"{space}, pooled over each image"
    stride = array.attrs.get("stride")
    return space if stride is None else f"{space}, {stride} px a cell"


def _model_line(attrs: Mapping[Any, Any]) -> str:
    keys = ("model_digest", "model_method", "model_encoder")
    return ", ".join(str(attrs[key]) for key in keys if key in attrs) or "not told"


def _legend_line(data: xr.Dataset, flagged: Sequence[xr.DataArray]) -> str:
    if not flagged:
        return ", ".join(map(str, data["category"].values))
    legends = [Legend.from_attrs(array.attrs) for array in flagged]
    named = (", ".join(f"{c} {n}" for c, n in zip(a.codes, a.names, strict=True)) for a in legends)
    return _once(f"{a.title}: {text}" for a, text in zip(legends, named, strict=True))


def _maker_line(attrs: Mapping[Any, Any]) -> str:
    parts = [str(attrs["head_kind"])] if "head_kind" in attrs else []
    told = {"segmenter": "segmenter_digest", "model": "model_digest", "xcontrast": "xcontrast"}
    parts += [f"{name} {attrs[key]}" for name, key in told.items() if key in attrs]
    return ", ".join(parts) or "not told"


def _note_gaps(data: xr.Dataset) -> list[str]:
    if data.attrs.get(COMPLETE, True):
        return []
    return ["not complete: some tiles are empty; run the same plan again, it goes on"]


def _once(lines: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(lines))
