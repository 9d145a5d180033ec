"""One module a family of contrastive methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from xcontrast.training.methods.method import Method
from xcontrast.training.methods.momentum import MOCO, MOCO_TP, SECO, Momentum
from xcontrast.training.methods.multimodal import Multimodal
from xcontrast.training.methods.simclr import SimCLR

__all__ = ["BUILDERS"]

BUILDERS: Mapping[str, Callable[..., Method]] = {
    "multimodal": Multimodal,
    "simclr": SimCLR,
    "moco": partial(Momentum, recipe=MOCO),
    "moco_tp": partial(Momentum, recipe=MOCO_TP),
    "seco": partial(Momentum, recipe=SECO),
}
"""How each method that :func:`pretrain` names is built."""
