"""From a place and a period to a lazy cube: both sensors on one grid, in physical units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xcontrast.cubes.catalog import find_items
from xcontrast.cubes.facts import FACTS, gather_facts
from xcontrast.cubes.loading import load_sensor
from xcontrast.cubes.options import CubeOptions
from xcontrast.cubes.reports import READS
from xcontrast.cubes.sources import Box, Source, SourceLike, open_source
from xcontrast.cubes.zones import areas_of, choose_chunks, choose_grid
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, SENSORS, Sensor

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["choose_bands", "choose_sensors", "open_cube"]


def open_cube(
    *,
    bbox: Box | None = None,
    geobox: GeoBox | None = None,
    datetime: str,
    sensors: Sequence[str] = ("s1", "s2"),
    bands: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    resolution: float = 10,
    max_cloud: float | None = None,
    source: SourceLike = None,
    chunks: Mapping[str, int] | None = None,
    on_error: Literal["raise", "nan"] = "nan",
    options: CubeOptions | None = None,
) -> xr.Dataset:
    """Open a lazy cube of Sentinel-1 and Sentinel-2 on one grid.

    Sentinel-2 is harmonised by each item's processing baseline; clouds and shadows of its scene
    classification are NaN (without an SCL asset only no data is). Sentinel-1 is in dB; every
    orbit is a time step of its own. Several tiles of one pass or solar day are mosaicked.
    Bands that do not lie on the grid are resampled bilinearly (Sentinel-1 in power), scene classes
    by nearest.

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
    bands : mapping or sequence of str, optional
        Bands by sensor, ``{"s2": ("B04", "B03", "B02")}``, or of all sensors in one list; by
        default VV, VH and the ten bands of 10 and 20 m.
    resolution : float, default 10
        Pixel size of the grid made from `bbox`, metres (degrees if the CRS is geographic).
    max_cloud : float, optional
        Leave out Sentinel-2 items with a higher ``eo:cloud_cover``, percent.
    source : optional
        None for the Planetary Computer; the address of a STAC API; the path or address of a
        static catalog; or items.
    chunks : mapping, optional
        Pixels of a dask chunk; by default up to ``{"y": 1024, "x": 1024}``, less where memory is
        short. Always one time and all bands.
    on_error : {"nan", "raise"}, default "nan"
        What becomes of a file that is missing or damaged: NaN and a line of :func:`read_report`,
        or an error. No access and no network are errors always.
    options : CubeOptions, optional
        All the rest.

    Returns
    -------
    Dataset
        ``s1 (s1_time, s1_band, y, x)`` float32 dB and ``s2 (s2_time, s2_band, y, x)`` float32
        surface reflectance (1 = 100 %, not clipped), NaN where invalid, dask-backed;
        ``s1_valid (s1_time, y, x)`` and ``s2_valid (s2_time, y, x)`` bool, where the ground is
        seen, by the scene classes or else the first band alone: cheap to read. Coords
        ``s1_orbit_state``, ``s1_relative_orbit``, ``s1_platform``, ``s2_cloud_cover`` (%),
        ``s2_processing_baseline`` and ``spatial_ref``. Nothing is read until it is computed; links
        are signed then. ``cube.contrast`` prints what it holds.

    Raises
    ------
    DataError
        If the box, period, a sensor or a band is not one, the box is too wide for one UTM zone, a
        sensor has no item there, or an item lacks a band or is in radar geometry.
    SourceError
        If the source is no catalog or cannot be reached. When it is computed: if files cannot be
        accessed or reached, within the time that ``options.patience`` states.

    References
    ----------
    Sentinel-2 Products Specification Document; Planetary Computer, Sentinel-1 RTC.

    Examples
    --------
    >>> truth = xc.read_truth(archive)
    >>> opened = xc.open_cube(
    ...     geobox=truth.odc.geobox, datetime="2023-05/2023-06", source=archive / "catalog.json"
    ... )
    >>> opened.s1.dims, opened.s1.dtype, opened.s1.chunks is not None
    (('s1_time', 's1_band', 'y', 'x'), dtype('float32'), True)
    """
    import odc.geo.xr  # noqa: F401  (registers .odc)
    import rioxarray  # noqa: F401  (registers .rio)

    options = options or CubeOptions()
    _check(bbox, resolution, chunks)
    _check_limits(max_cloud, on_error)
    chosen = choose_sensors(sensors)
    by_sensor = choose_bands(bands, chosen)
    box: Any = None if bbox is None else tuple(map(float, bbox))
    grid = choose_grid(box, geobox, float(resolution), options.crs)
    areas = areas_of(grid)
    sizes = choose_chunks(grid, max(map(len, by_sensor.values())), chunks)
    opened = open_source(source)
    items: dict[str, list[Item]] = {}
    for sensor in chosen:
        found = find_items(
            opened, sensor=sensor, boxes=areas, datetime=datetime, max_cloud=max_cloud
        )
        items[sensor.name] = _keep(found, sensor, options)
        if not items[sensor.name]:
            raise _nothing_found(opened, sensor, areas, datetime, max_cloud, options)
    parts = [
        load_sensor(
            sensor, items[sensor.name], grid, bands=by_sensor[sensor.name], chunks=sizes,
            source=source, on_error=on_error, options=options,
        )
        for sensor in chosen
    ]  # fmt: skip
    cube = xr.merge(parts, compat="override", join="exact", combine_attrs="override")
    cube.attrs = {
        "title": "xcontrast cube",
        "datetime": datetime,
        READS: ",".join(part.attrs[READS] for part in parts),
        FACTS: gather_facts(items, by_sensor, grid, areas),
    }
    return cube


def choose_bands(
    bands: Mapping[str, Sequence[str]] | Sequence[str] | None, sensors: Sequence[Sensor]
) -> dict[str, tuple[str, ...]]:
    """Sort bands, in any spelling, by their sensor.

    Parameters
    ----------
    bands : mapping or sequence of str or None
        By sensor, or all in one list; None and sensors left out are the default.
    sensors : sequence of Sensor
        Those that are loaded.

    Returns
    -------
    dict
        Canonical names by sensor.

    Raises
    ------
    DataError
        If a band is no sensor's, or of none that is loaded.
    """
    if bands is None:
        return {sensor.name: sensor.bands for sensor in sensors}
    if isinstance(bands, Mapping):
        wrong = [f"bands for {name}" for name in bands if name not in {s.name for s in sensors}]
        chosen = {s.name: s.canonical_bands(list(bands.get(s.name, s.bands))) for s in sensors}
    else:
        names = [bands] if isinstance(bands, str) else list(bands)
        wrong = [n for n in names if not any(sensor.canonical(n) for sensor in sensors)]
        own = {s.name: [n for n in names if s.canonical(n)] for s in sensors}
        chosen = {s.name: s.canonical_bands(list(own[s.name])) or s.bands for s in sensors}
    if wrong:
        known = "; ".join(f"{s.name}: {', '.join(s.known_bands)}" for s in sensors)
        raise DataError(
            problem(
                expected=f"bands of the sensors that are opened ({known})",
                received=", ".join(wrong),
                do="rename them, or open their sensor too",
            )
        )
    return chosen


def _check(bbox: Any, resolution: Any, chunks: Any) -> None:
    """Refuse what libraries below would refuse in words of their own, or take for something."""
    wrong = []
    if bbox is not None and (
        len(bbox) != 4 or not all(isinstance(v, int | float | np.number) for v in bbox)
    ):
        wrong.append(f"bbox={bbox!r}")
    if not isinstance(resolution, int | float | np.number) or not 0 < resolution < math.inf:
        wrong.append(f"resolution={resolution!r}")
    sizes = {} if chunks is None else chunks
    if not isinstance(sizes, Mapping) or not all(
        isinstance(n, int | np.integer) and (n == -1 or n > 0) for n in sizes.values()
    ):
        wrong.append(f"chunks={chunks!r}")
    if wrong:
        raise DataError(
            problem(
                expected="a bbox of four numbers, a resolution above zero, and chunks as whole "
                "numbers of pixels along y and x (-1 is all)",
                received=", ".join(wrong),
                do="write them as bbox=(west, south, east, north), resolution=10, "
                "chunks={'y': 512, 'x': 512}",
            )
        )


def _check_limits(max_cloud: float | None, on_error: str) -> None:
    if (max_cloud is not None and not 0 <= max_cloud <= 100) or on_error not in ("raise", "nan"):
        raise DataError(
            problem(
                expected="max_cloud in 0..100 percent, on_error 'raise' or 'nan'",
                received=f"max_cloud={max_cloud}, on_error={on_error!r}",
                do="leave them out for the defaults",
            )
        )


def choose_sensors(names: Sequence[str]) -> list[Sensor]:
    """Give the sensors of names, in the order in which a cube holds them.

    Raises
    ------
    DataError
        If one is unknown, or there is none.
    """
    given = [names] if isinstance(names, str) else list(names)
    unknown = set(given) - {sensor.name for sensor in SENSORS}
    if unknown or not given:
        raise DataError(
            problem(
                expected="sensors 's1' and/or 's2'",
                received=", ".join(map(repr, sorted(unknown))) or "none",
                do="use those names",
            )
        )
    return [sensor for sensor in SENSORS if sensor.name in given]


def _keep(items: list[Item], sensor: Sensor, options: CubeOptions) -> list[Item]:
    if sensor is S2:
        return items
    wanted = {
        "sat:orbit_state": options.orbit_state,
        "sat:relative_orbit": options.relative_orbit,
    }
    return [
        item
        for item in items
        if all(v is None or item.properties.get(k) == v for k, v in wanted.items())
    ]


def _nothing_found(
    source: Source,
    sensor: Sensor,
    areas: Sequence[Box],
    datetime: str,
    max_cloud: float | None,
    options: CubeOptions,
) -> DataError:
    """Say what is missing, and, where asking again costs nothing, what there is."""
    where = " and ".join("(" + ", ".join(f"{v:.3f}" for v in area) + ")" for area in areas)
    world = [(-180.0, -90.0, 180.0, 90.0)]
    hint = ""
    if source.local:
        anytime = find_items(source, sensor=sensor, boxes=areas, datetime="1900/..")
        if anytime:
            days = sorted(str(item.datetime)[:10] for item in anytime)
            hint = f"; the source has it there from {days[0]} to {days[-1]}"
        elif find_items(source, sensor=sensor, boxes=world, datetime=datetime):
            hint = "; the source has it in that period, but elsewhere"
    limits = f", max_cloud={max_cloud}" if max_cloud is not None and sensor is S2 else ""
    limits += f", options {options}" if sensor is S1 and options != CubeOptions() else ""
    return DataError(
        problem(
            expected=f"{sensor.title} items in {where} during {datetime}{limits}",
            received=f"none{hint}",
            do="change the area, the period or the limits, or open the other sensor alone",
        )
    )
