"""Which thread of a process a network runs in, and with how many cores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

__all__ = ["alone", "at_work"]

_lock = Lock()


@contextmanager
def alone() -> Iterator[None]:
    """Have no other network of this package run in the process meanwhile.

    While torch traces a network it catches the calls of all modules, those of other threads too.
    """
    with _lock:
        yield


@contextmanager
def at_work() -> Iterator[None]:
    """Let one network of a process infer, on all cores that the process was given.

    Other threads read and write meanwhile.
    """
    with alone(), torch.inference_mode():
        n_threads = _count_own()
        if n_threads > torch.get_num_threads():
            torch.set_num_threads(n_threads)
        yield


def _count_own() -> int:
    """Count the threads of a dask worker; 0 in any other process.

    dask has the libraries of a worker use one core each, however many threads it was given.
    """
    if "distributed" not in sys.modules:
        return 0
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return 0
