"""A simulated archive on disk: cloud-optimised GeoTIFFs and the STAC catalog that names them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from pystac import Collection, Item

__all__ = ["NOTE", "write_catalog", "write_cog", "write_item"]

EPSG = 32632
ORIGIN = (660_000.0, 4_950_000.0)
"""West and north edge, metres: in the plain of the Po."""
NOTE = "SIMULATED by xcontrast: not a measurement of any real place"


def write_item(
    root: Path,
    collection: str,
    name: str,
    when: datetime,
    bands: dict[str, npt.NDArray[Any]],
    facts: dict[str, Any],
    nodata: float,
) -> Item:
    """Write one acquisition's bands as COGs, and give the item that names them."""
    import pystac
    from odc.geo.geom import box

    folder = root / collection / name
    folder.mkdir(parents=True)
    side = 10.0 * max(values.shape[0] for values in bands.values())
    west, north = ORIGIN
    outline = box(west, north - side, west + side, north, f"EPSG:{EPSG}").to_crs("EPSG:4326")
    bounds = outline.boundingbox
    item = pystac.Item(
        name,
        outline.json,
        list(bounds),
        when,
        {**facts, "proj:code": f"EPSG:{EPSG}", "description": NOTE},
        collection=collection,
    )
    for band, values in bands.items():
        cell = side / values.shape[0]
        path = folder / f"{band}.tif"
        write_cog(path, values, cell, nodata)
        raster = {"data_type": str(values.dtype), "nodata": nodata, "spatial_resolution": cell}
        extra = {
            "proj:shape": list(values.shape),
            "proj:transform": [cell, 0.0, west, 0.0, -cell, north],
            "raster:bands": [raster],
        }
        item.add_asset(
            band,
            pystac.Asset(
                str(path), media_type=pystac.MediaType.COG, roles=["data"], extra_fields=extra
            ),
        )
    return item


def write_cog(path: Path, values: npt.NDArray[Any], cell: float, nodata: float) -> None:
    """Write one band on the archive's grid, marked as simulated."""
    import rasterio
    from rasterio.transform import from_origin

    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        crs=f"EPSG:{EPSG}",
        transform=from_origin(*ORIGIN, cell, cell),
        nodata=nodata,
        blocksize=256,
        compress="DEFLATE",
        level=1,
        predictor="YES",
    ) as file:
        file.write(values, 1)
        file.update_tags(ImageDescription=NOTE)


def write_catalog(root: Path, items: list[tuple[str, Item]]) -> Path:
    """Write a static, self-contained catalog of (collection, item) pairs; give its path."""
    import pystac

    top = pystac.Catalog("xcontrast-simulated", NOTE, title="Simulated Sentinel-1 and -2 archive")
    for name in ("sentinel-1-rtc", "sentinel-2-l2a"):
        own = [item for collection, item in items if collection == name]
        collection = _collection(name, own)
        top.add_child(collection)
        collection.add_items(own)
    top.normalize_hrefs(str(root))
    # Items lie beside their files, which are then named relative to them.
    for item in top.get_items(recursive=True):
        item.make_asset_hrefs_relative()
    top.save(pystac.CatalogType.SELF_CONTAINED)
    return root / "catalog.json"


def _collection(name: str, items: list[Item]) -> Collection:
    import pystac

    times = [item.datetime for item in items if item.datetime is not None]
    extent = pystac.Extent(
        pystac.SpatialExtent([items[0].bbox or []]),
        pystac.TemporalExtent([[min(times), max(times)]]),
    )
    return pystac.Collection(name, NOTE, extent, title=f"{name} (simulated)", license="CC0-1.0")
