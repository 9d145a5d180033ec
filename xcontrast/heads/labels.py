"""Labels of any kind brought to the grid of an embedding, without ever interpolating a code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.grids import find_factors, geobox_of, order_alike
from xcontrast.heads.geometries import draw_shapes, read_rows
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.requirements import require_legend

__all__ = ["match_labels"]


def match_labels(
    labels: Any,
    like: xr.DataArray | xr.Dataset,
    *,
    legend: Legend,
    column: str | None = None,
    may_be_empty: bool = False,
) -> xr.DataArray:
    """Bring labels to the grid of an embedding.

    Parameters
    ----------
    labels : DataArray or geometries
        A DataArray ``(…, y, x)`` of codes on any grid and CRS: where it is finer, a cell gets the
        code of most of its labelled pixels; where coarser, the nearest. Leading dims are brought
        into the embedding's order by their coords, where both have some; without a CRS ``y`` and
        ``x`` must agree where both have them, and pixels are counted where not. Or anything with
        ``__geo_interface__`` (a GeoDataFrame with `column`) in the CRS it states, or the grid's
        own where it states none: a cell whose centre lies in a polygon, or that holds a point,
        gets its code, of several the last one's.
    like : DataArray or Dataset (…, y, x)
        The grid; or, of whole images or of points, one leading dim alone: labels are then a
        DataArray along it, or a frame with a row for each.
    legend : Legend
        Codes that are allowed; ``NO_LABEL`` (255), NaN and the array's own nodata are ignored.
    column : str, optional
        Column of a GeoDataFrame with codes or names of the legend.
    may_be_empty : bool, default False
        Let nothing be labelled, as on one date of several.

    Returns
    -------
    DataArray (…, y, x) or (…), uint8
        Codes of the legend, 255 where there is no label.

    Raises
    ------
    DataError
        If `legend` is none, codes are not in it, nothing overlaps, nothing is labelled, or dims
        and column do not fit.

    Examples
    --------
    >>> on_cells = match_labels(labels, emb.s1, legend=xc.FLOOD)
    >>> labels.shape, on_cells.shape, on_cells.dtype
    ((96, 96), (24, 24), dtype('uint8'))
    """
    require_legend(legend)
    if "y" not in like.dims:
        matched = _match_listed(labels, like, legend, column)
    elif isinstance(labels, xr.DataArray):
        matched = _match_array(labels, like, legend)
    elif hasattr(labels, "__geo_interface__"):
        matched = draw_shapes(labels, like, legend, column)
    else:
        raise DataError(
            problem(
                expected="labels as a DataArray or with __geo_interface__, such as a GeoDataFrame",
                received=f"a {type(labels).__name__}",
                do="wrap an array as xr.DataArray with the dims y and x",
            )
        )
    if not may_be_empty and not bool((matched != NO_LABEL).any()):
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
        codes = _check_codes(order_alike(labels, like, what="labels"), legend)
    elif column is not None and column in getattr(labels, "columns", ()):
        codes = xr.DataArray(read_rows(labels, like, legend, column), dims=dims[-1:])
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
    codes = _check_codes(order_alike(labels, like, what="labels"), legend)
    codes = codes.transpose(..., "y", "x")
    if geobox_of(codes) is not None and geobox_of(like) is not None:
        return _match_georeferenced(codes, like)
    return _match_blocks(codes, like, legend)


def _check_codes(labels: xr.DataArray, legend: Legend) -> xr.DataArray:
    """Give uint8 codes, 255 where not labelled."""
    values = labels.values
    if values.dtype.kind not in "biuf":
        raise DataError(
            problem(
                expected="labels as numbers, the codes of the legend",
                received=f"values of type {values.dtype}",
                do="translate names to codes, and dates to a coord `time`",
            )
        )
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
    target, source = geobox_of(like), geobox_of(codes)
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
    """Match grids that are not both georeferenced, by counting pixels."""
    for dim in (d for d in ("y", "x") if _runs_back(codes, like, d)):
        codes = codes.isel({dim: slice(None, None, -1)})
    factors = find_factors(codes, like)
    if len(factors) != 1:
        told = any(d in v.coords for d in ("y", "x") for v in (codes, like))
        raise DataError(
            problem(
                expected=f"labels of {like.sizes['y']} x {like.sizes['x']} cells, or finer by a "
                "whole factor" + (", at the same y and x" if told else ""),
                received=f"{codes.sizes['y']} x {codes.sizes['x']} pixels without a CRS that both "
                "have" + (f", which may be {factors} a cell" if factors else ""),
                do="cut labels and embedding to one area, or georeference both",
            )
        )
    matched = _majority(codes.values, factors[0], legend) if factors != [1] else codes.values
    coords = {k: v for k, v in codes.coords.items() if not {"y", "x"} & set(v.dims)}
    return xr.DataArray(
        matched, coords | {dim: like[dim] for dim in ("y", "x") if dim in like.coords}, codes.dims
    )


def _runs_back(codes: xr.DataArray, like: xr.DataArray | xr.Dataset, dim: str) -> bool:
    if any(dim not in v.coords or v.sizes[dim] < 2 for v in (codes, like)):
        return False
    first, other = (v[dim].values for v in (codes, like))
    return bool((first[-1] - first[0]) * (other[-1] - other[0]) < 0)


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
