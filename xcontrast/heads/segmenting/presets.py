"""The published settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from xcontrast.errors import DataError, problem

__all__ = ["Preset", "find_preset"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a paper did."""

    decoder: Literal["unet", "deeplabv3plus"]
    batch_size: int
    steps: int | None = None
    passes: int | None = None
    """Over the labelled ground, where a paper counts epochs."""
    options: dict[str, Any]
    """Fields of :class:`FinetuneOptions`."""


PLAIN = {"gain": 0.0, "noise": 0.0, "brightness": 0.0, "drop_sensor": 0.0, "clip": None}
PRESETS = {
    "dual-encoder": Preset(
        decoder="deeplabv3plus",
        batch_size=64,
        # On Sen1Floods11; 100,000 on Dynamic World.
        steps=20_000,
        options={
            **PLAIN,
            "trained": "all",
            "encoder_rate": 1.0,
            "loss": "ce",
            "optimiser": "sgd",
            "learning_rate": 0.01,
            "weight_decay": 1e-6,
            "schedule": "poly",
            "dropout": 0.0,
            "crop_size": 321,
            # None is stated.
            "flips": False,
            "turns": False,
            "patience": None,
        },
    ),
    "oscd": Preset(
        decoder="unet",
        batch_size=32,
        passes=100,
        options={
            **PLAIN,
            "trained": "none",
            # Its encoder is left in training mode.
            "norms": "batch",
            "temporal": "difference",
            "loss": "ce",
            "optimiser": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "schedule": "exponential",
            "dropout": 0.3,
            "crop_size": 96,
            "flips": True,
            "turns": True,
            "patience": None,
        },
    ),
}


def find_preset(name: str) -> Preset:
    """Give a preset by its name.

    Parameters
    ----------
    name : {"dual-encoder", "oscd"}
        Which.

    Returns
    -------
    Preset

    Raises
    ------
    DataError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise DataError(
            problem(
                expected=f"a preset of {', '.join(map(repr, PRESETS))}",
                received=repr(name),
                do="choose one of them, or leave `preset` out",
            )
        )
    return PRESETS[name]
