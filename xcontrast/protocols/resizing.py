"""Images of a collection brought to another size, lazily."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

__all__ = ["resize"]


def resize(images: xr.DataArray, side: int) -> xr.DataArray:
    """Resize images bicubically.

    Parameters
    ----------
    images : DataArray (…, y, x), float32
        Valid everywhere.
    side : int
        Pixels a side of the result.

    Returns
    -------
    DataArray (…, y, x), float32
        As lazy as given, without ``y`` and ``x`` coords. The kernel is Pillow's (a = -.5, wider
        where images shrink), which published protocols use.
    """
    whole = images.chunk({"y": -1, "x": -1}) if images.chunks is not None else images
    bare = whole.rename(y="_y", x="_x")
    resized: xr.DataArray = xr.apply_ufunc(
        _resize_np,
        bare,
        kwargs={"side": side},
        input_core_dims=[["_y", "_x"]],
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"y": side, "x": side}},
        output_dtypes=[np.float32],
        keep_attrs=True,
    )
    return resized


def _resize_np(values: npt.NDArray[np.float32], *, side: int) -> npt.NDArray[np.float32]:
    import torch
    import torch.nn.functional as F

    flat = torch.from_numpy(np.array(values, np.float32)).reshape(-1, 1, *values.shape[-2:])
    # Only with antialias is torch's bicubic kernel Pillow's, also where nothing shrinks.
    grown = F.interpolate(flat, size=(side, side), mode="bicubic", antialias=True)
    result: npt.NDArray[np.float32] = grown.numpy().reshape(*values.shape[:-2], side, side)
    return result
