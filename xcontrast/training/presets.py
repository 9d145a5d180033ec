"""The published settings of each method."""

from __future__ import annotations

from typing import Any

from xcontrast.errors import DataError, problem
from xcontrast.model.layouts import SECO_RGB
from xcontrast.nn.augmentation import Augmentation
from xcontrast.sensors import S1, Sensor

__all__ = ["BATCH_SIZES", "PASSES", "STEPS", "publish", "publish_scaling"]

BATCH_SIZES = {"multimodal": 4096, "simclr": 4096, "moco": 256, "moco_tp": 256, "seco": 256}
STEPS = {"multimodal": 160_000, "simclr": 160_000}
"""The others are told in passes over the places: 200."""
PASSES = 200

DYNAMIC_WORLD = {
    "B02": (1.7417268, 2.0232987),
    "B03": (1.7261205, 2.0389052),
    "B04": (1.6798346, 2.1795928),
    "B05": (1.7734969, 2.2890068),
    "B06": (2.2891541, 2.6171674),
    "B07": (2.3829397, 2.7734186),
    "B08": (2.3828940, 2.7578333),
    "B11": (2.1952484, 2.7890925),
    "B12": (1.5548129, 2.4140535),
}
"""Offset and divisor of log(1 + DN / 200), of Dynamic World's public notebook; the dual-encoder
paper says "as in Dynamic World" and does not print them."""

DUAL = {
    "optimiser": "lars",
    "weight_decay": 1e-4,
    # Not stated: SimCLR's ten epochs of 603.
    "warmup": 10 / 603,
    "schedule": "cosine",
    "clip": None,
    "temperature": 0.1,
    "n_projected": 128,
    "n_hidden": None,
    "pooled": "last",
    "out_stride": 32,
    "stem": "3x3",
    "scaling": "paper",
    "crop_size": 256,
    # Not stated: SimCLR's.
    "crop_scale": (0.08, 1.0),
    "chip_size": 512,
    "min_distance": None,
    "dense_weight": 0.0,
    "s1_augmentation": Augmentation(),
}
SEASONAL = {
    "optimiser": "sgd",
    "learning_rate": 0.03,
    "weight_decay": 1e-4,
    "warmup": 0.0,
    "schedule": "steps",
    "clip": None,
    "temperature": 0.07,
    "queue": 16_384,
    "key_momentum": 0.999,
    "n_projected": 128,
    "n_hidden": None,
    "pooled": "last",
    "out_stride": 32,
    "scaling": "paper",
    "crop_size": 224,
    "crop_scale": (0.2, 1.0),
    "chip_size": 264,
    "min_distance": None,
}


def publish(method: str, batch_size: int | None) -> dict[str, Any]:
    """Give the fields of :class:`PretrainOptions` that a paper states, or leaves to its code.

    Parameters
    ----------
    method : str
        Which.
    batch_size : int, optional
        That a rate is scaled to.

    Returns
    -------
    dict

    Raises
    ------
    DataError
        If there is no such method.
    """
    if method not in BATCH_SIZES:
        raise DataError(
            problem(
                expected=f"a method of {', '.join(BATCH_SIZES)}",
                received=repr(method),
                do="choose one of them",
            )
        )
    if method in STEPS:
        rate = 0.03 * (batch_size or BATCH_SIZES[method]) / 256
        return {**DUAL, "learning_rate": rate}
    return dict(SEASONAL)


def publish_scaling(
    method: str, sensor: Sensor, bands: tuple[str, ...], units: str
) -> dict[str, Any]:
    """Give the scaling of a paper, as fields of :class:`xcontrast.model.SensorCard`.

    Parameters
    ----------
    method : str
        Whose paper.
    sensor : Sensor
        Which.
    bands : tuple of str
        Canonical names, in channel order.
    units : str
        Of the data.

    Returns
    -------
    dict

    Raises
    ------
    DataError
        If the paper does not scale these bands, or the units are others.
    """
    n = len(bands)
    if units == sensor.units and method in STEPS:
        if sensor is S1:
            # -20 to 5 dB becomes 0 to 255 there, 0 to 1 here: the first batch norm takes it up.
            return _scaling("clip", (-20.0,) * n, (5.0,) * n, (0.0,) * n, (1.0,) * n)
        if all(band in DYNAMIC_WORLD for band in bands):
            low, over = zip(*(DYNAMIC_WORLD[band] for band in bands), strict=True)
            high = tuple(a + b for a, b in zip(low, over, strict=True))
            return _scaling("sigmoid", low, high, (0.0,) * n, (1.0,) * n)
    elif units == sensor.units and sensor is not S1 and set(bands) <= set(SECO_RGB.bands):
        own = [SECO_RGB.bands.index(band) for band in bands]
        columns = (SECO_RGB.low, SECO_RGB.high, SECO_RGB.mean, SECO_RGB.std)
        return _scaling("clip", *(tuple(column[k] for k in own) for column in columns))
    raise DataError(
        problem(
            expected=f"{sensor.title} in the bands and units that the paper of {method!r} scales",
            received=f"{', '.join(bands)} in {units!r}",
            do="select those bands (red, green and blue), or use scaling='standard'",
        )
    )


def _scaling(
    curve: str,
    low: tuple[float, ...],
    high: tuple[float, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> dict[str, Any]:
    return {"curve": curve, "low": low, "high": high, "mean": mean, "std": std}
