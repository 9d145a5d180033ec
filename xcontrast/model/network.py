"""Networks in memory: built from a card, loaded once a process and device."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from xcontrast.model.card import Card
from xcontrast.model.sharing import find_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from xcontrast.nn.encoders import Encoder, Projector
    from xcontrast.nn.levels import Level
    from xcontrast.nn.scaling import Scaling

__all__ = ["Network", "build_encoder", "build_projector", "load_network"]


STRIP = 1 << 18
"""Numbers that are scaled at a time on a CPU: what its nearest caches hold."""


class Network:
    """One sensor's encoder and projectors on a device, in eval mode, with the scaling.

    The encoder may be in bfloat16; projectors and features are in float32.
    """

    def __init__(
        self,
        encoder: Encoder,
        projectors: dict[str, Projector],
        levels: tuple[Level, ...],
        scaling: Scaling,
    ) -> None:
        self.encoder = encoder.eval()
        self.projectors = {space: own.eval() for space, own in projectors.items()}
        self.levels = levels
        self.deepest = max(level.stride for level in levels)
        self.normalise = scaling

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.encoder.parameters()).device

    def prepare(self, images: Tensor) -> Tensor:
        """Scale images in the sensor's units, NaN where invalid, to encode.

        Parameters
        ----------
        images : Tensor (B, C, H, W), float32

        Returns
        -------
        Tensor (B, C, H, W)
            In the encoder's precision, on its device, channels last in memory.
        """
        result = self._empty(tuple(images.shape))
        self._scale(images, result)
        return result

    def prepare_pieces(
        self, pieces: Iterable[tuple[Tensor, int, int]], shape: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Scale an image that comes in pieces, without joining them first.

        Parameters
        ----------
        pieces : iterable of (Tensor (C, h, w), float32, int, int)
            Each with its first row and column; what none covers is not valid.
        shape : tuple of int
            C, H and W of the image.

        Returns
        -------
        tuple of Tensor
            ``(1, C, H, W)`` as of :meth:`prepare`, and ``(H, W)`` bool: where all bands are valid.
        """
        import torch

        result = self._empty((1, *shape)).zero_()
        seen = torch.zeros(shape[1:], dtype=torch.bool, device=self.device)
        for piece, top, left in pieces:
            rows, cols = slice(top, top + piece.shape[1]), slice(left, left + piece.shape[2])
            self._scale(piece[None], result[:, :, rows, cols], seen[rows, cols])
        return result, seen

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        import torch

        weight = next(self.encoder.parameters())
        return torch.empty(
            shape,
            dtype=weight.dtype,
            device=weight.device,
            memory_format=torch.channels_last,
        )

    def _scale(self, images: Tensor, target: Tensor, seen: Tensor | None = None) -> None:
        """Write scaled images, and where they are valid.

        In strips, so that what lies between the two is not written to memory and read again.
        """
        import torch

        height, line = images.shape[2], max(1, images.numel() // max(1, images.shape[2]))
        on_cpu = target.device.type == "cpu"
        step = max(1, STRIP // line) if on_cpu else max(1, height)
        for first in range(0, height, step):
            part = images[:, :, first : first + step].to(target.device)
            valid = torch.isfinite(part.sum(1, keepdim=True))
            if not (on_cpu and bool(valid.all())):
                part = torch.nan_to_num(part, 0.0, 0.0, 0.0)
            target[:, :, first : first + step] = self.normalise(part, valid)
            if seen is not None:
                seen[first : first + step] = valid[0, 0]

    def project(self, cells: Tensor, space: str) -> Tensor:
        """Give (n, F) features in a projected space: (n, D), unit norm."""
        import torch.nn.functional as F

        return F.normalize(self.projectors[space](cells), dim=1)


def build_encoder(card: Card, sensor: str) -> Encoder:
    """Build the encoder of one sensor with random weights.

    Parameters
    ----------
    card : Card
        Of the model.
    sensor : str
        ``"s1"`` or ``"s2"``.

    Returns
    -------
    Encoder
    """
    from xcontrast.nn.encoders import Encoder

    n_bands = len(card.sensors[sensor].bands)
    return Encoder(card.encoder, n_bands, out_stride=card.out_stride, stem=card.stem)


def build_projector(card: Card) -> Projector:
    """Build one projector with random weights.

    Parameters
    ----------
    card : Card
        Of a model with projected spaces.

    Returns
    -------
    Projector
    """
    from xcontrast.nn.encoders import Projector

    own = card.projector
    assert own is not None
    return Projector(
        own.n_features,
        n_hidden=own.n_hidden,
        n_projected=own.n_projected,
        batch_norm=own.batch_norm,
    )


_networks: dict[tuple[str, str, str, str], Network] = {}
_lock = threading.Lock()


def load_network(
    path: str, digest: str, sensor: str, device: str, precision: str = "32"
) -> Network:
    """Give the network of one sensor, loaded once a process, device and precision.

    Parameters
    ----------
    path : str
        The model folder; where it is not that of the digest, this process's cache is looked in.
    digest : str
        Of the model.
    sensor : str
        ``"s1"`` or ``"s2"``.
    device : str
        A torch device, or ``"auto"``: a GPU if this process sees one.
    precision : {"32", "bf16", "auto"}
        Of the encoder; auto is bfloat16 where the device has units for it.

    Returns
    -------
    Network

    Raises
    ------
    DataError
        If the device is not here.
    ModelError
        If the model is neither at its path nor in the cache here, see :func:`share`.
    """
    from xcontrast.nn.precision import choose_device, choose_precision

    device = choose_device(device)
    precision = choose_precision(precision, device)
    key = (digest, sensor, device, precision)
    with _lock:
        if key not in _networks:
            _networks[key] = _read_network(path, *key)
        return _networks[key]


def _read_network(path: str, digest: str, sensor: str, device: str, precision: str) -> Network:
    import torch
    from safetensors.torch import load_file

    from xcontrast.nn.folding import fold_batch_norms

    model = find_model(path, digest)
    card = model.card
    state = load_file(model.path / "weights.safetensors")
    encoder = build_encoder(card, sensor)
    projectors = {space: build_projector(card) for space in card.projected}
    for part, module in {"encoder": encoder, **projectors}.items():
        prefix = f"{sensor}.{part}."
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        module.to(device)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = fold_batch_norms(encoder.eval()).to(kind).to(memory_format=torch.channels_last)
    scaling = card.sensors[sensor].scaling().to(device)
    return Network(encoder, projectors, card.geometry(), scaling)
