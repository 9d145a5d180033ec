"""What encoding a region takes: pixels with their halos, and how many a second."""

from __future__ import annotations

import time

import numpy as np
import xarray as xr

from xcontrast.blocks import Pieces, Window
from xcontrast.embedding.blending import OVERLAP, STEP
from xcontrast.embedding.kernel import EmbedKernel
from xcontrast.heads.segmenting.kernel import SegmentKernel
from xcontrast.heads.segmenting.segmenter import Segmenter
from xcontrast.model import Model

__all__ = ["count_work", "probe_rate", "probe_segmenter"]

PROBE = 512
"""Side of the window that the probe encodes, pixels."""


def count_work(array: xr.DataArray, halo: int | None, block: int) -> float:
    """Count the pixels that are encoded: halos, and windows over each other, included.

    A halo of None is that of a network that runs on windows.
    """
    spans = []
    for dim in ("y", "x"):
        n = array.sizes[dim]
        blocks = [(first, min(first + block, n)) for first in range(0, n, block)]
        if halo is None:
            windows = sum(-(-(last - first) // STEP) + 1 for first, last in blocks)
            spans.append(windows * (STEP + OVERLAP))
        else:
            spans.append(sum(min(last + halo, n) - max(first - halo, 0) for first, last in blocks))
    return float(np.prod(array.shape[:-3]) * spans[0] * spans[1])


def probe_segmenter(segmenter: Segmenter) -> float:
    """Map an image of noise, once to load and once by the clock: pixels a second."""
    card = segmenter.card
    n_layers = card.n_dates * sum(len(own.bands) for own in card.sensors.values())
    noise = np.random.default_rng(0).normal(size=(n_layers, PROBE, PROBE)).astype(np.float32)
    path, n = str(segmenter.path.resolve()), len(card.legend.codes)
    kernel = SegmentKernel(path, segmenter.digest, n, card.out_stride, None)
    window = Window((0, PROBE), (0, PROBE), (PROBE, PROBE), 0, 1)
    return _time(kernel, Pieces(window, [[noise]]))


def probe_rate(model: Model, sensor: str, space: str, stride: int) -> float:
    """Encode a window of noise, once to load and once by the clock: pixels a second."""
    card = model.card.sensors[sensor]
    rng = np.random.default_rng(0)
    noise = np.array(card.mean)[:, None, None] + rng.normal(size=(len(card.bands), PROBE, PROBE))
    window = Window((0, PROBE), (0, PROBE), (PROBE, PROBE), 0, stride)
    kernel = EmbedKernel(
        str(model.path.resolve()), model.digest, sensor, space, "auto", "auto", 0.0, stride, None
    )
    return _time(kernel, Pieces(window, [[noise.astype(np.float32)]]))


def _time(kernel: EmbedKernel | SegmentKernel, pieces: Pieces) -> float:
    kernel(pieces.window, pieces)
    begin = time.perf_counter()
    kernel(pieces.window, pieces)
    return PROBE * PROBE / (time.perf_counter() - begin)
