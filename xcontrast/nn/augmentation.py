"""How strongly artificial views of one image differ, as a record; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLAIN", "SAR", "Augmentation"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly views of one image differ, beside the crop; SimCLR's and MoCo's by default.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4.1 and its public code; Chen et al. (2020),
    SimCLR, appendix A.

    Examples
    --------
    >>> Augmentation(p_grey=0).brightness
    0.4
    """

    brightness: float = 0.4
    """Factors from 1 - x to 1 + x."""
    contrast: float = 0.4
    """Factors from 1 - x to 1 + x, of what differs from the image's mean."""
    saturation: float = 0.4
    """Towards or away from grey; of optical bands."""
    hue: float = 0.1
    """Turns of the colour circle; of red, green and blue alone, other bands have no hue."""
    p_jitter: float = 0.8
    """Share of views whose brightness, contrast, saturation and hue are changed."""
    p_grey: float = 0.2
    """Share of views that become grey; of optical bands."""
    p_blur: float = 0.5
    """Share of views that are blurred."""
    blur: tuple[float, float] = (0.1, 2.0)
    """Least and largest standard deviation, pixels."""
    p_flip: float = 0.5
    """Share of views that are mirrored, left to right."""
    p_upside_down: float = 0.0
    """Share of views that are mirrored, top to bottom."""


PLAIN = Augmentation()
"""SimCLR's, of images in colour."""
SAR = Augmentation(
    brightness=0.2,
    contrast=0.2,
    saturation=0.0,
    hue=0.0,
    p_jitter=0.5,
    p_grey=0.0,
    blur=(0.1, 1.0),
    p_upside_down=0.5,
)
"""Toned down for radar: both flips, and jitter of half the strength. Jain, Wilson and Gulshan
(2022), appendix, tuned theirs likewise; they state strengths in the units of their own code."""
