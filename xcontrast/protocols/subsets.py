"""Which labelled images a run sees: shares of them, fixed by a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xcontrast.errors import DataError, problem

__all__ = ["draw_disjoint", "draw_share", "hold_out"]

Rows = npt.NDArray[np.intp]


def draw_disjoint(n: int, share: float, n_subsets: int, *, seed: int) -> list[Rows]:
    """Draw subsets that have no image in common.

    Parameters
    ----------
    n : int
        Images there are.
    share : float
        Of them in each subset.
    n_subsets : int
        How many.
    seed : int
        Fixes them.

    Returns
    -------
    list of ndarray of int
        Sorted rows of each.

    Raises
    ------
    DataError
        If there are too few images.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 4: five fixed, non-overlapping subsets.

    Examples
    --------
    >>> [len(rows) for rows in draw_disjoint(252, 0.1, 5, seed=0)]
    [25, 25, 25, 25, 25]
    """
    size = max(1, round(share * n))
    if size * n_subsets > n:
        raise DataError(
            problem(
                expected=f"at least {size * n_subsets} training images for {n_subsets} subsets of "
                f"{share:.0%} without overlap",
                received=str(n),
                do="unpack the data set whole",
            )
        )
    order = np.random.default_rng(seed).permutation(n)
    return [np.sort(order[k * size : (k + 1) * size]) for k in range(n_subsets)]


def draw_share(n: int, share: float, *, seed: int, replace: bool = False) -> Rows:
    """Draw a share of the images.

    Parameters
    ----------
    n : int
        Images there are.
    share : float
        Of them that is drawn; 1 is all.
    seed : int
        Fixes the draw.
    replace : bool, default False
        An image may be drawn twice, as Seasonal Contrast's code has it: of a tenth 5 % are
        repeats.

    Returns
    -------
    ndarray of int
        Rows.
    """
    if share >= 1:
        return np.arange(n)
    rows: Rows = np.random.default_rng(seed).choice(n, max(1, int(share * n)), replace=replace)
    return rows


def hold_out(n: int, n_held: int, *, seed: int) -> npt.NDArray[np.bool_]:
    """Say which images are held out, where a split has none for validation.

    Parameters
    ----------
    n, n_held : int
        Images there are, and to hold out.
    seed : int
        Fixes the draw.

    Returns
    -------
    ndarray (n,), bool
    """
    held = np.zeros(n, bool)
    held[np.random.default_rng(seed).permutation(n)[:n_held]] = True
    return held
