"""A region of the Earth in longitude and latitude: read from many forms, covered with cells."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, problem

__all__ = ["RADIUS", "area_of", "contains", "cover", "read_region", "to_unit"]

RADIUS = 6_371_000.0
"""Of the sphere on which distances and areas are taken, metres."""
CELLS = 10_000
WORLD = (-180.0, -90.0, 180.0, 90.0)

Floats = npt.NDArray[np.float64]


def read_region(region: Any) -> str | None:
    """Read a region in any of its forms.

    Parameters
    ----------
    region : tuple, geometry, GeoDataFrame or None
        ``(west, south, east, north)`` in degrees, crossing the antimeridian where west is greater
        than east; a polygon of shapely; anything with ``__geo_interface__``, in degrees; or a
        GeoDataFrame or GeoSeries, of which the union is taken, in EPSG:4326.

    Returns
    -------
    str or None
        The region's polygons as WKT in longitude and latitude; None for None.

    Raises
    ------
    DataError
        If it is none of these, has no area, or leaves -180..180 or -90..90.

    Examples
    --------
    >>> read_region((5, 45, 6, 46))
    'POLYGON ((6 45, 6 46, 5 46, 5 45, 6 45))'
    """
    import shapely

    if region is None:
        return None
    try:
        shape = _to_polygons(_to_shape(region))
        west, south, east, north = shape.bounds
        if not (shape.area > 0 and -180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise ValueError(f"bounds {shape.bounds}, area {shape.area}")
    except (TypeError, ValueError, KeyError, AttributeError, shapely.errors.ShapelyError) as error:
        raise DataError(
            problem(
                expected="a region with an area, within longitudes -180..180, latitudes -90..90",
                received=f"{str(region)[:80]} ({error})",
                do="give (west, south, east, north) in degrees, a polygon of shapely, or a "
                "GeoDataFrame with its crs; split polygons at the antimeridian",
            )
        ) from error
    return str(shapely.to_wkt(shape, rounding_precision=17))


def contains(region: str | None, lon: Floats, lat: Floats) -> npt.NDArray[np.bool_]:
    """Tell which points lie in a region.

    Parameters
    ----------
    region : str or None
        As :func:`read_region` returns it; None holds every point.
    lon, lat : ndarray (n,), degrees
        The points.

    Returns
    -------
    ndarray (n,), bool
        True inside.

    Examples
    --------
    >>> contains(read_region((5, 45, 6, 46)), np.array([5.5, 7.0]), np.array([45.5, 45.5]))
    array([ True, False])
    """
    import shapely

    if region is None:
        return np.ones(lon.shape, bool)
    inside: npt.NDArray[np.bool_] = shapely.contains_xy(_parse(region), lon, lat)
    return inside


@lru_cache(maxsize=4)
def cover(region: str | None) -> Floats:
    """Cover a region with cells small enough that little of them lies outside.

    Parameters
    ----------
    region : str or None
        As :func:`read_region` returns it; None for the world.

    Returns
    -------
    ndarray (m, 4), degrees
        ``west, south, east, north`` of cells of one size that do not overlap: the region's bounds
        quartered until at least 10,000 cells meet the region.

    Examples
    --------
    >>> cells = cover(read_region((5, 45, 6, 46)))
    >>> cells.shape, cells.min(0).tolist()
    ((16384, 4), [5.0, 45.0, 5.0078125, 45.0078125])
    """
    import shapely

    shape = None if region is None else _parse(region)
    cells = np.array([WORLD if shape is None else shape.bounds])
    # Forty halvings bring the world to a tenth of a millimetre.
    for _ in range(40):
        if len(cells) >= CELLS:
            break
        west, south, east, north = cells.T
        x, y = (west + east) / 2, (south + north) / 2
        quarters = (
            (west, south, x, y),
            (x, south, east, y),
            (west, y, x, north),
            (x, y, east, north),
        )
        cells = np.concatenate([np.stack(quarter, 1) for quarter in quarters])
        if shape is not None:
            cells = cells[shapely.intersects(shape, shapely.box(*cells.T))]
    return cells


def area_of(cells: Floats) -> Floats:
    """Measure cells bounded by meridians and parallels.

    Parameters
    ----------
    cells : ndarray (m, 4), degrees
        ``west, south, east, north``.

    Returns
    -------
    ndarray (m,), square metres
        Their areas on the sphere.

    Examples
    --------
    >>> (area_of(np.array([[-180.0, -90.0, 180.0, 90.0]])) / 1e12).round(1)  # million km2
    array([510.1])
    """
    west, south, east, north = np.deg2rad(cells).T
    return np.asarray(RADIUS**2 * (east - west) * (np.sin(north) - np.sin(south)))


def to_unit(lon: Floats, lat: Floats) -> Floats:
    """Turn longitude and latitude into points of the unit sphere.

    Parameters
    ----------
    lon, lat : ndarray (n,), degrees
        The points.

    Returns
    -------
    ndarray (n, 3), float64
        x, y, z: chords between them grow with great-circle distances, across the antimeridian too.

    Examples
    --------
    >>> to_unit(np.array([0.0, 90.0]), np.array([0.0, 0.0])).round(6) + 0.0
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    x, y = np.deg2rad(lon), np.deg2rad(lat)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], -1)


@lru_cache(maxsize=4)
def _parse(region: str) -> Any:
    import shapely

    shape = shapely.from_wkt(region)
    shapely.prepare(shape)
    return shape


def _to_shape(region: Any) -> Any:
    import shapely
    from shapely.geometry import shape as read_mapping

    if isinstance(region, shapely.Geometry):
        return region
    if hasattr(region, "to_crs"):
        return (region if region.crs is None else region.to_crs(4326)).geometry.union_all()
    if hasattr(region, "__geo_interface__"):
        mapping = region.__geo_interface__
        features = mapping.get("features", [mapping])
        return shapely.union_all([read_mapping(f.get("geometry", f)) for f in features])
    west, south, east, north = (float(number) for number in region)
    if west > east:
        halves = shapely.box([west, -180], south, [180, east], north)
        return shapely.union_all(halves)
    return shapely.box(west, south, east, north)


def _to_polygons(shape: Any) -> Any:
    import shapely

    parts = shapely.get_parts(shapely.make_valid(shape))
    # Mending a polygon leaves multipolygons and loose lines in a collection.
    parts = shapely.get_parts(parts)
    return shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
