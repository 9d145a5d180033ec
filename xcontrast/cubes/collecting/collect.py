"""Uncurated imagery gathered over places and seasons into one store: parallel, and resumable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.collecting.collection import PLAN, open_collection, read_record
from xcontrast.cubes.collecting.gather import REASONS
from xcontrast.cubes.collecting.plan import CollectOptions, CollectPlan
from xcontrast.cubes.collecting.shards import Job, coordinates_of, gather_all, is_address, open_once
from xcontrast.cubes.collecting.store import create_store, finish_store
from xcontrast.cubes.cube import choose_bands, choose_sensors
from xcontrast.cubes.options import state_options
from xcontrast.cubes.periods import parse_period, read_span
from xcontrast.cubes.sources import SourceLike, name_source, open_source
from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from distributed import Client
    from geopandas import GeoDataFrame

__all__ = ["collect"]

LATEST = pd.Timedelta(28, "D")
"""Before today, where the period ends by default, as SeCo's."""


def collect(
    locations: GeoDataFrame,
    *,
    store: str | os.PathLike[str],
    datetime: str | None = None,
    sensors: Sequence[str] = ("s2",),
    dates: int = 5,
    gap: str = "84D",
    window: str = "15D",
    tolerance: str = "3D",
    max_cloud: float = 10,
    size: int = 264,
    seed: int = 0,
    source: SourceLike = None,
    client: Client | None = None,
    options: CollectOptions | None = None,
) -> xr.Dataset:
    """Gather images of many places at several dates into one Zarr store.

    At each location `dates` windows, a `gap` apart, are shifted together by one random time; in
    each the clean image nearest its middle is taken. If one of them has none, all dates of the
    location are drawn again, and the place too if it comes from ``sample_locations``.

    Call it again with the same arguments to go on where it was interrupted, at any moment: draw k
    of location i is a function of the seed, i and k alone, so that the result is the same.

    Parameters
    ----------
    locations : GeoDataFrame
        From ``sample_locations``, or a person's own points.
    store : path
        The Zarr store, new or interrupted.
    datetime : str, optional
        Period, such as ``"2019/2023"``; by default long enough for the dates and a year of shifts,
        and ending four weeks ago.
    sensors : sequence of str, default ("s2",)
        ``("s1", "s2")`` gives every Sentinel-2 date a Sentinel-1 pass, all of one orbit.
    dates : int, default 5
        Images of a location.
    gap, window : str, default "84D", "15D"
        Between the begins of two windows, and the length of one.
    tolerance : str, default "3D"
        Between the Sentinel-1 and the Sentinel-2 image of a date, at most.
    max_cloud : float, default 10
        ``eo:cloud_cover`` of a Sentinel-2 item, percent, at most.
    size : int, default 264
        Side of a patch, pixels of 10 m, on the pixels of Sentinel-2 in its UTM zone.
    seed : int, default 0
        Of the shifts. The places have their own.
    source : optional
        As in ``open_cube``.
    client : distributed.Client, optional
        Of a cluster: its workers gather a shard of locations each.
    options : CollectOptions, optional
        All the rest.

    Returns
    -------
    Dataset
        See :func:`open_collection`. The attribute ``xcontrast_summary`` counts what was accepted
        and rejected, and why.

    Raises
    ------
    DataError
        If the dates do not fit into the period, or an argument is out of its range.
    SourceError
        If the store holds something else, or the archive could not be accessed or reached: what
        was gathered is kept.

    References
    ----------
    Mañas et al. (2021), Seasonal Contrast, section 3.1 and its ``seco_downloader.py``. Jain et al.
    (2022), Multimodal contrastive learning for remote sensing tasks, section 3.

    Examples
    --------
    >>> import geopandas
    >>> truth = xc.read_truth(archive)
    >>> place = truth.odc.geobox.footprint("EPSG:4326").centroid.geom
    >>> gathered = xc.collect(
    ...     geopandas.GeoDataFrame(geometry=[place], crs=4326), store=folder / "places.zarr",
    ...     source=archive / "catalog.json", datetime="2023", dates=2, gap="60D", window="60D",
    ...     max_cloud=100, size=32, options=xc.CollectOptions(max_invalid=1, progress=False),
    ... )
    >>> dict(gathered.s2.sizes)
    {'location': 1, 'date': 2, 's2_band': 10, 'y': 32, 'x': 32}
    """
    options = options or CollectOptions()
    plan = _make_plan(
        datetime, sensors, options, dates=dates, gap=gap, window=window, tolerance=tolerance,
        max_cloud=max_cloud, size=size, seed=seed, preset=options.preset, store=store,
    )  # fmt: skip
    n = len(locations)
    if n == 0:
        raise DataError(problem(expected="locations", received="none", do="sample some"))
    # The points too: other rows of one frame have the same recipe.
    recipe = dict(locations.attrs.get("recipe", {})) | _describe_points(locations)
    # An address is opened by every worker; items travel with the task.
    opened: Any = source if is_address(source) else open_source(source)
    if is_address(source) and not Path(store).exists():
        # A wrong address shall not begin a store that insists on it.
        open_once(opened)
    length = create_store(store, plan, n, recipe, _describe_reading(options, opened))
    target = str(Path(store).resolve())
    job = Job(plan, options, target, opened, locations)
    missing = read_record(target).sel(fact="attempt").isnull().values
    pending = [first for first in range(0, n, length) if missing[first : first + length].any()]
    gather_all(job, pending, length, client)
    summary = _summarise(target)
    finish_store(target, summary)
    if options.progress:
        print(_tell(summary))
    return open_collection(target)


def _make_plan(
    datetime: str | None,
    sensors: Sequence[str],
    options: CollectOptions,
    *,
    store: str | os.PathLike[str],
    **rest: Any,
) -> CollectPlan:
    chosen = choose_sensors(sensors)
    bands = choose_bands(options.bands or None, chosen)
    invalid = options.max_invalid
    if invalid is None:
        invalid = 0.0 if options.preset == "paper" else 0.05
    start, end = _period(datetime, store, rest)
    return CollectPlan(
        sensors=tuple(sensor.name for sensor in chosen),
        bands=bands,
        start=start,
        end=end,
        max_invalid=invalid,
        **rest,
    )


def _period(
    datetime: str | None, store: str | os.PathLike[str], rest: Mapping[str, Any]
) -> tuple[str, str]:
    """Give the period; where it depends on today, that of the day on which the store was begun."""
    if datetime is not None:
        start, end = parse_period(datetime)
        if start is None or end is None:
            raise DataError(
                problem(
                    expected="a period with both ends",
                    received=repr(datetime),
                    do="write it as '2019/2023'",
                )
            )
        return start.isoformat(), end.isoformat()
    if Path(store).exists():
        import zarr

        begun = json.loads(str(zarr.open_group(str(store), mode="r").attrs.get(PLAN, "{}")))
        if "plan" in begun:
            return begun["plan"]["start"], begun["plan"]["end"]
    end = pd.Timestamp.now(tz="UTC").floor("D") - LATEST
    gap, window = (read_span(rest[name], name) for name in ("gap", "window"))
    needed = (rest["dates"] - 1) * gap + window
    return (end - needed - pd.Timedelta(365, "D")).isoformat(), end.isoformat()


def _describe_points(locations: GeoDataFrame) -> dict[str, Any]:
    """Tell a person's own points from others, in place of a recipe."""
    lon, lat = coordinates_of(locations)
    digest = hashlib.sha256(np.round([lon, lat], 7).tobytes()).hexdigest()[:16]
    return {"points": digest}


def _describe_reading(options: CollectOptions, source: SourceLike) -> dict[str, Any]:
    """State what pixels and draws depend on besides the plan."""
    read = state_options(options.cube)
    return {"source": name_source(source), "max_draws": options.max_draws, **read}


def _summarise(store: str) -> dict[str, Any]:
    """Count what was accepted, what was rejected and why, and the bytes on disk."""
    record = read_record(store)
    attempts = record.sel(fact="attempt").values
    rejected = {reason: record.sel(fact=f"rejected: {reason}").sum() for reason in REASONS}
    size = sum(f.stat().st_size for f in Path(store).rglob("*") if f.is_file())
    return {
        "locations": len(attempts),
        "accepted": int((attempts >= 0).sum()),
        "given_up": int((attempts < 0).sum()),
        "rejected_draws": {reason: int(count) for reason, count in rejected.items()},
        "gigabytes": round(size / 1e9, 4),
    }


def _tell(summary: Mapping[str, Any]) -> str:
    rejected = summary["rejected_draws"]
    why = ", ".join(f"{count} {reason}" for reason, count in rejected.items() if count)
    lost = f", {summary['given_up']} given up" if summary["given_up"] else ""
    return (
        f"{summary['accepted']} of {summary['locations']} locations{lost}; "
        f"{sum(rejected.values())} draws rejected{f' ({why})' if why else ''}; "
        f"{summary['gigabytes']:.3g} GB"
    )
