"""Which chips train and which are held out: by ground or by group, never chip by chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sampling.windows import Indices, sum_table, window_sum

if TYPE_CHECKING:
    from xcontrast.sampling.chips import Chips

__all__ = ["number_pairs", "split_blocks", "split_chips", "split_groups"]

Mask = npt.NDArray[np.bool_]


def split_chips(
    chips: Chips, *, fraction: float, by: str | None, buffer: int, seed: int
) -> tuple[Chips, Chips]:
    """Split into training and held-out chips that share no ground.

    Parameters
    ----------
    chips : Chips
        To be split.
    fraction : float
        Share of the places (or of the area) held out.
    by : str, optional
        Coord on ``pair`` whose values are kept together.
    buffer : int
        Pixels kept free around a held-out block.
    seed : int
        Draws the places.

    Returns
    -------
    tuple of Chips
        Training chips, held-out chips.

    Raises
    ------
    DataError
        If an option is out of its range, or one side would be empty.
    """
    if not 0 < fraction < 1 or buffer < 0:
        raise DataError(
            problem(
                expected="a fraction between 0 and 1 and a buffer of at least 0 pixels",
                received=f"fraction={fraction}, buffer={buffer}",
                do="hold out 0.1 to 0.3, for example",
            )
        )
    rng = np.random.default_rng(seed)
    pairs = chips.pairs
    if by is None and len(np.unique(chips.location)) > 1:
        by = "location"
    if by is None:
        train, held = split_blocks(
            chips.row, chips.col, size=chips.size, shape=(pairs.sizes["y"], pairs.sizes["x"]),
            fraction=fraction, buffer=buffer, rng=rng,
        )  # fmt: skip
    else:
        train, held = split_groups(number_pairs(pairs, by)[chips.pair], fraction, rng)
    if not train.any() or not held.any():
        raise DataError(
            problem(
                expected="chips on both sides of the split",
                received=f"{int(train.sum())} to train on and {int(held.sum())} held out",
                do="use smaller chips (size=) or stride, a smaller buffer, or a larger area",
            )
        )
    return chips.take(train), chips.take(held)


def number_pairs(pairs: xr.Dataset, name: str) -> Indices:
    """Give each pair the number of its value of a coord.

    Parameters
    ----------
    pairs : Dataset
        With a dim ``pair``.
    name : str
        A coord on it; ``"location"`` may be missing, where all pairs are of one place.

    Returns
    -------
    ndarray (n,), intp

    Raises
    ------
    DataError
        If there is no such coord.
    """
    if name not in pairs.coords:
        if name == "location":
            return np.zeros(pairs.sizes["pair"], np.intp)
        raise DataError(
            problem(
                expected=f"a coord {name!r} on the dim 'pair'",
                received=f"coords {sorted(map(str, pairs.coords))}",
                do="give the locations that coord before pairing, or split by another",
            )
        )
    numbers = np.unique(pairs[name].values, return_inverse=True)[1]
    return np.broadcast_to(numbers, pairs.sizes["pair"]).astype(np.intp)


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
