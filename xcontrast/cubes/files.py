"""Which files of an item hold a sensor's bands, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xcontrast.cubes.periods import time_of
from xcontrast.cubes.radiometry import BOA_SCALE, boa_offset, processing_baseline
from xcontrast.cubes.zones import epsg_of
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
    kind: Literal["numbers", "reflectance", "power", "decibels", "classes"]
    """Level-2A digital numbers · reflectance · linear backscatter · decibels · scene classes."""
    offset: float = 0.0
    """Added to digital numbers, or to reflectance."""
    scale: float = BOA_SCALE
    """Reflectance of one digital number."""


@dataclass(frozen=True)
class ItemFiles:
    """What is read of one item."""

    item: str
    bands: tuple[BandFile | None, ...]
    """In channel order; None where the item lacks the band."""
    classes: BandFile | None = None
    """The scene classification that tells clouds."""
    epsg: int | None = None
    """Of its files, where the item states it."""
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
    read = _radar_file if sensor is S1 else _optical_file
    found = tuple(read(item, assets[band]) if band in assets else None for band in bands)
    scl = next((key for key in item.assets if key.lower() == "scl"), None)
    classes = BandFile(scl, _href(item, scl), "classes") if scl and sensor is not S1 else None
    return ItemFiles(item.id, found, classes, epsg_of(item))


def _assets(item: Item, sensor: Sensor) -> dict[str, str]:
    """Asset key of each band that an item has."""
    named: dict[str, str] = {}
    described: dict[str, str] = {}
    for key, asset in item.assets.items():
        found = sensor.canonical(key)
        if found:
            if found not in named or key.lower() == found.lower():
                named[found] = key
            continue
        # STAC 1.0 and 1.1 describe bands in two places. A file of several bands is a picture.
        bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
        if len(bands) != 1:
            continue
        names = map(bands[0].get, ("name", "common_name", "eo:common_name"))
        found = next((b for b in map(sensor.canonical, filter(None, names)) if b), None)
        if found:
            described.setdefault(found, key)
    return described | named


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


def _radar_file(item: Item, key: str) -> BandFile:
    decibels = str(_stated(item.assets[key], "unit")).lower() == "db"
    return BandFile(key, _href(item, key), "decibels" if decibels else "power")


def _optical_file(item: Item, key: str) -> BandFile:
    asset, href = item.assets[key], _href(item, key)
    scale, offset = float(_stated(asset, "scale") or 1), float(_stated(asset, "offset") or 0)
    if scale == 1:
        if str(_stated(asset, "data_type")).startswith("float"):
            return BandFile(key, href, "reflectance", offset)
        # Of integers the default of tools that write catalogs, for numbers in any unit.
        scale, offset = BOA_SCALE, 0.0
    offset = offset / scale
    # Earth Search states an offset also of files that it has applied it to: the baseline knows.
    facts = item.properties
    baseline = processing_baseline(facts, item.id) or facts.get("earthsearch:boa_offset_applied")
    if scale == BOA_SCALE and baseline:
        offset = boa_offset(facts, item.id)
    return BandFile(key, href, "numbers", offset, scale)


def _stated(asset: Asset, name: str) -> Any:
    """Give what an asset states of its numbers; None where it does not."""
    fields = asset.extra_fields
    # STAC 1.0 has one place for it; 1.1 has the band, or the asset for all its bands.
    places = [(fields.get(key) or [{}])[0] for key in ("raster:bands", "bands")]
    facts = (place.get(key) for place in (*places, fields) for key in (name, f"raster:{name}"))
    return next((fact for fact in facts if fact is not None), None)
