"""What one task of an embedding does: pixels of a window in, features of its cells out.

A kernel is picklable and small: it names the model by path and digest and never holds weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xcontrast.blocks import Pieces, Window
from xcontrast.embedding.blending import blend_windows
from xcontrast.model import Network, load_network

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EmbedKernel", "NetworkKernel", "as_tensor", "count_valid", "cut_to_scene"]


@dataclass(frozen=True)
class NetworkKernel:
    """What names one sensor's network, and how it is run."""

    path: str
    digest: str
    sensor: str
    space: str
    device: str
    precision: str
    min_valid: float

    def load(self) -> Network:
        """Give the network, loaded once a process."""
        return load_network(self.path, self.digest, self.sensor, self.device, self.precision)


@dataclass(frozen=True)
class EmbedKernel(NetworkKernel):
    """Embed windows with one sensor's network."""

    stride: int
    tile: int | None
    """Step of the windows of a network that sees the whole image; None for a local one."""

    def __call__(self, window: Window, pieces: Pieces) -> npt.NDArray[np.float32]:
        """Embed ``(…, C, rows, cols)``, whose leading dims are of one, to ``(…, F, *cells)``."""
        from xcontrast.nn.threads import at_work

        network = self.load()
        lead, n_bands = pieces.shape[:-3], pieces.shape[-3]
        top, left, (height, width) = (0, 0, pieces.shape[-2:])
        if self.tile is None:
            top, left, (height, width) = cut_to_scene(window, network.deepest)
        start = (window.halo - top, window.halo - left)
        parts = (
            (as_tensor(piece.reshape(n_bands, *piece.shape[-2:])), row - top, col - left)
            for piece, row, col in pieces
        )
        with at_work():
            values, seen = network.prepare_pieces(parts, (n_bands, height, width))
            features = self._embed(values, start, window, network)
        share = _share_of_cells(window, _inner(window, seen.cpu().numpy(), start))
        # Features last in memory: so they come, and so heads and stores read them.
        result: npt.NDArray[np.float32] = features.permute(1, 2, 0).cpu().numpy()
        result[(share == 0) | (share < self.min_valid)] = np.nan
        return np.moveaxis(result, -1, 0).reshape(*lead, -1, *window.cells)

    def _embed(
        self, values: Tensor, start: tuple[int, int], window: Window, network: Network
    ) -> Tensor:
        """(1, C, H, W) -> (F, *window.cells)."""
        rows, cols = window.cells
        if self.tile is None:
            features = self._features(values, start, (rows, cols), network)[0]
        else:
            features = blend_windows(
                values,
                lambda x: self._features(x, (0, 0), (x.shape[2] // self.stride,) * 2, network),
                stride=self.stride,
                cells=(rows, cols),
                step=self.tile,
                overlap=2 * window.halo - self.tile,
            ).permute(2, 0, 1)
        if self.space == "encoder":
            return features
        # After blending: a mean of unit vectors is no unit vector.
        cells = features.permute(1, 2, 0)
        projected = network.project(cells.flatten(0, 1), self.space)
        return projected.reshape(rows, cols, -1).permute(2, 0, 1)

    def _features(
        self, values: Tensor, start: tuple[int, int], shape: tuple[int, int], network: Network
    ) -> Tensor:
        import torch

        from xcontrast.nn.dense import dense_features

        maps = network.encoder(values.contiguous(memory_format=torch.channels_last))
        return dense_features(maps, network.levels, stride=self.stride, start=start, shape=shape)


def as_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Give an array to torch, copied only where it must be."""
    import torch

    # Torch takes neither other types nor what it may not write to, such as what came by network.
    plain = values.dtype == np.float32 and values.flags.writeable and min(values.strides) >= 0
    return torch.from_numpy(values if plain else values.astype(np.float32, order="C"))


def cut_to_scene(window: Window, deepest: int) -> tuple[int, int, tuple[int, int]]:
    """Leave out what lies beyond the scene.

    To a whole number of the deepest cells. At the scene's own edges the network pads as it would
    for the scene in one piece; a halo there would only cost time.

    Parameters
    ----------
    window : Window
        Of a task.
    deepest : int
        Stride of the deepest level, pixels.

    Returns
    -------
    tuple
        First row and column in the window, and the shape of what is left, pixels.
    """
    firsts, lengths = [], []
    for (first, last), length in zip((window.rows, window.cols), window.shape, strict=True):
        end = -(-length // deepest) * deepest
        firsts.append(max(first, 0) - first)
        lengths.append(min(last, end) - max(first, 0))
    return firsts[0], firsts[1], (lengths[0], lengths[1])


def count_valid(window: Window, pieces: Pieces) -> npt.NDArray[np.float32]:
    """Give the share of pixels of each cell that are valid in all bands.

    Parameters
    ----------
    window : Window
        Of a task.
    pieces : Pieces
        ``(…, C, rows, cols)`` float32, NaN where invalid.

    Returns
    -------
    ndarray (…, *window.cells), float32
        0..1; pixels outside the array do not count.
    """
    valid = np.zeros((*pieces.shape[:-3], *pieces.shape[-2:]), bool)
    for piece, top, left in pieces:
        rows, cols = piece.shape[-2:]
        # What is not finite in one band is not finite in the sum.
        valid[..., top : top + rows, left : left + cols] = np.isfinite(piece.sum(axis=-3))
    return _share_of_cells(window, _inner(window, valid, (window.halo, window.halo)))


def _inner(
    window: Window, valid: npt.NDArray[np.bool_], start: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    rows, cols = (n * window.stride for n in window.cells)
    return valid[..., start[0] : start[0] + rows, start[1] : start[1] + cols]


def _share_of_cells(window: Window, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """(…, rows * stride, cols * stride) -> (…, rows, cols)."""
    halo, stride = window.halo, window.stride
    rows, cols = window.cells
    height, width = (
        np.minimum(stride, length - (first + halo) - stride * np.arange(n))
        for (first, _), length, n in zip(
            (window.rows, window.cols), window.shape, (rows, cols), strict=True
        )
    )
    counts = valid.reshape(*valid.shape[:-2], rows, stride, cols, stride)
    total = counts.sum(-1, dtype=np.uint16).sum(-2, dtype=np.int64)
    share: npt.NDArray[np.float32] = (total / (height[:, None] * width)).astype(np.float32)
    return share
