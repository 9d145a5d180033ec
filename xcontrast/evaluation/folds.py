"""Which labelled pixels are fitted on and which are tested: whole blocks of ground, never pixels.

Letters: B blocks, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, problem

__all__ = ["Folds", "draw_units", "grow", "make_folds", "make_squares"]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]
TRIES = 200
"""Orders of units that are drawn until the smallest part holds two categories."""


@dataclass(frozen=True)
class Folds:
    """Blocks of labelled pixels, each tested in one fold."""

    block: Numbers
    """(…, y, x): number of the block of each labelled pixel, -1 where there is no label."""
    names: npt.NDArray[Any]
    """(B,): name of each block."""
    fold: Numbers
    """(B,): in which fold each block is tested."""
    buffer: int
    """Pixels around tested ones, to all eight sides, that are not fitted on."""

    @property
    def n_folds(self) -> int:
        """How many."""
        return int(self.fold.max()) + 1

    def split(self, k: int) -> tuple[Mask, Mask]:
        """Say which pixels are fitted on in fold `k`, and which are tested.

        Parameters
        ----------
        k : int
            Number of the fold.

        Returns
        -------
        tuple of ndarray (…, y, x), bool
            Labelled pixels all; those in neither lie in the buffer.
        """
        labelled = self.block >= 0
        test = labelled & (self.fold[self.block] == k)
        return labelled & ~grow(test, self.buffer), test


def make_squares(shape: tuple[int, int], side: int) -> Numbers:
    """Give each pixel of a grid the number of its square, row by row.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    side : int
        Of a block; those at the last edges may be smaller.

    Returns
    -------
    ndarray (y, x), intp
    """
    rows, cols = (np.arange(n) // side for n in shape)
    numbers: Numbers = rows[:, None] * (-(-shape[1] // side)) + cols
    return numbers


def make_folds(
    groups: npt.NDArray[np.integer[Any]],
    names: npt.NDArray[Any],
    labelled: Mask,
    *,
    n_folds: int | None,
    buffer: int,
    seed: int,
) -> Folds:
    """Spread the groups that hold labels over folds, at random and as evenly as they go.

    Parameters
    ----------
    groups : ndarray (…, y, x), intp
        Number of the group of each pixel, below 0 where there is none.
    names : ndarray
        Name of each group.
    labelled : ndarray (…, y, x), bool
        Where there are labels.
    n_folds : int or None
        How many; None leaves out one group at a time.
    buffer : int
        See :class:`Folds`.
    seed : int
        Of the spreading.

    Returns
    -------
    Folds

    Raises
    ------
    DataError
        If there are fewer groups with labels than folds, or than two.
    """
    block = np.where(labelled & (groups >= 0), groups, -1)
    present = np.unique(block[block >= 0])
    wanted = len(present) if n_folds is None else n_folds
    if wanted < 2 or len(present) < wanted:
        raise DataError(
            problem(
                expected=f"2 folds or more, and {max(2, wanted)} blocks or groups with labels",
                received=f"n_folds={n_folds}, and {len(present)} with labels",
                do="use fewer folds, smaller blocks (ProbeOptions(block=...)), or finer groups",
            )
        )
    renumbered = np.full(int(block.max()) + 2, -1, np.intp)
    renumbered[present] = np.arange(len(present))
    fold = np.random.default_rng(seed).permutation(np.arange(len(present)) % wanted)
    if n_folds is None:
        fold = np.arange(len(present))
    return Folds(renumbered[block], np.asarray(names)[present], fold, buffer)


def grow(mask: Mask, reach: int) -> Mask:
    """Mark all within `reach` pixels of what is marked, to all eight sides, along y and x.

    Parameters
    ----------
    mask : ndarray (…, y, x), bool
        What is marked.
    reach : int
        Pixels; 0 marks no more.

    Returns
    -------
    ndarray (…, y, x), bool
    """
    if reach < 1:
        return mask
    from scipy.ndimage import maximum_filter1d

    grown = mask.astype(np.uint8)
    for axis in (-2, -1):
        grown = maximum_filter1d(grown, 2 * reach + 1, axis=axis, mode="constant", cval=0)
    result: Mask = grown.astype(bool)
    return result


def draw_units(
    train: Mask,
    units: Numbers,
    numbers: npt.NDArray[np.uint8],
    fractions: tuple[float, ...],
    *,
    n_categories: int,
    seed: int,
) -> list[Mask]:
    """Draw shares of what may be fitted on, whole units, each share within the larger ones.

    Parameters
    ----------
    train : ndarray (…, y, x), bool
        Pixels that may be fitted on.
    units : ndarray (…, y, x), intp
        Number of the unit (a location or a block) of each pixel.
    numbers : ndarray (…, y, x), uint8
        Category numbers.
    fractions : tuple of float
        Shares of the units, above 0 and up to 1; one unit at least.
    n_categories : int
        In the legend.
    seed : int
        Of the draw, which is repeated until the smallest share holds two categories.

    Returns
    -------
    list of ndarray (…, y, x), bool
        One a fraction.

    Raises
    ------
    DataError
        If there are not two categories, in all or in any share that was drawn.
    """
    own, index = np.unique(units[train], return_inverse=True)
    table = np.zeros((len(own), n_categories), bool)
    table[index, numbers[train]] = True
    if table.any(0).sum() < 2:
        raise _one_category("all that may be fitted on in a fold")
    sizes = [max(1, int(np.ceil(f * len(own) - 1e-9))) for f in fractions]
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        order = rng.permutation(len(own))
        if table[order[: min(sizes)]].any(0).sum() >= 2:
            rank = np.empty(len(own), np.intp)
            rank[order] = np.arange(len(own))
            parts = []
            for size in sizes:
                part = np.zeros_like(train)
                part[train] = rank[index] < size
                parts.append(part)
            return parts
    raise _one_category(f"{min(sizes)} of {len(own)} blocks or locations, drawn {TRIES} times")


def _one_category(where: str) -> DataError:
    return DataError(
        problem(
            expected="labels of two categories or more to fit on",
            received=f"one or none, in {where}",
            do="use a smaller buffer, larger fractions or fewer folds, or label more blocks with "
            "both",
        )
    )
