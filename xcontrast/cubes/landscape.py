"""What lies on the ground of a simulated place: relief, a river, parcels, cover; no sensor yet.

Distances are pixels of 10 m unless a name says metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["COVERS", "Landscape", "flooded_at", "make_landscape", "smooth_noise"]

Field = npt.NDArray[np.float32]

COVERS = (
    "water",
    "broadleaf forest",
    "grassland",
    "winter cereal",
    "maize",
    "bare soil",
    "built-up",
    "asphalt",
)
"""Names of the cover codes 0 to 7."""
WATER, FOREST, GRASS, CEREAL, MAIZE, SOIL, BUILT, ASPHALT = range(len(COVERS))


@dataclass(frozen=True)
class Landscape:
    """Layers of shape (n, n) on one 10 m grid."""

    height: Field
    """Metres above the river."""
    cover: npt.NDArray[np.uint8]
    """Index into `COVERS`."""
    parcel: npt.NDArray[np.int32]
    """Number of the parcel, for all that a farmer does alike."""
    roughness: Field
    """Of the soil, standard normal by parcel: smooth seedbeds to ploughed fields."""
    brightness: Field
    """Of the soil, about 1, by parcel and texture."""
    shift: Field
    """Days by which a parcel's season is early or late."""
    texture: Field
    """Standard normal, correlated over some pixels."""
    scatter: Field
    """Standard normal, pixel by pixel: what stands on it, the same on every date."""


def smooth_noise(rng: np.random.Generator, n: int, length: float) -> Field:
    """Give a field of zero mean and unit variance, correlated over `length` pixels.

    Parameters
    ----------
    rng : numpy Generator
        Source of randomness.
    n : int
        Side.
    length : float
        Standard deviation of the Gaussian that smooths white noise, pixels.

    Returns
    -------
    ndarray (n, n), float32
    """
    from scipy.ndimage import gaussian_filter

    # Coarse noise enlarged is as good as fine noise smoothed, and far cheaper for long lengths.
    step = max(1, int(length // 4))
    coarse = rng.standard_normal((-(-n // step) + 2,) * 2, dtype=np.float32)
    field = gaussian_filter(coarse, length / step, mode="wrap")
    if step > 1:
        from scipy.ndimage import zoom

        field = zoom(field, step, order=1, grid_mode=True, mode="grid-wrap")
    field = field[:n, :n]
    result: Field = ((field - field.mean()) / field.std()).astype(np.float32)
    return result


def make_landscape(n: int, seed: int) -> Landscape:
    """Make a river plain between hills, with parcels, woods, villages, roads and an airstrip.

    Parameters
    ----------
    n : int
        Side in pixels.
    seed : int
        All randomness.

    Returns
    -------
    Landscape
    """
    rng = np.random.default_rng((seed, 1))
    height, river = _relief(rng, n)
    parcel, centres = _parcels(rng, n)
    n_parcels = len(centres)
    texture = smooth_noise(rng, n, 1.5)
    cover = _cover(rng, height, parcel, centres)
    _build(rng, cover, height)
    lakes = (smooth_noise(rng, n, 9) > 2.35) & (height < 12) & (height > 1)
    cover[river | lakes] = WATER
    brightness = rng.normal(1, 0.15, n_parcels)[parcel] * (1 + 0.06 * texture)
    return Landscape(
        height=height,
        cover=cover,
        parcel=parcel,
        roughness=rng.standard_normal(n_parcels)[parcel].astype(np.float32),
        brightness=brightness.clip(0.5, 1.6).astype(np.float32),
        shift=rng.normal(0, 9, n_parcels)[parcel].astype(np.float32),
        texture=texture,
        scatter=rng.standard_normal((n, n), dtype=np.float32),
    )


def flooded_at(land: Landscape, level: float) -> npt.NDArray[np.bool_]:
    """Say what lies under water that the river has reached, permanent water apart.

    Parameters
    ----------
    land : Landscape
        The place.
    level : float
        Water level, metres above the river's usual one.

    Returns
    -------
    ndarray (n, n), bool
        Below the level and connected with the river; low ground behind a rise stays dry.
    """
    from scipy.ndimage import label

    low = (land.height < level) | (land.cover == WATER)
    bodies, _ = label(low)
    river = np.unique(bodies[(land.height <= 0) & low])
    reached = np.isin(bodies, river[river > 0])
    wet: npt.NDArray[np.bool_] = reached & (land.cover != WATER) & (land.height < level)
    return wet


def _relief(rng: np.random.Generator, n: int) -> tuple[Field, npt.NDArray[np.bool_]]:
    from scipy.ndimage import distance_transform_edt

    x = np.arange(n)
    along = x / 100
    centre = np.full(n, n * (0.5 + rng.uniform(-0.08, 0.08)))
    for wave, width in ((1.0, 34), (2.3, 16), (5.1, 6)):
        centre = centre + width * np.sin(wave * along + rng.uniform(0, 2 * np.pi))
    rows = np.arange(n)[:, None]
    river = np.abs(rows - centre) < rng.uniform(3.5, 5.5) + np.sin(1.7 * along)
    away = distance_transform_edt(~river).astype(np.float32)
    # A plain with old channels and levees of a metre or two, hills beyond it.
    plain = 0.35 + 0.028 * away + 0.9 * smooth_noise(rng, n, 14) + 0.3 * smooth_noise(rng, n, 4)
    hills = 1 / (1 + np.exp(-(away - 0.27 * n) / (0.05 * n)))
    relief = hills * (18 + 9 * smooth_noise(rng, n, 30) + 2 * smooth_noise(rng, n, 8))
    height = np.where(river, -0.5, np.maximum(plain + relief.clip(min=0), 0.05))
    return height.astype(np.float32), river


def _parcels(
    rng: np.random.Generator, n: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Cut the land into long polygons: nearest of random centres in a stretched, turned metric."""
    from scipy.spatial import cKDTree

    centres = rng.uniform(-10, n + 10, (int((n / 20) ** 2), 2))
    angle = rng.uniform(0.2, 0.6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    metric = turn @ np.diag([1.0, 1.9])
    rows, cols = np.mgrid[:n, :n]
    pixels = np.stack([rows.ravel(), cols.ravel()], 1)
    nearest = cKDTree(centres @ metric).query(pixels @ metric)[1]
    return nearest.reshape(n, n).astype(np.int32), centres


def _cover(
    rng: np.random.Generator,
    height: Field,
    parcel: npt.NDArray[np.int32],
    centres: npt.NDArray[np.float64],
) -> npt.NDArray[np.uint8]:
    n = len(height)
    at = centres.clip(0, n - 1).astype(int)
    high = height[at[:, 0], at[:, 1]] > 9
    kinds = np.array([FOREST, GRASS, CEREAL, MAIZE, SOIL])
    plain = rng.choice(kinds, len(centres), p=[0.05, 0.17, 0.36, 0.30, 0.12])
    hilly = rng.choice(kinds, len(centres), p=[0.55, 0.25, 0.12, 0.03, 0.05])
    cover = np.where(high, hilly, plain)[parcel].astype(np.uint8)
    # Woods along the river and on rough ground do not follow parcels.
    wood = (smooth_noise(rng, n, 10) > 1.35) | ((height > 16) & (smooth_noise(rng, n, 12) > 0.2))
    cover[wood] = FOREST
    return cover


def _build(rng: np.random.Generator, cover: npt.NDArray[np.uint8], height: Field) -> None:
    """Put villages, the roads between them and an airstrip on the map."""
    n = len(cover)
    rows, cols = np.mgrid[:n, :n]
    dry = np.argwhere((height > 2.2) & (height < 14))
    villages = dry[rng.integers(0, len(dry), max(3, n // 110))]
    ragged = smooth_noise(rng, n, 5)
    for row, col in villages:
        reach = rng.uniform(9, 22)
        cover[np.hypot(rows - row, cols - col) + 5 * ragged < reach] = BUILT
    for (r0, c0), (r1, c1) in pairwise(villages):
        length = max(np.hypot(r1 - r0, c1 - c0), 1)
        across = np.abs((rows - r0) * (c1 - c0) - (cols - c0) * (r1 - r0)) / length
        along = ((rows - r0) * (r1 - r0) + (cols - c0) * (c1 - c0)) / length**2
        cover[(across < 1.0) & (along > 0) & (along < 1) & (cover != BUILT)] = ASPHALT
    row, col = dry[rng.integers(len(dry))].clip(20, n - 20)
    cover[row - 3 : row + 3, max(col - 60, 0) : col + 60] = ASPHALT
