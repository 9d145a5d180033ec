"""Segmentation networks in memory: begun from a model, loaded once a process and device."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xcontrast.heads.segmenting.segmenter import SegmenterCard, find_segmenter

if TYPE_CHECKING:
    from torch import Tensor

    from xcontrast.heads.segmenting.options import FinetuneOptions
    from xcontrast.model import Model
    from xcontrast.nn.layers import LayerScaling
    from xcontrast.nn.segmentation import SegmentationNetwork

__all__ = ["Loaded", "begin_network", "build_scaling", "load_segmentation"]


@dataclass(frozen=True)
class Loaded:
    """A network on a device, in eval mode, with the scaling of its layers."""

    network: SegmentationNetwork
    scaling: LayerScaling
    device: str
    bf16: bool

    def see(self, layers: Tensor) -> Tensor:
        """Say where a sensor sees: (B, L, H, W) -> (B, H, W), bool."""
        return self.scaling.see(self.scaling(layers.to(self.device))[1])

    def probability(self, layers: Tensor) -> tuple[Tensor, Tensor]:
        """Name pixels: (B, L, H, W) -> (B, K, H, W) float32, and (B, H, W) bool, where seen."""
        import torch

        images, valid = self.scaling(layers.to(self.device))
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.bf16):
            logits = self.network(images)
        return logits.float().softmax(1), self.scaling.see(valid)


def build_scaling(card: SegmenterCard) -> LayerScaling:
    """Build what takes a stack of layers apart and scales it."""
    from xcontrast.nn.layers import LayerScaling

    return LayerScaling({k: own.scaling() for k, own in card.sensors.items()}, card.n_dates)


def begin_network(
    card: SegmenterCard, model: Model, options: FinetuneOptions
) -> SegmentationNetwork:
    """Build a network with the encoders of a model, and a decoder of random weights.

    Parameters
    ----------
    card : SegmenterCard
        What to build.
    model : Model
        Whose encoders.
    options : FinetuneOptions
        Which of their weights are trained.

    Returns
    -------
    SegmentationNetwork

    Raises
    ------
    ModelError
        If the encoder has not the levels that the decoder needs.
    """
    from safetensors.torch import load_file

    from xcontrast.nn.segmentation import choose_trained

    adapt = options.norms == "batch" or (options.norms is None and options.trained == "all")
    network = _build_network(card, dropout=options.dropout, adapt_norms=adapt)
    state = load_file(model.path / "weights.safetensors")
    for name, encoder in network.encoders.items():
        prefix = f"{name}.encoder."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        encoder.load_state_dict(own)
        choose_trained(encoder, options.trained)  # type: ignore[arg-type]
    return network


def _build_network(
    card: SegmenterCard, *, dropout: float = 0.0, adapt_norms: bool = False
) -> SegmentationNetwork:
    from xcontrast.nn.encoders import Encoder
    from xcontrast.nn.segmentation import SegmentationNetwork

    encoders = {
        name: Encoder(card.encoder, len(own.bands), out_stride=card.out_stride, stem=card.stem)
        for name, own in card.sensors.items()
    }
    return SegmentationNetwork(
        encoders,
        n_categories=len(card.legend.codes),
        n_dates=card.n_dates,
        temporal=card.temporal,
        decoder=card.decoder,
        dropout=dropout,
        adapt_norms=adapt_norms,
    )


_loaded: dict[tuple[str, str, str], Loaded] = {}
_lock = threading.Lock()


def load_segmentation(path: str, digest: str, device: str, precision: str) -> Loaded:
    """Give the network of a segmenter, loaded once a process, device and precision.

    Parameters
    ----------
    path : str
        The folder; where it is not that of the digest, this process's cache is looked in.
    digest : str
        Of the segmenter.
    device : str
        A torch device, or ``"auto"``: a GPU if this process sees one.
    precision : {"32", "bf16", "auto"}
        auto is bfloat16 where the device has units for it.

    Returns
    -------
    Loaded

    Raises
    ------
    DataError
        If the device is not here.
    ModelError
        If it is neither at its path nor in the cache here.
    """
    from xcontrast.nn.precision import choose_device, choose_precision

    device = choose_device(device)
    key = (digest, device, choose_precision(precision, device))
    with _lock:
        if key not in _loaded:
            _loaded[key] = _read(path, *key)
        return _loaded[key]


def _read(path: str, digest: str, device: str, precision: str) -> Loaded:
    import torch
    from safetensors.torch import load_file

    segmenter = find_segmenter(path, digest)
    network = _build_network(segmenter.card)
    network.load_state_dict(load_file(segmenter.path / "weights.safetensors"))
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    scaling = build_scaling(segmenter.card).to(device)
    return Loaded(network, scaling, device, precision == "bf16")
