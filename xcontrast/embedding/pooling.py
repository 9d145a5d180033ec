"""One vector for each image, as it is pooled in training: for retrieval and labels of chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.embedding.kernel import NetworkKernel, as_tensor
from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from torch import Tensor

    from xcontrast.model import Network

__all__ = ["PoolKernel", "pool_images"]

SIDE = 2048
"""Pixels: the largest image that is taken for one thing."""
TASK_PIXELS = 1 << 22
"""Of all images of one task."""
BATCH_PIXELS = 1 << 19
"""Of the images that are encoded at once: their features stay in the caches of a CPU."""


@dataclass(frozen=True)
class PoolKernel(NetworkKernel):
    """Embed whole images with one sensor's network."""

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embed ``(…, C, H, W)`` to ``(…, F)``."""
        import torch

        from xcontrast.nn.threads import at_work

        network = self.load()
        images = as_tensor(values.reshape(-1, *values.shape[-3:]))
        size = max(1, BATCH_PIXELS // (values.shape[-1] * values.shape[-2]))
        with at_work():
            parts = [self._embed(batch, network).cpu() for batch in torch.split(images, size)]
        result: npt.NDArray[np.float32] = torch.cat(parts).numpy()
        share = np.isfinite(values).all(-3).mean((-2, -1)).ravel()
        result[(share == 0) | (share < self.min_valid)] = np.nan
        return result.reshape(*values.shape[:-3], -1)

    def _embed(self, images: Tensor, network: Network) -> Tensor:
        """(B, C, H, W) -> (B, F)."""
        import torch

        from xcontrast.nn.encoders import pool_levels

        levels = network.encoder(network.prepare(images))
        valid = torch.isfinite(images.sum(1, keepdim=True)).float().to(network.device)
        pooled = pool_levels(levels, valid).float()
        return pooled if self.space == "encoder" else network.project(pooled, self.space)


def pool_images(images: xr.DataArray, kernel: PoolKernel, *, n_features: int) -> xr.DataArray:
    """Embed each image of a stack as one vector, lazily.

    Parameters
    ----------
    images : DataArray (…, band, y, x), float32
        NaN where invalid.
    kernel : PoolKernel
        What embeds them.
    n_features : int
        Length of a vector.

    Returns
    -------
    DataArray (…, feature), float32
        dask-backed, without attributes. NaN where less than the kernel's ``min_valid`` is valid.

    Raises
    ------
    DataError
        If images are larger than `SIDE`.
    """
    *lead, band, y, x = images.dims
    height, width = images.sizes[y], images.sizes[x]
    if max(height, width) > SIDE:
        raise DataError(
            problem(
                expected=f"images of at most {SIDE} px a side, for one vector each",
                received=f"{height} x {width} px",
                do="cut them into chips, or leave `pool` out for a vector a cell",
            )
        )
    whole = images.chunk({band: -1, y: -1, x: -1} | _group(images, lead, height * width))
    pooled: xr.DataArray = xr.apply_ufunc(
        _pool_np,
        whole,
        kwargs={"kernel": kernel},
        input_core_dims=[[band, y, x]],
        output_core_dims=[["feature"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"feature": n_features}},
        output_dtypes=[np.float32],
    )
    return pooled


def _pool_np(values: npt.NDArray[Any], *, kernel: PoolKernel) -> npt.NDArray[np.float32]:
    # A function has a name; dask takes a kernel's whole description for one, and cuts it at "-".
    return kernel(values)


def _group(images: xr.DataArray, lead: list[Any], pixels: int) -> dict[Any, int]:
    """Put so many images into a task that it is worth one: the last dims first."""
    left = max(1, TASK_PIXELS // pixels)
    sizes = {}
    for dim in reversed(lead):
        sizes[dim] = min(left, images.sizes[dim])
        left = max(1, left // images.sizes[dim])
    return sizes
