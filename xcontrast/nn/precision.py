"""Which floating point numbers a device computes in."""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["Precision", "choose_precision"]

Precision = Literal["32", "bf16"]


def choose_precision(asked: str, device: str) -> Precision:
    """Give the precision of encoders: as asked, or bfloat16 where the device has units for it.

    Parameters
    ----------
    asked : {"auto", "32", "bf16"}
        What the user wants.
    device : str
        A torch device.

    Returns
    -------
    {"32", "bf16"}
    """
    if asked != "auto":
        return "bf16" if asked == "bf16" else "32"
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    # Emulated bfloat16 is far slower than float32: ask for the instructions.
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "32"
