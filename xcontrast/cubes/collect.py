"""Uncurated imagery gathered over places and seasons into one store: parallel, and resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from xcontrast.cubes.collection import (
    PENDING,
    PLAN,
    create_store,
    finish_store,
    open_collection,
    read_attempts,
    write_shard,
)
from xcontrast.cubes.cube import choose_bands, choose_sensors
from xcontrast.cubes.gather import REASONS, CollectPlan, Rejected, Sample, gather_sample
from xcontrast.cubes.locations import can_redraw, redraw
from xcontrast.cubes.options import CubeOptions
from xcontrast.cubes.periods import parse_period
from xcontrast.cubes.sources import Source, SourceLike, open_source
from xcontrast.errors import DataError, SourceError, problem

if TYPE_CHECKING:
    from distributed import Client
    from geopandas import GeoDataFrame

__all__ = ["CollectOptions", "collect"]

LATEST = pd.Timedelta(28, "D")
"""Before today, where the period ends by default, as SeCo's."""
PLACES = 8
"""Candidates of a location: every one keeps its distance to all others, so more would not fit."""
GIVE_UP = 3
"""Shards that may fail before the others are not tried any more."""


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """How a collection is gathered beyond the call's own arguments."""

    preset: Literal["paper"] | None = None
    """The papers' own rule: only the latest image of each window, every pixel of it clean; with
    both sensors, the latest of each within the window, of any orbit. With the other arguments as
    they are that is Seasonal Contrast's; the dual-encoder paper's takes ``sensors=("s1", "s2"),
    dates=1, window="30D", max_cloud=15, size=512`` and RGB bands."""
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Bands by sensor; by default those of a cube."""
    max_invalid: float | None = None
    """Share of a patch that may be hidden (clouds, shadows) or missing at a date; by default .05,
    and 0 as in the paper."""
    max_draws: int = 50
    """Draws of a location before it is given up."""
    threads: int = 8
    """Locations that a process gathers at once."""
    progress: bool = True
    """Show a bar and a summary."""
    cube: CubeOptions = field(default_factory=CubeOptions)
    """How images are read."""

    def __post_init__(self) -> None:
        if self.max_draws < 1 or self.threads < 1 or self.preset not in (None, "paper"):
            raise DataError(
                problem(
                    expected="at least one draw and one thread, preset None or 'paper'",
                    received=f"max_draws={self.max_draws}, threads={self.threads}, "
                    f"preset={self.preset!r}",
                    do="leave them out for the defaults",
                )
            )


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
    """
    options = options or CollectOptions()
    plan = _make_plan(
        datetime, sensors, options, dates=dates, gap=gap, window=window, tolerance=tolerance,
        max_cloud=max_cloud, size=size, seed=seed, preset=options.preset, store=store,
    )  # fmt: skip
    n = len(locations)
    if n == 0:
        raise DataError(problem(expected="locations", received="none", do="sample some"))
    recipe = dict(locations.attrs.get("recipe", {})) or _describe_points(locations)
    length = create_store(store, plan, n, recipe)
    target = str(Path(store).resolve())
    # An address is opened by every worker; items travel with the task.
    opened: Any = source if _is_address(source) else open_source(source)
    job = _Job(plan, options, target, opened, locations)
    missing = read_attempts(target) == PENDING
    pending = [first for first in range(0, n, length) if missing[first : first + length].any()]
    _run(job, pending, length, client)
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
    needed = (rest["dates"] - 1) * pd.Timedelta(rest["gap"]) + pd.Timedelta(rest["window"])
    return (end - needed - pd.Timedelta(365, "D")).isoformat(), end.isoformat()


def _describe_points(locations: GeoDataFrame) -> dict[str, Any]:
    """Tell a person's own points from others, in place of a recipe."""
    import hashlib

    lon, lat = _coordinates(locations)
    digest = hashlib.sha256(np.round([lon, lat], 7).tobytes()).hexdigest()[:16]
    return {"points": digest}


def _coordinates(
    locations: GeoDataFrame,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    points = locations.geometry
    if points.crs is not None:
        points = points.to_crs("EPSG:4326")
    if not (points.geom_type == "Point").all():
        points = points.representative_point()
    return points.x.to_numpy(), points.y.to_numpy()


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know."""

    plan: CollectPlan
    options: CollectOptions
    store: str
    source: Any
    locations: GeoDataFrame


def _run(job: _Job, pending: Sequence[int], length: int, client: Client | None) -> None:
    """Gather the shards that are missing, here or on a cluster."""
    n = len(job.locations)
    shards = [(first, min(first + length, n)) for first in pending]
    begun = n - sum(last - first for first, last in shards)
    errors: list[Exception] = []
    with tqdm(
        total=n, initial=begun, desc="collecting", unit="place", disable=not job.options.progress
    ) as bar:
        results = _gather_on(client, job, shards) if client else _gather_here(job, shards, bar)
        for result in results:
            if isinstance(result, int):
                bar.update(result)
                continue
            errors.append(result)
            if len(errors) >= GIVE_UP:
                break
    if errors:
        raise SourceError(
            problem(
                expected="to gather every location",
                received=f"{len(errors)} shards that failed, the first by: {errors[0]}",
                do="call collect again with the same arguments: it goes on with what is missing",
            )
        ) from errors[0]


def _gather_here(
    job: _Job, shards: Sequence[tuple[int, int]], bar: Any
) -> Iterator[int | Exception]:
    """Gather shards one after the other, so that memory holds one."""
    for shard in shards:
        try:
            _gather_shard(job, *shard, tick=bar.update)
        except OSError as error:
            yield error


def _gather_on(
    client: Client, job: _Job, shards: Sequence[tuple[int, int]]
) -> Iterator[int | Exception]:
    """Gather shards on the workers of a cluster."""
    from distributed import as_completed

    shared = client.scatter(job, broadcast=True, hash=False)
    futures = [client.submit(_gather_shard, shared, *shard, pure=False) for shard in shards]
    try:
        for future in as_completed(futures):
            error = future.exception()
            yield error if error is not None else int(future.result())
    finally:
        client.cancel(futures)


def _gather_shard(
    job: _Job, first: int, last: int, tick: Callable[[], object] = lambda: None
) -> int:
    """Gather the locations of a shard side by side, and write them."""
    source = _open_once(job.source) if _is_address(job.source) else job.source
    pool = ThreadPoolExecutor(job.options.threads, "xcontrast-collect")
    try:
        futures = [pool.submit(_gather_location, job, source, i) for i in range(first, last)]
        for future in as_completed(futures):
            future.result()
            tick()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    samples, rejected = zip(*(future.result() for future in futures), strict=True)
    write_shard(job.store, first, samples, np.stack(rejected))
    return last - first


def _gather_location(
    job: _Job, source: Source, location: int
) -> tuple[Sample | None, npt.NDArray[np.int16]]:
    """Draw a location until it is clean; count why draws were not."""
    rejected = np.zeros(len(REASONS), np.int16)
    moves = can_redraw(job.locations)
    fixed = not moves and job.plan.room == pd.Timedelta(0)
    own = job.locations.iloc[[location]]
    for attempt in range(1 if fixed else job.options.max_draws):
        lon, lat = _coordinates(_move(own, attempt % PLACES) if moves else own)
        try:
            sample = gather_sample(
                job.plan, source, job.options.cube,
                location=location, attempt=attempt, lon=float(lon[0]), lat=float(lat[0]),
            )  # fmt: skip
        except Rejected as reason:
            rejected[REASONS.index(str(reason))] += 1
        else:
            return sample, rejected
    return None, rejected


def _move(own: GeoDataFrame, place: int) -> GeoDataFrame:
    """Give a location's candidate; where a full region has none left, its first."""
    if place == 0:
        return own
    try:
        return redraw(own, attempt=place)
    except DataError:
        return own


def _is_address(source: Any) -> bool:
    return source is None or isinstance(source, str | Path)


@lru_cache(maxsize=4)
def _open_once(source: str | Path | None) -> Source:
    return open_source(source)


def _summarise(store: str) -> dict[str, Any]:
    """Count what was accepted, what was rejected and why, and the bytes on disk."""
    import zarr

    group: Any = zarr.open_group(store, mode="r")
    attempts = np.asarray(group["attempt"][:])
    reasons = np.asarray(group["rejected"][:]).sum(0, dtype=int)
    size = sum(f.stat().st_size for f in Path(store).rglob("*") if f.is_file())
    return {
        "locations": len(attempts),
        "accepted": int((attempts >= 0).sum()),
        "given_up": int((attempts == -2).sum()),
        "rejected_draws": dict(zip(REASONS, map(int, reasons), strict=True)),
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
