"""Which device computes, and in which floating point numbers."""

from __future__ import annotations

from typing import Literal

import torch

from xcontrast.errors import DataError, problem

__all__ = ["Precision", "choose_device", "choose_precision"]

Precision = Literal["32", "bf16"]


def choose_device(asked: str) -> str:
    """Give the device that computes: as asked, or a GPU if there is one.

    Parameters
    ----------
    asked : str
        A torch device, or ``"auto"``.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If there is none of that name here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked).item()
    except Exception as error:
        # Builds without a backend, drivers and names that are none raise many kinds.
        n = torch.cuda.device_count()
        here = ["'cpu'", *(f"'cuda:{k}'" for k in range(n))]
        raise DataError(
            problem(
                expected=f"a device that computes here: {', '.join(here)}",
                received=repr(asked),
                do="use device='auto', or check that PyTorch was installed for that device",
            )
        ) from error
    return asked


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
