"""How others name and scale published weights, as tables.

Letters: DN, the integers of a Sentinel-2 product: reflectance times 10,000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xcontrast.errors import ModelError, problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "SECO_RGB", "Input", "find_input", "rename"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ALL_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
SECO_NAMES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
PREFIXES = (
    "module.encoder_q.", "module.base_encoder.", "module.backbone.", "encoder_q.", "backbone.",
    "module.", "encoder.",
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """What published weights take: bands in channel order, and their scaling."""

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    curve: Literal["none", "clip"] = "none"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


SECO_RGB = Input(
    ("B04", "B03", "B02"),
    IMAGENET_MEAN,
    IMAGENET_STD,
    "clip",
    # 2 % and 98 % quantiles, of reflectance in steps of 1/255.
    low=(0 / 255, 2 / 255, 3 / 255),
    high=(129 / 255, 103 / 255, 88 / 255),
)
"""Manas et al. (2021), Seasonal Contrast, its public code: clipped to quantiles, then as ImageNet.

torchgeo's transform for these weights reverses the bands' quantiles, does not clip, and leaves a
factor of 255 in.
"""
SSL4EO_S2 = Input(ALL_BANDS, (0.0,) * 13, (1.0,) * 13)
"""Wang et al. (2023), SSL4EO-S12, its public code: DN / 10,000, of Level-1C."""
SSL4EO_S1 = Input(("vv", "vh"), (-12.59, -20.26), (5.26, 5.91))
"""Likewise; dB."""
INPUTS: Mapping[tuple[str, int], Input] = {
    ("s2", 3): SECO_RGB,
    ("s2", 13): SSL4EO_S2,
    ("s1", 2): SSL4EO_S1,
}


def rename(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Give published weights timm's names.

    Parameters
    ----------
    state : mapping of str to Tensor
        As in the file.
    layout : {"seco", "torchgeo", "ssl4eo", "timm"}
        Whose.

    Returns
    -------
    dict of str to Tensor
        Only of the query, student or only encoder.

    Raises
    ------
    ModelError
        If none of them is of that layout.
    """
    prefix = next((p for p in PREFIXES if any(k.startswith(p) for k in state)), "")
    named = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if layout == "seco" and any(k.split(".")[0] in SECO_NAMES for k in named):
        named = {
            ".".join((SECO_NAMES[k.split(".")[0]], *k.split(".")[1:])): v
            for k, v in named.items()
            if k.split(".")[0] in SECO_NAMES
        }
    if not any(v.ndim == 4 for v in named.values()):
        raise ModelError(
            problem(
                expected=f"weights in the layout {layout!r}",
                received=f"names such as {', '.join(list(state)[:3])}",
                do="choose the layout of whoever published them",
            )
        )
    return named


def find_input(sensor: str, n_channels: int, layout: str) -> Input:
    """Find the bands and the scaling of published weights, by their number of channels.

    Parameters
    ----------
    sensor : str
        ``"s1"`` or ``"s2"``.
    n_channels : int
        Of their first layer.
    layout : str
        Whose.

    Returns
    -------
    Input

    Raises
    ------
    ModelError
        If none is known: then bands and scaling would be a guess.
    """
    if layout == "timm" and n_channels == 3 and sensor == "s2":
        return Input(SECO_RGB.bands, IMAGENET_MEAN, IMAGENET_STD)
    known = {
        "seco": {("s2", 3)}, "torchgeo": set(INPUTS), "ssl4eo": {("s2", 13), ("s1", 2)},
        "timm": {("s2", 3)},
    }.get(layout, set())  # fmt: skip
    if (sensor, n_channels) not in known:
        options: list[Any] = [f"{n} for {name}" for name, n in sorted(known)]
        raise ModelError(
            problem(
                expected=f"channels that {layout!r} has published: {', '.join(options) or 'none'}",
                received=f"{n_channels} for {sensor}",
                do="choose the sensor that the weights are for; other bands are not known here",
            )
        )
    return INPUTS[sensor, n_channels]
