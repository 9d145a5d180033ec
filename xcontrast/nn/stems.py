"""First layers: of two small convolutions, and filled from filters for red, green and blue.

Letters: O filters, C bands, k kernel side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xcontrast.errors import ModelError, problem

__all__ = ["find_first_layer", "replace_stem", "spread_filters"]


def replace_stem(body: nn.Module, name: str) -> None:
    """Put two convolutions of 3 x 3 where a residual network has its first one of 7 x 7.

    Parameters
    ----------
    body : Module
        A timm residual network; changed in place.
    name : str
        Its name, for the message.

    Raises
    ------
    ModelError
        If it begins otherwise.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 3: "two 3x3" as in DeepLabv3+, whose public code has
    three; timm's deep stems have three too.
    """
    first = getattr(body, "conv1", None)
    if not isinstance(first, nn.Conv2d) or first.kernel_size != (7, 7):
        raise ModelError(
            problem(
                expected="a residual network that begins with a convolution of 7 x 7, "
                "such as 'resnet50'",
                received=repr(name),
                do="use stem='own'",
            )
        )
    half = first.out_channels // 2
    layers = nn.Sequential(
        nn.Conv2d(first.in_channels, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, first.out_channels, 3, padding=1, bias=False),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    body.conv1 = layers


def find_first_layer(state: dict[str, Tensor], n_bands: int) -> str:
    """Give the name of the weights that see the bands: the first of a convolution.

    Parameters
    ----------
    state : dict of str to Tensor
        In the network's own order.
    n_bands : int
        Channels that it must take.

    Returns
    -------
    str

    Raises
    ------
    ModelError
        If the first convolution takes another number of channels.
    """
    name = next((k for k, own in state.items() if own.ndim == 4), None)
    if name is None or state[name].shape[1] != n_bands:
        found = "none" if name is None else f"{name} of {state[name].shape[1]} channels"
        raise ModelError(
            problem(
                expected=f"a first convolution over {n_bands} channels",
                received=found,
                do="name the bands of the file in their order",
            )
        )
    return name


def spread_filters(filters: Tensor, rgb: Sequence[int | None], n_bands: int) -> Tensor:
    """Make filters for any bands from those for red, green and blue.

    Parameters
    ----------
    filters : Tensor (O, 3, k, k), float
        For red, green and blue.
    rgb : sequence of int or None
        Channels of red, green and blue among the bands; None where there is none.
    n_bands : int
        Bands.

    Returns
    -------
    Tensor (O, n_bands, k, k)
        The colours keep their own filters, every other band gets the mean of the three; all are
        scaled so that the sum over the bands stays what it was.

    Examples
    --------
    >>> import torch
    >>> filters = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    >>> spread_filters(filters, (2, 1, 0), 4).flatten().tolist()
    [2.25, 1.5, 0.75, 1.5]
    """
    spread = filters.mean(1, keepdim=True).repeat(1, n_bands, 1, 1)
    for colour, channel in enumerate(rgb):
        if channel is not None:
            spread[:, channel] = filters[:, colour]
    # Each filter keeps its response to a grey image; the sum over colours is what it answers to.
    return torch.mul(spread, 3 / n_bands)
