"""Making tiles: here or on a cluster, each by itself, failures and gaps told and made again."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from xcontrast.cubes.reports import watch_reads
from xcontrast.progress import track
from xcontrast.regions import Region, RegionStore
from xcontrast.sheets import Described, Sheet

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["MapReport", "Order", "run_tiles"]

AT_ONCE = 2
"""Tiles in this process at once: one is encoded while the other is read or written."""


@dataclass(frozen=True)
class Order:
    """What tiles are made of, and where they go: all that a worker needs."""

    lazy: xr.Dataset
    """What the store shall hold."""
    store: RegionStore
    accept_gaps: bool = False
    """Whether a tile is done although files of it could not be read."""


@dataclass(frozen=True, repr=False)
class MapReport(Described):
    """What came of a run."""

    done: int
    """Tiles made by this run."""
    before: int
    """Tiles that had been made before it."""
    failed: dict[str, str]
    """The reason by tile, of those that failed twice."""
    gaps: dict[str, str]
    """By tile, which files could not be read. Written as they are, NaN where nothing else was."""
    complete: bool
    """Whether all tiles are done: none failed, and none has gaps unless they were accepted."""
    seconds: float

    def _sheet(self) -> Sheet:
        rows = [
            ("done", f"{self.done} tiles in {self.seconds:.1f} s, {self.before} before"),
            ("failed", str(len(self.failed))),
            *_list_tiles(self.failed),
        ]
        if self.gaps:
            rows += [("with gaps", str(len(self.gaps))), *_list_tiles(self.gaps)]
        found = "complete" if self.complete else "not complete"
        return Sheet(f"xcontrast.MapReport: {found}", rows)


def _list_tiles(reasons: dict[str, str]) -> list[tuple[str, str]]:
    return [("", f"{name}: {reason}") for name, reason in list(reasons.items())[:20]]


def run_tiles(order: Order, *, client: Client | None, progress: bool) -> MapReport:
    """Make the tiles of a store that are not done.

    Parameters
    ----------
    order : Order
        What and where.
    client : distributed.Client or None
        The cluster, or this process.
    progress : bool
        Show a bar.

    Returns
    -------
    MapReport
    """
    begin = time.monotonic()
    store = order.store
    pending = store.pending()
    before = len(store) - len(pending)
    failed: dict[str, str] = {}
    gaps: dict[str, str] = {}
    todo = pending
    with track(total=len(store), initial=before, what="mapping", unit="tile", on=progress) as bar:
        for _ in range(2):
            failed = {}
            # Closed at once when interrupted, though a traceback may still hold it.
            with closing(_make_all(order, todo, client)) as made:
                for region, gap, reason in made:
                    if gap:
                        gaps[region.name] = gap
                    if reason is not None:
                        failed[region.name] = reason
                    else:
                        bar.update(1)
                    bar.set_postfix({"failed": len(failed), "with gaps": len(gaps)}, refresh=False)
            todo = [region for region in todo if region.name in failed]
            if not todo:
                break
    whole = store.finish()
    left = set(failed) if order.accept_gaps else failed.keys() | gaps.keys()
    done = len(pending) - len(left)
    return MapReport(done, before, failed, gaps, whole, time.monotonic() - begin)


def _make_all(
    order: Order, regions: list[Region], client: Client | None
) -> Generator[tuple[Region, str, str | None]]:
    """Make tiles, and give each with its gaps and its fault or None as it ends."""
    if client is None:
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            futures: dict[Any, Region] = {
                pool.submit(make_tile, order, region): region for region in regions
            }
            for future in as_completed(futures):
                yield futures[future], *_result_of(future)
        finally:
            # Ctrl-C waits for the tiles at work, not for those that were to come.
            pool.shutdown(cancel_futures=True)
        return
    from distributed import as_completed as as_they_come

    shared = client.scatter(order, broadcast=True, hash=False)
    tasks = {client.submit(make_tile, shared, region, pure=False): region for region in regions}
    try:
        for task in as_they_come(tasks):
            yield tasks[task], *_result_of(task)
            task.release()
    finally:
        # Interrupted, workers end the tiles at work, and begin no others.
        client.cancel([task for task in tasks if not task.done()])


def make_tile(order: Order, region: Region) -> str:
    """Compute a tile with this process's threads and write it.

    Parameters
    ----------
    order : Order
        What and where.
    region : Region
        The tile.

    Returns
    -------
    str
        What of its files could not be read; empty if all were.
    """
    from dask.system import CPU_COUNT

    failures: list[dict[str, Any]] = []
    # Threads of its own: what fails in them is this tile's, whatever else is made meanwhile.
    with ThreadPoolExecutor(CPU_COUNT, initializer=watch_reads, initargs=(failures,)) as pool:
        values = order.lazy.isel(region.indexers).compute(scheduler="threads", pool=pool)
    order.store.write(region, values)
    if not failures or order.accept_gaps:
        order.store.mark(region)
    told = {f"{entry['item']} {entry['asset']} ({entry['kind']})" for entry in failures}
    return ", ".join(sorted(told))


def _result_of(future: Future[str] | Any) -> tuple[str, str | None]:
    error = future.exception()
    return (future.result(), None) if error is None else ("", f"{type(error).__name__}: {error}")
