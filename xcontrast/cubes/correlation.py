"""Phase correlation of one window's images: arrays in, shifts in pixels out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["SEARCH", "Frequencies", "choose_frequencies", "measure_window", "transform"]

Floats = npt.NDArray[np.floating]
Spectra = npt.NDArray[np.complex64]
Indices = npt.NDArray[np.intp]

MIN_VALID = 0.3
"""Least share of a window's pixels that a pass must have."""
SEARCH = 8
"""Largest shift that is looked for between two passes, pixels."""
LOW_PASS = 0.2
"""Standard deviation of the Gaussian weight, cycles per pixel: above it speckle reigns."""
NYQUIST = 0.45
"""Where the spectrum is cut, cycles per pixel: at .5 signs are ambiguous, and little is there."""
WHITENING = 0.5
"""From 0, plain correlation, to 1, phases alone."""
CLEAR = 3.0
"""Least height of a clear peak, in standard deviations of noise: unlike images give 2.8 in 98 %."""
TAPER_NOISE = 35 / 18
"""Neighbouring frequencies are alike under a Hann taper: noise grows by mean(w^4) / mean(w^2)^2."""
ALL_PAIRS = 12
"""Largest group in which each pass is compared with each other one."""


class Frequencies(NamedTuple):
    """The half-plane of low frequencies that is kept of a window's transform."""

    keep: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
    y: Floats
    x: Floats
    weight: Floats


class _Peaks(NamedTuple):
    """Where correlation is highest, with what noise does to it: (n, 2), (n,), (n,)."""

    shift: Floats
    error: Floats
    clarity: Floats


def choose_frequencies(shape: tuple[int, ...]) -> Frequencies:
    """Choose the frequencies that windows of one shape are compared in, with their weights.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the window.

    Returns
    -------
    Frequencies
        Masks of the rows and columns of a real transform, the frequencies in radians per pixel
        and weights (ky, kx).

    Examples
    --------
    >>> choose_frequencies((64, 48)).weight.shape
    (57, 22)
    """
    fy, fx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    keep = np.abs(fy) < NYQUIST, fx < NYQUIST
    fy, fx = fy[keep[0]], fx[keep[1]]
    weight = np.exp(-(fy[:, None] ** 2 + fx**2) / (2 * LOW_PASS**2))
    weight[0, 0] = 0
    # Columns but the first stand for their mirror images too.
    weight[:, 1:] *= 2
    single = np.float32
    return Frequencies(
        keep,
        (2 * np.pi * fy).astype(single),
        (2 * np.pi * fx).astype(single),
        weight.astype(single),
    )


def transform(
    block: npt.NDArray[np.floating], frequencies: Frequencies
) -> tuple[Spectra, npt.NDArray[np.bool_]]:
    """Give the whitened low spectra of a window's images.

    Parameters
    ----------
    block : ndarray (time, band, y, x), float32
        Images in any units, NaN where invalid; a pixel counts where all bands are valid.
    frequencies : Frequencies
        Of windows of this shape.

    Returns
    -------
    tuple of ndarray (time, band, ky, kx), complex64, and ndarray (time,), bool
        Spectra whose weighted power is 1 in each band, and whether there is enough in an image
        to be used; the others' spectra are 0.
    """
    from scipy import fft

    keep, _, _, weight = frequencies
    spectra = np.zeros((*block.shape[:2], *weight.shape), np.complex64)
    usable = np.zeros(len(block), bool)
    # Periodic Hann windows without their zeros.
    taper = np.multiply.outer(
        *(np.hanning(n + 2)[1:-1].astype(np.float32) for n in block.shape[2:])
    )
    # A pass at a time, so that the full transforms of all are never in memory together.
    for index, image in enumerate(block):
        valid = np.isfinite(image).all(0)
        if valid.mean() < MIN_VALID:
            continue
        centred = (
            image - image[:, valid].mean(1, dtype=np.float64).astype(np.float32)[:, None, None]
        )
        seen = fft.rfft2(np.where(valid, centred, 0) * taper)[:, keep[0]][:, :, keep[1]]
        size = np.abs(seen)
        power = (weight * size ** (2 - 2 * WHITENING)).sum((1, 2), keepdims=True)
        usable[index] = bool((power > 1e-6).all())
        if usable[index]:
            spectra[index] = seen / (np.maximum(size, 1e-12) ** WHITENING * np.sqrt(power))
    return spectra, usable


def measure_window(spectra: Spectra, frequencies: Frequencies) -> Floats:
    """Measure each pass against the aligned sum of the others.

    Parameters
    ----------
    spectra : ndarray (n, band, ky, kx), complex64
        Of `transform`, all usable, in order of time; at least two.
    frequencies : Frequencies
        That they were made with.

    Returns
    -------
    ndarray (n, 3), float
        Shift down and right and the standard error that noise gives it, pixels; NaN without a
        clear peak. The zero is common to the window's passes and otherwise free.
    """
    n = len(spectra)
    first, second = _choose_pairs(n)
    shifts, weights = np.empty((len(first), 2)), np.empty(len(first))
    for one in range(n):
        own = first == one
        if own.any():
            cross = np.einsum("pbyx,byx->pyx", spectra[second[own]], spectra[one].conj())
            peaks = _find_peaks(cross, frequencies)
            shifts[own], weights[own] = peaks.shift, peaks.clarity**2
    aligned = _solve_shifts(n, first, second, shifts, weights)
    turned = spectra * _shift_phases(-aligned, frequencies)[:, None]
    # A pass's own share is taken out of the sum: it would find itself.
    others = turned.sum(0) - turned
    peaks = _find_peaks((spectra * others.conj()).sum(1), frequencies)
    clear = peaks.clarity >= CLEAR
    return np.where(clear[:, None], np.column_stack([peaks.shift, peaks.error]), np.nan)


def _choose_pairs(n: int) -> tuple[Indices, Indices]:
    first, second = np.triu_indices(n, 1)
    if n <= ALL_PAIRS:
        return first, second
    # Near and far in time: 1, 2, 4, ... passes apart, so that steps are crossed by many pairs.
    apart = np.isin(second - first, 2 ** np.arange(int(np.log2(n)) + 1))
    return first[apart], second[apart]


def _shift_phases(shifts: Floats, frequencies: Frequencies) -> Spectra:
    down = np.exp(-1j * shifts[:, 0, None] * frequencies.y)
    across = np.exp(-1j * shifts[:, 1, None] * frequencies.x)
    phases: Spectra = (down[:, :, None] * across[:, None, :]).astype(np.complex64)
    return phases


def _find_peaks(cross: Spectra, frequencies: Frequencies) -> _Peaks:
    """Find the highest correlation of cross-power spectra (n, ky, kx), to parts of a pixel."""
    _, y, x, weight = frequencies
    cross = cross * weight
    lags = np.arange(-SEARCH, SEARCH + 1)
    down, across = (np.exp(1j * lags[:, None] * k).astype(np.complex64) for k in (y, x))
    surface = (down @ cross @ across.T).real
    height = surface.reshape(len(cross), -1).max(1)
    at = np.unravel_index(surface.reshape(len(cross), -1).argmax(1), surface.shape[1:])
    start = np.stack([lags[axis] for axis in at], 1).astype(float)
    inside = (np.abs(start) < SEARCH).all(1)
    shift = start.copy()
    # Newton steps on the correlation's own trigonometric series; a fine grid would give the same.
    for _ in range(4):
        turned = cross * _shift_phases(-shift, frequencies)
        real, imag = turned.real, turned.imag
        slope = -np.stack([imag.sum(2) @ y, imag.sum(1) @ x], 1)
        yy, xx = real.sum(2) @ y**2, real.sum(1) @ x**2
        yx = np.einsum("pyx,y,x->p", real, y, x)
        curve = -np.stack([np.stack([yy, yx], 1), np.stack([yx, xx], 1)], 1).astype(float)
        # Where the series is not a hill, a step along the slope; such a peak is not clear.
        peaked = (yy > 0) & (xx > 0) & (yy * xx > yx**2)
        curve[~peaked] = -np.eye(2)
        step = -np.linalg.solve(curve, slope[..., None].astype(float))[..., 0]
        shift = np.clip(shift + step, start - 1, start + 1)
    power = np.abs(cross) ** 2
    noise = np.sqrt(TAPER_NOISE**2 / 2 * power.sum((1, 2)))
    push = np.sqrt(TAPER_NOISE**2 / 2 * np.stack([power.sum(2) @ y**2, power.sum(1) @ x**2], 1))
    error = np.hypot(*(push / np.maximum(np.stack([yy, xx], 1), 1e-12)).T)
    clarity = np.where(inside & peaked, height / np.maximum(noise, 1e-12), 0)
    return _Peaks(shift, error, clarity)


def _solve_shifts(
    n: int, first: Indices, second: Indices, shifts: Floats, weights: Floats
) -> Floats:
    """Give the shift of each pass from shifts of pairs by least absolute deviations: (n, 2)."""
    design = np.eye(n)[second] - np.eye(n)[first]
    result = np.zeros((n, 2))
    for axis in range(2):
        own = weights + 1e-6
        # Weighted least squares again and again; 1/n fixes the mean, which is free.
        for _ in range(30):
            normal = design.T @ (own[:, None] * design) + own.mean() / n
            result[:, axis] = np.linalg.solve(normal, design.T @ (own * shifts[:, axis]))
            left = np.abs(design @ result[:, axis] - shifts[:, axis])
            own = (weights + 1e-6) / np.maximum(left, 0.02)
    return result
