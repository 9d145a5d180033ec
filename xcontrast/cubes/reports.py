"""What could not be read: noted where it happens, gathered where it is asked for."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["READS", "note_failure", "read_report", "watch_reads"]

READS = "xcontrast_reads"
"""Attribute of a cube: the names, with commas, under which its failed reads are noted."""
COLUMNS = ["item", "asset", "href", "block", "kind", "message", "attempts", "seconds"]
MOST = 100_000

logger = logging.getLogger("xcontrast")
_notes: dict[str, deque[dict[str, Any]]] = {}
_thread = threading.local()
_lock = threading.Lock()


def note_failure(reads: str, entry: dict[str, Any]) -> None:
    """Note a failed read, here and, on a worker of a cluster, with its scheduler.

    Parameters
    ----------
    reads : str
        Name of the cube's reads.
    entry : dict
        With the keys of a line of :func:`read_report`.
    """
    logger.warning("%(item)s %(asset)s: %(message)s; left out", entry)
    with _lock:
        _notes.setdefault(reads, deque(maxlen=MOST)).append(entry)
    if hasattr(_thread, "failures"):
        _thread.failures.append(entry)
    if "distributed.worker" not in sys.modules:
        return
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # this thread runs no task of a cluster
        return
    worker.log_event(reads, entry)


def watch_reads(failures: list[dict[str, Any]]) -> None:
    """Have the reads that fail in this thread from now on put into a list as well.

    Parameters
    ----------
    failures : list of dict
        Grows as reads fail.
    """
    _thread.failures = failures


def read_report(cube: xr.Dataset | xr.DataArray, *, client: Client | None = None) -> pd.DataFrame:
    """List what of a cube could not be read and is NaN for it.

    Parameters
    ----------
    cube : Dataset or DataArray
        From ``open_cube``, or made from one with its attributes kept.
    client : distributed.Client, optional
        Of the cluster that computed it; by default the current one, if there is one.

    Returns
    -------
    DataFrame
        A row for each failed read, the last one where a block was read again: ``item``, ``asset``,
        ``href``, ``block`` (west, south, east, north in the cube's CRS), ``kind`` (missing or
        damaged), ``message``, ``attempts``, ``seconds``. Empty when all went well, or when nothing
        was computed yet.

    Raises
    ------
    DataError
        If it does not come from ``open_cube``.

    Notes
    -----
    Holds what this process and the cluster's workers noted since they started. Worker processes of
    dask's own multiprocessing scheduler have no way back: they only log a warning. Faults of access
    or network never end here: they stop the computation.

    Examples
    --------
    >>> truth = xc.read_truth(archive)
    >>> opened = xc.open_cube(
    ...     geobox=truth.odc.geobox, datetime="2023-05", source=archive / "catalog.json"
    ... )
    >>> len(xc.read_report(opened))
    0
    """
    names = cube.attrs.get(READS)
    if names is None:
        raise DataError(
            problem(
                expected=f"a cube from open_cube, with its attribute {READS!r}",
                received=f"attributes {', '.join(map(str, cube.attrs)) or '(none)'}",
                do="ask with the cube itself, before attributes are dropped",
            )
        )
    client = client or _current_client()
    entries: list[dict[str, Any]] = []
    for name in names.split(","):
        entries += _notes.get(name, ())
        if client is not None:
            entries += [entry for _, entry in client.get_events(name)]
    table = pd.DataFrame(entries, columns=COLUMNS)
    table["block"] = [tuple(block) for block in table["block"]]
    return table.drop_duplicates(["href", "block"], keep="last").reset_index(drop=True)


def _current_client() -> Client | None:
    if "distributed.client" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
