"""From a pretrained model and labels to a segmenter, in one call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.folders import (
    cache_root,
    cached_folder,
    claim_folder,
    publish_folder,
    stage_folder,
)  # fmt: skip
from xcontrast.heads.segmenting.crops import lay_crops
from xcontrast.heads.segmenting.ground import Ground, read_ground
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.heads.segmenting.presets import Preset, find_preset
from xcontrast.heads.segmenting.segmenter import (
    FORMAT,
    VERSION,
    Segmenter,
    SegmenterCard,
    load_segmenter,
)  # fmt: skip
from xcontrast.heads.segmenting.splits import TOO_FEW
from xcontrast.legends import Legend
from xcontrast.model import Model
from xcontrast.version import __version__

if TYPE_CHECKING:
    from xcontrast.heads.segmenting.training import Run
    from xcontrast.nn.segmentation import SegmentationNetwork

__all__ = ["finetune"]

BATCH_SIZE = 8
PASSES = 60
"""Over the labelled ground, where the number of steps is not given."""
STEPS = (200, 4000)
"""Fewest and most then."""
HELD = 128
"""Crops that are looked at, at most."""


def finetune(
    cube: xr.Dataset | xr.DataArray,
    labels: Any,
    model: Model,
    *,
    legend: Legend,
    decoder: Literal["unet", "deeplabv3plus"] | None = None,
    column: str | None = None,
    event: str | pd.Timestamp | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    preset: Literal["dual-encoder", "oscd"] | None = None,
    options: FinetuneOptions | None = None,
) -> Segmenter:
    """Train a decoder on a model's encoders, and these with it, to name every pixel.

    Of the sensors, those that both the cube and the model have are used. A part of the labelled
    ground is held out to stop early and to keep the best weights; where too little is labelled
    for that, all of it is trained on for `max_steps`, with a warning.

    Parameters
    ----------
    cube : Dataset or DataArray
        ``s1 (…, [s1_time], s1_band, y, x)`` dB and/or ``s2`` reflectance likewise: a cube, or a
        collection with a leading ``location`` and perhaps ``date``. One time of each sensor, or
        two: before and after, which pass one encoder.
    labels : DataArray or geometries
        Of the cube's pixels, see :func:`xcontrast.heads.labels.match_labels`. Only the ground
        around them is read.
    model : Model
        Whose encoders to begin from.
    legend : Legend
        What the codes mean.
    decoder : {"unet", "deeplabv3plus"}, optional
        By default "unet", or the preset's.
    column : str, optional
        Column of a GeoDataFrame with codes or names.
    event : str or Timestamp, optional
        Images before it are averaged into one, NaN-safe, those at and after it into another.
    max_steps : int, optional
        By default 60 passes over the labelled ground, 200 to 4,000 steps, or the preset's.
    batch_size : int, optional
        Crops a step; by default 8, or the preset's.
    out : path, optional
        Folder of the segmenter; by default one in the user's cache.
    preset : {"dual-encoder", "oscd"}, optional
        A published protocol: :meth:`FinetuneOptions.paper`, with its decoder, batch and length,
        each unless it is given here.
    options : FinetuneOptions, optional
        All the rest.

    Returns
    -------
    Segmenter
        Written to `out`. Ctrl-C ends training early and returns the best so far.

    Raises
    ------
    DataError
        If labels, bands, units or dates do not fit, fewer than two categories are labelled on
        valid pixels, or an option is out of range.
    ModelError
        If model and cube share no sensor, `out` holds something, or the encoder has not the
        levels that the decoder needs.
    TrainingError
        If the loss is not finite.

    Warns
    -----
    UserWarning
        If too little is labelled to hold some out.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 4, for "dual-encoder"; Manas et al. (2021), Seasonal
    Contrast, section 4.4, for "oscd".

    Examples
    --------
    >>> options = xc.FinetuneOptions(crop_size=32, val_fraction=0, progress=False)
    >>> one = cube.s1.isel(s1_time=[0])
    >>> segmenter = xc.finetune(one, labels, model, legend=xc.FLOOD, max_steps=1, options=options)
    >>> xc.predict(one, segmenter).label.dtype
    dtype('uint8')
    """
    options, published = _choose_settings(preset, options)
    _check_call(decoder, max_steps, batch_size)
    target = None if out is None else claim_folder(out)
    ground = read_ground(cube, labels, model, options, legend=legend, column=column, event=event)
    if ground.how == TOO_FEW:
        warnings.warn(
            "too little is labelled to hold some out: all of it is trained on, to the last step; "
            "val_fraction=0 says that this is meant",
            stacklevel=2,
        )
    size = batch_size or (published.batch_size if published else BATCH_SIZE)
    n_pixels = sum(ground.counts.values())
    steps = max_steps or _choose_steps(n_pixels, ground.crop, size, published)
    card = SegmenterCard(
        legend=legend,
        decoder=decoder or (published.decoder if published else "unet"),
        n_dates=ground.n_dates,
        temporal=options.temporal,
        encoder=model.card.encoder,
        out_stride=model.card.out_stride,
        stem=model.card.stem,
        sensors=ground.sensors,
        model_digest=model.digest,
        xcontrast=__version__,
    )
    network, run = _train(card, model, ground, options, size=size, steps=steps)
    told = {"batch_size": size, "event": None if event is None else str(event)}
    training = {**_describe(options), **told, **_describe_run(ground, run)}
    return _write(target, replace(card, training=training), network, run.history)


def _choose_settings(
    preset: str | None, options: FinetuneOptions | None
) -> tuple[FinetuneOptions, Preset | None]:
    if preset is None:
        return options or FinetuneOptions(), None
    published = find_preset(preset)
    if options is not None:
        raise DataError(
            problem(
                expected="either a preset or options",
                received="both",
                do=f"give options=FinetuneOptions.paper({preset!r}, ...) with what shall differ",
            )
        )
    return FinetuneOptions(**published.options), published


def _check_call(decoder: str | None, max_steps: int | None, batch_size: int | None) -> None:
    if decoder not in (None, "unet", "deeplabv3plus"):
        raise DataError(
            problem(
                expected="decoder 'unet' or 'deeplabv3plus'",
                received=repr(decoder),
                do="choose one of them, or leave `decoder` out",
            )
        )
    wrong = {"max_steps": max_steps, "batch_size": batch_size}
    wrong = {name: n for name, n in wrong.items() if n is not None and n < 1}
    if wrong:
        raise DataError(
            problem(
                expected="1 step or more, of 1 crop or more",
                received=", ".join(f"{name}={n}" for name, n in wrong.items()),
                do="leave them out for what suits the labels",
            )
        )


def _choose_steps(n_pixels: int, crop: int, size: int, published: Preset | None) -> int:
    if published is not None and published.steps is not None:
        return published.steps
    n_crops = max(1.0, n_pixels / crop**2)
    if published is not None and published.passes is not None:
        return max(1, round(published.passes * n_crops / size))
    return int(np.clip(PASSES * n_crops / size, *STEPS))


def _train(
    card: SegmenterCard,
    model: Model,
    ground: Ground,
    options: FinetuneOptions,
    *,
    size: int,
    steps: int,
) -> tuple[SegmentationNetwork, Run]:
    # torch takes seconds to import: only now is it sure that it is needed.
    import torch

    from xcontrast.heads.segmenting.networks import begin_network, build_scaling
    from xcontrast.heads.segmenting.steps import Plan
    from xcontrast.heads.segmenting.training import train

    crop, held = ground.crop, None
    if ground.held:
        held = lay_crops(ground.held, size=crop, at_most=HELD, seed=options.seed)
    turns = options.turns if options.turns is not None else "s1" not in card.sensors
    plan = Plan(steps, size, crop, turns, _weigh(ground.counts, card.legend, options.balance))
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        network = begin_network(card, model, options)
        run = train(network, build_scaling(card), ground.train, held, plan=plan, options=options)
    return network, run


def _weigh(counts: Mapping[str, int], legend: Legend, balance: float) -> tuple[float, ...] | None:
    """Give the weights of the categories, of mean 1 over the labelled pixels."""
    if not balance:
        return None
    share = np.array([counts.get(name, 0) for name in legend.names]) / sum(counts.values())
    weight = np.where(share > 0, share.clip(min=1e-9) ** -balance, 0.0)
    return tuple((weight / (weight * share).sum()).tolist())


def _describe(options: FinetuneOptions) -> dict[str, Any]:
    return {k: v for k, v in asdict(options).items() if k not in ("progress", "device")}


def _describe_run(ground: Ground, run: Run) -> dict[str, Any]:
    kept = ("steps", "best_step", "seconds", "device", "precision", "interrupted")
    how = ground.how
    if ground.held and not run.scores:
        how = f"nothing that was scored; {how} not trained on"
    return {
        "crop": ground.crop,
        "n_pixels": ground.counts,
        "held_out": how,
        **{name: getattr(run, name) for name in kept},
        **run.scores,
    }


def _write(
    target: Path | None,
    card: SegmenterCard,
    network: SegmentationNetwork,
    history: pd.DataFrame,
) -> Segmenter:
    folder = target if target is not None else Path(mkdtemp(dir=cache_root()))
    partial = stage_folder(folder)
    history.to_csv(partial / "history.csv", index=False)
    state = {k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}
    facts = card.to_json()
    publish_folder(partial, folder, form=FORMAT, version=VERSION, facts=facts, arrays=state)
    segmenter = load_segmenter(folder)
    if target is not None:
        return segmenter
    # By its digest: where every process looks for it.
    kept = cached_folder(segmenter.digest)
    folder.rename(kept)
    return load_segmenter(kept)
