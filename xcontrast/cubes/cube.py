"""From a place and a period to a lazy cube: both sensors on one grid, in physical units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from xcontrast.cubes.catalog import Box, find_items
from xcontrast.cubes.loading import CubeOptions, load_s1, load_s2
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, SENSORS, Sensor

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["open_cube"]


def open_cube(
    *,
    bbox: Box | None = None,
    geobox: GeoBox | None = None,
    datetime: str,
    sensors: Sequence[str] = ("s1", "s2"),
    resolution: float = 10,
    source: str | Path | Iterable[Item] | None = None,
    chunks: Mapping[str, int] | None = None,
    options: CubeOptions | None = None,
) -> xr.Dataset:
    """Open a lazy cube of Sentinel-1 and Sentinel-2 on one grid.

    Sentinel-2 is harmonised by each item's processing baseline; clouds and shadows of its scene
    classification are NaN (without an SCL asset only no data is). Sentinel-1 is in dB; every
    orbit is a time step of its own. Several tiles of one pass or solar day are mosaicked.
    10 and 20 m bands are resampled bilinearly (Sentinel-1 in power), scene classes by nearest.

    Parameters
    ----------
    bbox : tuple of float, optional
        West, south, east, north in degrees; the grid is in UTM, on multiples of `resolution`.
    geobox : GeoBox, optional
        The grid, instead of `bbox`.
    datetime : str
        ``"2023-04/2023-06"``, ``"2023-05-16"``, ``"2023-01-01/.."``.
    sensors : sequence of str, default ("s1", "s2")
        Which sensors.
    resolution : float, default 10
        Pixel size of the grid made from `bbox`, metres (degrees if `crs` is geographic).
    source : optional
        None for the Planetary Computer; the address of a STAC API; the path or address of a
        static catalog; or items.
    chunks : mapping, optional
        Pixels of a dask chunk, ``{"y": 1024, "x": 1024}`` by default; always one time.
    options : CubeOptions, optional
        All the rest.

    Returns
    -------
    Dataset
        ``s1 (s1_time, s1_band, y, x)`` float32 dB and ``s2 (s2_time, s2_band, y, x)`` float32
        surface reflectance (1 = 100 %, not clipped), NaN where invalid, dask-backed. Coords
        ``s1_orbit_state``, ``s1_relative_orbit``, ``s1_platform``, ``s2_cloud_cover`` (%),
        ``s2_processing_baseline`` and ``spatial_ref``. Nothing is read until it is computed.

    Raises
    ------
    DataError
        If the box, period or a sensor is not one, a sensor has no item there, or an item lacks a
        band or is in radar geometry.
    SourceError
        If the source is no catalog or cannot be reached.

    References
    ----------
    Sentinel-2 Products Specification Document; Planetary Computer, Sentinel-1 RTC.
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)
    import rioxarray  # noqa: F401  (registers .rio)

    options = options or CubeOptions()
    chosen = [_sensor(name) for name in sensors]
    grid = _choose_grid(bbox, geobox, resolution, options.crs)
    area = _geographic(grid)
    source = list(source) if source is not None and not isinstance(source, (str, Path)) else source
    size = {"y": 1024, "x": 1024, **(chunks or {})}
    parts = []
    for sensor in chosen:
        items = find_items(source, sensor=sensor, bbox=area, datetime=datetime)
        items = _keep(items, sensor, options)
        if not items:
            raise _nothing_found(source, sensor, area, datetime, options)
        load = load_s1 if sensor is S1 else load_s2
        parts.append(load(items, grid, chunks=size, source=source, options=options))
    cube = xr.merge(parts, compat="override", join="exact", combine_attrs="override")
    cube.attrs = {"title": "xcontrast cube", "datetime": datetime}
    return cube


def _sensor(name: str) -> Sensor:
    for sensor in SENSORS:
        if sensor.name == name:
            return sensor
    raise DataError(
        problem(expected="sensors 's1' and/or 's2'", received=repr(name), do="use those names")
    )


def _choose_grid(
    bbox: Box | None, geobox: GeoBox | None, resolution: float, crs: str | int | None
) -> GeoBox:
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import box

    if (bbox is None) == (geobox is None):
        raise DataError(
            problem(
                expected="either a bbox or a geobox",
                received="both" if bbox is not None else "neither",
                do="give one",
            )
        )
    if bbox is None:
        return geobox
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise DataError(
            problem(
                expected="a bbox of west < east in -180..180 and south < north in -90..90 degrees",
                received=str(tuple(bbox)),
                do="order it as (west, south, east, north); open an area across the antimeridian "
                "as two cubes, one on each side",
            )
        )
    outline = box(west, south, east, north, "EPSG:4326")
    if crs is None:
        from odc.geo.crs import CRS

        crs = CRS.utm(outline.centroid)
    return GeoBox.from_geopolygon(outline, resolution=resolution, crs=crs, tight=False)


def _geographic(grid: GeoBox) -> Box:
    bounds = grid.extent.to_crs("EPSG:4326", resolution=float("inf")).boundingbox
    return (bounds.left, bounds.bottom, bounds.right, bounds.top)


def _keep(items: list[Item], sensor: Sensor, options: CubeOptions) -> list[Item]:
    if sensor is S2 and options.max_cloud is not None:
        limit = options.max_cloud
        return [i for i in items if i.properties.get("eo:cloud_cover", 0) <= limit]
    if sensor is S1 and options.orbit_state is not None:
        return [i for i in items if i.properties.get("sat:orbit_state") == options.orbit_state]
    return items


def _nothing_found(
    source: Any, sensor: Sensor, area: Box, datetime: str, options: CubeOptions
) -> DataError:
    where = ", ".join(f"{v:.3f}" for v in area)
    local = source is not None and not str(source).startswith("http")
    world = (-180.0, -90.0, 180.0, 90.0)
    anytime = find_items(source, sensor=sensor, bbox=area, datetime="1900/..") if local else []
    anywhere = find_items(source, sensor=sensor, bbox=world, datetime=datetime) if local else []
    if anytime:
        days = sorted(str(i.datetime)[:10] for i in anytime)
        hint = f"; the source has it there from {days[0]} to {days[-1]}"
    elif anywhere:
        hint = "; the source has it in that period, but elsewhere"
    else:
        hint = ""
    limits = f", options {options}" if options != CubeOptions() else ""
    return DataError(
        problem(
            expected=f"{sensor.title} items in ({where}) during {datetime}{limits}",
            received=f"none{hint}",
            do="change the area, the period or the limits, or open the other sensor alone",
        )
    )
