"""Weights to begin from: ImageNet's, a file's, or another model's."""

from __future__ import annotations

import os
from pathlib import Path

from xcontrast.errors import ModelError, problem
from xcontrast.model.filling import fill_encoder, load_imagenet
from xcontrast.model.folder import load_model
from xcontrast.model.unpickling import read_weights
from xcontrast.training.methods.method import Method

__all__ = ["begin_from"]


def begin_from(method: Method, weights: str | os.PathLike[str]) -> tuple[str, ...]:
    """Put weights into the encoders of a method.

    Parameters
    ----------
    method : Method
        Changed in place.
    weights : str or path
        "imagenet"; a folder of a model, whose encoders are taken for the sensors that it has; or
        a file of weights with timm's names, for every sensor.

    Returns
    -------
    tuple of str
        The sensors whose encoders were filled.

    Raises
    ------
    ModelError
        If they do not fit, or cannot be had.
    """
    if Path(weights).is_dir():
        return _continue(method, Path(weights))
    for name in method.sensors:
        encoder = method.encoder(name)
        imagenet = os.fspath(weights) == "imagenet"
        state = load_imagenet(encoder.name) if imagenet else read_weights(Path(weights))
        fill_encoder(encoder, state, rgb=method.rgb[name])
    return method.sensors


def _continue(method: Method, folder: Path) -> tuple[str, ...]:
    from safetensors.torch import load_file

    model = load_model(folder)
    shared = tuple(name for name in method.sensors if name in model.sensors)
    state = load_file(model.path / "weights.safetensors")
    for name in shared:
        card, encoder = model.card, method.encoder(name)
        if card.encoder != encoder.name:
            raise ModelError(
                problem(
                    expected=f"a model with the encoder {encoder.name!r}",
                    received=f"{card.encoder!r} in {folder}",
                    do=f"pretrain with encoder={card.encoder!r}",
                )
            )
        prefix = f"{name}.encoder.body."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        fill_encoder(encoder, own, rgb=method.rgb[name])
    if not shared:
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {' or '.join(method.sensors)}",
                received=f"one for {', '.join(model.sensors)}",
                do="choose a model of a sensor that is trained",
            )
        )
    return shared
