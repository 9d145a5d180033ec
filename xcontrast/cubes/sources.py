"""Where items come from: a STAC API, a static catalog, or a person's own list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from xcontrast.cubes.periods import Period, time_of
from xcontrast.cubes.signing import PLANETARY_COMPUTER
from xcontrast.errors import SourceError, problem
from xcontrast.sensors import Sensor

if TYPE_CHECKING:
    from pystac import Item
    from pystac_client import Client

__all__ = ["Box", "ItemList", "Source", "SourceLike", "StacApi", "name_source", "open_source"]

Box = tuple[float, float, float, float]
WORLD = (-180.0, -90.0, 180.0, 90.0)
TIMEOUT = 30.0
"""Seconds until a request to an API is given up."""
ATTEMPTS = 5
"""How often it is made again."""


class Source(Protocol):
    """Finds items."""

    local: bool
    """Whether a search costs nothing."""

    def search(
        self, sensor: Sensor, *, bbox: Box, period: Period, max_cloud: float | None = None
    ) -> list[Item]:
        """Find the items of a sensor that meet a box and a period, in any order."""
        ...


SourceLike = str | Path | Iterable["Item"] | Source | None


def open_source(source: SourceLike) -> Source:
    """Open a source, to search it several times.

    Parameters
    ----------
    source : None, str, path, iterable of pystac.Item or Source
        None for the Planetary Computer; the address of a STAC API; the path or address of a
        static catalog, collection or item collection; or items.

    Returns
    -------
    Source

    Raises
    ------
    SourceError
        If it is no catalog or cannot be reached.
    """
    if isinstance(source, StacApi | ItemList):
        return source
    if source is not None and not isinstance(source, str | Path):
        return ItemList(source)  # type: ignore[arg-type]
    address = str(PLANETARY_COMPUTER if source is None else source)
    if address.startswith(("http://", "https://")):
        api = _open_api(address)
        if api is not None:
            return api
    elif "://" not in address:
        # Links of a catalog are relative to it, not to where this process happens to be.
        address = str(Path(address).resolve())
    return _open_catalog(address)


def name_source(source: SourceLike) -> str:
    """Name a source in a store that was begun from it.

    Parameters
    ----------
    source : None, str, path, iterable of pystac.Item or Source
        As of :func:`open_source`.

    Returns
    -------
    str
        An address without what may be secret in it; of items, a digest of their ids.
    """
    items: Any = source.items if isinstance(source, ItemList) else source
    if isinstance(items, Collection) and not isinstance(items, str):
        ids = "\n".join(sorted(str(item.id) for item in items))
        return f"items {hashlib.sha256(ids.encode()).hexdigest()[:16]}"
    if source is not None and not isinstance(source, str | Path):
        return type(source).__name__
    address = str(PLANETARY_COMPUTER if source is None else source)
    if "://" not in address:
        return str(Path(address).resolve())
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _open_catalog(address: str) -> ItemList:
    import pystac

    try:
        top = _read_stac(address)
        if isinstance(top, pystac.Item):
            return ItemList([top])
        if isinstance(top, pystac.Catalog):
            return ItemList(top.get_items(recursive=True))
        return ItemList(top)
    except Exception as error:
        # pystac raises whatever its reader met: OSError, JSON and key errors alike.
        raise SourceError(
            problem(
                expected="a STAC API, a static catalog (catalog.json) or a list of items",
                received=f"{address} ({type(error).__name__}: {error})",
                do="check the address, and that it can be reached from here",
            )
        ) from error


def _read_stac(address: str) -> Any:
    import pystac
    from pystac.stac_io import StacIO

    text = StacIO.default().read_text(address)
    # A search result saved to a file: pystac reads that apart from the other kinds.
    if json.loads(text).get("type") == "FeatureCollection":
        return pystac.ItemCollection.from_file(address)
    return pystac.read_file(address)


class ItemList:
    """Items at hand, found by box and time without a loop over them.

    Parameters
    ----------
    items : iterable of pystac.Item
        Of any sensors.
    """

    local = True

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: list[Item] = list(items)
        boxes = [_box_of(item) for item in self.items]
        self._boxes = np.array(boxes, float).reshape(-1, 4)
        self._times = pd.DatetimeIndex([time_of(item) for item in self.items], tz="UTC")
        self._names = [str(item.collection_id or item.id) for item in self.items]

    def __reduce__(self) -> tuple[Any, ...]:
        # Items from a catalog hold on to all of it.
        return _unpack, ([_pack(item) for item in self.items],)

    def search(
        self, sensor: Sensor, *, bbox: Box, period: Period, max_cloud: float | None = None
    ) -> list[Item]:
        """Find the items of a sensor that meet a box and a period."""
        west, south, east, north = self._boxes.T
        # A box with west > east runs across the antimeridian.
        lies = np.where(
            west <= east, (west < bbox[2]) & (east > bbox[0]), (west < bbox[2]) | (east > bbox[0])
        )
        found = lies & (south < bbox[3]) & (north > bbox[1])
        start, end = period
        if start is not None:
            found &= self._times >= start
        if end is not None:
            found &= self._times <= end
        own = [self.items[n] for n in np.flatnonzero(found) if sensor.owns(self._names[n])]
        return _drop_cloudy(own, max_cloud)


def _drop_cloudy(items: list[Item], max_cloud: float | None) -> list[Item]:
    """Leave out items that state more clouds; null states none."""
    if max_cloud is None:
        return items
    return [item for item in items if (item.properties.get("eo:cloud_cover") or 0) <= max_cloud]


def _pack(item: Item) -> dict[str, Any]:
    packed = item.to_dict(include_self_link=False, transform_hrefs=False)
    for key, asset in item.assets.items():
        packed["assets"][key]["href"] = asset.get_absolute_href() or asset.href
    return packed | {"links": []}


def _unpack(packed: list[dict[str, Any]]) -> ItemList:
    import pystac

    return ItemList([pystac.Item.from_dict(own) for own in packed])


def _box_of(item: Item) -> Box:
    box = item.bbox
    if not box:
        return WORLD
    west, south = box[:2]
    east, north = box[3:5] if len(box) == 6 else box[2:4]
    if east - west > 180 and item.geometry:
        # Some catalogs box a footprint across the antimeridian as the whole width of the world.
        longitudes = _longitudes(item.geometry["coordinates"])
        positive, negative = longitudes[longitudes > 0], longitudes[longitudes < 0]
        if len(positive) and len(negative) and positive.min() - negative.max() > 180:
            return float(positive.min()), south, float(negative.max()), north
    return west, south, east, north


def _longitudes(coordinates: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(coordinates[0], int | float):
        return np.array([coordinates[0]], float)
    return np.concatenate([_longitudes(part) for part in coordinates])


class StacApi:
    """A STAC API; asked again where it is busy.

    Parameters
    ----------
    client : pystac_client.Client
        An open one.
    """

    local = False

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[str, list[str]] = {}
        self._filters = client.conforms_to("FILTER")

    def search(
        self, sensor: Sensor, *, bbox: Box, period: Period, max_cloud: float | None = None
    ) -> list[Item]:
        """Find the items of a sensor that meet a box and a period."""
        from pystac_client.exceptions import APIError

        limits: dict[str, Any] = {}
        if max_cloud is not None and self._filters:
            cover = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, max_cloud]}
            limits = {"filter": cover, "filter_lang": "cql2-json"}
        try:
            names = self._collections(sensor)
            if not names:
                return []
            found = self._client.search(
                collections=names, bbox=bbox, datetime=_interval(period), limit=250, **limits
            )
            items = list(found.items())
        except (APIError, OSError) as error:
            raise _unreachable(self._client.get_self_href() or "the STAC API", error) from error
        return _drop_cloudy(items, max_cloud)

    def _collections(self, sensor: Sensor) -> list[str]:
        if sensor.name not in self._names:
            # By its name on the Planetary Computer, or any that is of this sensor.
            if self._client.get_collection(sensor.collection) is not None:
                self._names[sensor.name] = [sensor.collection]
            else:
                listed = [collection.id for collection in self._client.get_collections()]
                self._names[sensor.name] = [name for name in listed if sensor.owns(name)]
        return self._names[sensor.name]


def _interval(period: Period) -> str | None:
    if period == (None, None):
        return None
    ends = [".." if m is None else m.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for m in period]
    return "/".join(ends)


def _open_api(address: str) -> StacApi | None:
    """Open an API; None where the address is something else."""
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO
    from urllib3.util.retry import Retry

    retry = Retry(
        total=ATTEMPTS,
        connect=2,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
    )
    try:
        client = Client.open(address, stac_io=StacApiIO(max_retries=retry, timeout=TIMEOUT))
        return StacApi(client) if client.conforms_to("ITEM_SEARCH") else None
    except (APIError, OSError) as error:
        raise _unreachable(address, error) from error
    except (KeyError, TypeError, ValueError):
        return None


def _unreachable(address: str, error: Exception) -> SourceError:
    return SourceError(
        problem(
            expected="a STAC API that answers",
            received=f"{address} ({type(error).__name__}: {error})",
            do="check the address and the network, then try again",
        )
    )
