"""From STAC items to one sensor's array: grouped, loaded on a grid, made physical; all lazy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.catalog import time_of
from xcontrast.cubes.radiometry import INVALID_SCL, boa_offset, to_decibels, to_reflectance
from xcontrast.cubes.signing import choose_signer
from xcontrast.errors import DataError, problem
from xcontrast.sensors import S1, S2, SENSORS, Sensor

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pystac import Item

__all__ = ["CubeOptions", "finish_sensor", "load_s1", "load_s2"]


@dataclass(frozen=True, kw_only=True)
class CubeOptions:
    """What a cube is opened with beyond the call's own arguments."""

    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Bands by sensor, e.g. ``{"s2": ("B04", "B03", "B02")}``; by default the sensor's own."""
    crs: str | int | None = None
    """Of the grid made from a bbox; by default the UTM zone of its centre."""
    max_cloud: float | None = None
    """Leave out Sentinel-2 items with a higher ``eo:cloud_cover``, percent."""
    invalid_scl: tuple[int, ...] = INVALID_SCL
    """Scene classes of Sentinel-2 that become NaN."""
    floor_db: float = -40.0
    """Least Sentinel-1 value."""
    orbit_state: Literal["ascending", "descending"] | None = None
    """Keep only Sentinel-1 passes of this direction."""

    def __post_init__(self) -> None:
        known = {sensor.name: sensor for sensor in SENSORS}
        wrong = [f"bands for {name}" for name in self.bands if name not in known]
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 100:
            wrong.append(f"max_cloud={self.max_cloud}")
        if self.orbit_state not in (None, "ascending", "descending"):
            wrong.append(f"orbit_state={self.orbit_state!r}")
        if wrong:
            raise DataError(
                problem(
                    expected="options in their documented ranges, bands by 's1' and 's2'",
                    received=", ".join(wrong),
                    do="see the fields of xc.CubeOptions",
                )
            )
        bands = {n: known[n].canonical_bands(list(names)) for n, names in self.bands.items()}
        object.__setattr__(self, "bands", bands)


def load_s1(
    items: Sequence[Item],
    grid: GeoBox,
    *,
    chunks: Mapping[str, int],
    source: Any,
    options: CubeOptions,
) -> xr.Dataset:
    """Load Sentinel-1 items as ``s1 (s1_time, s1_band, y, x)``, an orbit a time step, dB."""
    bands = options.bands.get(S1.name, S1.bands)
    keys = _assets(items[0], S1, bands)
    groups = _group(items, [_passage(item) for item in items])
    kinds = dict.fromkeys(keys.values(), ("float32", -32768.0))
    loaded = _load(groups, grid, chunks, source, resampling="bilinear", kinds=kinds)
    values = loaded.to_dataarray(S1.band)
    if _is_decibels(items[0], keys[bands[0]]):
        values = values.where(values > -1000).astype("float32")  # NaN and -32768 are no data.
    else:
        values = to_decibels(values, floor=options.floor_db)
    first = [group[0].properties for group in groups]
    values = values.assign_coords(
        s1_orbit_state=("time", _text(p.get("sat:orbit_state", "unknown") for p in first)),
        s1_relative_orbit=("time", [int(p.get("sat:relative_orbit", -1)) for p in first]),
        s1_platform=("time", _text(p.get("platform", "unknown") for p in first)),
    )
    return finish_sensor(values.rename(time=S1.time), S1, bands, "dB")


def load_s2(
    items: Sequence[Item],
    grid: GeoBox,
    *,
    chunks: Mapping[str, int],
    source: Any,
    options: CubeOptions,
) -> xr.Dataset:
    """Load Sentinel-2 items as ``s2 (s2_time, s2_band, y, x)``, a solar day a step, reflectance."""
    bands = options.bands.get(S2.name, S2.bands)
    keys = _assets(items[0], S2, bands)
    scl = next((key for key in items[0].assets if key.lower() == "scl"), None)
    kinds = dict.fromkeys(keys.values(), ("uint16", 0.0)) | ({scl: ("uint8", 0.0)} if scl else {})
    resampling = {"*": "bilinear"} | ({scl: "nearest"} if scl else {})
    shift = pd.Timedelta(grid.geographic_extent.centroid.coords[0][0] / 15, "h")
    parts = []
    # One load an offset, so that each item gets its own even where a day mixes baselines.
    for offset in sorted({boa_offset(item.properties) for item in items}):
        own = [item for item in items if boa_offset(item.properties) == offset]
        groups = _group(own, [(time_of(item) + shift).date() for item in own])
        loaded = _load(groups, grid, chunks, source, resampling=resampling, kinds=kinds)
        bare = loaded[list(keys.values())].to_dataarray(S2.band)
        values = to_reflectance(bare, offset=offset)
        if scl:
            values = values.where(~loaded[scl].isin(options.invalid_scl))
        baselines = _text(", ".join(sorted({_baseline(i) for i in group})) for group in groups)
        clouds = [np.mean([i.properties.get("eo:cloud_cover", np.nan) for i in g]) for g in groups]
        days = [np.datetime64((time_of(group[0]) + shift).date(), "D") for group in groups]
        parts.append(
            values.assign_coords(
                s2_cloud_cover=("time", np.array(clouds, float)),
                s2_processing_baseline=("time", baselines),
                day=("time", np.array(days)),
            )
        )
    whole = parts[0] if len(parts) == 1 else _merge_days(parts)
    return finish_sensor(whole.drop_vars("day").rename(time=S2.time), S2, bands, "1")


def finish_sensor(
    values: xr.DataArray, sensor: Sensor, bands: Sequence[str], units: str
) -> xr.Dataset:
    """Name, order and describe the dims of one sensor's array.

    Parameters
    ----------
    values : DataArray
        With the dims ``{sensor}_band``, y, x and any leading ones, in any order.
    sensor : Sensor
        Whose it is.
    bands : sequence of str
        Canonical names, in the array's order.
    units : str
        Of the values.

    Returns
    -------
    Dataset
        One variable, ``(…, {sensor}_band, y, x)`` with all bands in one chunk.
    """
    values = values.transpose(..., sensor.band, "y", "x")
    # Text as objects: fixed-width strings have no settled form in Zarr 3.
    values = values.assign_coords({sensor.band: np.array(bands, object)})
    if values.chunks is not None:
        # Not values.chunk(), which would make the coords lazy too.
        values = values.copy(data=values.data.rechunk({values.get_axis_num(sensor.band): -1}))
    quantity = "backscatter" if sensor is S1 else "surface reflectance"
    values.attrs = {"units": units, "long_name": f"{sensor.title} {quantity}"}
    values.encoding = {}
    return values.to_dataset(name=sensor.name)


def _text(values: Any) -> np.ndarray:
    return np.array([str(v) for v in values], object)


def _baseline(item: Item) -> str:
    return str(item.properties.get("s2:processing_baseline", "unknown"))


def _passage(item: Item) -> object:
    facts = item.properties
    # Without an orbit number, platform, direction and day tell passes apart: they are days apart.
    day = facts.get("platform"), facts.get("sat:orbit_state"), time_of(item).date()
    return facts.get("sat:absolute_orbit") or day


def _is_decibels(item: Item, key: str) -> bool:
    described = item.assets[key].extra_fields.get("raster:bands") or [{}]
    return str(described[0].get("unit", "")).lower() == "db"


def _merge_days(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """Join loads by solar day; where two have one, the later fills what the earlier lacks."""
    steps = []
    for day in sorted({day for part in parts for day in part.day.values}):
        own = [p.isel(time=np.flatnonzero(p.day.values == day)) for p in parts]
        own = sorted((p for p in own if p.sizes["time"]), key=lambda p: p.time.values[0])
        step = reduce(lambda a, b: a.fillna(b.drop_vars(list(b.coords)).variable), own)
        baselines = sorted({str(p.s2_processing_baseline.item()) for p in own})
        step = step.assign_coords(s2_processing_baseline=("time", _text([", ".join(baselines)])))
        steps.append(step)
    return xr.concat(steps, "time")


def _group(items: Sequence[Item], keys: Sequence[object]) -> list[list[Item]]:
    """Group items by key, groups in order of their first time."""
    groups: dict[object, list[Item]] = {}
    for item, key in zip(items, keys, strict=True):
        groups.setdefault(key, []).append(item)
    return sorted(groups.values(), key=lambda group: time_of(group[0]))


def _assets(item: Item, sensor: Sensor, bands: Sequence[str]) -> dict[str, str]:
    """Asset key of each band."""
    by_band: dict[str, str] = {}
    for key, asset in item.assets.items():
        described = asset.extra_fields.get("eo:bands") or [{}]
        names = [key, described[0].get("name"), described[0].get("common_name")]
        found = next((b for b in map(sensor.canonical, filter(None, names)) if b), None)
        if found and (found not in by_band or key.lower() == found.lower()):
            by_band[found] = key
    missing = [band for band in bands if band not in by_band]
    if missing:
        raise DataError(
            problem(
                expected=f"assets for the {sensor.title} bands {', '.join(bands)}",
                received=f"{item.id}, without {', '.join(missing)}; it has "
                f"{', '.join(item.assets)}",
                do=f"ask for the bands that there are: "
                f"options=xc.CubeOptions(bands={{'{sensor.name}': ...}})",
            )
        )
    return {band: by_band[band] for band in bands}


def _load(
    groups: Sequence[Sequence[Item]],
    grid: GeoBox,
    chunks: Mapping[str, int],
    source: Any,
    *,
    resampling: Any,
    kinds: Mapping[str, tuple[str, float]],
) -> xr.Dataset:
    """Load groups of items as time steps; `kinds` gives dtype and nodata of each asset."""
    import odc.stac

    number = {id(item): n for n, group in enumerate(groups) for item in group}
    items = [item for group in groups for item in group]
    assets = {key: {"data_type": kind, "nodata": nodata} for key, (kind, nodata) in kinds.items()}
    loaded = odc.stac.load(
        items,
        bands=list(kinds),
        geobox=grid,
        chunks={"time": 1, **chunks},
        groupby=lambda item, _parsed, _index: number[id(item)],
        resampling=resampling,
        patch_url=choose_signer(source),
        stac_cfg={str(item.collection_id): {"assets": assets} for item in items},
    )
    times = pd.DatetimeIndex([time_of(group[0]) for group in groups]).tz_localize(None)
    loaded = loaded.assign_coords(time=times.values.astype("datetime64[ns]"))
    spatial = [dim for dim in loaded.dims if dim != "time"]
    result: xr.Dataset = loaded.rename(dict(zip(spatial, ("y", "x"), strict=True)))
    return result
