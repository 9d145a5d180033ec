"""BigEarthNet of 19 classes: linear probe and fine-tuning under Seasonal Contrast's protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.model import Model, SensorCard
from xcontrast.protocols.corine import CATEGORIES
from xcontrast.protocols.encoders import deepest_features, rescale
from xcontrast.protocols.metrics import micro_precision
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.patches import BANDS, open_bigearthnet, open_patches
from xcontrast.protocols.probing import Recipe, probe_features, probe_images
from xcontrast.protocols.resizing import resize
from xcontrast.protocols.subsets import draw_share
from xcontrast.protocols.tables import summarise

__all__ = ["INPUT", "depart", "open_bigearthnet", "run_bigearthnet"]

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]
Probe = Callable[[Rows, Floats, int], Floats]
"""From training rows, their targets and a seed to logits of what is scored."""
RESIZED = 128
STATISTICS = {
    "B04": (590.23569706, 675.88746967),
    "B03": (614.21682446, 582.87945694),
    "B02": (429.9430203, 572.41639287),
}
"""Mean and deviation, DN, in Seasonal Contrast's public code."""
INPUT = SensorCard(
    bands=tuple(STATISTICS),
    units="1",
    gsd=10.0,
    curve="clip",
    low=tuple((mean - 2 * std) / 1e4 for mean, std in STATISTICS.values()),
    high=tuple((mean + 2 * std) / 1e4 for mean, std in STATISTICS.values()),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
)
"""The published input: mean less to plus two deviations as 0 to 1."""
RECIPES = {
    "linear": Recipe(loss="soft-margin", learning_rate=1e-3, batch_size=1024, dropout=0.2),
    "fine-tune": Recipe(
        loss="soft-margin", learning_rate=1e-5, batch_size=256, dropout=0.2, trained="all"
    ),
}
SHARES = {"10 %": 0.1, "100 %": 1.0}


def run_bigearthnet(
    dataset: xr.Dataset,
    model: Model,
    *,
    ways: Sequence[Literal["linear", "fine-tune"]] = ("linear", "fine-tune"),
    options: ReproduceOptions | None = None,
) -> pd.DataFrame:
    """Probe and fine-tune an encoder on a tenth and on all of the training patches.

    Parameters
    ----------
    dataset : Dataset
        Of :func:`open_bigearthnet`.
    model : Model
        With an encoder for Sentinel-2. The deepest level is used; batch norms keep their
        statistics, as published.
    ways : sequence of {"linear", "fine-tune"}
        Fine-tuning reads every patch in every epoch.
    options : ReproduceOptions, optional
        Where it departs from the published code, and how long it trains.

    Returns
    -------
    DataFrame
        Micro-averaged average precision in percent, as
        :func:`xcontrast.protocols.tables.published`.

    Raises
    ------
    DataError
        If the split that is scored is empty, or the model takes other bands.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4.1 and its public code.

    Examples
    --------
    >>> from xcontrast.protocols.encoders import make_random
    >>> from xcontrast.protocols.options import ReproduceOptions
    >>> untrained = make_random({"s2": INPUT}, encoder="test_resnet")
    >>> options = ReproduceOptions(max_steps=1, batch_size=2)
    >>> patches = open_bigearthnet(files["bigearthnet"])
    >>> list(run_bigearthnet(patches, untrained, ways=("linear",), options=options).task)
    ['linear, 10 %', 'linear, 100 %']
    """
    options = options or ReproduceOptions()
    scored = "val" if options.paper_compat else "test"
    train, test = (dataset.isel(location=dataset["split"].values == s) for s in ("train", scored))
    if not test.sizes["location"]:
        raise DataError(
            problem(
                expected="patches in the split 'test', which is scored",
                received="none: there is no bigearthnet-test.txt",
                do="fetch the list, or set paper_compat=True to score 'val' as the published code",
            )
        )
    if options.paper_compat:
        model = rescale(model, "s2", INPUT)
    targets, truth = (part["labels"].values for part in (train, test))
    rows = []
    for way in ways:
        probe = (_freeze if way == "linear" else _unfreeze)(train, test, model, options)
        size = RECIPES[way].batch_size if options.paper_compat else None
        for told, share in SHARES.items():
            scores = []
            for seed in range(options.seed, options.seed + options.repeats):
                drawn = draw_share(len(targets), share, seed=seed, replace=options.paper_compat)
                logits = probe(drawn, targets[drawn].astype("float32"), seed)
                scores.append(micro_precision(truth, logits, batch_size=size))
            rows.append(summarise(f"{way}, {told}", model.card.method, scores))
    return pd.DataFrame(rows)


def _reopen(dataset: xr.Dataset, model: Model) -> xr.DataArray:
    """Open only the bands of a model, resized: the others would be read for nothing."""
    names = {"patch": "location", "split": "split", "folder": "folder"}
    table = pd.DataFrame({ours: dataset[theirs].values for ours, theirs in names.items()})
    known = [band for band in model.card.sensors["s2"].bands if band in BANDS]
    return resize(open_patches(table, known)["s2"], RESIZED)


def _freeze(train: xr.Dataset, test: xr.Dataset, model: Model, options: ReproduceOptions) -> Probe:
    """Probe features that are computed once: no augmentation and no batch norm changes them."""
    x, z = (
        deepest_features(_reopen(part, model), model, device=options.device)
        for part in (train, test)
    )

    def probe(rows: Rows, targets: Floats, seed: int) -> Floats:
        n = len(CATEGORIES)
        recipe = RECIPES["linear"]
        return probe_features(
            x[rows], targets, z, recipe, n_categories=n, seed=seed, options=options
        )

    return probe


def _unfreeze(
    train: xr.Dataset, test: xr.Dataset, model: Model, options: ReproduceOptions
) -> Probe:
    """Train the encoder too, with patches read as they are drawn."""
    told = ["split", "folder"]

    def read(part: xr.Dataset, rows: Rows) -> Floats:
        # Of the dataset's own chunks most would be read for nothing.
        images: Floats = _reopen(part.isel(location=rows), model).values
        return images

    def probe(rows: Rows, targets: Floats, seed: int) -> Floats:
        return probe_images(
            partial(read, train[told].isel(location=rows)), targets,
            partial(read, test[told]), test.sizes["location"], RECIPES["fine-tune"], model,
            n_categories=len(CATEGORIES), seed=seed, adapt=False, options=options,
        )  # fmt: skip

    return probe


def depart(options: ReproduceOptions) -> list[str]:
    """Say where a run is not what the paper's code does."""
    if options.paper_compat:
        return ["values are clipped after resizing, not before, and not rounded to 8 bits",
                "the score is that after the last epoch"]  # fmt: skip
    return [
        "images are in the bands and the scaling of the model's card, not red, green and blue from "
        "two deviations around the mean (but for a random model)",
        "the tenth is drawn without replacement",
        "the test split is scored, not the validation split, and all of it at once",
    ]
