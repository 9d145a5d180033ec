"""Training windows over pairs: xbatcher lays them, validity sifts them, blocks split them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm.auto import tqdm

from xcontrast.errors import DataError, problem
from xcontrast.sampling.areas import mark_area, read_weights
from xcontrast.sampling.validity import seen_by
from xcontrast.sampling.windows import lay_windows, sum_table, window_sum
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["Chips", "chips"]

Indices = npt.NDArray[np.intp]

LAID = ("windows", "covered")


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
    """Share of pixels valid in every image, 0..1, shape (n,)."""
    weight: npt.NDArray[np.float32]
    """How often each chip is drawn in training, against the others, shape (n,)."""
    told: Mapping[str, float]
    """Windows laid, the share of the grid that they cover, and how many were rejected, by why."""

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
        rejected = [f"{n:,} {why}" for why, n in self.told.items() if why not in LAID and n]
        return (
            f"<xcontrast.Chips: {len(self)} of {self.size} x {self.size} px "
            f"from {len(np.unique(self.pair))} pairs; {sensors}; "
            f"valid {self.valid_fraction.mean():.0%}; {self.told['windows']:,} windows laid over "
            f"{self.told['covered']:.1%} of the grid; rejected: {', '.join(rejected) or 'none'}>"
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
        fields = ("pair", "row", "col", "valid_fraction", "weight")
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
        table = sum_table(ground)
        held = window_sum(table, self.row, self.col, self.size) == self.size**2
        near = window_sum(table, self.row - buffer, self.col - buffer, self.size + 2 * buffer)
        return near == 0, held


def chips(
    pairs: xr.Dataset,
    *,
    size: int = 128,
    stride: int | None = None,
    min_valid: float = 0.9,
    edges: Literal["shift", "drop"] = "shift",
    within: Any = None,
    weights: xr.DataArray | None = None,
) -> Chips:
    """Cut pairs into square training windows, keeping those that are valid enough.

    xbatcher lays the windows. Validity is read once, from ``s1_valid`` and ``s2_valid`` or else
    the first band of each sensor; what is kept, covered and rejected is printed with the chips.

    Parameters
    ----------
    pairs : Dataset
        ``s1 (pair, s1_band, y, x)`` and/or ``s2 (pair, s2_band, y, x)``, or with a ``date`` after
        ``pair``, from ``cube.contrast.pairs()``.
    size : int, default 128
        Side of a window in pixels.
    stride : int, optional
        Step between windows in pixels, at most `size`; by default `size` (no overlap).
    min_valid : float, default 0.9
        Least share of pixels, 0..1, valid in every sensor (and at every date).
    edges : {"shift", "drop"}, default "shift"
        Where windows do not reach the last row or column: one more row or column of windows,
        shifted back to the edge, so that every pixel is covered; or those pixels are lost.
    within : optional
        An area of interest: a box in degrees, a geometry, a GeoDataFrame, or a bool DataArray
        (y, x). Windows are kept of which at least half lies within.
    weights : DataArray (y, x), optional
        How often the ground is to be seen, 0 or more: a chip is drawn by its window's mean, as
        for less open sea. Windows of weight 0 are left out.

    Returns
    -------
    Chips

    Raises
    ------
    DataError
        If `pairs` has no ``pair`` dim, a window does not fit, an option is out of its range, or no
        window is left.
    """
    step = size if stride is None else stride
    _check_pairs(pairs, size, step, min_valid, edges)
    lengths = (pairs.sizes["y"], pairs.sizes["x"])
    starts = [lay_windows(length, size, step, edges) for length in lengths]
    row, col = (grid.ravel() for grid in np.meshgrid(*starts, indexing="ij"))
    reached = [own[-1] + size for own in starts]
    told: dict[str, float] = {
        "windows": len(row) * pairs.sizes["pair"],
        "covered": reached[0] * reached[1] / (lengths[0] * lengths[1]),
    }
    kept, weight = _choose_windows(pairs, row, col, size, within, weights)
    told["outside the area"] = int((~kept).sum()) * pairs.sizes["pair"]
    row, col, weight = row[kept], col[kept], weight[kept]
    valid = _valid_fractions(pairs, row, col, size)
    pair, window = np.nonzero(valid >= min_valid)
    told["too little valid"] = valid.size - len(pair)
    if not len(pair):
        raise DataError(
            problem(
                expected=f"a {size} px window with at least {min_valid:.0%} valid pixels",
                received=f"{valid.size} windows, the best "
                f"{valid.max() if valid.size else 0:.0%} valid"
                + (f", {told['outside the area']} outside the area" if valid.size == 0 else ""),
                do="lower `min_valid` or `size`, or choose clearer dates or a larger area",
            )
        )
    return Chips(
        pairs, size, pair, row[window], col[window], valid[pair, window], weight[window], told
    )


def _choose_windows(
    pairs: xr.Dataset,
    row: Indices,
    col: Indices,
    size: int,
    within: Any,
    weights: xr.DataArray | None,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Give which windows lie in the area and have a weight, and their weights."""
    kept = np.ones(len(row), bool)
    weight = np.ones(len(row), np.float32)
    if within is not None:
        inside = window_sum(sum_table(mark_area(pairs, within)), row, col, size)
        kept &= inside >= size**2 / 2
    if weights is not None:
        total = window_sum(sum_table(read_weights(pairs, weights)), row, col, size)
        weight = (total / size**2).astype(np.float32)
        kept &= weight > 0
    return kept, weight


def _check_pairs(pairs: xr.Dataset, size: int, stride: int, min_valid: float, edges: str) -> None:
    sensors = [s for s in SENSORS if s.name in getattr(pairs, "data_vars", ())]
    if not sensors or any(
        tuple(d for d in pairs[s.name].dims if d != "date") != ("pair", s.band, "y", "x")
        for s in sensors
    ):
        raise DataError(
            problem(
                expected="pairs with dims (pair, s1_band | s2_band, y, x)",
                received=f"dims {dict(getattr(pairs, 'sizes', {}))}",
                do="call cube.contrast.pairs() first",
            )
        )
    fits = 0 < size <= min(pairs.sizes["y"], pairs.sizes["x"])
    known = edges in ("shift", "drop")
    if not fits or not 0 < stride <= size or not 0 <= min_valid <= 1 or not known:
        raise DataError(
            problem(
                expected=(
                    f"0 < stride <= size <= {min(pairs.sizes['y'], pairs.sizes['x'])} px "
                    "(the grid), min_valid in 0..1 and edges 'shift' or 'drop'"
                ),
                received=f"size={size}, stride={stride}, min_valid={min_valid}, edges={edges!r}",
                do="choose a smaller `size`",
            )
        )


def _valid_fractions(
    pairs: xr.Dataset, row: Indices, col: Indices, size: int
) -> npt.NDArray[np.float32]:
    seen = [seen_by(pairs, sensor) for sensor in SENSORS if sensor.name in pairs.data_vars]
    seen = [mask.all("date") if "date" in mask.dims else mask for mask in seen]
    lazy = any(mask.chunks is not None for mask in seen)
    n_pairs = pairs.sizes["pair"]
    fractions = np.empty((n_pairs, len(row)), np.float32)
    for i in tqdm(range(n_pairs), desc="reading validity", disable=not lazy, leave=False):
        valid = np.logical_and.reduce([mask.isel(pair=i).values for mask in seen])
        fractions[i] = window_sum(sum_table(valid), row, col, size) / size**2
    return fractions


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
