"""How each sensor sees a simulated landscape on a day: backscatter with speckle, spectra, clouds.

The numbers are typical published ones, named where they are used; docs/explanation/simulation.md
tells the whole story and what is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xcontrast.cubes.landscape import (
    ASPHALT,
    BUILT,
    CEREAL,
    FOREST,
    GRASS,
    MAIZE,
    SOIL,
    WATER,
    Landscape,
    smooth_noise,
)

__all__ = ["Optical", "Weather", "green_cover", "see_optical", "see_radar", "speckle"]

Field = npt.NDArray[np.float32]

OPTICAL_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SPECTRA = {
    "crop": (0.030, 0.060, 0.032, 0.090, 0.300, 0.380, 0.420, 0.430, 0.200, 0.100),
    "grass": (0.035, 0.065, 0.045, 0.100, 0.260, 0.320, 0.350, 0.360, 0.240, 0.130),
    "leaves": (0.020, 0.040, 0.022, 0.060, 0.220, 0.290, 0.320, 0.330, 0.150, 0.070),
    "branches": (0.040, 0.050, 0.060, 0.080, 0.110, 0.130, 0.150, 0.170, 0.180, 0.120),
    "soil": (0.080, 0.110, 0.140, 0.170, 0.190, 0.210, 0.230, 0.250, 0.310, 0.270),
    "water": (0.040, 0.035, 0.020, 0.015, 0.010, 0.010, 0.008, 0.007, 0.004, 0.003),
    "turbid": (0.070, 0.090, 0.100, 0.090, 0.050, 0.050, 0.040, 0.035, 0.010, 0.007),
    "built": (0.120, 0.140, 0.150, 0.170, 0.190, 0.200, 0.220, 0.230, 0.240, 0.220),
    "asphalt": (0.070, 0.080, 0.085, 0.090, 0.095, 0.100, 0.105, 0.110, 0.120, 0.110),
    "cloud": (0.620, 0.610, 0.600, 0.600, 0.610, 0.610, 0.610, 0.600, 0.360, 0.280),
}
"""Surface reflectance by band; shapes after the USGS spectral library and Sentinel-2 scenes."""

LOOK_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 0.22)
"""Of five looks; together 4.4 equivalent looks, as IW GRD high resolution has (S1 product spec)."""
NOISE_DB = -26.0
"""Noise-equivalent backscatter of the IW mode."""


@dataclass(frozen=True)
class Weather:
    """What a day brings."""

    day: int
    """Of the year."""
    moisture: float
    """Of the soil, 0 dry to 1 saturated."""
    wind: float
    """On water, 0 calm to 1 rough."""
    cloud: float
    """Share of the sky, 0 to 1."""
    depth: Field
    """Of the flood above ground, metres; 0 where there is none."""


@dataclass(frozen=True)
class Optical:
    """One Sentinel-2 acquisition."""

    reflectance: Field
    """(10, n, n)"""
    scl: npt.NDArray[np.uint8]
    """(n, n) scene classes."""
    cloudy: float
    """Share of cloud, 0 to 1."""


def green_cover(land: Landscape, day: int) -> Field:
    """Give the share of ground under green leaves, 0 to 1.

    Double logistic curves of each cover, shifted by parcel: cereal is green from late winter to
    June, maize from June to September, leaves of woods from April to October.
    """
    t = day - land.shift

    def season(up: float, down: float, rate: float) -> Field:
        rise, fall = 1 / (1 + np.exp(-(t - up) / rate)), 1 / (1 + np.exp((t - down) / rate))
        curve: Field = (rise * fall).astype(np.float32)
        return curve

    green = np.zeros_like(land.height)
    for cover, share in (
        (FOREST, season(105, 300, 8)),
        (GRASS, 0.45 + 0.45 * season(85, 285, 18)),
        (CEREAL, 0.12 + 0.83 * season(70, 166, 9)),
        (MAIZE, 0.95 * season(163, 255, 9)),
        (SOIL, np.float32(0.1)),
    ):
        green = np.where(land.cover == cover, share, green)
    result: Field = green.clip(0, 1).astype(np.float32)
    return result


def see_radar(
    land: Landscape, weather: Weather, *, ascending: bool, rng: np.random.Generator
) -> Field:
    """Give terrain-corrected backscatter with speckle and noise.

    Parameters
    ----------
    land : Landscape
        The place.
    weather : Weather
        The day.
    ascending : bool
        Direction of the pass; it sets the side that the radar looks from.
    rng : numpy Generator
        Of speckle, wind and moisture patterns.

    Returns
    -------
    ndarray (2, n, n), float32
        Gamma nought of VV and VH, linear power.
    """
    n = len(land.height)
    mean = _mean_backscatter(land, weather, rng)
    # Right-looking: ascending passes see from the west. Terrain correction is never perfect; a
    # third of the slope's effect is left (cosine law, exponent 2 for surfaces; Ulaby 1982).
    slope = np.gradient(land.height, 10.0, axis=1) * (1 if ascending else -1)
    ramp = np.linspace(-0.6, 0.6, n, dtype=np.float32) * (1 if ascending else -1)
    angle = np.deg2rad((36.5 if ascending else 41.0) + ramp)
    tilt = np.arctan(slope) / 3
    gain = 20 * np.log10(np.cos((angle - tilt).clip(0.1, 1.4)) / np.cos(np.deg2rad(38)))
    power = 10 ** ((mean + gain) / 10) + 10 ** (NOISE_DB / 10)
    seen = np.stack([channel * speckle(rng, n) for channel in power])
    result: Field = seen.astype(np.float32)
    return result


def speckle(rng: np.random.Generator, n: int) -> Field:
    """Give multi-look speckle of unit mean: intensities of complex Gaussian fields, averaged.

    Parameters
    ----------
    rng : numpy Generator
        Source of randomness.
    n : int
        Side in pixels.

    Returns
    -------
    ndarray (n, n), float32
        4.4 equivalent looks, slightly correlated: 10 m pixels of about 20 m resolution.

    References
    ----------
    Oliver and Quegan (2004), Understanding SAR images, chapter 4.
    """
    from scipy.ndimage import convolve1d

    blur = np.array([0.3, 1.0, 0.3], np.float32)
    blur /= np.sqrt((blur**2).sum())
    total = np.zeros((n, n), np.float32)
    for weight in LOOK_WEIGHTS:
        look = rng.standard_normal((2, n, n), dtype=np.float32)
        look = convolve1d(convolve1d(look, blur, axis=1, mode="wrap"), blur, axis=2, mode="wrap")
        total += weight / 2 * (look**2).sum(0)
    result: Field = total / np.float32(sum(LOOK_WEIGHTS))
    return result


def _mean_backscatter(land: Landscape, weather: Weather, rng: np.random.Generator) -> Field:
    """VV and VH in dB before geometry, noise and speckle: (2, n, n)."""
    n = len(land.height)
    green = green_cover(land, weather.day)
    wet = (weather.moisture - 0.5 + 0.12 * smooth_noise(rng, n, 25)).clip(-0.5, 0.5)
    # Bare soil brightens by some 4 dB from dry to wet and by 2 dB a step of roughness; a canopy
    # hides it (water-cloud model; Attema and Ulaby 1978).
    bare_vv = -12.5 + 4.5 * wet + 2.0 * land.roughness
    bare_vh = -21.0 + 3.0 * wet + 1.8 * land.roughness
    canopy = {
        # cover: VV and VH of the full canopy, share of the soil that still shows
        FOREST: (-8.6, -13.6, 0.15),
        GRASS: (-12.5, -19.5, 0.45),
        CEREAL: (-14.5, -19.8, 0.25),  # Vertical stems weaken VV in spring (Veloso et al. 2017).
        MAIZE: (-9.0, -14.6, 0.20),
        SOIL: (-13.0, -21.0, 0.8),
    }
    vv, vh = bare_vv.copy(), bare_vh.copy()
    for cover, (full_vv, full_vh, through) in canopy.items():
        here = land.cover == cover
        share = np.where(cover == FOREST, 0.8 + 0.2 * green, green * (1 - through))
        vv = np.where(here, share * full_vv + (1 - share) * bare_vv, vv)
        vh = np.where(here, share * full_vh + (1 - share) * bare_vh, vh)
    built, sharp = land.cover == BUILT, 2.6 * land.scatter
    vv, vh = np.where(built, -3.5 + sharp, vv), np.where(built, -10.5 + sharp, vh)
    paved = land.cover == ASPHALT
    vv, vh = np.where(paved, -18.0 + land.texture, vv), np.where(paved, -25.5 + land.texture, vh)
    both = np.stack([vv, vh]) + 0.5 * land.texture
    return _with_water(land, weather, both.astype(np.float32), rng)


def _with_water(land: Landscape, weather: Weather, dry: Field, rng: np.random.Generator) -> Field:
    n = len(land.height)
    rough = (weather.wind + 0.18 * smooth_noise(rng, n, 18)).clip(0, 1.2)
    open_water = np.stack([-21.5 + 8.0 * rough, -28.5 + 4.0 * rough])
    seen = np.where(land.cover == WATER, open_water, dry)
    depth = weather.depth
    # Stems that stand out of the water: open water between them, double bounce on them.
    tall = np.select(
        [land.cover == FOREST, land.cover == CEREAL, land.cover == MAIZE, land.cover == GRASS],
        [12.0, 0.75, 0.1 + 2.2 * green_cover(land, weather.day), 0.25],
        0.0,
    )
    emerged = ((tall - depth) / np.maximum(tall, 0.05)).clip(0, 1) * (tall > 0)
    bounce = np.where(land.cover == FOREST, 3.2, 1.0)[None] * np.array([1.0, 0.4])[:, None, None]
    power = (1 - emerged) * 10 ** (open_water / 10) + emerged * 10 ** ((dry + bounce) / 10)
    seen = np.where(depth > 0, 10 * np.log10(power), seen)
    # Houses stand in the water: walls and water make corners, a little brighter.
    seen = np.where((depth > 0) & (land.cover == BUILT), dry + 1.0, seen)
    result: Field = seen.astype(np.float32)
    return result


def see_optical(land: Landscape, weather: Weather, *, rng: np.random.Generator) -> Optical:
    """Give surface reflectance with clouds, their shadows and a scene classification.

    Parameters
    ----------
    land : Landscape
        The place.
    weather : Weather
        The day.
    rng : numpy Generator
        Of clouds and noise.

    Returns
    -------
    Optical
    """
    n = len(land.height)
    ground, water = _ground_reflectance(land, weather)
    ground *= 1 + 0.03 * rng.standard_normal() + 0.05 * land.texture
    thick, thin = _clouds(rng, n, weather.cloud)
    sun = np.deg2rad(30 + 35 * np.cos(2 * np.pi * (weather.day - 172) / 365 + np.pi))
    # Shadows fall to the north-west in the morning, as far as the cloud is high.
    reach = rng.uniform(60, 120) * np.tan(sun)
    shadow = np.roll(thick, (-int(0.8 * reach), -int(0.6 * reach)), (0, 1)) * (1 - thick)
    seen = ground * (1 - 0.55 * shadow)
    white = np.array(SPECTRA["cloud"], np.float32)[:, None, None]
    opaque = (thick + thin).clip(0, 1)
    seen = seen * (1 - opaque) + white * opaque
    seen += 0.003 * rng.standard_normal(seen.shape, dtype=np.float32)
    scl = _classify(ground, water, thick, thin, shadow, rng)
    result: Field = seen.clip(0.0001).astype(np.float32)
    return Optical(result, scl, float(np.isin(scl, (8, 9, 10)).mean()))


def _ground_reflectance(land: Landscape, weather: Weather) -> tuple[Field, npt.NDArray[np.bool_]]:
    spectra = {k: np.array(v, np.float32)[:, None, None] for k, v in SPECTRA.items()}
    green = green_cover(land, weather.day)
    damp = 1 - 0.35 * weather.moisture
    soil = spectra["soil"] * (land.brightness * damp)
    field = green * spectra["crop"] + (1 - green) * soil
    choices = {
        GRASS: green * spectra["grass"] + (1 - green) * soil,
        FOREST: green * spectra["leaves"] + (1 - green) * spectra["branches"],
        BUILT: spectra["built"] * land.brightness,
        ASPHALT: spectra["asphalt"] * np.ones_like(green),
        WATER: spectra["water"] * np.ones_like(green),
    }
    for cover, values in choices.items():
        field = np.where(land.cover == cover, values, field)
    # Brown flood water hides low plants, not crowns.
    hidden = (weather.depth / np.where(land.cover == FOREST, 20.0, 0.5)).clip(0, 1)
    field = (1 - hidden) * field + hidden * spectra["turbid"]
    water = (land.cover == WATER) | (hidden > 0.6)
    return field.astype(np.float32), water


def _clouds(rng: np.random.Generator, n: int, share: float) -> tuple[Field, Field]:
    """Opacity of thick cloud and of cirrus, 0 to 1."""
    field = smooth_noise(rng, n, n / 10) + 0.45 * smooth_noise(rng, n, n / 40)
    edge = np.quantile(field, 1 - share) if 0 < share < 1 else (-9.0 if share else 9.0)
    thick = ((field - edge) / 0.25 + 0.5).clip(0, 1) if share else np.zeros_like(field)
    veil = smooth_noise(rng, n, n / 6)
    thin = 0.25 * ((veil - 1.2) / 0.6).clip(0, 1) * min(1.0, 2 * share)
    return thick.astype(np.float32), thin.astype(np.float32)


def _classify(
    ground: Field,
    water: npt.NDArray[np.bool_],
    thick: Field,
    thin: Field,
    shadow: Field,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Scene classes as Sen2Cor's, with its weakness: the thinnest cloud is missed."""
    red, near = ground[2], ground[6]
    doubt = 0.035 * smooth_noise(rng, len(red), 4)
    scl = np.where((near - red) / (near + red) > 0.4, 4, 5)
    scl = np.where(water, 6, scl)
    scl = np.where(shadow + doubt > 0.3, 3, scl)
    scl = np.where(thin + doubt > 0.12, 10, scl)
    scl = np.where(thick + doubt > 0.15, 8, scl)
    scl = np.where(thick + doubt > 0.6, 9, scl)
    return scl.astype(np.uint8)
