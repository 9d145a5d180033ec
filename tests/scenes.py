"""Synthetic scenes with a planted answer: both sensors see one hidden ground."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.sensors import S2


def smooth(rng: np.random.Generator, n: int, length: float) -> np.ndarray:
    """Give a field of unit variance with a correlation length in pixels, periodic."""
    k = np.fft.fftfreq(n)
    power = np.exp(-2 * (np.pi * length) ** 2 * (k[:, None] ** 2 + k**2))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, n))) * power).real
    return (field - field.mean()) / field.std()


def planted_cube(
    n: int = 96, *, n_times: int = 2, seed: int = 0, georeferenced: bool = True, length: float = 3
) -> xr.Dataset:
    """Make a cube in which four hidden fields drive both sensors, each with its own noise."""
    rng = np.random.default_rng(seed)
    ground = np.stack([smooth(rng, n, length) for _ in range(4)])
    mix1, mix2 = rng.normal(size=(2, 4)), rng.normal(size=(4, 4))
    s1 = -12 + 3 * np.tensordot(mix1, ground, 1) + rng.normal(size=(n_times, 2, n, n))
    s2 = 0.3 + 0.05 * np.tensordot(mix2, ground, 1) + 0.01 * rng.normal(size=(n_times, 4, n, n))
    times = pd.date_range("2023-04-01", periods=n_times, freq="12D").values.astype("datetime64[ns]")
    cube = xr.Dataset(
        {
            "s1": (("s1_time", "s1_band", "y", "x"), s1.astype("float32"), {"units": "dB"}),
            "s2": (("s2_time", "s2_band", "y", "x"), s2.astype("float32"), {"units": "1"}),
        },
        {
            "s1_time": times,
            "s2_time": times + np.timedelta64(1, "D"),
            "s1_band": np.array(["vv", "vh"], object),
            "s2_band": np.array(["B02", "B03", "B04", "B08"], object),
        },
    )
    if not georeferenced:
        return cube
    import rioxarray  # noqa: F401  (registers .rio)

    cube = cube.assign_coords(
        y=5_000_000 - 10 * np.arange(n) - 5.0, x=500_000 + 10 * np.arange(n) + 5.0
    )
    return cube.rio.write_crs(32632)


def imagery_pairs(side: int, *, n_dates: int) -> xr.Dataset:
    """Give pairs of both sensors: smooth fields and noise, that compress about as imagery does."""
    rng = np.random.default_rng(0)
    field = smooth(rng, side, 6).astype("float32")
    one = -12 + 2 * field + rng.normal(0, 1.5, (n_dates, 2, side, side)).astype("float32")
    tilt = rng.normal(1, 0.3, (n_dates, 10, 1, 1)).astype("float32")
    two = 0.2 + 0.04 * tilt * field + rng.normal(0, 0.004, (n_dates, 10, side, side))
    times = np.datetime64("2023-01-01", "ns") + np.arange(n_dates) * np.timedelta64(5, "D")
    return xr.Dataset(
        {
            "s1": (("pair", "s1_band", "y", "x"), one, {"units": "dB"}),
            "s2": (("pair", "s2_band", "y", "x"), two.astype("float32"), {"units": "1"}),
        },
        {
            "s1_time": ("pair", times), "s2_time": ("pair", times),
            "s1_band": np.array(["vv", "vh"], object), "s2_band": np.array(S2.bands, object),
        },
    )  # fmt: skip
