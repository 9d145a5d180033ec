"""Which files of an item hold a sensor's bands, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xcontrast.cubes.periods import time_of
from xcontrast.cubes.radiometry import boa_offset
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, Sensor

if TYPE_CHECKING:
    from pystac import Asset, Item

__all__ = ["BandFile", "ItemFiles", "bundle", "check_bands", "find_files"]


@dataclass(frozen=True)
class BandFile:
    """One band of one item: where it lies and what its numbers mean."""

    asset: str
    href: str
    kind: Literal["numbers", "power", "decibels", "classes"]
    """Level-2A digital numbers · linear backscatter · decibels · scene classes."""
    offset: float = 0.0
    """Of digital numbers."""


@dataclass(frozen=True)
class ItemFiles:
    """What is read of one item."""

    item: str
    bands: tuple[BandFile | None, ...]
    """In channel order; None where the item lacks the band."""
    classes: BandFile | None = None
    """The scene classification that tells clouds."""
    validity: bool = False
    """Read only where the ground is seen, not the bands."""


def bundle(item: Item, sensor: Sensor, files: ItemFiles) -> Item:
    """Give an item with one source for all bands: the footprint is that of the finest."""
    import pystac

    own = [item.assets[band.asset] for band in files.bands if band is not None]
    finest = min(own, key=_cell)
    bundle = pystac.Item(
        item.id, item.geometry, item.bbox, time_of(item).to_pydatetime(), item.properties,
        stac_extensions=item.stac_extensions, collection="items",
    )  # fmt: skip
    href = next(band.href for band in files.bands if band is not None)
    kind, fields = pystac.MediaType.COG, finest.extra_fields
    for name in (sensor.name, sensor.valid):
        bundle.add_asset(name, pystac.Asset(href, media_type=kind, extra_fields=fields))
    return bundle


def _cell(asset: Asset) -> float:
    transform = asset.extra_fields.get("proj:transform")
    return abs(float(transform[0])) if transform else 0.0


def find_files(item: Item, sensor: Sensor, bands: Sequence[str]) -> ItemFiles:
    """Find the files of an item's bands."""
    assets = _assets(item, sensor)
    offset = 0.0 if sensor is S1 else float(boa_offset(item.properties, item.id))
    found: list[BandFile | None] = []
    for key in map(assets.get, bands):
        if key is None:
            found.append(None)
            continue
        kind: Literal["numbers", "power", "decibels"] = "numbers"
        if sensor is S1:
            kind = "decibels" if _is_decibels(item.assets[key]) else "power"
        found.append(BandFile(key, _href(item, key), kind, offset))
    scl = next((key for key in item.assets if key.lower() == "scl"), None)
    classes = BandFile(scl, _href(item, scl), "classes") if scl and sensor is not S1 else None
    return ItemFiles(item.id, tuple(found), classes)


def _assets(item: Item, sensor: Sensor) -> dict[str, str]:
    """Asset key of each band that an item has."""
    by_band: dict[str, str] = {}
    for key, asset in item.assets.items():
        # STAC 1.0 and 1.1 describe bands in two places.
        fields = asset.extra_fields
        described = (fields.get("eo:bands") or fields.get("bands") or [{}])[0]
        names = [key, *map(described.get, ("name", "common_name", "eo:common_name"))]
        found = next((b for b in map(sensor.canonical, filter(None, names)) if b), None)
        if found and (found not in by_band or key.lower() == found.lower()):
            by_band[found] = key
    return by_band


def _href(item: Item, key: str) -> str:
    href = item.assets[key].get_absolute_href()
    return href if href is not None else item.assets[key].href


def check_bands(
    sensor: Sensor, bands: Sequence[str], items: Sequence[Item], files: Sequence[ItemFiles]
) -> None:
    """Refuse a band that no item has, and items that have none; single gaps are read as NaN."""
    missing = [b for n, b in enumerate(bands) if all(own.bands[n] is None for own in files)]
    bare = [item for item, own in zip(items, files, strict=True) if not any(own.bands)]
    if not missing and not bare:
        return
    item = bare[0] if bare else items[0]
    raise DataError(
        problem(
            expected=f"assets for the {sensor.title} bands {', '.join(bands)}",
            received=f"{item.id}, without {', '.join(missing or bands)}; it has "
            f"{', '.join(item.assets)}",
            do=f"ask for the bands that there are: bands={{'{sensor.name}': ...}}",
        )
    )


def _is_decibels(asset: Asset) -> bool:
    return str(_stated(asset, "unit")).lower() == "db"


def _stated(asset: Asset, name: str) -> Any:
    """Give what an asset states of its numbers; None where it does not."""
    fields = asset.extra_fields
    # STAC 1.0 has one place for it; 1.1 has the band, or the asset for all its bands.
    places = [(fields.get(key) or [{}])[0] for key in ("raster:bands", "bands")]
    facts = (place.get(key) for place in (*places, fields) for key in (name, f"raster:{name}"))
    return next((fact for fact in facts if fact is not None), None)
