"""Where else it looks like this: the similarity of every cell to a few chosen ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.embedding.facts import SHARED, identify
from xcontrast.errors import DataError, problem

__all__ = ["similar"]


def similar(
    embedding: xr.DataArray,
    points: Any,
    *,
    of: xr.DataArray | None = None,
    reduce: Literal["max", "mean"] = "max",
) -> xr.DataArray:
    """Map how much every cell looks like the cells at some points, lazily.

    Parameters
    ----------
    embedding : DataArray (…, feature, y, x), float32
        Where to look.
    points : geometries or array-like (P, 2)
        Anything with ``__geo_interface__`` (a GeoDataFrame, shapely points) in the CRS it states,
        or the embedding's own where it states none; or x and y in the embedding's coordinates.
    of : DataArray (feature, y, x), optional
        The embedding in which the points are read, of one time: another date, another area, or
        the other sensor in the space ``joint``. By default `embedding` itself.
    reduce : {"max", "mean"}, default "max"
        Over the points: as one of them, or as all of them.

    Returns
    -------
    DataArray (…, y, x), float32
        Cosine similarity, -1 to 1; NaN where the embedding is.

    Raises
    ------
    DataError
        If dims do not fit, no point lies on the embedding, the points are read at several times,
        or the two embeddings cannot be compared.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.array([[[1.0, 0.0, 2.0]], [[0.0, 1.0, 0.0]]], "float32")
    >>> emb = xr.DataArray(values, {"y": [0.0], "x": [5.0, 15.0, 25.0]}, ("feature", "y", "x"))
    >>> similar(emb, [(5.0, 0.0)]).values
    array([[1., 0., 1.]], dtype=float32)
    """
    source = embedding if of is None else of
    _check(embedding, source)
    queries = _read_points(source, points)
    result: xr.DataArray = xr.apply_ufunc(
        _similarity_np,
        embedding,
        queries,
        input_core_dims=[["feature"], ["point", "feature"]],
        kwargs={"reduce": reduce},
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs="override",  # Of coords too, and with them the CRS.
    )
    result.attrs = {"long_name": f"similarity to {queries.sizes['point']} points", "units": "1"}
    result.attrs |= identify(embedding)
    return result.rename("similarity")


def _similarity_np(
    features: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], *, reduce: str
) -> npt.NDArray[np.float32]:
    """(…, y, x, F), (P, F) -> (…, y, x)."""
    known = queries[np.isfinite(queries).all(1)]
    if not len(known):
        return np.full(features.shape[:-1], np.nan, np.float32)
    unit = known / np.linalg.norm(known, axis=1, keepdims=True).clip(min=1e-12)
    if reduce == "mean":
        unit = unit.mean(0, keepdims=True)
    # The norm of the cells is taken off after the product: no copy of the features.
    length = np.sqrt(np.einsum("...f,...f->...", features, features)).clip(min=1e-12)
    similarity: npt.NDArray[np.float32] = (features @ unit.T).max(-1) / length
    return similarity.astype(np.float32, copy=False)


def _check(embedding: xr.DataArray, source: xr.DataArray) -> None:
    for array in (embedding, source):
        if not {"feature", "y", "x"} <= set(array.dims):
            raise DataError(
                problem(
                    expected="an embedding with the dims feature, y and x",
                    received=f"dims {array.dims}",
                    do="call cube.contrast.embed(model) first, and take one sensor",
                )
            )
    extra = [dim for dim in source.dims if dim not in ("feature", "y", "x")]
    if any(source.sizes[dim] > 1 for dim in extra):
        raise DataError(
            problem(
                expected="points read at one time and place",
                received=", ".join(f"{source.sizes[dim]} along {dim}" for dim in extra),
                do="select one, such as of=emb.isel(s2_time=0)",
            )
        )
    facts, sensors = zip(
        *((identify(array), array.attrs.get("sensor")) for array in (embedding, source)),
        strict=True,
    )
    shared = facts[0].get("space") in SHARED
    if facts[0] != facts[1] or (sensors[0] != sensors[1] and not shared):
        raise DataError(
            problem(
                expected="two embeddings of one model and space, of one sensor or in 'joint'",
                received=f"{sensors[0]} {facts[0]} and {sensors[1]} {facts[1]}",
                do="embed both with the same model and space='joint'",
            )
        )


def _read_points(source: xr.DataArray, points: Any) -> xr.DataArray:
    """Give the vectors at points, (point, feature), lazily."""
    extra = {dim: 0 for dim in source.dims if dim not in ("feature", "y", "x")}
    grid = source.isel(extra)
    x, y = _locate(grid, points)
    where = {}
    for dim, values in (("y", y), ("x", x)):
        axis = np.asarray(grid[dim] if dim in grid.coords else np.arange(grid.sizes[dim]), float)
        step = axis[1] - axis[0] if len(axis) > 1 else 1.0
        where[dim] = np.rint((values - axis[0]) / step).astype(int)
    inside = np.all([(where[d] >= 0) & (where[d] < grid.sizes[d]) for d in ("y", "x")], axis=0)
    if not inside.any():
        raise DataError(
            problem(
                expected="points on the embedding",
                received=f"{len(x)} points, none of them inside",
                do="check their CRS, and that x comes before y",
            )
        )
    index = {d: xr.DataArray(where[d][inside], dims="point") for d in ("y", "x")}
    read = grid.isel(index).transpose("point", "feature")
    read = read.drop_vars([name for name in read.coords if name != "feature"])
    return read.chunk(-1) if read.chunks is not None else read


def _locate(grid: xr.DataArray, points: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Give x and y of points in the coordinates of a grid."""
    if not hasattr(points, "__geo_interface__"):
        pairs = np.asarray(points, float)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise DataError(
                problem(
                    expected="points as geometries, or as pairs of x and y",
                    received=f"an array of the shape {pairs.shape}",
                    do="give [(x, y), ...]",
                )
            )
        return pairs[:, 0], pairs[:, 1]
    import geopandas as gpd
    import odc.geo.xr  # noqa: F401  (registers .odc)
    from shapely.geometry import shape

    if isinstance(points, gpd.GeoDataFrame | gpd.GeoSeries):
        series = points.geometry
    else:
        told = points.__geo_interface__
        features = [f["geometry"] for f in told["features"]] if "features" in told else [told]
        series = gpd.GeoSeries([shape(f) for f in features])
    box = grid.odc.geobox if "spatial_ref" in grid.coords else None
    if series.crs is not None and box is not None and box.crs is not None:
        series = series.to_crs(box.crs.to_wkt())
    # A polygon or line stands for a point within it.
    single = series.explode(index_parts=False).representative_point()
    return single.x.to_numpy(), single.y.to_numpy()
