"""Fitting a head: labelled cells are read, a classifier is fitted, its probabilities calibrated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.classifiers.calibration import find_temperature
from xcontrast.heads.classifiers.classifier import Codes, Floats
from xcontrast.heads.decision import check_balance
from xcontrast.heads.features import join_features
from xcontrast.heads.head import KINDS, Head
from xcontrast.heads.labels import match_labels
from xcontrast.heads.moments import pair_by_time
from xcontrast.heads.places import name_places
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.requirements import require_legend
from xcontrast.version import __version__

__all__ = ["fit"]

N_MAX = 20_000
"""Labelled cells that a head is fitted on, at most, but for rare categories."""
N_RARE = 500
"""Cells of a category that are always kept."""


def fit(
    embedding: xr.DataArray | xr.Dataset,
    labels: Any,
    *,
    legend: Legend,
    column: str | None = None,
    kind: Literal["linear", "knn", "forest", "boosting", "prototypes"] = "linear",
    groups: str | None = None,
    balance: float = 0.5,
    tolerance: str | pd.Timedelta = "3D",
    seed: int = 0,
) -> Head:
    """Fit a small classifier on the labelled cells of an embedding.

    Only the blocks that hold labelled cells are computed; for a few points in a large cube,
    ``cube.contrast.embed(model, at=points)`` computes less still. Cells without a valid embedding
    are left out. Probabilities are calibrated on places held out.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, y, x)`` float32, or ``(…, feature)`` of whole images or of points; a Dataset
        of both sensors is joined along ``feature``. One time at most, unless the labels have
        times.
    labels : DataArray or geometries
        See :func:`xcontrast.heads.labels.match_labels`. With times (a column or coord ``time``, or
        a dim ``time``), each label is fitted on the embedding nearest in time.
    legend : Legend
        What the codes mean.
    column : str, optional
        Column of a GeoDataFrame with codes or names.
    kind : {"linear", "knn", "forest", "boosting", "prototypes"}
        Logistic regression, its strength chosen by cross-validation over places; the 15 nearest
        labelled cells by cosine; a random forest; gradient boosting; or the nearest mean
        direction of a category, for a handful of points.
    groups : str, optional
        A coord of the embedding's leading dim, such as ``"scene"``: places with one value are
        held out together. By default each location is a place, and of a scene each block of 32
        x 32 cells.
    balance : float, default 0.5
        How much more rare categories weigh when a map chooses its labels: each probability is
        multiplied by the category's share of the labelled cells to the power of minus this. At 0
        the most probable category is chosen; at 1 a category of a tenth of the cells needs a tenth
        of the probability. The power is divided by the temperature, so that calibration changes
        no label. Probabilities themselves stay as they are. Prototypes weigh categories alike by
        nature, and take no notice.
    tolerance : str or Timedelta, default "3D"
        Longest time between a label and an embedding; labels farther from any are left out.
    seed : int, default 0
        Draws cells where there are more than a head takes, and places.

    Returns
    -------
    Head

    Raises
    ------
    DataError
        If the embedding has several times and the labels none, labels do not fit, fewer than two
        categories are labelled on valid cells, the kind is unknown, `legend` is none, or
        `balance` is not between 0 and 1.

    References
    ----------
    Guo et al. (2017), section 4.2, for the calibration.

    Examples
    --------
    >>> head = xc.fit(emb.s1, points, legend=xc.FLOOD, column="category")
    >>> head.kind, sum(head.facts["n_cells"].values())
    ('linear', 38)
    >>> emb.s1.contrast.fit(labels, legend=xc.FLOOD, kind="knn").kind
    'knn'
    """
    if kind not in KINDS:
        raise DataError(
            problem(expected=f"a kind of {', '.join(KINDS)}", received=repr(kind), do="choose one")
        )
    check_balance(balance)
    require_legend(legend)
    parts = pair_by_time(embedding, labels, tolerance=tolerance)
    read = []
    for part, own in parts:
        features, facts = join_features(part)
        codes = match_labels(
            own, features, legend=legend, column=column, may_be_empty=len(parts) > 1
        )
        read.append(_labelled_cells(features, codes, legend, groups, N_MAX // len(parts), seed))
    x = np.concatenate([cells[0] for cells in read])
    y = np.concatenate([cells[1] for cells in read])
    # By name, so that one place at several times is one.
    place = np.unique(np.concatenate([cells[2] for cells in read]), return_inverse=True)[1].ravel()
    _check_categories(y, legend)
    n = len(legend.codes)
    classifier = KINDS[kind].fit(x, y, place, n_categories=n, seed=seed)
    temperature, n_held = find_temperature(classifier, x, y, place, seed=seed)
    facts |= {
        "n_cells": {legend.names[i]: int((y == i).sum()) for i in np.unique(y)},
        "n_features": x.shape[1],
        "n_places": len(np.unique(place)),
        "n_calibrated": n_held,
        "balance": float(balance),
        "seed": seed,
        "xcontrast": __version__,
    }
    return Head(kind, legend, classifier, facts, temperature)


def _check_categories(y: Codes, legend: Legend) -> None:
    present = np.unique(y)
    if len(present) < 2:
        names = ", ".join(legend.names[i] for i in present) or "none"
        raise DataError(
            problem(
                expected="at least two categories on cells with a valid embedding",
                received=names,
                do="label a second category, or labels where the embedding is valid",
            )
        )


def _labelled_cells(
    features: xr.DataArray,
    codes: xr.DataArray,
    legend: Legend,
    groups: str | None,
    n_max: int,
    seed: int,
) -> tuple[Floats, Codes, npt.NDArray[np.str_]]:
    """Read features at labelled cells only: (N, F), category numbers (N,), names of places (N,)."""
    expected = tuple(d for d in features.dims if d != "feature")
    if codes.dims != expected:
        raise DataError(
            problem(
                expected=f"labels with the dims {expected}",
                received=str(codes.dims),
                do="give labels for each of the embedding's leading dims, and no others",
            )
        )
    where = _draw_cells(codes.values, legend, n_max, seed)
    index = {d: xr.DataArray(i, dims="cell") for d, i in zip(codes.dims, where, strict=True)}
    x = features.isel(index).transpose("cell", "feature").values.astype(np.float32)
    numbers = np.full(256, -1, np.intp)
    numbers[list(legend.codes)] = np.arange(len(legend.codes))
    y: Codes = numbers[codes.values[where]]
    place = name_places(features, dict(zip(expected, where, strict=True)), groups)
    valid = np.isfinite(x).all(1)
    return x[valid], y[valid], place[valid]


def _draw_cells(
    codes: npt.NDArray[np.uint8], legend: Legend, n_max: int, seed: int
) -> tuple[npt.NDArray[np.intp], ...]:
    """Choose labelled cells: all, or a seeded draw that keeps shares but spares rare categories."""
    flat = codes.ravel()
    labelled = np.flatnonzero(flat != NO_LABEL)
    if len(labelled) > n_max:
        rng = np.random.default_rng(seed)
        kept = []
        for code in legend.codes:
            own = np.flatnonzero(flat == code)
            n = max(N_RARE, round(n_max * len(own) / len(labelled)))
            kept.append(rng.permutation(own)[:n])
        labelled = np.sort(np.concatenate(kept))
    return np.unravel_index(labelled, codes.shape)
