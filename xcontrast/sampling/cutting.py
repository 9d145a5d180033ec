"""Pairs cut into training windows: xbatcher lays them, area, weights and validity sift them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.sampling.areas import choose_windows, read_pair_weights
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.validity import measure_valid
from xcontrast.sampling.windows import lay_windows
from xcontrast.sensors import SENSORS

__all__ = ["chips"]


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
    weights : DataArray (y, x) or (pair), optional
        How often the ground is to be seen, 0 or more: a chip is drawn by its window's mean, as
        for less open sea. Or how often each pair is, numbers or times: ``pairs.duration`` of
        ``match="paper"`` draws pairs as the paper draws moments. What weighs 0 is left out.

    Returns
    -------
    Chips

    Raises
    ------
    DataError
        If `pairs` has no ``pair`` dim, a window does not fit, an option is out of its range, or no
        window is left.

    Examples
    --------
    >>> chips = xc.chips(xc.pairs(cube), size=32, stride=16)
    >>> len(chips), chips[0].s1.shape
    (50, (2, 32, 32))
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
    by_pair = tuple(getattr(weights, "dims", ())) == ("pair",)
    of_pair = read_pair_weights(pairs, weights if by_pair else None)
    kept, weight = choose_windows(
        pairs, row, col, size, within=within, weights=None if by_pair else weights
    )
    told["outside the area"] = int((~kept).sum()) * pairs.sizes["pair"]
    row, col, weight = row[kept], col[kept], weight[kept]
    valid = measure_valid(pairs, row, col, size)
    pair, window = np.nonzero((valid >= min_valid) & (of_pair > 0)[:, None])
    told["too little valid"] = int((valid < min_valid).sum())
    told["of no weight"] = valid.size - len(pair) - told["too little valid"]
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
        pairs=pairs,
        size=size,
        pair=pair,
        row=row[window],
        col=col[window],
        valid_fraction=valid[pair, window],
        weight=weight[window] * of_pair[pair],
        told=told,
    )


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
