"""From a segmenter and a cube to the probabilities of every pixel, lazily."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.blocks import map_blocks_with_halo
from xcontrast.embedding.blending import OVERLAP, STEP, halo_of_windows
from xcontrast.errors import DataError, problem
from xcontrast.heads.segmenting.kernel import SegmentKernel
from xcontrast.heads.segmenting.segmenter import Segmenter
from xcontrast.heads.segmenting.stacking import arrays_of, stack_layers

__all__ = ["segment"]

WHOLE = 1024
"""Pixels a side of the largest scene that is mapped in one piece, and of the blocks of others."""


def segment(
    cube: xr.Dataset | xr.DataArray,
    segmenter: Segmenter,
    *,
    event: str | pd.Timestamp | None = None,
) -> xr.DataArray:
    """Give the probability of each category at each pixel, lazily.

    A scene of 1,024 pixels a side or less passes the network in one piece; a larger one in windows
    of 384, fixed to the grid, that overlap by 128 and fade into each other.

    Parameters
    ----------
    cube : Dataset or DataArray
        With the sensors, bands, units and number of dates that the segmenter was trained on.
    segmenter : Segmenter
        From :func:`xcontrast.finetune`.
    event : str or Timestamp, optional
        For a segmenter of two dates: images before it, and from it on, are averaged. May be left
        out where there are exactly two.

    Returns
    -------
    DataArray (…, category, y, x), float32
        On the cube's grid, dask-backed. NaN where no sensor sees the pixel in all its bands at
        each date.

    Raises
    ------
    DataError
        If a sensor is missing, or bands, units or dates are others.
    """
    card = segmenter.card
    arrays = arrays_of(cube)
    missing = [name for name in card.sensors if name not in arrays]
    if missing:
        raise DataError(
            problem(
                expected=f"a cube with {' and '.join(card.sensors)}, as the segmenter was trained",
                received=f"{', '.join(arrays)}, without {', '.join(missing)}",
                do="load that sensor too, or finetune on the one that there is",
            )
        )
    layers, n_dates = stack_layers(arrays, card.sensors, event=event)
    if n_dates != card.n_dates:
        raise DataError(
            problem(
                expected=f"{card.n_dates} date(s) of each sensor, as the segmenter was trained",
                received=str(n_dates),
                do="select one time" if card.n_dates == 1 else "give two times, or event=...",
            )
        )
    values = _map_layers(layers, segmenter)
    dims = (*layers.dims[:-3], "category", "y", "x")
    coords: dict[Any, Any] = {k: v for k, v in layers.coords.items() if "layer" not in v.dims}
    coords["category"] = ("category", np.array(card.legend.names, object))
    return xr.DataArray(values, coords, dims, "probability")


def _map_layers(layers: xr.DataArray, segmenter: Segmenter) -> Any:
    import dask.array
    from dask.base import tokenize

    card, side = segmenter.card, max(layers.shape[-2:])
    n, deepest, whole = len(card.legend.codes), card.out_stride, side <= WHOLE
    step = None if whole else STEP
    kernel = SegmentKernel(str(segmenter.path.resolve()), segmenter.digest, n, deepest, step)
    source = layers.data
    if layers.chunks is None:
        lead = (1,) * (layers.ndim - 3)
        source = dask.array.from_array(layers.values, chunks=(*lead, -1, WHOLE, WHOLE))
    return map_blocks_with_halo(
        source,
        kernel,
        block=-(-side // deepest) * deepest if whole else WHOLE,
        halo=0 if whole else halo_of_windows(STEP, OVERLAP),
        stride=1,
        n_out=n,
        dtype="float32",
        name=f"segment-{tokenize(source.name, kernel)}",
    )
