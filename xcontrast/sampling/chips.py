"""Training windows over pairs: xbatcher lays them, validity sifts them, blocks split them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm.auto import tqdm

from xcontrast.errors import DataError, problem
from xcontrast.sampling.validity import seen_by
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["Chips", "chips"]

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Chips(Sequence[xr.Dataset]):
    """Square windows of pairs, ``size`` pixels a side; indexing gives a Dataset.

    Made by :func:`chips`. One window cuts both sensors, so the two views cannot be misaligned.
    """

    pairs: xr.Dataset
    """The pairs that the windows are cut from."""
    size: int
    """Side of a window in pixels."""
    pair: Indices
    """Pair of each chip, shape (n,)."""
    row: Indices
    """First row of each chip, shape (n,)."""
    col: Indices
    """First column of each chip, shape (n,)."""
    valid_fraction: npt.NDArray[np.float32]
    """Share of pixels valid in every sensor, 0..1, shape (n,)."""

    def __len__(self) -> int:
        return len(self.pair)

    @overload
    def __getitem__(self, index: int) -> xr.Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> Chips: ...
    def __getitem__(self, index: int | slice) -> xr.Dataset | Chips:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row, col = self.row[index], self.col[index]
        y, x = slice(row, row + self.size), slice(col, col + self.size)
        return self.pairs.isel(pair=self.pair[index], y=y, x=x)

    def __iter__(self) -> Iterator[xr.Dataset]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        sensors = ", ".join(
            f"{s.name} {s.title} {'/'.join(map(str, self.pairs[s.band].values))}"
            for s in self.sensors
        )
        return (
            f"<xcontrast.Chips: {len(self)} of {self.size} x {self.size} px "
            f"from {len(np.unique(self.pair))} pairs; {sensors}; "
            f"valid {self.valid_fraction.mean():.0%}>"
        )

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensors that each chip holds."""
        return tuple(sensor for sensor in SENSORS if sensor.name in self.pairs.data_vars)

    @property
    def location(self) -> Indices:
        """Number of the place that each chip lies in, shape (n,); all zero for a cube's pairs."""
        return _number(self.pairs, "location")[self.pair]

    def take(self, which: npt.NDArray[Any]) -> Chips:
        """Keep some chips.

        Parameters
        ----------
        which : ndarray (k,), int or bool
            Indices to keep in that order, or a mask of length n.

        Returns
        -------
        Chips
        """
        fields = ("pair", "row", "col", "valid_fraction")
        return replace(self, **{name: getattr(self, name)[which] for name in fields})

    def split(
        self,
        *,
        fraction: float = 0.2,
        by: str | None = None,
        buffer: int = 0,
        seed: int = 0,
    ) -> tuple[Chips, Chips]:
        """Split into training and held-out chips that share no ground.

        Parameters
        ----------
        fraction : float, default 0.2
            Share of the places (or of the area) held out, above 0 and below 1.
        by : str, optional
            Coord on ``pair`` whose values are kept together, such as ``"scene"``. By default
            ``"location"`` where the pairs have more than one; otherwise square blocks of the
            grid, at least two chips wide, are held out whole, and chips that lie across a border
            are dropped.
        buffer : int, default 0
            Pixels kept free around a held-out block.
        seed : int, default 0
            Draws the places.

        Returns
        -------
        tuple of Chips
            Training chips, held-out chips; every date of a place is on one side.

        Raises
        ------
        DataError
            If one side would be empty.
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
        if by is None and len(np.unique(self.location)) > 1:
            by = "location"
        if by is None:
            train, held = self._split_blocks(fraction, buffer, rng)
        else:
            group = _number(self.pairs, by)[self.pair]
            names = rng.permutation(np.unique(group))
            n_held = min(max(1, round(fraction * len(names))), len(names) - 1)
            held = np.isin(group, names[:n_held])
            train = ~held
        if not train.any() or not held.any():
            raise DataError(
                problem(
                    expected="chips on both sides of the split",
                    received=f"{int(train.sum())} to train on and {int(held.sum())} held out",
                    do="use smaller chips (size=) or stride, a smaller buffer, or a larger area",
                )
            )
        return self.take(train), self.take(held)

    def _split_blocks(
        self, fraction: float, buffer: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        shape = (self.pairs.sizes["y"], self.pairs.sizes["x"])
        # Blocks of two chips hold whole chips wherever the windows start, yet a small scene still
        # has several blocks to choose from.
        n_rows, n_cols = (max(1, length // (2 * self.size)) for length in shape)
        if n_rows * n_cols < 2:
            n_rows, n_cols = (max(1, length // self.size) for length in shape)
        n_held = min(max(1, round(fraction * n_rows * n_cols)), n_rows * n_cols - 1)
        chosen = np.zeros(n_rows * n_cols, bool)
        chosen[rng.permutation(n_rows * n_cols)[:n_held]] = True
        rows = np.arange(shape[0]) * n_rows // shape[0]
        cols = np.arange(shape[1]) * n_cols // shape[1]
        ground = chosen.reshape(n_rows, n_cols)[rows[:, None], cols[None]]
        table = _sum_table(ground)
        held = _window_sum(table, self.row, self.col, self.size) == self.size**2
        near = _window_sum(table, self.row - buffer, self.col - buffer, self.size + 2 * buffer)
        return near == 0, held


def chips(
    pairs: xr.Dataset,
    *,
    size: int = 128,
    stride: int | None = None,
    min_valid: float = 0.9,
) -> Chips:
    """Cut pairs into square training windows, keeping those that are valid enough.

    xbatcher lays the windows; where they do not reach the last row or column, one more row or
    column of windows is shifted back to the edge, so that every pixel is covered. Validity is
    read once, from the first band of each sensor.

    Parameters
    ----------
    pairs : Dataset
        ``s1 (pair, s1_band, y, x)`` and/or ``s2 (pair, s2_band, y, x)``, from
        ``cube.contrast.pairs()``.
    size : int, default 128
        Side of a window in pixels.
    stride : int, optional
        Step between windows in pixels, at most `size`; by default `size` (no overlap).
    min_valid : float, default 0.9
        Least share of pixels, 0..1, valid in every sensor.

    Returns
    -------
    Chips

    Raises
    ------
    DataError
        If `pairs` has no ``pair`` dim, a window does not fit, or no window is valid enough.
    """
    _check_pairs(pairs, size, size if stride is None else stride, min_valid)
    rows = _window_starts(pairs.sizes["y"], size, stride or size)
    cols = _window_starts(pairs.sizes["x"], size, stride or size)
    row, col = (grid.ravel() for grid in np.meshgrid(rows, cols, indexing="ij"))
    valid = _valid_fractions(pairs, row, col, size)
    pair, window = np.nonzero(valid >= min_valid)
    if not len(pair):
        raise DataError(
            problem(
                expected=f"a {size} px window with at least {min_valid:.0%} valid pixels",
                received=f"{valid.size} windows, the best {valid.max():.0%} valid",
                do="lower `min_valid` or `size`, or choose clearer dates",
            )
        )
    return Chips(pairs, size, pair, row[window], col[window], valid[pair, window])


def _check_pairs(pairs: xr.Dataset, size: int, stride: int, min_valid: float) -> None:
    sensors = [s for s in SENSORS if s.name in getattr(pairs, "data_vars", ())]
    if not sensors or any(pairs[s.name].dims != ("pair", s.band, "y", "x") for s in sensors):
        raise DataError(
            problem(
                expected="pairs with dims (pair, s1_band | s2_band, y, x)",
                received=f"dims {dict(getattr(pairs, 'sizes', {}))}",
                do="call cube.contrast.pairs() first",
            )
        )
    fits = 0 < size <= min(pairs.sizes["y"], pairs.sizes["x"])
    if not fits or not 0 < stride <= size or not 0 <= min_valid <= 1:
        raise DataError(
            problem(
                expected=(
                    f"0 < stride <= size <= {min(pairs.sizes['y'], pairs.sizes['x'])} px "
                    "(the grid) and min_valid in 0..1"
                ),
                received=f"size={size}, stride={stride}, min_valid={min_valid}",
                do="choose a smaller `size`",
            )
        )


def _window_starts(length: int, size: int, stride: int) -> Indices:
    from xbatcher import BatchGenerator

    line = xr.Dataset({"start": ("line", np.arange(length))})
    windows = BatchGenerator(line, input_dims={"line": size}, input_overlap={"line": size - stride})
    starts = [int(window["start"][0]) for window in windows]
    # xbatcher leaves partial windows out; the last pixels get a window shifted back to the edge.
    if starts[-1] + size < length:
        starts.append(length - size)
    return np.asarray(starts, np.intp)


def _valid_fractions(
    pairs: xr.Dataset, row: Indices, col: Indices, size: int
) -> npt.NDArray[np.float32]:
    seen = [seen_by(pairs, sensor) for sensor in SENSORS if sensor.name in pairs.data_vars]
    lazy = any(mask.chunks is not None for mask in seen)
    n_pairs = pairs.sizes["pair"]
    fractions = np.empty((n_pairs, len(row)), np.float32)
    for i in tqdm(range(n_pairs), desc="reading validity", disable=not lazy, leave=False):
        valid = np.logical_and.reduce([mask.isel(pair=i).values for mask in seen])
        fractions[i] = _window_sum(_sum_table(valid), row, col, size) / size**2
    return fractions


def _sum_table(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=table[1:, 1:])
    return table


def _window_sum(
    table: npt.NDArray[np.int64], row: Indices, col: Indices, size: int
) -> npt.NDArray[np.int64]:
    top, bottom = (edge.clip(0, table.shape[0] - 1) for edge in (row, row + size))
    left, right = (edge.clip(0, table.shape[1] - 1) for edge in (col, col + size))
    total: npt.NDArray[np.int64] = (
        table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    )
    return total


def _number(pairs: xr.Dataset, name: str) -> Indices:
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
