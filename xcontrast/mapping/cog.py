"""A map or a layer as a cloud-optimised GeoTIFF, with its colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, SourceError, problem
from xcontrast.legends import NO_LABEL

__all__ = ["select_layer", "to_cog"]

WIDER = {"bool": "uint8", "float16": "float32"}
"""Of types that GeoTIFF does not have."""
TAKEN = ("bidx", "ns")
"""Names that rasterio takes for itself when tags are written."""


def to_cog(array: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one time of a georeferenced array as a cloud-optimised GeoTIFF.

    Parameters
    ----------
    array : DataArray (y, x) or (band, y, x)
        Any band dim; a label map keeps category names as tags, 255 as nodata and, in a single
        band, its legend's colours as a table; floats have NaN as nodata. What a GeoTIFF cannot
        hold is widened: bool to uint8, float16 to float32.
    path : path
        The file.
    overwrite : bool, default False
        Replace a file that is there, never a folder.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If it is a Dataset, or there are more dims, or no CRS.
    SourceError
        If the file is there and `overwrite` is not set, or a folder is.

    Examples
    --------
    >>> xc.to_cog(labels, folder / "flood.tif").name
    'flood.tif'
    """
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    if hasattr(array, "data_vars"):
        raise _no_array(array)
    target = Path(path)
    if target.is_dir():
        raise SourceError(
            problem(
                expected="the path of a file",
                received=f"{target}, a folder",
                do=f"name a file in it, such as {target / 'map.tif'}",
            )
        )
    if target.exists() and not overwrite:
        raise SourceError(
            problem(
                expected="a file that does not exist yet",
                received=str(target),
                do="choose another path, or set overwrite=True",
            )
        )
    layers, names = _layers(array)
    geobox = _geobox(array)
    is_label = "flag_values" in array.attrs and layers.dtype == np.uint8
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": layers.shape[2],
        "height": layers.shape[1],
        "count": layers.shape[0],
        "dtype": layers.dtype,
        "crs": geobox.crs.to_wkt(),
        "transform": geobox.transform,
        "nodata": _nodata(array, layers.dtype, is_label),
        "photometric": "MINISBLACK",  # Or three bands of bytes are taken for red, green and blue.
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(layers)
            for index, name in enumerate(names, 1):
                file.set_band_description(index, name)
            # With a table, GDAL takes a second band for opacity and refuses a third.
            if is_label and layers.shape[0] == 1 and (colours := _colours(array)):
                file.write_colormap(1, colours)
            file.update_tags(**_tags(array))
        with memory.open() as file:
            copy(
                file,
                partial,
                driver="COG",
                compress="DEFLATE",
                predictor="NO" if is_label else "YES",
                overview_resampling="MODE" if is_label else "AVERAGE",
            )
    partial.replace(target)
    return target


def select_layer(data: xr.Dataset, *, name: str | None = None, time: Any = None) -> xr.DataArray:
    """Take one variable of a map at one time.

    Parameters
    ----------
    data : Dataset
        A map or an embedding.
    name : str, optional
        The variable; by default ``label``, or the only one.
    time : str or datetime, optional
        A day or an instant that there is; not needed where there is one time, and refused where
        there is none.

    Returns
    -------
    DataArray
        Without a time dim.

    Raises
    ------
    DataError
        If it is not clear which variable or time.
    """
    names = [str(key) for key in data.data_vars]
    chosen = name or ("label" if "label" in names else names[0] if len(names) == 1 else None)
    if chosen not in names:
        raise DataError(
            problem(
                expected=f"one variable of {', '.join(names)}",
                received=f"name={name!r}",
                do="give its name",
            )
        )
    array = data[chosen]
    dim = next((d for d in array.dims if str(d).endswith(("time", "date"))), None)
    if dim is None and time is not None:
        raise DataError(
            problem(
                expected=f"no time: {chosen} is one for the whole period or event",
                received=f"time={time!r}",
                do="leave `time` out",
            )
        )
    if dim is None:
        return array
    found = array if time is None else array.sortby(dim).sel({dim: slice(time, time)})
    if found.sizes[dim] != 1:
        days = [str(day)[:16] for day in array[dim].values]
        raise DataError(
            problem(
                expected=f"one of the times {', '.join(days[:20])}",
                received=f"time={time!r}, which is {found.sizes[dim]} of them",
                do=f"give one, as in time={days[0]!r}",
            )
        )
    return found.isel({dim: 0})


def _no_array(data: Any) -> DataError:
    names = [str(name) for name in data.data_vars]
    one = "label" if "label" in names else next(iter(names), "label")
    return DataError(
        problem(
            expected="a DataArray, one variable of a map",
            received=f"a Dataset with {', '.join(names) or 'no variables'}",
            do=f"give flood.{one}, where flood is that Dataset",
        )
    )


def _layers(array: xr.DataArray) -> tuple[np.ndarray, list[str]]:
    others = [dim for dim in array.dims if dim not in ("y", "x")]
    if not {"y", "x"} <= set(array.dims) or len(others) > 1:
        raise DataError(
            problem(
                expected="dims (y, x) or one more",
                received=str(array.dims),
                do="select one time, as in .isel(s1_time=0); one file holds one",
            )
        )
    values = array.transpose(*others, "y", "x").values
    values = values.astype(WIDER.get(values.dtype.name, values.dtype), copy=False)
    if not others:
        return values[None], [str(array.name or "value")]
    dim = others[0]
    labels = array[dim].values if dim in array.coords else range(values.shape[0])
    return values, [str(label) for label in labels]


def _geobox(array: xr.DataArray) -> Any:
    import odc.geo.xr  # noqa: F401  (registers .odc)

    geobox = array.odc.geobox if "spatial_ref" in array.coords else None
    if geobox is None or geobox.crs is None:
        raise DataError(
            problem(
                expected="an array with a CRS and regular y and x",
                received=f"coords {sorted(map(str, array.coords))}",
                do="georeference it: da.rio.write_crs(32632)",
            )
        )
    return geobox


def _nodata(array: xr.DataArray, dtype: np.dtype[Any], is_label: bool) -> float | None:
    if is_label:
        return NO_LABEL
    if np.issubdtype(dtype, np.floating):
        return float("nan")
    stated = array.attrs.get("nodata")
    return None if stated is None else float(stated)


def _colours(array: xr.DataArray) -> dict[int, tuple[int, int, int, int]]:
    """Give a table of a legend's colours; none, which would be all black, where it has none."""
    from matplotlib.colors import to_rgba

    codes, colours = array.attrs["flag_values"], str(array.attrs.get("flag_colors", "")).split()
    if len(colours) != len(codes):
        return {}
    table = {
        int(code): tuple(round(255 * part) for part in to_rgba(colour))
        for code, colour in zip(codes, colours, strict=True)
    }
    return {**table, NO_LABEL: (0, 0, 0, 0)}  # type: ignore[dict-item]


def _tags(array: xr.DataArray) -> dict[str, str]:
    named = {str(key): str(value) for key, value in array.attrs.items()}
    return {f"{key}_" if key in TAKEN else key: value for key, value in named.items()}
