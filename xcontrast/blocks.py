"""The one door to dask for windowed kernels: blocks of a fixed grid, each with a halo.

One task makes one output block from the source chunks that it touches and cuts the halo inside,
so that no overlapped copy of the cube ever exists. Blocks are anchored to pixel (0, 0) of the
array: the value of a cell cannot depend on how the source was chunked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pieces", "Window", "map_blocks_with_halo", "map_windows"]

Kernel = Callable[["Window", "Pieces"], npt.NDArray[Any]]


@dataclass(frozen=True)
class Window:
    """What one task reads: an output block, its halo, and what of it lies inside the array."""

    rows: tuple[int, int]
    """First and one past the last row to read, halo included; may lie outside the array."""
    cols: tuple[int, int]
    shape: tuple[int, int]
    """Rows and columns of the whole array."""
    halo: int
    stride: int

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the result, cells: what the array holds, rounded up."""
        counts = []
        for (first, last), length in zip((self.rows, self.cols), self.shape, strict=True):
            inner = min(last - self.halo, length) - (first + self.halo)
            counts.append(-(-inner // self.stride))
        return counts[0], counts[1]


@dataclass(frozen=True)
class Pieces:
    """What a window is made of: views into the source chunks that it touches, not joined yet."""

    window: Window
    lines: Sequence[Sequence[npt.NDArray[Any]]]
    """Chunks ``(…, C, y, x)``, from north to south, each line from west to east."""
    corner: tuple[int, int] = (0, 0)
    """Row and column of the first chunk in the array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole window: ``(…, C, rows, cols)``."""
        rows, cols = self.window.rows, self.window.cols
        return (*self.lines[0][0].shape[:-2], rows[1] - rows[0], cols[1] - cols[0])

    def __iter__(self) -> Iterator[tuple[npt.NDArray[Any], int, int]]:
        """Give each piece with its first row and column in the window."""
        top = self.corner[0] - self.window.rows[0]
        for line in self.lines:
            left = self.corner[1] - self.window.cols[0]
            for chunk in line:
                rows, cols = (
                    slice(max(-at, 0), max(min(n, length - at), 0))
                    for at, n, length in zip(
                        (top, left), chunk.shape[-2:], self.shape[-2:], strict=True
                    )
                )
                yield chunk[..., rows, cols], max(top, 0), max(left, 0)
                left += chunk.shape[-1]
            top += line[0].shape[-2]

    def join(self) -> npt.NDArray[np.float32]:
        """Give the window as one array, NaN outside the source."""
        values = np.full(self.shape, np.nan, np.float32)
        for piece, top, left in self:
            rows, cols = piece.shape[-2:]
            values[..., top : top + rows, left : left + cols] = piece
        return values


def map_blocks_with_halo(
    array: Any,
    kernel: Kernel,
    *,
    block: int,
    halo: int,
    stride: int,
    n_out: int | None,
    dtype: npt.DTypeLike,
    name: str,
) -> Any:
    """Apply a kernel to blocks of the last two dims, each read with a halo.

    Parameters
    ----------
    array : dask.array.Array (…, C, y, x)
        The source, in any chunks.
    kernel : callable
        ``kernel(window, pieces) -> result`` ``(…, n_out, *window.cells)``; ``pieces.join()`` is the
        window as one array. Must be picklable and small.
    block : int
        Pixels a side of a block; a multiple of `stride`.
    halo : int
        Pixels read around a block.
    stride : int
        Pixels a cell of the result.
    n_out : int or None
        Length of the third last dim of the result; None when the kernel drops that dim.
    dtype : dtype
        Of the result.
    name : str
        Of the tasks; must tell different kernels apart.

    Returns
    -------
    dask.array.Array (…, n_out, ceil(y / stride), ceil(x / stride))
        Lazy; building it computes nothing.
    """
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    source = _split_leading(array)
    height, width = source.shape[-2:]
    spans = [_cover(length, block) for length in (height, width)]
    middle = () if n_out is None else (0,)
    tasks = {}
    for (i, rows), (j, cols) in itertools.product(enumerate(spans[0]), enumerate(spans[1])):
        window = Window(
            (rows[0] - halo, rows[0] + block + halo),
            (cols[0] - halo, cols[0] + block + halo),
            (height, width),
            halo,
            stride,
        )
        for place, task in _tasks(source, kernel, window):
            tasks[(name, *place, *middle, i, j)] = task
    cells = [tuple(-(-(b - a) // stride) for a, b in span) for span in spans]
    bands = () if n_out is None else ((n_out,),)
    chunks = (*source.chunks[:-3], *bands, *cells)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[source])
    meta = np.empty((0,) * (array.ndim - (n_out is None)), dtype)
    return dask.array.Array(graph, name, chunks, meta=meta)


def map_windows(
    array: Any,
    jobs: Sequence[tuple[Kernel, Window, int]],
    *,
    n_out: int | None,
    dtype: npt.DTypeLike,
    name: str,
) -> Any:
    """Apply kernels to windows anywhere, each of which gives so many cells in a row.

    Parameters
    ----------
    array : dask.array.Array (…, C, y, x)
        The source, in any chunks.
    jobs : sequence of (callable, Window, int)
        A kernel, as for :func:`map_blocks_with_halo` but giving ``(…, n_out, n)``; the window that
        it is given; and n.
    n_out : int or None
        Length of the second last dim of the result; None when the kernels drop that dim.
    dtype : dtype
        Of the result.
    name : str
        Of the tasks; must tell different jobs apart.

    Returns
    -------
    dask.array.Array (…, n_out, sum of all n)
        Lazy, in the order of the jobs.
    """
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    source = _split_leading(array)
    middle = () if n_out is None else (0,)
    tasks = {}
    for i, (kernel, window, _) in enumerate(jobs):
        for place, task in _tasks(source, kernel, window):
            tasks[(name, *place, *middle, i)] = task
    bands = () if n_out is None else ((n_out,),)
    chunks = (*source.chunks[:-3], *bands, tuple(n for _, _, n in jobs))
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[source])
    meta = np.empty((0,) * len(chunks), dtype)
    return dask.array.Array(graph, name, chunks, meta=meta)


def _split_leading(array: Any) -> Any:
    """Rechunk so that a chunk is one image, or a part of it, with all bands."""
    return array.rechunk((1,) * (array.ndim - 3) + (-1,) + array.chunks[-2:])


def _tasks(
    source: Any, kernel: Kernel, window: Window
) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Give the task of one window for each image: its numbers, and the task."""
    edges = [np.cumsum((0, *chunks)) for chunks in source.chunks[-2:]]
    down, across = (
        _touched(edge, *span) for edge, span in zip(edges, (window.rows, window.cols), strict=True)
    )
    corner = (int(edges[0][down[0]]), int(edges[1][across[0]]))
    for place in itertools.product(*(range(n) for n in source.shape[:-3])):
        parts = [[(source.name, *place, 0, a, b) for b in across] for a in down]
        yield place, (_run, kernel, window, corner, parts)


def _cover(length: int, block: int) -> list[tuple[int, int]]:
    return [(first, min(first + block, length)) for first in range(0, length, block)]


def _touched(edges: npt.NDArray[np.int64], first: int, last: int) -> range:
    """Which chunks a span touches, given their edges."""
    length = int(edges[-1])
    low = int(np.searchsorted(edges, max(first, 0), side="right")) - 1
    high = int(np.searchsorted(edges, min(last, length), side="left"))
    return range(low, max(high, low + 1))


def _run(
    kernel: Kernel,
    window: Window,
    corner: tuple[int, int],
    parts: Sequence[Sequence[npt.NDArray[Any]]],
) -> npt.NDArray[Any]:
    """Apply the kernel to the chunks that a window touches."""
    return kernel(window, Pieces(window, parts, corner))
