"""Optimisers of fine-tuning and their schedules, built from the options."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.nn.segmentation import SegmentationNetwork

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

__all__ = ["build_optimiser", "build_schedule"]


def build_optimiser(network: SegmentationNetwork, options: FinetuneOptions) -> Optimizer:
    """Build the optimiser of what is trained; encoders have a rate of their own.

    Parameters
    ----------
    network : SegmentationNetwork
        With the parameters.
    options : FinetuneOptions
        Which one, its rates and decay.

    Returns
    -------
    Optimizer
    """
    inside = {id(p) for p in network.encoders.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    rate, decay = options.learning_rate, options.weight_decay
    groups = [
        {"params": [p for p in trained if id(p) not in inside], "lr": rate},
        {"params": [p for p in trained if id(p) in inside], "lr": rate * options.encoder_rate},
    ]
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)
    kind = torch.optim.AdamW if options.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay, fused=True)


def build_schedule(optimiser: Optimizer, options: FinetuneOptions, max_steps: int) -> LambdaLR:
    """Build the schedule of the learning rate, by step.

    Parameters
    ----------
    optimiser : Optimizer
        Whose rates it sets.
    options : FinetuneOptions
        Kind.
    max_steps : int
        Of the run.

    Returns
    -------
    LambdaLR

    References
    ----------
    Chen et al. (2018), DeepLab: "poly", to the power of .9. SeCo's public code: .95 an epoch of a
    hundred.
    """

    def factor(step: int) -> float:
        done = min(1.0, step / max_steps)
        if options.schedule == "poly":
            return float((1 - done) ** 0.9)
        if options.schedule == "exponential":
            # Added to by what a float loses: step 29 of 100 is 28.999... hundredths.
            return float(0.95 ** math.floor(100 * done + 1e-6))
        return 0.5 * (1 + math.cos(math.pi * done))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
