"""What one task of an embedding does: pixels of a window in, features of its cells out.

A kernel is picklable and small: it names the model by path and digest and never holds weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xcontrast.blocks import Window
from xcontrast.embedding.blending import blend_windows
from xcontrast.model import Network, load_network

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EmbedKernel", "NetworkKernel", "count_valid"]


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

    def __call__(self, window: Window, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embed ``(…, C, rows, cols)`` to ``(…, F, *window.cells)``."""
        import torch

        network = self.load()
        images = values.reshape(-1, *values.shape[-3:])
        # One at a time: a network uses all cores or the GPU, and other threads read meanwhile.
        with network.lock, torch.inference_mode():
            features = [self._embed(torch.from_numpy(x), window, network) for x in images]
            joined = features[0][None] if len(features) == 1 else torch.stack(features)
        share = count_valid(window, images)
        # Features last in memory: so they come, and so heads and stores read them.
        result: npt.NDArray[np.float32] = joined.permute(0, 2, 3, 1).cpu().numpy()
        result[(share == 0) | (share < self.min_valid)] = np.nan
        return np.moveaxis(result, -1, -3).reshape(*values.shape[:-3], -1, *window.cells)

    def _embed(self, image: Tensor, window: Window, network: Network) -> Tensor:
        """(C, rows, cols) -> (F, *window.cells)."""
        rows, cols = window.cells
        start = (window.halo, window.halo)
        if self.tile is None:
            image, start = _cut_to_scene(image, window, network.deepest)
        values = network.prepare(image)
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


def _cut_to_scene(image: Tensor, window: Window, deepest: int) -> tuple[Tensor, tuple[int, int]]:
    """Drop what lies beyond the scene, to a whole number of the deepest cells.

    At the scene's own edges the network pads as it would for the scene in one piece; a halo
    there would only cost time.
    """
    spans, start = [], []
    for (first, last), length in zip((window.rows, window.cols), window.shape, strict=True):
        end = -(-length // deepest) * deepest
        spans.append(slice(max(first, 0) - first, min(last, end) - first))
        start.append(window.halo + min(first, 0))
    return image[:, spans[0], spans[1]], (start[0], start[1])


def count_valid(window: Window, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Give the share of pixels of each cell that are valid in all bands.

    Parameters
    ----------
    window : Window
        Of a task.
    values : ndarray (…, C, rows, cols), float32
        NaN where invalid or outside the array.

    Returns
    -------
    ndarray (…, *window.cells), float32
        0..1; pixels outside the array do not count.
    """
    halo, stride = window.halo, window.stride
    rows, cols = window.cells
    inside = values[..., halo : halo + rows * stride, halo : halo + cols * stride]
    # What is not finite in one band is not finite in the sum; a tenth of the memory of a mask each.
    valid = np.isfinite(inside.sum(axis=-3))
    counts = valid.reshape(*valid.shape[:-2], rows, stride, cols, stride).sum((-3, -1))
    height, width = (
        np.minimum(stride, length - (first + halo) - stride * np.arange(n))
        for (first, _), length, n in zip(
            (window.rows, window.cols), window.shape, (rows, cols), strict=True
        )
    )
    share: npt.NDArray[np.float32] = (counts / (height[:, None] * width)).astype(np.float32)
    return share
