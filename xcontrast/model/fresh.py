"""The same networks without what they have learnt: what a trained model is compared with."""

from __future__ import annotations

import os
from dataclasses import replace

from xcontrast.folders import claim_folder
from xcontrast.model.card import Card
from xcontrast.model.folder import Model, write_model
from xcontrast.model.network import build_encoder

__all__ = ["write_fresh_model"]


def write_fresh_model(card: Card, path: str | os.PathLike[str], *, seed: int = 0) -> Model:
    """Write a model with a card's encoders and scaling, and random weights.

    Parameters
    ----------
    card : Card
        Of the model that it shall be like; projected spaces are left out.
    path : path
        A folder that does not exist or is empty.
    seed : int, default 0
        Of the weights.

    Returns
    -------
    Model
        As ``pretrain(max_steps=0)`` gives: each network's own initialisation.
    """
    import torch

    state: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for sensor in card.sensors:
            weights = build_encoder(card, sensor).state_dict()
            state |= {f"{sensor}.encoder.{k}": v for k, v in weights.items()}
    bare = replace(
        card, method="random", projected=(), projector=None, training={"steps": 0, "seed": seed}
    )
    return write_model(claim_folder(path), bare, state)
