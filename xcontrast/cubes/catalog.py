"""STAC items for a place and a period, each product once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xcontrast.cubes.periods import parse_period, time_of
from xcontrast.cubes.sources import Box, SourceLike, open_source
from xcontrast.errors import DataError, problem
from xcontrast.sensors import Sensor

if TYPE_CHECKING:
    from pystac import Item

__all__ = ["find_items", "newest_processing"]


def find_items(
    source: SourceLike,
    *,
    sensor: Sensor,
    boxes: Sequence[Box],
    datetime: str,
    max_cloud: float | None = None,
) -> list[Item]:
    """Find the items of one sensor that meet one of some boxes and a period.

    Parameters
    ----------
    source : None, str, path, iterable of pystac.Item or Source
        See :func:`xcontrast.cubes.sources.open_source`.
    sensor : Sensor
        Which one; collections are known by their id.
    boxes : sequence of tuple of float
        West, south, east, north in degrees.
    datetime : str
        See :func:`xcontrast.cubes.periods.parse_period`.
    max_cloud : float, optional
        Leave out items with a higher ``eo:cloud_cover``, percent; those without one are kept.

    Returns
    -------
    list of pystac.Item
        In order of time; of several processings of one tile and time the newest.

    Raises
    ------
    SourceError
        If the source is no catalog or cannot be reached.
    DataError
        If the period cannot be read, or an item is Sentinel-1 GRD in radar geometry.
    """
    period = parse_period(datetime)
    opened = open_source(source)
    limit = max_cloud if sensor.name == "s2" else None
    found = {
        item.id: item
        for box in boxes
        for item in opened.search(sensor, bbox=box, period=period, max_cloud=limit)
    }
    items = sorted(found.values(), key=lambda item: (time_of(item), item.id))
    _refuse_radar_geometry(items, sensor)
    return newest_processing(items)


def newest_processing(items: Sequence[Item]) -> list[Item]:
    """Keep the newest processing of each tile and time.

    Parameters
    ----------
    items : sequence of pystac.Item
        Sentinel-2 items may come several times, with different ``s2:generation_time``.

    Returns
    -------
    list of pystac.Item
        In the order given.
    """
    newest: dict[object, Item] = {}
    for item in items:
        tile = item.properties.get("s2:mgrs_tile") or item.properties.get("grid:code")
        key = (tile, time_of(item)) if tile else item.id
        held = newest.get(key)
        if held is None or _generation(item) > _generation(held):
            newest[key] = item
    kept = {id(item) for item in newest.values()}
    return [item for item in items if id(item) in kept]


def _generation(item: Item) -> str:
    return str(item.properties.get("s2:generation_time", ""))


def _refuse_radar_geometry(items: Sequence[Item], sensor: Sensor) -> None:
    for item in items:
        if sensor.name != "s1" or "grd" not in str(item.collection_id).lower():
            continue
        raise DataError(
            problem(
                expected="Sentinel-1 on a map grid, such as sentinel-1-rtc",
                received=f"{item.id} of {item.collection_id}, which is in radar geometry with "
                "ground control points, whatever its proj:transform says",
                do="use the collection sentinel-1-rtc, or terrain-correct the product first and "
                "give it a collection id of its own",
            )
        )
