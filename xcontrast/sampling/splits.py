"""Which chips train and which are held out: by ground or by group, never chip by chip."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xcontrast.sampling.windows import Indices, sum_table, window_sum

__all__ = ["split_blocks", "split_groups"]


Mask = npt.NDArray[np.bool_]


def split_groups(group: Indices, fraction: float, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Hold out whole groups.

    Parameters
    ----------
    group : ndarray (n,), intp
        Number of the group of each chip.
    fraction : float
        Share of the groups held out.
    rng : Generator
        Draws them.

    Returns
    -------
    tuple of ndarray (n,), bool
        Which chips train, which are held out.
    """
    names = rng.permutation(np.unique(group))
    n_held = min(max(1, round(fraction * len(names))), len(names) - 1)
    held = np.isin(group, names[:n_held])
    return ~held, held


def split_blocks(
    row: Indices,
    col: Indices,
    *,
    size: int,
    shape: tuple[int, int],
    fraction: float,
    buffer: int,
    rng: np.random.Generator,
) -> tuple[Mask, Mask]:
    """Hold out square blocks of the grid; chips across a border are in neither part.

    Parameters
    ----------
    row, col : ndarray (n,), intp
        First row and column of each chip.
    size : int
        Side of a chip, pixels.
    shape : tuple of int
        Rows and columns of the grid.
    fraction : float
        Share of the blocks held out.
    buffer : int
        Pixels around a held-out block that no training chip touches.
    rng : Generator
        Draws the blocks.

    Returns
    -------
    tuple of ndarray (n,), bool
        Which chips train, which are held out.
    """
    # Blocks of two chips hold whole chips wherever the windows start, yet a small scene still has
    # several blocks to choose from.
    n_rows, n_cols = (max(1, length // (2 * size)) for length in shape)
    if n_rows * n_cols < 2:
        n_rows, n_cols = (max(1, length // size) for length in shape)
    n_held = min(max(1, round(fraction * n_rows * n_cols)), n_rows * n_cols - 1)
    chosen = np.zeros(n_rows * n_cols, bool)
    chosen[rng.permutation(n_rows * n_cols)[:n_held]] = True
    rows = np.arange(shape[0]) * n_rows // shape[0]
    cols = np.arange(shape[1]) * n_cols // shape[1]
    table = sum_table(chosen.reshape(n_rows, n_cols)[rows[:, None], cols[None]])
    held = window_sum(table, row, col, size) == size**2
    near = window_sum(table, row - buffer, col - buffer, size + 2 * buffer)
    return near == 0, held
