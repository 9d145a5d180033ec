"""Points and polygons with a column of codes or names, drawn on cells or taken one by one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import geobox_of
from xcontrast.legends import NO_LABEL, Legend

__all__ = ["draw_shapes", "read_rows"]


def draw_shapes(
    labels: Any, like: xr.DataArray | xr.Dataset, legend: Legend, column: str | None
) -> xr.DataArray:
    """Draw geometries on the cells of an embedding.

    Parameters
    ----------
    labels : GeoDataFrame or anything with ``__geo_interface__``
        In the CRS that it states, or the embedding's. Empty geometries are left out.
    like : DataArray or Dataset (…, y, x)
        The embedding.
    legend : Legend
        What the codes mean.
    column : str or None
        With codes or names.

    Returns
    -------
    DataArray (y, x), uint8
        Codes, of several geometries on a cell the last one's; 255 where there is none.

    Raises
    ------
    DataError
        If the embedding has no CRS, there is no such column, or codes are not in the legend.
    """
    from rasterio.features import rasterize

    geobox = geobox_of(like)
    if geobox is None:
        raise DataError(
            problem(
                expected="an embedding with a CRS, to draw geometries on",
                received="one without",
                do="georeference the cube (rio.write_crs), or give labels as a DataArray",
            )
        )
    frame = _as_frame(labels, column)
    if frame.crs is not None:
        frame = frame.to_crs(geobox.crs.to_wkt())
    good = ~(frame.geometry.is_empty | frame.geometry.isna())
    frame = frame[good]
    codes = _codes_of(frame[column], legend, column) if len(frame) else []
    values = np.full(geobox.shape, NO_LABEL, np.uint8)
    if len(frame):
        shapes = list(zip(frame.geometry, codes, strict=True))
        values = rasterize(
            shapes, out_shape=geobox.shape, fill=NO_LABEL, transform=geobox.transform, dtype="uint8"
        )
    coords = {name: like[name] for name in ("y", "x", "spatial_ref") if name in like.coords}
    return xr.DataArray(values, coords, ("y", "x"))


def read_rows(
    labels: Any, like: xr.DataArray | xr.Dataset, legend: Legend, column: str
) -> npt.NDArray[np.uint8]:
    """Give the code of each row of a frame, of the images or points that were embedded.

    Parameters
    ----------
    labels : DataFrame or GeoDataFrame
        A row each, in their order.
    like : DataArray or Dataset
        The embedding.
    legend : Legend
        What the codes mean.
    column : str
        With codes or names.

    Returns
    -------
    ndarray (n,), uint8

    Raises
    ------
    DataError
        If codes are not in the legend, or points are not those that were embedded.
    """
    codes = np.array(_codes_of(labels[column], legend, column), np.uint8)
    placed = {"x", "y", "spatial_ref"} <= set(like.coords) and like["x"].ndim == 1
    if placed and len(codes) == like["x"].size and hasattr(labels, "geometry"):
        _check_places(labels.geometry, like)
    return codes


def _check_places(shapes: Any, like: xr.DataArray | xr.Dataset) -> None:
    """Raise where points lie in other cells than those of the embedding's points, in order."""
    stated = like["spatial_ref"].attrs
    if not (shapes.geom_type == "Point").all() or "GeoTransform" not in stated:
        return
    if shapes.crs is not None:
        shapes = shapes.to_crs(stated.get("crs_wkt", stated.get("spatial_ref")))
    step = [float(number) for number in stated["GeoTransform"].split()]
    away = (np.abs(shapes.x - like["x"].values) > 0.51 * abs(step[1])) | (
        np.abs(shapes.y - like["y"].values) > 0.51 * abs(step[5])
    )
    if away.any():
        raise DataError(
            problem(
                expected="the points that were embedded, in their order",
                received=f"{int(away.sum())} of {len(away)} elsewhere",
                do="embed these points, or give the frame as it was given to embed(at=...)",
            )
        )


def _as_frame(labels: Any, column: str | None) -> Any:
    import geopandas

    if not isinstance(labels, geopandas.GeoDataFrame):
        interface = labels.__geo_interface__
        features = interface.get("features") or [{"geometry": interface, "properties": {}}]
        labels = geopandas.GeoDataFrame.from_features(features, crs=getattr(labels, "crs", None))
    if column is None or column not in labels.columns:
        raise DataError(
            problem(
                expected="a column with codes or names of the legend",
                received=f"column={column!r} of {sorted(map(str, labels.columns))}",
                do="name it, as in column='class'",
            )
        )
    return labels


def _codes_of(values: Any, legend: Legend, column: str | None) -> list[int]:
    by_name: dict[Any, Any] = dict(zip(legend.names, legend.codes, strict=True))
    given = pd.Series(list(values), dtype=object)
    missing = given.isna()
    # A list or dict is no code, and cannot be looked up.
    codes = [
        NO_LABEL if gone else by_name.get(value, value) if isinstance(value, Hashable) else value
        for value, gone in zip(given, missing, strict=True)
    ]
    unknown = sorted({str(code) for code in codes if code not in (*legend.codes, NO_LABEL)})
    if unknown:
        raise DataError(
            problem(
                expected=f"codes {legend.codes} or names {legend.names}",
                received=f"{', '.join(unknown[:10])} in column {column!r}",
                do="translate the column, or give the legend that it follows",
            )
        )
    return [int(code) for code in codes]
