"""Labels of any kind brought to the grid of an embedding, without ever interpolating a code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.legends import NO_LABEL, Legend

__all__ = ["match_labels"]


def match_labels(
    labels: Any, like: xr.DataArray | xr.Dataset, *, legend: Legend, column: str | None = None
) -> xr.DataArray:
    """Bring labels to the grid of an embedding.

    Parameters
    ----------
    labels : DataArray or geometries
        A DataArray ``(…, y, x)`` of codes on any grid and CRS: where it is finer, a cell gets the
        code of most of its labelled pixels (the lowest of equals); where coarser, the nearest. Or
        anything with ``__geo_interface__`` (a GeoDataFrame with `column`) in the CRS it states,
        or the grid's own where it states none: a cell whose centre lies in a polygon, or that
        holds a point, gets its code.
    like : DataArray or Dataset (…, y, x)
        The grid; or, of whole images or of points, one leading dim alone: labels are then a
        DataArray along it, or a frame with a row for each.
    legend : Legend
        Codes that are allowed; ``NO_LABEL`` (255), NaN and the array's own nodata are ignored.
    column : str, optional
        Column of a GeoDataFrame with codes or names of the legend.

    Returns
    -------
    DataArray (…, y, x) or (…), uint8
        Codes of the legend, 255 where there is no label.

    Raises
    ------
    DataError
        If codes are not in the legend, nothing overlaps, nothing is labelled, or dims and column
        do not fit.

    Examples
    --------
    >>> on_cells = match_labels(labels, emb.s1, legend=xc.FLOOD)
    >>> labels.shape, on_cells.shape, on_cells.dtype
    ((96, 96), (24, 24), dtype('uint8'))
    """
    if "y" not in like.dims:
        matched = _match_listed(labels, like, legend, column)
    elif isinstance(labels, xr.DataArray):
        matched = _match_array(labels, like, legend)
    elif hasattr(labels, "__geo_interface__"):
        matched = _match_shapes(labels, like, legend, column)
    else:
        raise DataError(
            problem(
                expected="labels as a DataArray or with __geo_interface__, such as a GeoDataFrame",
                received=f"a {type(labels).__name__}",
                do="wrap an array as xr.DataArray with the dims y and x",
            )
        )
    if not bool((matched != NO_LABEL).any()):
        raise DataError(
            problem(
                expected="at least one label inside the embedding's area",
                received="none: no overlap in space, or everything is ignored",
                do="check the CRS of the labels and their nodata",
            )
        )
    matched.attrs = legend.attrs
    return matched.rename("label")


def _match_listed(
    labels: Any, like: xr.DataArray | xr.Dataset, legend: Legend, column: str | None
) -> xr.DataArray:
    """Match labels of images or points, one each, in order."""
    dims = tuple(str(d) for d in like.dims if d != "feature")
    shape = tuple(like.sizes[d] for d in dims)
    if isinstance(labels, xr.DataArray):
        codes = _check_codes(labels, legend)
    elif column is not None and column in getattr(labels, "columns", ()):
        own = np.array(_codes_of(labels[column], legend, column), np.uint8)
        codes = xr.DataArray(own, dims=dims[-1:])
    else:
        codes = xr.DataArray(np.empty(0, np.uint8), dims="none")
    if codes.dims != dims or codes.shape != shape:
        raise DataError(
            problem(
                expected=f"a label for each of {dict(zip(dims, shape, strict=True))}, as a "
                "DataArray or a frame with `column`",
                received=f"labels with {dict(codes.sizes)}",
                do="give the points that were embedded, or codes along that dim",
            )
        )
    return codes


def _match_array(
    labels: xr.DataArray, like: xr.DataArray | xr.Dataset, legend: Legend
) -> xr.DataArray:
    if not {"y", "x"} <= set(labels.dims):
        raise DataError(
            problem(
                expected="labels with the dims y and x",
                received=f"dims {labels.dims}",
                do="rename the dims",
            )
        )
    import odc.geo.xr  # noqa: F401  (registers .odc)

    codes = _check_codes(labels, legend).transpose(..., "y", "x")
    if all("spatial_ref" in v.coords and v.odc.geobox is not None for v in (codes, like)):
        return _match_georeferenced(codes, like)
    return _match_blocks(codes, like, legend)


def _check_codes(labels: xr.DataArray, legend: Legend) -> xr.DataArray:
    """Give uint8 codes, 255 where not labelled."""
    values = labels.values
    ignored = np.zeros(values.shape, bool)
    if np.issubdtype(values.dtype, np.floating):
        ignored |= np.isnan(values)
    for key in ("nodata", "_FillValue"):
        nodata = labels.attrs.get(key, labels.encoding.get(key))
        if nodata is not None:
            ignored |= values == nodata
    ignored |= values == NO_LABEL
    unknown = np.setdiff1d(values[~ignored], legend.codes)
    if len(unknown):
        raise DataError(
            problem(
                expected=f"codes of the legend {legend.title!r}: {legend.codes}",
                received=f"also {', '.join(f'{code:g}' for code in unknown[:10])}",
                do="give the legend that the labels follow, or set other codes to 255",
            )
        )
    # Zero is written first: NaN has no integer.
    codes = np.where(ignored, 0, values).astype(np.uint8)
    # Without the source's attrs: its own nodata no longer holds.
    return xr.DataArray(np.where(ignored, np.uint8(NO_LABEL), codes), labels.coords, labels.dims)


def _match_georeferenced(codes: xr.DataArray, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    target, source = like.odc.geobox, codes.odc.geobox
    if not source.footprint(target.crs, npoints=20).intersects(target.extent):
        raise DataError(
            problem(
                expected="labels that overlap the embedding",
                received=f"labels in {source.boundingbox}, {source.crs}; embedding in "
                f"{target.boundingbox}, {target.crs}",
                do="check the CRS of both",
            )
        )
    width = abs(source.to_crs(target.crs).resolution.x)
    finer = width < 0.75 * abs(target.resolution.x)
    matched: xr.DataArray = codes.odc.reproject(
        target,
        resampling="mode" if finer else "nearest",
        src_nodata=NO_LABEL,
        dst_nodata=NO_LABEL,
    )
    return matched.astype("uint8")


def _match_blocks(
    codes: xr.DataArray, like: xr.DataArray | xr.Dataset, legend: Legend
) -> xr.DataArray:
    """Match pixel grids without georeference, whose sizes must be multiples."""
    shape = like.sizes["y"], like.sizes["x"]
    have = codes.sizes["y"], codes.sizes["x"]
    factor = -(-have[0] // shape[0])
    if have == shape:
        matched = codes.values
    elif tuple(-(-n // factor) for n in have) == shape:
        matched = _majority(codes.values, factor, legend)
    else:
        raise DataError(
            problem(
                expected=f"labels of {shape} cells, or finer by a whole factor",
                received=f"{have} pixels without a georeference",
                do="cut labels and embedding to one area, or georeference both",
            )
        )
    coords = {k: v for k, v in codes.coords.items() if not {"y", "x"} & set(v.dims)}
    return xr.DataArray(
        matched, coords | {dim: like[dim] for dim in ("y", "x") if dim in like.coords}, codes.dims
    )


def _majority(codes: npt.NDArray[np.uint8], factor: int, legend: Legend) -> npt.NDArray[np.uint8]:
    """Code of most labelled pixels of each cell; the lowest of equals; 255 where none is."""
    pad = [(0, 0)] * (codes.ndim - 2) + [(0, -n % factor) for n in codes.shape[-2:]]
    whole = np.pad(codes, pad, constant_values=NO_LABEL)
    rows, cols = (n // factor for n in whole.shape[-2:])
    cells = whole.reshape(*whole.shape[:-2], rows, factor, cols, factor)
    best = np.zeros((*whole.shape[:-2], rows, cols), np.int32)
    winner = np.full(best.shape, NO_LABEL, np.uint8)
    for code in sorted(legend.codes):
        count = (cells == code).sum((-3, -1))
        better = count > best
        winner[better] = code
        best = np.maximum(best, count)
    return winner


def _match_shapes(
    labels: Any, like: xr.DataArray | xr.Dataset, legend: Legend, column: str | None
) -> xr.DataArray:
    import odc.geo.xr  # noqa: F401  (registers .odc)
    from rasterio.features import rasterize

    geobox = like.odc.geobox if "spatial_ref" in like.coords else None
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
    coords = {name: like.coords[name] for name in ("y", "x", "spatial_ref")}
    return xr.DataArray(values, coords, ("y", "x"))


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
    given: list[Any] = [
        NO_LABEL if value is None or value != value else value for value in values
    ]  # NaN
    codes = [by_name.get(value, value) for value in given]
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
