"""Optimisers and their schedules, built from the options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from xcontrast.training.options import PretrainOptions

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

__all__ = ["build_optimiser", "build_schedule"]

MILESTONES = (0.6, 0.8)
"""Shares of the steps after which the rate is a tenth: 120 and 160 of 200 epochs."""


def build_optimiser(method: nn.Module, options: PretrainOptions) -> Optimizer:
    """Build the optimiser of all that is trained; norms and biases do not decay.

    Parameters
    ----------
    method : Module
        With the parameters.
    options : PretrainOptions
        Which one, its rate and decay.

    Returns
    -------
    Optimizer
    """
    trained = [p for p in method.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate, momentum=0.9)
    from timm.optim import Lars

    lars: Optimizer = Lars(groups, lr=options.learning_rate, momentum=0.9)
    return lars


def build_schedule(optimiser: Optimizer, options: PretrainOptions, max_steps: int) -> LambdaLR:
    """Build the schedule of the learning rate, by step.

    Parameters
    ----------
    optimiser : Optimizer
        Whose rate it sets.
    options : PretrainOptions
        Warm-up and kind.
    max_steps : int
        Of the run.

    Returns
    -------
    LambdaLR
    """
    rising = round(options.warmup * max_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        if options.schedule == "steps":
            return 0.1 ** sum(step >= share * max_steps for share in MILESTONES)
        done = (step - rising) / max(1, max_steps - rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
