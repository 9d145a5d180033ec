"""Shards of locations gathered side by side, on this machine or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xcontrast.cubes.collecting.gather import REASONS, Rejected, Sample, gather_sample
from xcontrast.cubes.collecting.plan import CollectOptions, CollectPlan
from xcontrast.cubes.collecting.store import write_shard
from xcontrast.cubes.locations import can_redraw, redraw
from xcontrast.cubes.sources import Source, open_source
from xcontrast.errors import DataError, SourceError, problem
from xcontrast.progress import track

if TYPE_CHECKING:
    from distributed import Client
    from geopandas import GeoDataFrame

__all__ = ["Job", "coordinates_of", "gather_all", "is_address", "open_once"]

PLACES = 8
"""Candidates of a location: every one keeps its distance to all others, so more would not fit."""
GIVE_UP = 3
"""Shards that may fail before the others are not tried any more."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know."""

    plan: CollectPlan
    options: CollectOptions
    store: str
    source: Any
    locations: GeoDataFrame


def gather_all(job: Job, pending: Sequence[int], length: int, client: Client | None) -> None:
    """Gather the shards that are missing, here or on a cluster."""
    n = len(job.locations)
    shards = [(first, min(first + length, n)) for first in pending]
    begun = n - sum(last - first for first, last in shards)
    errors: list[Exception] = []
    with track(
        total=n, initial=begun, what="collecting", unit="place", on=job.options.progress
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
    job: Job, shards: Sequence[tuple[int, int]], bar: Any
) -> Iterator[int | Exception]:
    """Gather shards one after the other, so that memory holds one."""
    for shard in shards:
        try:
            _gather_shard(job, *shard, tick=bar.update)
        except OSError as error:
            yield error


def _gather_on(
    client: Client, job: Job, shards: Sequence[tuple[int, int]]
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
    job: Job, first: int, last: int, tick: Callable[[], object] = lambda: None
) -> int:
    """Gather the locations of a shard side by side, and write them."""
    source = open_once(job.source) if is_address(job.source) else job.source
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
    job: Job, source: Source, location: int
) -> tuple[Sample | None, npt.NDArray[np.int16]]:
    """Draw a location until it is clean; count why draws were not."""
    rejected = np.zeros(len(REASONS), np.int16)
    moves = can_redraw(job.locations)
    fixed = not moves and job.plan.room == pd.Timedelta(0)
    own = job.locations.iloc[[location]]
    for attempt in range(1 if fixed else job.options.max_draws):
        lon, lat = coordinates_of(_move(own, attempt % PLACES) if moves else own)
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


def is_address(source: Any) -> bool:
    """Tell whether a source is opened by its address, and not given as items."""
    return source is None or isinstance(source, str | Path)


@lru_cache(maxsize=4)
def open_once(source: str | Path | None) -> Source:
    """Open an address, once in a process."""
    return open_source(source)


def coordinates_of(
    locations: GeoDataFrame,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give longitudes and latitudes of points, or of points within other shapes, degrees."""
    points = locations.geometry
    if points.crs is not None:
        points = points.to_crs("EPSG:4326")
    if not (points.geom_type == "Point").all():
        points = points.representative_point()
    return points.x.to_numpy(), points.y.to_numpy()
