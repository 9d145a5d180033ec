"""Batches from chips on disk: each chunk decoded once an epoch, ahead of its use."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.windows import Indices

__all__ = ["prefetch", "stream_batches"]


Stored = dict[str, npt.NDArray[np.int16]]
Item = TypeVar("Item")


def stream_batches(
    pixels: Pixels, epochs: Iterable[Indices], *, n_workers: int, n_ahead: int = 4
) -> Iterator[Stored]:
    """Read batches in a given order; a chunk is held from its first to its last use in an epoch.

    Parameters
    ----------
    pixels : Pixels
        On disk.
    epochs : iterable of ndarray (n_batches, batch), intp
        Slots of each batch, with chips of one chunk side by side; those in batches far apart
        hold their chunk in memory for as long.
    n_workers : int
        Threads that decode chunks; 0 decodes in the caller's.
    n_ahead : int, default 4
        Batches whose chunks are read ahead.

    Yields
    ------
    dict of str to ndarray
        For each sensor ``(batch, [D,] S, S, C)`` int16.
    """
    chunks = _Chunks(pixels, n_workers)
    ahead: deque[tuple[int, Indices]] = deque()
    try:
        for number, batch in _announce(chunks, epochs):
            chunks.fetch(number, batch)
            ahead.append((number, batch))
            if len(ahead) > n_ahead:
                yield chunks.take(*ahead.popleft())
        while ahead:
            yield chunks.take(*ahead.popleft())
    finally:
        chunks.close()


def _announce(chunks: _Chunks, epochs: Iterable[Indices]) -> Iterator[tuple[int, Indices]]:
    for number, batches in enumerate(epochs):
        chunks.expect(number, batches)
        for batch in batches:
            yield number, batch


class _Chunks:
    """Decoded chunks, with how many of their chips are still to come."""

    def __init__(self, pixels: Pixels, n_workers: int) -> None:
        assert pixels.chunk is not None
        self._pixels = pixels
        self._length = pixels.chunk
        self._pool = ThreadPoolExecutor(n_workers, "xcontrast-chunk") if n_workers else None
        self._held: dict[tuple[int, int], Future[Stored]] = {}
        self._left: Counter[tuple[int, int]] = Counter()

    def expect(self, epoch: int, batches: Indices) -> None:
        """Count the uses of an epoch."""
        numbers, uses = np.unique(batches // self._length, return_counts=True)
        self._left.update({(epoch, int(n)): int(k) for n, k in zip(numbers, uses, strict=True)})

    def fetch(self, epoch: int, batch: Indices) -> None:
        """Begin to decode what a batch needs."""
        for number in np.unique(batch // self._length).tolist():
            if (epoch, number) not in self._held:
                self._held[epoch, number] = self._submit(number)

    def _submit(self, number: int) -> Future[Stored]:
        if self._pool is not None:
            return self._pool.submit(self._decode, number)
        done: Future[Stored] = Future()
        done.set_result(self._decode(number))
        return done

    def _decode(self, number: int) -> Stored:
        where = slice(number * self._length, (number + 1) * self._length)
        return {name: self._pixels.read(name, where) for name in self._pixels.arrays}

    def take(self, epoch: int, batch: Indices) -> Stored:
        """Assemble a batch, and let go of chunks that were used up."""
        taken = {
            name: np.empty((len(batch), *array.shape[1:]), np.int16)
            for name, array in self._pixels.arrays.items()
        }
        number, within = np.divmod(batch, self._length)
        borders = np.flatnonzero(np.diff(number)) + 1
        for begin, end in pairwise([0, *borders.tolist(), len(batch)]):
            key = epoch, int(number[begin])
            held = self._held[key].result()
            for name, pixels in taken.items():
                # "clip", as numpy would first copy to a buffer of its own otherwise.
                np.take(held[name], within[begin:end], 0, pixels[begin:end], mode="clip")
            self._left[key] -= end - begin
            if not self._left[key]:
                del self._held[key], self._left[key]
        return taken

    def close(self) -> None:
        """Stop the threads; what was not begun is not read."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


_END = object()


def prefetch(items: Iterator[Item], *, n_ahead: int = 2) -> Iterator[Item]:
    """Make the next items in a thread while the caller uses this one.

    Parameters
    ----------
    items : iterator
        Run in one thread, in its order.
    n_ahead : int, default 2
        Items that may wait.

    Yields
    ------
    object
        The same items; an error of theirs is raised where its item would come.
    """
    pool = ThreadPoolExecutor(1, "xcontrast-batch")
    try:
        waiting: deque[Future[Item | object]] = deque(
            pool.submit(next, items, _END) for _ in range(n_ahead)
        )
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, items, _END))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
