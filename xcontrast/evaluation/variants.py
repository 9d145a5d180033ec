"""What is judged side by side: heads on features, boosting on pixels, a network from scratch.

Each is fitted on labels and maps the truth's grid; folds only change the labels, so that features
are made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.evaluation.baselines import fit_pixels, predict_pixels
from xcontrast.heads.fitting import fit
from xcontrast.heads.maps import predict
from xcontrast.heads.segmenting.finetune import finetune
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.legends import Legend

__all__ = ["HeadVariant", "PixelVariant", "UnetVariant", "Variant"]

Where = npt.NDArray[np.intp] | None
"""Locations to map; None where there are none to choose from."""


class Variant(Protocol):
    """One way from labels to a map."""

    @property
    def name(self) -> str:
        """As the result calls it."""

    def map(self, labels: xr.DataArray, where: Where) -> xr.Dataset:
        """Fit on labels ``(…, y, x)`` and map, lazily: ``label`` and ``probability``."""


@dataclass(frozen=True)
class HeadVariant:
    """A head on features of cells."""

    name: str
    features: xr.DataArray | xr.Dataset
    truth: xr.DataArray
    legend: Legend
    kind: Any
    seed: int

    def map(self, labels: xr.DataArray, where: Where) -> xr.Dataset:
        """Fit a head on frozen features, and map onto the truth's grid."""
        head = fit(self.features, labels, legend=self.legend, kind=self.kind, seed=self.seed)
        features, truth = choose(self.features, where), choose(self.truth, where)
        return predict(features, head, like=truth)


@dataclass(frozen=True)
class PixelVariant:
    """Gradient boosting on single pixels."""

    name: str
    layers: xr.DataArray
    legend: Legend
    seed: int

    def map(self, labels: xr.DataArray, where: Where) -> xr.Dataset:
        """Fit on labelled pixels, and map pixel by pixel."""
        model = fit_pixels(self.layers, labels, legend=self.legend, seed=self.seed)
        return predict_pixels(model, choose(self.layers, where), legend=self.legend)


@dataclass(frozen=True)
class UnetVariant:
    """An encoder with random weights and a decoder, trained together on the labels alone."""

    name: str
    cube: xr.Dataset | xr.DataArray
    model: Any
    legend: Legend
    event: Any
    max_steps: int | None
    seed: int

    def map(self, labels: xr.DataArray, where: Where) -> xr.Dataset:
        """Train from scratch, and map the cube."""
        segmenter = finetune(
            self.cube,
            labels,
            self.model,
            legend=self.legend,
            decoder="unet",
            event=self.event,
            max_steps=self.max_steps,
            # Random weights have as far to go as the decoder's: they learn at the same rate.
            options=FinetuneOptions(
                trained="all", encoder_rate=1.0, seed=self.seed, progress=False
            ),
        )
        return predict(choose(self.cube, where), segmenter, event=self.event)


def choose(obj: Any, where: Where) -> Any:
    """Take some locations of an array or Dataset."""
    return obj if where is None else obj.isel(location=where)
