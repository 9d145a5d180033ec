"""How far each pass lies off the others of its orbit: phase correlation, in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.cubes.correlation import (
    SEARCH,
    choose_frequencies,
    measure_window,
    transform,
)
from xcontrast.errors import DataError, problem
from xcontrast.sensors import SENSORS, Sensor

__all__ = ["measure_shifts"]

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]

MIN_SIDE = 32
"""Least side of a window, pixels: fewer hold too few independent frequencies."""


def measure_shifts(
    cube: xr.Dataset,
    *,
    sensor: str = "s1",
    window: int = 256,
    n_windows: int = 9,
    threshold: float = 1.0,
) -> xr.Dataset:
    """Measure how far each pass is shifted as a whole, against the other passes of its orbit.

    Reads a few windows spread over the scene, each chunk that they touch once; in memory are their
    pixels, 0.3 GB for a year of passes. A pass that cannot be measured has
    NaN and is not flagged: it is alone in its orbit, less than 30 % of each window is valid, or
    nothing in it looks like the others within 8 pixels.

    Parameters
    ----------
    cube : Dataset
        A cube: ``s1 (s1_time, s1_band, y, x)``, float32, dB, NaN where invalid; or ``s2``, 1.
        ``s1_relative_orbit`` and ``s1_orbit_state`` group the passes; without them, and for
        Sentinel-2, all are one group.
    sensor : {"s1", "s2"}, default "s1"
        Whose passes.
    window : int, default 256
        Side of a window, pixels, at least 32; the scene's own side where that is less.
    n_windows : int, default 9
        Most windows to read; fewer where they would overlap by more than half.
    threshold : float, default 1.0
        Length of the shift from which a pass is suspect, pixels.

    Returns
    -------
    Dataset
        Along ``s1_time``, with its coords: ``shift_y``, ``shift_x`` (float, pixels; positive
        where the content lies at a greater row or column than the group's), ``distance`` (float,
        its length), ``spread`` (float, pixels: how one window scatters, robust standard
        deviation), ``n_windows`` (int, those with a clear peak) and ``flagged`` (bool: beyond
        the threshold by more than the standard error ``spread / sqrt(n_windows)``, which is no
        larger than the threshold, and at least half of the windows clear).

    Raises
    ------
    DataError
        If the cube has no such sensor with dims (time, band, y, x), the scene is smaller than
        32 pixels, or `window`, `n_windows` or `threshold` is out of range.

    Notes
    -----
    Only relative shifts can be measured. Zero is the median of the most passes that agree within
    the threshold; of two equally many, the earlier. So a minority is flagged, and of two halves
    the later, though the other may be the one that is wrong. A shift common to a whole orbit is
    not seen, nor is one between orbits: their viewing geometry differs.

    In each window, shifts between pairs of passes (least absolute deviations over all pairs)
    align the spectra, then each pass is correlated with the aligned sum of the others.
    Spectra are whitened by half, ``F / sqrt(abs(F))``: phases alone give noisy frequencies the
    weight of good ones, plain correlation is ruled by the largest contrasts. With fewer than
    three clear windows `spread` is what the noise around the peak does to it.

    References
    ----------
    Kuglin and Hines (1975), The phase correlation image alignment method, Proc. IEEE Int. Conf.
    on Cybernetics and Society, 163-165.
    Guizar-Sicairos, Thurman and Fienup (2008), Efficient subpixel image registration algorithms,
    Optics Letters 33(2), 156-158.
    Whole-scene shifts in the Planetary Computer's Sentinel-1 RTC: issues 404 and 492 of
    github.com/microsoft/PlanetaryComputer.

    Examples
    --------
    >>> shifts = xc.measure_shifts(cube, window=64)
    >>> list(shifts.data_vars)
    ['shift_y', 'shift_x', 'distance', 'spread', 'n_windows', 'flagged']
    >>> shifts.flagged.values
    array([False, False])
    """
    kind = _find_sensor(cube, sensor)
    values = cube[kind.name].transpose(kind.time, kind.band, "y", "x")
    _check_numbers(values, window, n_windows, threshold)
    groups = _group_passes(cube, kind)
    places = _place_windows(values.sizes["y"], values.sizes["x"], window, n_windows)
    found = np.full((len(places), len(values), 3), np.nan)
    tried = np.zeros((len(places), len(values)), bool)
    for place, block in enumerate(_read_windows(values, places)):
        frequencies = choose_frequencies(block.shape[-2:])
        spectra, tried[place] = transform(block, frequencies)
        for group in groups:
            usable = group[tried[place, group]]
            if len(usable) > 1:
                found[place, usable] = measure_window(spectra[usable], frequencies)
    columns = np.full((6, len(values)), np.nan)
    for group in groups:
        columns[:, group] = _merge_windows(found[:, group], tried[:, group], threshold)
    names = ("shift_y", "shift_x", "distance", "spread", "n_windows", "flagged")
    result = xr.Dataset({n: (kind.time, c) for n, c in zip(names, columns, strict=True)})
    result["n_windows"] = result.n_windows.astype(int)
    result["flagged"] = result.flagged > 0
    for name in names[:4]:
        result[name].attrs["units"] = "pixels"
    return result.assign_coords(
        {name: coord for name, coord in cube.coords.items() if coord.dims == (kind.time,)}
    )


def _find_sensor(cube: xr.Dataset, name: str) -> Sensor:
    kind = next((s for s in SENSORS if s.name == name), None)
    dims = set() if kind is None or name not in cube else set(cube[name].dims)
    if kind is None or dims != {kind.time, kind.band, "y", "x"}:
        raise DataError(
            problem(
                expected="a cube with 's1' or 's2', as the sensor says, along time, band, y and x",
                received=f"sensor={name!r} and "
                f"{ {str(k): v.dims for k, v in cube.data_vars.items()} }",
                do="give the cube of xc.open_cube, and sensor='s1' or 's2'",
            )
        )
    return kind


def _check_numbers(values: xr.DataArray, window: int, n_windows: int, threshold: float) -> None:
    if not (window >= MIN_SIDE and n_windows >= 1 and 0 < threshold <= SEARCH):
        raise DataError(
            problem(
                expected=f"window of at least {MIN_SIDE}, n_windows of at least 1 and threshold "
                f"above 0 and up to {SEARCH} pixels",
                received=f"window={window}, n_windows={n_windows}, threshold={threshold}",
                do="leave them out for the defaults",
            )
        )
    sides = values.sizes["y"], values.sizes["x"]
    if min(sides) < MIN_SIDE:
        raise DataError(
            problem(
                expected=f"a scene of at least {MIN_SIDE} x {MIN_SIDE} pixels",
                received=f"{sides[0]} x {sides[1]}",
                do="open the cube on a larger bbox",
            )
        )


def _group_passes(cube: xr.Dataset, kind: Sensor) -> list[Indices]:
    """Give the passes of each orbit, each in order of time."""
    names = (f"{kind.name}_relative_orbit", f"{kind.name}_orbit_state")
    known = [cube[m].values for m in names if m in cube.coords and cube[m].dims == (kind.time,)]
    order = np.argsort(cube[kind.time].values, kind="stable")
    groups: dict[tuple[str, ...], list[int]] = {}
    for index in order:
        groups.setdefault(tuple(str(facts[index]) for facts in known), []).append(int(index))
    return [np.array(group, np.intp) for group in groups.values()]


def _place_windows(height: int, width: int, window: int, most: int) -> list[tuple[slice, slice]]:
    """Spread windows evenly over the scene, overlapping by half at most."""
    sides = min(window, height), min(window, width)
    fit = [
        1 + (n - side) // max(1, side // 2) for n, side in zip((height, width), sides, strict=True)
    ]
    down = min(fit[0], max(1, int(most**0.5)))
    across = min(fit[1], most // down)
    down = min(fit[0], most // across)
    starts = [
        # Centres of equal parts, moved inside the scene.
        [round((i + 0.5) * n / k - side / 2) for i in range(k)]
        for n, k, side in zip((height, width), (down, across), sides, strict=True)
    ]
    rows, cols = (
        [slice(s, s + side) for s in np.clip(first, 0, n - side).tolist()]
        for first, n, side in zip(starts, (height, width), sides, strict=True)
    )
    return [(y, x) for y in rows for x in cols]


def _read_windows(
    values: xr.DataArray, places: list[tuple[slice, slice]]
) -> list[npt.NDArray[np.float32]]:
    """Read all windows at once, so that no chunk is read twice."""
    import dask

    (blocks,) = dask.compute([values.isel(y=rows, x=cols).data for rows, cols in places])
    result: list[npt.NDArray[np.float32]] = blocks
    return result


def _merge_windows(found: Floats, tried: npt.NDArray[np.bool_], threshold: float) -> Floats:
    """Give shift y, x and length, spread, clear windows and flag of the passes of one group."""
    clear = np.isfinite(found[..., 0])
    count = clear.sum(0)
    shifts = np.full((found.shape[1], 2), np.nan)
    spread = np.full(found.shape[1], np.nan)
    some = count > 0
    if some.sum() > 1:
        measured, blur = found[:, some, :2], found[:, some, 2]
        shifts[some] = 0
        # Each window has a zero of its own: medians over passes and over windows in turn.
        for _ in range(10):
            seen = clear[:, some].any(1)
            zero = np.full((len(found), 1, 2), np.nan)
            zero[seen, 0] = np.nanmedian(measured[seen] - shifts[some], axis=1)
            shifts[some] = np.nanmedian(measured - zero, axis=0)
        shifts[some] -= _find_zero(shifts[some], threshold)
        left = measured - zero
        left = left - np.nanmedian(left, axis=0)
        scatter = 1.4826 * np.hypot(*np.moveaxis(np.nanmedian(np.abs(left), axis=0), -1, 0))
        spread[some] = np.where(count[some] >= 3, scatter, np.nanmedian(blur, axis=0))
    length = np.hypot(*shifts.T)
    enough = (count > 0) & (2 * count >= tried.sum(0))
    error = spread / np.sqrt(np.maximum(count, 1))
    flagged = enough & (error <= threshold) & (length > threshold + error)
    return np.stack([shifts[:, 0], shifts[:, 1], length, spread, count, flagged])


def _find_zero(shifts: Floats, threshold: float) -> Floats:
    """Give the median of the most passes that agree; of equally many, the earliest's."""
    distance = np.hypot(*np.moveaxis(shifts[:, None] - shifts, -1, 0))
    near = distance <= threshold
    zero: Floats = np.median(shifts[near[near.sum(1).argmax()]], axis=0)
    return zero
