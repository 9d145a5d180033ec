"""One sensor's encoder as one network: from values in the sensor's units to a dense embedding.

What runs elsewhere, without this package: scaling and missing values are part of the graph.
Letters: B batch, C bands, F features, H W pixels, h w cells, s stride.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcontrast.nn.dense import join_levels
from xcontrast.nn.encoders import Encoder, Projector
from xcontrast.nn.levels import Level
from xcontrast.nn.scaling import Scaling

__all__ = ["FrozenEncoder"]


class FrozenEncoder(nn.Module):
    """Scale, encode, join the levels on one grid, and blank the cells that see too little.

    Parameters
    ----------
    encoder : Encoder
        In eval mode, as all that is given.
    levels : tuple of Level
        Its geometry.
    scaling : Scaling
        Of the sensor.
    stride : int
        Pixels a cell, at most that of the deepest level.
    min_valid : float
        A cell is NaN when a smaller share of its pixels is valid in all bands.
    projector : Projector, optional
        Applied to each cell, and brought to unit norm.
    """

    def __init__(
        self,
        encoder: Encoder,
        levels: tuple[Level, ...],
        scaling: Scaling,
        *,
        stride: int,
        min_valid: float,
        projector: Projector | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.scaling, self.projector = encoder, scaling, projector
        self.levels, self.stride, self.min_valid = levels, stride, min_valid

    def forward(self, images: Tensor) -> Tensor:
        """Embed: (B, C, H, W) float32, NaN where invalid -> (B, F, H / s, W / s) float32."""
        valid = torch.isfinite(images.sum(1, keepdim=True))
        scaled = self.scaling(torch.where(valid, images, 0.0), valid)
        features = join_levels(self.encoder(scaled), self.levels, stride=self.stride)
        if self.projector is not None:
            cells = features.permute(0, 2, 3, 1)
            projected = F.normalize(self.projector(cells.flatten(0, 2)), dim=1)
            features = projected.reshape(*cells.shape[:3], -1).permute(0, 3, 1, 2)
        share = F.avg_pool2d(valid.float(), self.stride)
        seen = (share > 0) & (share >= self.min_valid)
        return torch.where(seen, features, torch.nan)
