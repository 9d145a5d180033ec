"""STAC items for a place and a period, from an API, a static catalog or a person's own list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from xcontrast.cubes.signing import PLANETARY_COMPUTER
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.sensors import Sensor

if TYPE_CHECKING:
    from pystac import Item

__all__ = ["Box", "find_items", "newest_processing", "parse_period", "time_of"]

Box = tuple[float, float, float, float]
Period = tuple[pd.Timestamp | None, pd.Timestamp | None]

COLLECTIONS = {"s1": re.compile(r"sentinel-?1", re.I), "s2": re.compile(r"sentinel-?2", re.I)}


def parse_period(datetime: str) -> Period:
    """Read a STAC API datetime: an instant, a day, month or year, or an interval of them.

    Parameters
    ----------
    datetime : str
        ``"2023-05-16"``, ``"2023-04/2023-06"`` (to the end of June), ``"2023-01-01/.."``.

    Returns
    -------
    tuple of Timestamp or None
        First and last instant, UTC; None where open.

    Raises
    ------
    DataError
        If it cannot be read or ends before it starts.
    """
    parts = str(datetime).split("/")
    try:
        if len(parts) > 2 or not all(parts) or parts in ([".."], ["..", ".."]):
            raise ValueError
        spans = [None if part == ".." else _span(part) for part in (parts[0], parts[-1])]
        first, last = spans
        start = first[0] if first else None
        end = last[1] if last else None
        if start is not None and end is not None and end < start:
            raise ValueError
    except ValueError:
        raise DataError(
            problem(
                expected="a date, month or year, or two of them with a slash",
                received=repr(datetime),
                do="write it as '2023-05-16', '2023-04/2023-06' or '2023-04-01/..'",
            )
        ) from None
    return start, end


def _span(part: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    if re.fullmatch(r"\d{4}(-\d\d){0,2}", part):
        period = pd.Period(part)
        return period.start_time.tz_localize("UTC"), period.end_time.tz_localize("UTC")
    instant = pd.Timestamp(part)
    instant = instant.tz_localize("UTC") if instant.tz is None else instant.tz_convert("UTC")
    return instant, instant


def find_items(
    source: str | Path | Iterable[Item] | None,
    *,
    sensor: Sensor,
    bbox: Box,
    datetime: str,
) -> list[Item]:
    """Find the items of one sensor that meet a box and a period.

    Parameters
    ----------
    source : None, str, path or iterable of pystac.Item
        None for the Planetary Computer; the address of a STAC API; the path or address of a
        static catalog, collection or item collection; or items.
    sensor : Sensor
        Which one; collections are known by their id.
    bbox : tuple of float
        West, south, east, north in degrees.
    datetime : str
        See :func:`parse_period`.

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
    if source is None or isinstance(source, (str, Path)):
        items = _search(str(source or PLANETARY_COMPUTER), sensor, bbox, datetime, period)
    else:
        items = _filter(source, sensor, bbox, period)
    _refuse_radar_geometry(items, sensor)
    return newest_processing(sorted(items, key=lambda item: (time_of(item), item.id)))


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
    return [item for item in items if any(item is kept for kept in newest.values())]


def _generation(item: Item) -> str:
    return str(item.properties.get("s2:generation_time", ""))


def time_of(item: Item) -> pd.Timestamp:
    """Give the time of an item, UTC; the start where it states a range."""
    moment = item.datetime or item.common_metadata.start_datetime
    if moment is None:
        raise SourceError(
            problem(
                expected="an item with a datetime or a start_datetime",
                received=f"{item.id}, with neither",
                do="mend the catalog",
            )
        )
    stamp = pd.Timestamp(moment)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def _search(source: str, sensor: Sensor, bbox: Box, datetime: str, period: Period) -> list[Item]:
    import pystac

    if source.startswith(("http://", "https://")):
        found = _search_api(source, sensor, bbox, datetime)
        if found is not None:
            return found
    elif "://" not in source:
        # Links of a catalog are relative to it, not to where this process happens to be.
        source = str(Path(source).resolve())
    try:
        top: object = _read_stac(source)
    except Exception as error:
        # pystac raises whatever its reader met: OSError, JSON and key errors alike.
        raise SourceError(
            problem(
                expected="a STAC API, a static catalog (catalog.json) or a list of items",
                received=f"{source} ({type(error).__name__}: {error})",
                do="check the address, and that it can be reached from here",
            )
        ) from error
    if isinstance(top, pystac.Item):
        return _filter([top], sensor, bbox, period)
    if isinstance(top, pystac.Catalog):
        return _filter(top.get_items(recursive=True), sensor, bbox, period)
    return _filter(cast("pystac.ItemCollection", top), sensor, bbox, period)


def _read_stac(source: str) -> object:
    import json

    import pystac
    from pystac.stac_io import StacIO

    text = StacIO.default().read_text(source)
    # A search result saved to a file: pystac reads that apart from the other kinds.
    if json.loads(text).get("type") == "FeatureCollection":
        return pystac.ItemCollection.from_file(source)
    return pystac.read_file(source)


def _search_api(source: str, sensor: Sensor, bbox: Box, datetime: str) -> list[Item] | None:
    """Search an API; None where the address is something else."""
    from pystac_client import Client
    from pystac_client.exceptions import APIError

    try:
        client = Client.open(source)
        if not client.conforms_to("ITEM_SEARCH"):
            return None
        names = [c.id for c in client.get_collections() if _is_collection(c.id, sensor)]
        if sensor.collection in names:
            names = [sensor.collection]
        if not names:
            return []
        return list(client.search(collections=names, bbox=bbox, datetime=datetime).items())
    except (APIError, OSError) as error:
        raise SourceError(
            problem(
                expected="a STAC API that answers",
                received=f"{source} ({type(error).__name__}: {error})",
                do="check the address and the network, then try again",
            )
        ) from error
    except (KeyError, TypeError, ValueError):
        return None


def _is_collection(name: str, sensor: Sensor) -> bool:
    return bool(COLLECTIONS[sensor.name].search(name)) and "l1c" not in name.lower()


def _filter(items: Iterable[Any], sensor: Sensor, bbox: Box, period: Period) -> list[Item]:
    kept = []
    for item in items:
        if not _is_collection(str(item.collection_id or item.id), sensor):
            continue
        west, south, east, north = (*item.bbox[:2], *item.bbox[-2:]) if item.bbox else bbox
        if len(item.bbox or ()) == 6:
            west, south, _, east, north, _ = item.bbox
        near = west < bbox[2] and east > bbox[0] and south < bbox[3] and north > bbox[1]
        start, end = period
        time = time_of(item)
        if near and (start is None or time >= start) and (end is None or time <= end):
            kept.append(item)
    return kept


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
