"""The rounds of a probe: fit, map and count, fold by fold."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.evaluation.calibration import sum_bins
from xcontrast.evaluation.counts import count_pairs, number_categories
from xcontrast.evaluation.folds import Folds, draw_units
from xcontrast.evaluation.material import Material
from xcontrast.evaluation.options import ProbeOptions
from xcontrast.evaluation.results import Tally
from xcontrast.evaluation.variants import Where
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.progress import track

__all__ = ["judge"]

Found: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp], npt.NDArray[np.float32]]
"""Codes that a map gives tested pixels; the most probable category's number, which a label that
leans to the rarer need not be, and its probability."""


def judge(
    material: Material,
    folds: Folds,
    legend: Legend,
    fractions: tuple[float, ...],
    options: ProbeOptions,
) -> Tally:
    """Fit every variant in every fold, and count what it maps.

    Parameters
    ----------
    material : Material
        The truth and the variants.
    folds : Folds
        Of its labels.
    legend : Legend
        What the codes mean.
    fractions : tuple of float
        Shares of labels, rising.
    options : ProbeOptions
        Seed, bins and progress.

    Returns
    -------
    Tally
    """
    truth = material.truth
    numbers = number_categories(truth.values, legend)
    units = _find_units(truth, folds)
    tally = Tally.empty(
        tuple(v.name for v in material.variants), fractions, folds.names, folds.fold,
        n_categories=len(legend.codes), n_bins=options.n_bins,
    )  # fmt: skip
    with track(
        total=folds.n_folds * len(material.variants), what="probing", on=options.progress
    ) as bar:
        for k in range(folds.n_folds):
            train, test = folds.split(k)
            parts = draw_units(
                train, units, numbers, fractions,
                n_categories=len(legend.codes), seed=options.seed + k,
            )  # fmt: skip
            tally.n_train[k] = [int(part.sum()) for part in parts]
            tally.n_dropped[k] = int((folds.block >= 0).sum() - train.sum() - test.sum())
            where = _tested_locations(truth, test)
            here = _within(test, where)
            found = []
            for variant in material.variants:
                maps = [variant.map(_only(truth, part), where) for part in parts]
                found.append(_compute(maps, truth.dims, here))
                bar.update()
            own, block = (_within(v, where)[here] for v in (numbers, folds.block))
            _count(tally, k, found, own, block, legend)
    return tally


def _find_units(truth: xr.DataArray, folds: Folds) -> npt.NDArray[np.intp]:
    """Give each pixel the number of what labels are drawn by: its location, or else its block."""
    if "location" not in truth.dims:
        return folds.block
    own = xr.DataArray(np.arange(truth.sizes["location"]), dims="location")
    return own.broadcast_like(truth).transpose(*truth.dims).values


def _tested_locations(truth: xr.DataArray, test: npt.NDArray[np.bool_]) -> Where:
    if "location" not in truth.dims:
        return None
    axis = truth.dims.index("location")
    return np.flatnonzero(np.moveaxis(test, axis, 0).reshape(test.shape[axis], -1).any(1))


def _within(values: npt.NDArray[Any], where: Where) -> npt.NDArray[Any]:
    """Take the tested locations, which are the first dim of labels that have them."""
    return values if where is None else values[where]


def _only(truth: xr.DataArray, part: npt.NDArray[np.bool_]) -> xr.DataArray:
    """Keep the labels of a part."""
    labels = truth.copy(data=np.where(part, truth.values, np.uint8(NO_LABEL)))
    labels.attrs = {}
    return labels


def _compute(
    maps: list[xr.Dataset], dims: tuple[Any, ...], here: npt.NDArray[np.bool_]
) -> list[Found]:
    """Compute what maps say of tested pixels, at once: shares of labels have features in common."""
    import dask

    def describe(own: xr.Dataset) -> tuple[Any, Any, Any]:
        # Where a pixel is invalid, so is its label, and it is not judged.
        best = own.probability.fillna(0).argmax("category")
        layers = (own.label, best, own.probability.max("category"))
        return tuple(layer.transpose(*dims).data for layer in layers)

    read = dask.compute(*(describe(own) for own in maps))
    return [(codes[here], best[here], sure[here]) for codes, best, sure in read]


def _count(
    tally: Tally,
    k: int,
    found: list[list[Found]],
    numbers: npt.NDArray[np.uint8],
    block: npt.NDArray[np.intp],
    legend: Legend,
) -> None:
    """Add a fold's tested pixels to the tally, where all variants give a category."""
    judged = np.ones(len(numbers), bool)
    for codes, _, _ in chain.from_iterable(found):
        judged &= codes != NO_LABEL
    tally.n_unjudged[k] = int((~judged).sum())
    rows, groups = numbers[judged], block[judged]
    for v, own in enumerate(found):
        for s, (codes, best, sure) in enumerate(own):
            cols = number_categories(codes[judged], legend)
            tally.counts[v, s] += count_pairs(
                rows, cols, groups, n_groups=len(tally.blocks), n_categories=len(legend.codes)
            )
            tally.bins[v, s] += sum_bins(sure[judged], best[judged] == rows, tally.bins.shape[-1])
