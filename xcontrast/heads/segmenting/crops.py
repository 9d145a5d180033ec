"""Labelled crops: what ground they are cut from, read once, and how each batch is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.segmenting.splits import Numbers
from xcontrast.legends import NO_LABEL

__all__ = ["Crops", "Plot", "draw_crops", "lay_crops", "lay_plots", "read_plots"]

PLOT = 512
"""Side in pixels of the squares that ground is read in."""
Floats = npt.NDArray[np.float32]
Crops = tuple[Floats, npt.NDArray[np.int64]]
"""Layers ``(B, L, size, size)``, NaN where invalid, and category numbers ``(B, size, size)``."""


@dataclass
class Plot:
    """A piece of ground that holds labels, with room for the crops that hold them."""

    place: tuple[int, ...]
    """Index of the leading dims."""
    rows: slice
    cols: slice
    numbers: Numbers
    """Category numbers, 255 where not labelled."""
    own: npt.NDArray[np.bool_]
    """Labels that are drawn from here, and not from the plot beside."""
    layers: Floats | None = None
    """``(L, rows, cols)``, once read."""

    @cached_property
    def pixels(self) -> npt.NDArray[np.int32]:
        """Where the labels are that are drawn from here, counted row by row."""
        return np.flatnonzero(self.own).astype(np.int32)


def lay_plots(numbers: Numbers, crop: int) -> list[Plot]:
    """Choose the ground that crops with a label can lie on.

    Parameters
    ----------
    numbers : ndarray (…, y, x), uint8
        Category numbers, 255 where not labelled.
    crop : int
        Side of a crop, pixels; no larger than the scene.

    Returns
    -------
    list of Plot
        Not read yet. Every crop with a label lies wholly in one.
    """
    height, width = numbers.shape[-2:]
    plots = []
    corners = product(range(0, height, PLOT), range(0, width, PLOT))
    for place, (top, left) in product(np.ndindex(numbers.shape[:-2]), corners):
        square = numbers[(*place, slice(top, top + PLOT), slice(left, left + PLOT))] != NO_LABEL
        if not square.any():
            continue
        rows, cols = (
            slice(max(0, first + low - crop + 1), min(length, first + high + crop))
            for first, length, (low, high) in zip(
                (top, left), (height, width), (_span(square, 1), _span(square, 0)), strict=True
            )
        )
        inside = numbers[(*place, rows, cols)].copy()
        row, col = (np.arange(span.start, span.stop) for span in (rows, cols))
        mine = ((row >= top) & (row < top + PLOT))[:, None] & (col >= left) & (col < left + PLOT)
        own = (inside != NO_LABEL) & mine
        plots.append(Plot(place, rows, cols, inside, own))
    return plots


def _span(marked: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    where = np.flatnonzero(marked.any(axis))
    return int(where[0]), int(where[-1])


def read_plots(plots: Sequence[Plot], layers: xr.DataArray, n_bands: Sequence[int]) -> list[Plot]:
    """Read the pixels of plots, all in one go, and forget labels where no sensor sees.

    Parameters
    ----------
    plots : sequence of Plot
        Of :func:`lay_plots`; changed in place.
    layers : DataArray (…, layer, y, x), float32
        The stack.
    n_bands : sequence of int
        Layers of each sensor, all its dates, in their order.

    Returns
    -------
    list of Plot
        Those that have labels left.

    Raises
    ------
    DataError
        If they do not fit into memory.
    """
    import dask

    n_layers = layers.sizes["layer"]
    _check_memory(sum(4 * n_layers * plot.numbers.size for plot in plots))
    data = layers.data
    read = dask.compute(*(data[(*p.place, slice(None), p.rows, p.cols)] for p in plots))
    edges = np.cumsum(n_bands)[:-1]
    for plot, values in zip(plots, read, strict=True):
        plot.layers = np.asarray(values, np.float32)
        parts = np.split(plot.layers, edges)
        # What is not finite in one band is not finite in the sum.
        seen = np.any([np.isfinite(part.sum(0)) for part in parts], axis=0)
        plot.numbers[~seen] = NO_LABEL
        plot.own &= seen
    return [plot for plot in plots if plot.own.any()]


def _check_memory(n_bytes: int) -> None:
    import psutil

    free = psutil.virtual_memory().available
    if n_bytes > 0.8 * free:
        raise DataError(
            problem(
                expected=f"labelled ground that fits into the {free / 1e9:.1f} GB of free memory",
                received=f"{n_bytes / 1e9:.1f} GB",
                do="label fewer places, or set part of the labels to 255",
            )
        )


def draw_crops(
    plots: Sequence[Plot],
    n: int,
    *,
    size: int,
    rng: np.random.Generator,
    flips: bool = False,
    turns: bool = False,
) -> Crops:
    """Draw crops around labelled pixels, each as likely as any other.

    Parameters
    ----------
    plots : sequence of Plot
        That were read.
    n : int
        Crops.
    size : int
        Side, pixels.
    rng : Generator
        Of pixels, positions, flips and turns.
    flips, turns : bool
        Mirror both ways, turn by quarters; all layers and labels alike.

    Returns
    -------
    Crops
    """
    ends = np.cumsum([len(plot.pixels) for plot in plots])
    n_layers = len(_layers(plots[0]))
    layers = np.empty((n, n_layers, size, size), np.float32)
    numbers = np.empty((n, size, size), np.int64)
    for k, drawn in enumerate(rng.integers(ends[-1], size=n)):
        which = int(np.searchsorted(ends, drawn, side="right"))
        plot = plots[which]
        pixel = plot.pixels[drawn - ends[which]]  # Counted from the plot's last.
        row, col = divmod(int(pixel), plot.own.shape[1])
        top, left = (
            int(rng.integers(max(0, at - size + 1), min(at, length - size) + 1))
            for at, length in zip((row, col), plot.own.shape, strict=True)
        )
        cut = (..., slice(top, top + size), slice(left, left + size))
        own, known = _layers(plot)[cut], plot.numbers[cut]
        if flips:
            down, across = (slice(None, None, int(s)) for s in rng.choice((1, -1), size=2))
            own, known = own[:, down, across], known[down, across]
        quarters = int(rng.integers(4)) if turns else 0
        layers[k] = np.rot90(own, quarters, axes=(1, 2))
        numbers[k] = np.rot90(known, quarters)
    return layers, numbers


def lay_crops(plots: Sequence[Plot], *, size: int, at_most: int, seed: int) -> Crops:
    """Lay crops side by side over plots, those that hold a label, or a draw of them.

    Parameters
    ----------
    plots : sequence of Plot
        That were read.
    size : int
        Side, pixels.
    at_most : int
        Crops.
    seed : int
        Of the draw.

    Returns
    -------
    Crops
    """
    cuts = []
    for plot in plots:
        rows, cols = (
            np.unique(np.arange(0, length, size).clip(max=length - size))
            for length in plot.own.shape
        )
        for top, left in product(rows, cols):
            cut = (..., slice(top, top + size), slice(left, left + size))
            if plot.own[cut].any():
                cuts.append((plot, cut))
    chosen = np.random.default_rng(seed).permutation(len(cuts))[:at_most]
    layers = np.stack([_layers(plot)[cut] for plot, cut in (cuts[i] for i in chosen)])
    numbers = np.stack([plot.numbers[cut] for plot, cut in (cuts[i] for i in chosen)])
    return layers, numbers.astype(np.int64)


def _layers(plot: Plot) -> Floats:
    assert plot.layers is not None
    return plot.layers
