"""Making tiles: here or on a cluster, each by itself, failures kept and tried again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from xcontrast.regions import Region, RegionStore

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["MapReport", "run_tiles"]

AT_ONCE = 2
"""Tiles in this process at once: one is encoded while the other is read or written."""


@dataclass(frozen=True)
class MapReport:
    """What came of a run."""

    done: int
    """Tiles made by this run."""
    before: int
    """Tiles that had been made before it."""
    failed: dict[str, str]
    """The reason by tile, of those that failed twice."""
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether all tiles are done."""
        return not self.failed

    def __repr__(self) -> str:
        lines = [
            f"<xcontrast.MapReport: {'complete' if self.complete else 'not complete'}>",
            f"  done       {self.done} tiles in {self.seconds:.1f} s, {self.before} before",
            f"  failed     {len(self.failed)}",
        ]
        lines += [f"    {name}: {reason}" for name, reason in list(self.failed.items())[:20]]
        return "\n".join(lines)


def run_tiles(
    lazy: xr.Dataset, store: RegionStore, *, client: Client | None, progress: bool
) -> MapReport:
    """Make the tiles of a store that are not done.

    Parameters
    ----------
    lazy : Dataset
        What the store shall hold.
    store : RegionStore
        Where.
    client : distributed.Client or None
        The cluster, or this process.
    progress : bool
        Show a bar.

    Returns
    -------
    MapReport
    """
    from tqdm.auto import tqdm

    begin = time.monotonic()
    pending = store.pending()
    before = len(store) - len(pending)
    failed: dict[str, str] = {}
    todo = pending
    with tqdm(
        total=len(store), initial=before, desc="mapping", unit="tile", disable=not progress
    ) as bar:
        for _ in range(2):
            failed = {}
            for region, reason in _make_all(lazy, store, todo, client):
                if reason is None:
                    bar.update(1)
                else:
                    failed[region.name] = reason
                    bar.set_postfix(failed=len(failed))
            todo = [region for region in todo if region.name in failed]
            if not todo:
                break
    store.finish()
    done = len(pending) - len(failed)
    return MapReport(done, before, failed, time.monotonic() - begin)


def _make_all(
    lazy: xr.Dataset, store: RegionStore, regions: list[Region], client: Client | None
) -> Iterator[tuple[Region, str | None]]:
    """Make tiles, and give each with its fault or None as it ends."""
    if client is None:
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            futures: dict[Any, Region] = {
                pool.submit(make_tile, lazy, store, region): region for region in regions
            }
            for future in as_completed(futures):
                yield futures[future], _fault_of(future)
        finally:
            # Ctrl-C waits for the tiles at work, not for those that were to come.
            pool.shutdown(cancel_futures=True)
        return
    from distributed import as_completed as as_they_come

    shared = client.scatter(lazy, broadcast=True, hash=False)
    tasks = {
        client.submit(make_tile, shared, store, region, pure=False): region for region in regions
    }
    for task in as_they_come(tasks):
        yield tasks[task], _fault_of(task)
        task.release()


def make_tile(lazy: xr.Dataset, store: RegionStore, region: Region) -> None:
    """Compute a tile with this process's threads and write it.

    Parameters
    ----------
    lazy : Dataset
        What the store shall hold.
    store : RegionStore
        Where.
    region : Region
        The tile.
    """
    store.write(region, lazy.isel(region.indexers).compute(scheduler="threads"))


def _fault_of(future: Future[None] | Any) -> str | None:
    error = future.exception()
    return None if error is None else f"{type(error).__name__}: {error}"
