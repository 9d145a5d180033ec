"""What one task of a map does: layers of a window in, probabilities of its pixels out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xcontrast.blocks import Pieces, Window
from xcontrast.embedding.blending import blend_windows
from xcontrast.embedding.kernel import cut_to_scene
from xcontrast.heads.segmenting.networks import load_segmentation

if TYPE_CHECKING:
    from torch import Tensor

    from xcontrast.heads.segmenting.networks import Loaded

__all__ = ["SegmentKernel"]


@dataclass(frozen=True)
class SegmentKernel:
    """Name the pixels of a window; picklable and small, it holds no weights."""

    path: str
    digest: str
    n_categories: int
    deepest: int
    """Stride of the deepest level: a scene in one piece is filled up to a multiple of it."""
    step: int | None
    """Between windows that overlap and fade into each other; None for the scene in one piece."""
    precision: str = "auto"
    device: str = "auto"

    def __call__(self, window: Window, pieces: Pieces) -> npt.NDArray[np.float32]:
        """Give ``(…, K, rows, cols)`` of ``(…, L, rows, cols)``, whose leading dims are of one."""
        import torch

        from xcontrast.nn.threads import at_work

        loaded = load_segmentation(self.path, self.digest, self.device, self.precision)
        layers = pieces.join()
        lead = layers.shape[:-3]
        values = torch.from_numpy(layers.reshape(1, *layers.shape[-3:]))
        with at_work():
            named = self._name(values, window, loaded).cpu().numpy()
        result: npt.NDArray[np.float32] = np.ascontiguousarray(named)
        return result.reshape(*lead, self.n_categories, *window.cells)

    def _name(self, values: Tensor, window: Window, loaded: Loaded) -> Tensor:
        """(1, L, H, W) -> (K, *window.cells), NaN where no sensor sees."""
        import torch

        rows, cols = window.cells
        if self.step is None:
            _, _, (height, width) = cut_to_scene(window, self.deepest)
            own, seen = loaded.probability(values[..., :height, :width])
            named, known = own[0, :, :rows, :cols], seen[0, :rows, :cols]
            return torch.where(known, named, torch.nan)
        halo = window.halo
        blended = blend_windows(
            values,
            lambda x: loaded.probability(x)[0],
            stride=1,
            cells=(rows, cols),
            step=self.step,
            overlap=2 * halo - self.step,
        ).permute(2, 0, 1)
        inner = values[..., halo : halo + rows, halo : halo + cols]
        return torch.where(loaded.see(inner)[0], blended, torch.nan)
