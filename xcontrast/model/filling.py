"""Encoders filled with weights from elsewhere: every tensor found, or an error that says which.

Letters: O filters, C bands, k kernel side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xcontrast.errors import ModelError, problem

if TYPE_CHECKING:
    from torch import Tensor

    from xcontrast.nn.encoders import Encoder

__all__ = ["fill_encoder", "find_stem", "load_imagenet"]


def fill_encoder(
    encoder: Encoder, state: Mapping[str, Tensor], *, rgb: Sequence[int | None] | None = None
) -> None:
    """Copy a network's weights into an encoder.

    Parameters
    ----------
    encoder : Encoder
        Changed in place.
    state : mapping of str to Tensor
        By timm's names of the whole network; what the encoder does not build is left.
    rgb : sequence of int or None, optional
        Channels of red, green and blue among the encoder's bands, empty where it has no colours:
        then the weights are for red, green and blue, and are spread over the bands by
        :func:`xcontrast.nn.stems.spread_filters`. None: they are for the encoder's own bands.

    Raises
    ------
    ModelError
        If a tensor is missing or has another shape.
    """
    import torch

    from xcontrast.nn.stems import find_first_layer, spread_filters

    own = encoder.body.state_dict()
    # timm writes stages.0 as stages_0 in a pyramid, and wraps transformers in a module.
    given = {_plain(name): tensor for name, tensor in state.items()}
    first = _stem_of(encoder)
    filters = given.get(_plain(first))
    if rgb is not None and filters is not None:
        find_first_layer({first: filters}, 3)
        given[_plain(first)] = spread_filters(filters.float(), rgb, own[first].shape[1])
    wrong = []
    for name, tensor in own.items():
        found = given.get(_plain(name))
        if found is None or found.shape != tensor.shape:
            shape = "missing" if found is None else f"{tuple(found.shape)}"
            wrong.append(f"{name} ({shape}, not {tuple(tensor.shape)})")
    if wrong:
        raise _other_network(encoder, wrong)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[_plain(name)])


def find_stem(encoder: Encoder, state: Mapping[str, Tensor]) -> str:
    """Give the name, among given weights, of the filters that see the bands.

    Parameters
    ----------
    encoder : Encoder
        The network that they are of; its number of bands does not matter.
    state : mapping of str to Tensor
        By timm's names, in any order: a file's is often the alphabet's.

    Returns
    -------
    str

    Raises
    ------
    ModelError
        If they are not among them.
    """
    stem = _stem_of(encoder)
    name = next((name for name in state if _plain(name) == _plain(stem)), None)
    if name is None or state[name].ndim != 4:
        shape = "missing" if name is None else f"{tuple(state[name].shape)}"
        raise _other_network(encoder, [f"{stem} ({shape})"])
    return name


def load_imagenet(name: str) -> dict[str, Tensor]:
    """Fetch ImageNet weights through timm.

    Parameters
    ----------
    name : str
        timm name, perhaps with a tag: ``"resnet18.a1_in1k"``.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    ModelError
        If there are none, or they cannot be fetched.
    """
    import timm

    try:
        network = timm.create_model(name, pretrained=True)
    except Exception as error:
        # The hub, its cache and the network below raise many kinds.
        raise ModelError(
            problem(
                expected=f"ImageNet weights of {name!r}, from a model hub",
                received=f"{type(error).__name__}: {error}",
                do="check the connection, or give a file of weights with timm's names as `weights`",
            )
        ) from error
    state: dict[str, Tensor] = network.state_dict()
    return state


def _stem_of(encoder: Encoder) -> str:
    """Give the weights of a network's first convolution, by its own name."""
    from torch import nn

    modules = encoder.body.named_modules()
    return next(f"{name}.weight" for name, own in modules if isinstance(own, nn.Conv2d))


def _other_network(encoder: Encoder, wrong: Sequence[str]) -> ModelError:
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return ModelError(
        problem(
            expected=f"weights of {encoder.name!r}",
            received=f"others: {', '.join(wrong[:3])}{more}",
            do="name the encoder that they are of, and stem='own'",
        )
    )


def _plain(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")
