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

__all__ = ["join_places", "number_pairs", "split_blocks", "split_chips", "split_groups"]

PLACED = ("epsg", "x0", "y0")
"""Coords of places: the zone, the west and the north edge in metres."""
PLACE_GSD = 10.0
"""Metres of a pixel of a collection, whose y and x are pixels."""

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
        Pixels kept free around a held-out block or place.
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
        group = number_pairs(pairs, by)[chips.pair]
        if by == "location":
            group = join_places(pairs, chips.pair, group, buffer)
        train, held = split_groups(group, fraction, rng)
    if not train.any() or not held.any():
        raise DataError(
            problem(
                expected="chips on both sides of the split",
                received=f"{int(train.sum())} to train on and {int(held.sum())} held out",
                do="use smaller chips (size=) or stride, a smaller buffer, or a larger area; "
                "places that overlap are kept together",
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
        If there is no such coord, or it does not give each pair one value.
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
    coord = pairs[name]
    lacks = coord.dtype.kind == "O" and bool(coord.isnull().any())
    if coord.dims not in ((), ("pair",)) or lacks:
        raise DataError(
            problem(
                expected=f"one value of {name!r} for each pair",
                received="pairs without one" if lacks else f"{name!r} with the dims {coord.dims}",
                do="fill it in, or split by a coord on 'pair' alone"
                + (f": pairs.assign_coords(group=pairs[{name!r}].isel(date=0, drop=True))"
                   if "date" in coord.dims else ""),
            )
        )  # fmt: skip
    numbers = np.unique(coord.values, return_inverse=True)[1]
    return np.broadcast_to(numbers, pairs.sizes["pair"]).astype(np.intp)


def join_places(pairs: xr.Dataset, pair: Indices, place: Indices, buffer: int) -> Indices:
    """Join places that overlap on the ground, which must not lie on both sides of a split.

    Parameters
    ----------
    pairs : Dataset
        Of a collection; where it does not tell ``epsg``, ``x0`` and ``y0``, all stays as it is.
    pair, place : ndarray (n,), intp
        Of each chip.
    buffer : int
        Pixels between two places below which they are joined too.

    Returns
    -------
    ndarray (n,), intp
        Number of the group of places of each chip.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if any(name not in pairs.coords or pairs[name].dims != ("pair",) for name in PLACED):
        return place
    _, first, number = np.unique(place, return_index=True, return_inverse=True)
    zone, west, north = (pairs[name].values[pair[first]].astype(float) for name in PLACED)
    # In units in which two footprints overlap where they differ by less than 1 in all three.
    width, height = ((pairs.sizes[axis] + buffer) * PLACE_GSD for axis in ("x", "y"))
    spots = np.stack([zone * 2, west / width, north / height], axis=1)
    known = np.flatnonzero(np.isfinite(spots).all(1))
    near = KDTree(spots[known]).query_pairs(1 - 1e-9, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(near)), known[near.T]), shape=(len(first), len(first)))
    joined: Indices = connected_components(links, directed=False)[1].astype(np.intp)
    return joined[number]


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
