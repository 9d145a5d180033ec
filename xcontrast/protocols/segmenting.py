"""The dual-encoder paper's protocol for maps: a rate from a sweep, then shares of the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import TrainingError, problem
from xcontrast.heads.maps import predict
from xcontrast.heads.segmenting.finetune import finetune
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.legends import Legend
from xcontrast.model import Model
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.subsets import draw_disjoint
from xcontrast.protocols.tables import summarise

__all__ = ["RATES", "Share", "follow_shares", "run_shares", "sweep"]

Rows = npt.NDArray[np.intp]
Metric = Callable[[xr.DataArray, xr.DataArray], float]
"""From map and truth to a score, higher is better."""
RATES = (1e-1, 1e-2, 1e-3, 1e-4)
DECODER: Literal["deeplabv3plus"] = "deeplabv3plus"
BATCH = 64


@dataclass(frozen=True)
class Share:
    """How much of the training set is labelled, and how often it is tried."""

    name: str
    part: float
    n_runs: int
    """Subsets without overlap; of the whole, repeats."""


def sweep(rates: Sequence[float], validate: Callable[[float], float]) -> float:
    """Give the rate that validates best; the first of equals.

    Parameters
    ----------
    rates : sequence of float
        To try.
    validate : callable
        From a rate to a score; NaN, as of a training that diverged, is the worst.

    Returns
    -------
    float

    Raises
    ------
    TrainingError
        If every score is NaN.

    Examples
    --------
    >>> sweep((0.1, 0.01, 0.001), {0.1: float("nan"), 0.01: 60.0, 0.001: 50.0}.get)
    0.01
    """
    scores = np.array([validate(rate) for rate in rates], float)
    if np.isnan(scores).all():
        tried = ", ".join(map(str, rates))
        raise TrainingError(
            problem(
                expected="a score of one rate at least",
                received=f"the rates {tried}, which all diverged or scored NaN",
                do="look for extreme values in the images, and in the validation labels for what "
                "is scored",
            )
        )
    return rates[int(np.nanargmax(scores))]


def run_shares(
    n: int, shares: Sequence[Share], run: Callable[[Rows, int], float], *, seed: int
) -> dict[str, list[float]]:
    """Run on fixed subsets of each share, and repeatedly on the whole.

    Parameters
    ----------
    n : int
        Training images.
    shares : sequence of Share
        Which.
    run : callable
        From rows and a seed to a score.
    seed : int
        Fixes the subsets; run k has the seed ``seed + k``.

    Returns
    -------
    dict
        Scores of each share.
    """
    found = {}
    for share in shares:
        if share.part < 1:
            subsets = draw_disjoint(n, share.part, share.n_runs, seed=seed)
        else:
            subsets = [np.arange(n)] * share.n_runs
        found[share.name] = [run(rows, seed + k) for k, rows in enumerate(subsets)]
    return found


def follow_shares(
    dataset: xr.Dataset,
    model: Model,
    *,
    sensor: str,
    legend: Legend,
    shares: Sequence[Share],
    n_steps: int,
    metric: Metric,
    options: ReproduceOptions,
) -> pd.DataFrame:
    """Choose the rate on all training images, then score each share on the test images.

    Parameters
    ----------
    dataset : Dataset
        A collection with ``label (location, y, x)``, and ``split`` (train, valid, test) on
        ``location``.
    model : Model
        Whose encoder is fine-tuned.
    sensor : str
        Which of its encoders.
    legend : Legend
        Of the labels.
    shares : sequence of Share
        How much is labelled.
    n_steps : int
        Of each training, as published.
    metric : callable
        From map and truth to a score.
    options : ReproduceOptions
        Seed, device and steps.

    Returns
    -------
    DataFrame
        A row a share, as of :func:`xcontrast.protocols.tables.published`.

    Raises
    ------
    TrainingError
        If the training of every rate diverges, or that of a share does.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 4: SGD, poly rate, batch of 64, crops of 321 px, rates
    from a sweep on the full training set that subsets take over.
    """
    train, valid, test = (
        dataset.isel(location=dataset["split"].values == split)
        for split in ("train", "valid", "test")
    )

    def score(rows: Rows, held: xr.Dataset, rate: float, seed: int) -> float:
        # Validation chips come along, to choose the weights by.
        part = xr.concat([train.isel(location=rows), valid], "location")
        label = _finetune_and_map(part, held, model, sensor, legend, n_steps, rate, seed, options)
        return metric(label, held["label"])

    every = np.arange(train.sizes["location"])

    def validate(rate: float) -> float:
        try:
            return score(every, valid, rate, options.seed)
        except TrainingError:
            return math.nan

    best = sweep(RATES, validate)
    found = run_shares(
        len(every), shares, lambda rows, seed: score(rows, test, best, seed), seed=options.seed
    )
    start = model.card.method
    return pd.DataFrame([summarise(name, start, scores) for name, scores in found.items()])


def _finetune_and_map(
    part: xr.Dataset,
    held: xr.Dataset,
    model: Model,
    sensor: str,
    legend: Legend,
    n_steps: int,
    rate: float,
    seed: int,
    options: ReproduceOptions,
) -> xr.DataArray:
    segmenter = finetune(
        part[[sensor]],
        part["label"],
        model,
        legend=legend,
        decoder=DECODER,
        max_steps=options.limit(n_steps),
        batch_size=options.batch_size or BATCH,
        options=FinetuneOptions.paper(
            "dual-encoder",
            learning_rate=rate,
            groups="split",
            held_groups=("valid",),
            seed=seed,
            device=options.device,
        ),
    )
    label: xr.DataArray = predict(held[[sensor]], segmenter)["label"]
    return label
