"""What an encoder is worth: the same folds, labels and pixels for it and for what it must beat."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any

import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.evaluation.layout import lay_folds
from xcontrast.evaluation.material import from_cube, from_embedding
from xcontrast.evaluation.options import ProbeOptions
from xcontrast.evaluation.results import describe_scores
from xcontrast.evaluation.rounds import judge
from xcontrast.legends import Legend
from xcontrast.model import Model
from xcontrast.requirements import require_legend
from xcontrast.version import __version__

__all__ = ["probe"]


def probe(
    obj: xr.DataArray | xr.Dataset,
    labels: Any,
    *,
    legend: Legend,
    model: Model | None = None,
    column: str | None = None,
    event: str | pd.Timestamp | None = None,
    kind: str = "linear",
    folds: xr.DataArray | str = "spatial",
    n_folds: int | None = 5,
    fractions: tuple[float, ...] = (1.0,),
    options: ProbeOptions | None = None,
) -> xr.Dataset:
    """Cross-validate a head on frozen features over blocks of ground, beside simple baselines.

    Every variant is fitted on the same labels and judged on the same pixels, at the resolution of
    the labels. Each labelled pixel is tested once, in a fold whose labels are at least the buffer
    away. Pixels that any variant leaves without a category are left out for all, and counted.

    Parameters
    ----------
    obj : DataArray or Dataset
        An embedding ``(…, feature, y, x)`` with one time, or pooled ``(location, feature)``; or,
        with `model`, a cube or collection, which is embedded here (stride 4 px by default) and of
        whose pixels the baselines are made.
    labels : DataArray or geometries
        As for :func:`xcontrast.fit`; ``(location, …)`` for a collection. With a cube they are
        judged on its pixels, with an embedding on their own grid, or its cells for geometries.
    legend : Legend
        What the codes mean.
    model : Model, optional
        Embeds `obj`.
    column : str, optional
        Column of a GeoDataFrame with codes or names.
    event : str or Timestamp, optional
        Features before and after it and their difference are fitted on, see
        :func:`xcontrast.before_after`; also taken where there are just two times.
    kind : str, default "linear"
        Of the heads, as for :func:`xcontrast.fit`.
    folds : str or DataArray, default "spatial"
        ``"spatial"``: squares of the labels' grid. The name of a coord or of the dim
        ``location``, or a DataArray of numbers or names on ``location`` or on ``y`` and ``x``:
        its groups are never split (events, scenes).
    n_folds : int or None, default 5
        Parts that squares or groups are spread over at random; None leaves one out at a time.
    fractions : tuple of float, default (1.0,)
        Shares of the squares, or of the locations, that are labelled in the training part of a
        fold, drawn whole, the smaller within the larger.
    options : ProbeOptions, optional
        Blocks, buffer, baselines, seed and the rest.

    Returns
    -------
    Dataset
        Of each ``variant`` ("embedding" first) and ``fraction``: ``iou``, ``f1``, ``precision``,
        ``recall`` by ``category``, ``accuracy``, ``kappa``, ``mean_iou``, ``mean_f1``, pooled over
        all tested pixels; ``iou_over_blocks``, the mean of blocks, each of one weight;
        ``…_interval (…, bound)``, 95 % by bootstrap over blocks; ``…_gain``, what the embedding
        has more than each variant, with paired intervals; ``ece``, the expected calibration
        error; ``confusion (…, truth, predicted)`` and ``block_confusion (…, block, truth,
        predicted)``, pixels. By ``fold``: ``n_train``, ``n_dropped`` (in the buffer) and
        ``n_unjudged``. A block is a square or a group.

    Raises
    ------
    DataError
        If labels, folds, fractions or times do not fit, or a fold has labels of one category.

    Warns
    -----
    UserWarning
        If nothing but the embedding can be judged, the buffer is not known or takes most labels.

    References
    ----------
    Roberts et al. (2017), Cross-validation strategies for data with temporal, spatial,
    hierarchical, or phylogenetic structure, for blocks. Ploton et al. (2020) for buffers. The
    shares of labels are those of Jain et al. (2022), section 4, who draw five subsets apart.

    Examples
    --------
    >>> options = xc.ProbeOptions(
    ...     block=32, buffer=4, baselines=("statistics", "pixels"), progress=False
    ... )
    >>> one = cube.s1.isel(s1_time=0)
    >>> scores = xc.probe(one, labels, legend=xc.FLOOD, model=model, options=options)
    >>> list(scores.variant.values)
    ['embedding', 'statistics', 'pixels']
    >>> scores.iou.dims
    ('variant', 'fraction', 'category')
    """
    require_legend(legend)
    options = options or ProbeOptions()
    fractions = _check_fractions(fractions)
    with ExitStack() as stack:
        if model is None:
            warnings.warn(
                "an embedding alone cannot be compared with anything: give the cube and "
                "model=... for the baselines beside it",
                stacklevel=2,
            )
            material = from_embedding(obj, labels, legend, column, event, kind, options)
        else:
            material = from_cube(obj, labels, model, legend, column, event, kind, options, stack)
        blocks = lay_folds(obj, material, folds, n_folds, options)
        tally = judge(material, blocks, legend, fractions, options)
    scores = describe_scores(tally, legend, n_draws=options.n_draws, seed=options.seed)
    scores.attrs = {
        "legend": legend.title,
        "kind": kind,
        "folds": folds if isinstance(folds, str) else "given groups",
        "n_folds": blocks.n_folds,
        "buffer": blocks.buffer,
        "seed": options.seed,
        "baselines": ", ".join(tally.variants[1:]) or "none: an embedding was given alone",
        "judged": "labelled pixels to which all variants give a category",
        **material.facts,
        "xcontrast": __version__,
    }
    return scores


def _check_fractions(fractions: tuple[float, ...]) -> tuple[float, ...]:
    shares = tuple(sorted(map(float, fractions)))
    if not shares or len(set(shares)) < len(shares) or not 0 < shares[0] <= shares[-1] <= 1:
        raise DataError(
            problem(
                expected="different fractions of the labels, above 0 and up to 1",
                received=str(fractions),
                do="give shares: fractions=(0.01, 0.1, 1.0)",
            )
        )
    return shares
