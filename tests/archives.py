"""Small real archives: COGs on disk and the STAC items that point at them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

ORIGIN = (500_000, 5_000_000)


def write_band(
    path: Path,
    values: np.ndarray,
    *,
    cell: float = 10,
    origin: tuple[float, float] = ORIGIN,
    crs: str = "EPSG:32632",
    nodata: float | None = None,
) -> Path:
    """Write one band as a cloud-optimised GeoTIFF, in UTM 32N unless told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "COG", "width": values.shape[1], "height": values.shape[0], "count": 1,
        "dtype": values.dtype, "crs": crs, "blocksize": 128, "nodata": nodata,
        "transform": from_origin(*origin, cell, cell),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path


def item(
    name: str, collection: str, when: str, assets: dict[str, Path], properties: dict[str, Any]
) -> pystac.Item:
    """Wrap files as a STAC item, with their own footprint and projection."""
    with rasterio.open(next(iter(assets.values()))) as file:
        bbox = list(transform_bounds(file.crs, "EPSG:4326", *file.bounds))
        epsg = file.crs.to_epsg()
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    made = pystac.Item(
        name,
        {"type": "Polygon", "coordinates": [ring]},
        bbox,
        datetime.fromisoformat(when).replace(tzinfo=UTC),
        {"proj:epsg": epsg, **properties},
        collection=collection,
    )
    for key, path in assets.items():
        with rasterio.open(path) as file:
            extra: dict[str, Any] = {
                "proj:shape": list(file.shape), "proj:transform": list(file.transform)[:6],
            }  # fmt: skip
        made.add_asset(
            key,
            pystac.Asset(str(path), media_type=pystac.MediaType.COG, roles=["data"],
                         extra_fields=extra),
        )  # fmt: skip
    return made


def ssl4eo_items(folder: Path) -> list[pystac.Item]:
    """Wrap the files of one SSL4EO-S12 location, with their true times and orbits.

    The radar is Earth Engine's GRD, terrain-corrected and in dB: on a grid, so not sentinel-1-grd.
    """
    items = []
    for scene in sorted(folder.glob("s1/*")):
        facts = json.loads((scene / "metadata.json").read_text())
        made = item(
            scene.name, "sentinel-1-gee", _when(facts),
            {band.lower(): scene / f"{band}.tif" for band in ("VV", "VH")},
            {
                "sat:orbit_state": facts["orbitProperties_pass"].lower(),
                "sat:relative_orbit": facts["relativeOrbitNumber_start"],
                "sat:absolute_orbit": facts["orbitNumber_start"],
                "platform": f"sentinel-1{facts['platform_number'].lower()}",
            },
        )  # fmt: skip
        for asset in made.assets.values():
            asset.extra_fields["raster:bands"] = [{"unit": "dB", "data_type": "float32"}]
        items.append(made)
    for scene in sorted(folder.glob("s2a/*")):
        facts = json.loads((scene / "metadata.json").read_text())
        items.append(
            item(
                scene.name,
                "sentinel-2-l2a",
                _when(facts),
                {p.stem: p for p in sorted(scene.glob("B*.tif"))},
                {
                    "s2:processing_baseline": facts["PROCESSING_BASELINE"],
                    "eo:cloud_cover": facts["CLOUDY_PIXEL_PERCENTAGE"],
                },
            )
        )
    return items


def _when(facts: dict[str, Any]) -> str:
    return datetime.fromtimestamp(facts["system:time_start"] / 1000, UTC).isoformat()[:19]
