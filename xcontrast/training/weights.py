"""Weights to begin from: ImageNet's, a file's, or another model's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from xcontrast.errors import ModelError, problem
from xcontrast.model.filling import fill_encoder, find_stem, load_imagenet
from xcontrast.model.folder import load_model
from xcontrast.model.unpickling import read_weights
from xcontrast.nn.stems import spread_filters
from xcontrast.sensors import S2
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import find_rgb

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["begin_from"]


def begin_from(method: Method, weights: str | os.PathLike[str]) -> tuple[str, ...]:
    """Put weights into the encoders of a method.

    Parameters
    ----------
    method : Method
        Changed in place.
    weights : str or path
        "imagenet"; a folder of a model, whose encoders are taken for the sensors that it has; or
        a file of weights with timm's names: for red, green and blue, or for as many bands as the
        sensor has, in their order.

    Returns
    -------
    tuple of str
        The sensors whose encoders were filled.

    Raises
    ------
    ModelError
        If they do not fit, or cannot be had.
    """
    filled = _fill(method, weights)
    method.align_keys()
    return filled


def _fill(method: Method, weights: str | os.PathLike[str]) -> tuple[str, ...]:
    if Path(weights).is_dir():
        return _continue(method, Path(weights))
    for name in method.sensors:
        encoder = method.encoder(name)
        imagenet = os.fspath(weights) == "imagenet"
        state = load_imagenet(encoder.name) if imagenet else read_weights(Path(weights))
        n_given = state[find_stem(encoder, state)].shape[1]
        same = n_given == len(method.bands[name]) != 3
        fill_encoder(encoder, state, rgb=None if same else method.rgb[name])
    return method.sensors


def _fit_bands(
    filters: Tensor, have: tuple[str, ...], want: tuple[str, ...], folder: Path
) -> Tensor:
    """Put the filters of a first layer into the order of other bands, or spread colours."""
    if set(want) <= set(have):
        return filters[:, [have.index(band) for band in want]]
    if sorted(have) == sorted(S2.display):
        colours = filters[:, [have.index(band) for band in S2.display]]
        return spread_filters(colours, find_rgb("s2", want), len(want))
    raise ModelError(
        problem(
            expected=f"a model with the bands {', '.join(want)}, or of red, green and blue",
            received=f"{', '.join(have)} in {folder}",
            do="select its bands, or begin from other weights",
        )
    )


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
        stem = find_stem(encoder, own)
        own[stem] = _fit_bands(own[stem], card.sensors[name].bands, method.bands[name], folder)
        fill_encoder(encoder, own)
    if not shared:
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {' or '.join(method.sensors)}",
                received=f"one for {', '.join(model.sensors)}",
                do="choose a model of a sensor that is trained",
            )
        )
    return shared
