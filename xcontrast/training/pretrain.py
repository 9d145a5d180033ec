"""From a cube, pairs or chips to a model: the whole of pretraining in one call."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, TrainingError, problem
from xcontrast.folders import claim_folder
from xcontrast.model import Card, Model, write_model
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.cutting import chips
from xcontrast.sampling.pairing import pairs
from xcontrast.sampling.saving import is_saved, load_chips, partial_of
from xcontrast.sensors import SENSORS
from xcontrast.training.facts import describe_run, describe_sensors, describe_training
from xcontrast.training.options import PretrainOptions
from xcontrast.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


__all__ = ["pretrain"]

SMALLEST_BATCH = 8
CHIPS = "chips.zarr"
"""In the folder of a model: what it was trained on, where that was lazy."""
STOPPED = ("checkpoint.ckpt", "run.json", ".checkpoint.ckpt.partial", ".run.json.partial")
"""In the folder of a model that is still to be: where its run stands."""


def pretrain(
    obj: xr.Dataset | Chips,
    *,
    method: Literal["multimodal"] = "multimodal",
    encoder: str = "resnet18",
    max_steps: int | None = None,
    batch_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: bool = True,
    options: PretrainOptions | None = None,
) -> Model:
    """Train one encoder a sensor on positive pairs, without labels.

    A cube is paired (within three days) and cut into chips first; pairs are cut; chips are taken
    as they are. A part of the ground is held out, in blocks or by location, and the two sensors
    are retrieved from each other there all along.

    Parameters
    ----------
    obj : Dataset or Chips
        A cube or collection with both sensors, pairs, or chips.
    method : {"multimodal"}
        The contrastive method: the dual encoder.
    encoder : str, default "resnet18"
        Any timm network with a feature pyramid.
    max_steps : int, optional
        Training steps; by default 100 passes over the chips, at least 300 and at most 20,000.
        0 writes the untrained network with its normaliser: the baseline of random weights.
    batch_size : int, optional
        Pairs a step; by default 256, or half the chips where there are fewer than 512.
    out : path, optional
        Folder of the model; by default one in the user's cache.
    cache : bool, default True
        Chips of lazy data are written once, as by :meth:`Chips.save`, to ``out/chips.zarr``, and
        stay there for the next run; without `out`, for the run alone. A stopped call goes on
        where it was. False reads them into memory.
    options : PretrainOptions, optional
        All the rest.

    Returns
    -------
    Model
        Written to `out`. Ctrl-C ends training early and returns the model so far. A run that was
        killed goes on from its last checkpoint in `out`, to the step, when it is called again.

    Raises
    ------
    DataError
        If there are no pairs or no valid chips, an option is out of range, or another run was
        begun in `out`.
    TrainingError
        If there are fewer chips than a batch, the loss is not finite, or the features collapse.
    ModelError
        If `out` holds something, or the encoder gives no feature pyramid.

    References
    ----------
    Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks.
    """
    options = options or PretrainOptions()
    if method != "multimodal":
        raise DataError(
            problem(expected="method 'multimodal'", received=repr(method), do="leave it out")
        )
    begun = (CHIPS, partial_of(Path(CHIPS)).name, *STOPPED)
    target = None if out is None else claim_folder(out, but=begun)
    windows = _as_chips(obj, options)
    # What cannot be trained on is refused before anything is read.
    train_chips, _ = _split(windows, options)
    size = _choose_batch(batch_size, len(train_chips))
    steps = _choose_steps(max_steps, len(train_chips), size)
    with ExitStack() as stack:
        folder = target
        if folder is None and cache:
            folder = Path(stack.enter_context(TemporaryDirectory(dir=_cache_root())))
        windows = _bring_near(windows, folder if cache else None, options)
        try:
            card, weights, history = _train(windows, method, encoder, steps, size, target, options)
        except TrainingError:
            # A run that failed is over: the next one may be told otherwise.
            _forget_run(target)
            raise
    if target is None:
        target = Path(mkdtemp(dir=_cache_root()))
    model = write_model(target, card, weights, history=history)
    _forget_run(target)
    return model


def _forget_run(folder: Path | None) -> None:
    if folder is not None:
        for name in STOPPED:
            (folder / name).unlink(missing_ok=True)


def _train(
    windows: Chips,
    method: str,
    encoder: str,
    steps: int,
    size: int,
    folder: Path | None,
    options: PretrainOptions,
) -> tuple[Card, dict[str, Tensor], pd.DataFrame]:
    """Train on chips whose pixels are at hand."""
    # torch and Lightning take seconds to import: only now is it sure that they are needed.
    import torch

    from xcontrast.nn.encoders import measure_levels
    from xcontrast.sampling.loader import Loader
    from xcontrast.sampling.statistics import measure_statistics
    from xcontrast.training.checkpoints import find_checkpoint
    from xcontrast.training.loop import train
    from xcontrast.training.methods.multimodal import Multimodal
    from xcontrast.training.monitor import choose_watched

    train_chips, held_chips = _split(windows, options)
    seed, progress = options.seed, options.progress
    loader = Loader(train_chips, batch_size=size, n_steps=steps, seed=seed, progress=progress)
    held = Loader(choose_watched(held_chips, seed=seed), batch_size=1, progress=progress)
    statistics = measure_statistics(loader, seed=seed)
    checkpoint = None
    if folder is not None and steps:
        called = {"method": method, "encoder": encoder, "steps": steps, "batch_size": size}
        told = describe_run(train_chips, statistics, options, **called)
        checkpoint = find_checkpoint(folder, told)
    n_bands = {s.name: windows.pairs.sizes[s.band] for s in windows.sensors}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Multimodal(
            n_bands,
            encoder=encoder,
            out_stride=options.out_stride,
            n_hidden=options.n_hidden,
            n_projected=options.n_projected,
            temperature=options.temperature,
        )
        levels = measure_levels(network.encoder("s1"))
        run = train(
            network,
            loader,
            held,
            statistics,
            max_steps=steps,
            crop_size=options.crop_size or _choose_crop(windows.size),
            options=options,
            folder=folder,
            checkpoint=checkpoint,
        )
    card = Card(
        method=method,
        encoder=encoder,
        out_stride=options.out_stride,
        levels=tuple(asdict(level) for level in levels),
        n_hidden=options.n_hidden,
        n_projected=options.n_projected,
        sensors=describe_sensors(windows, statistics),
        training=describe_training(windows, train_chips, held_chips, size, options, run),
        xcontrast=__version__,
    )
    return card, network.state(), run.history


def _split(windows: Chips, options: PretrainOptions) -> tuple[Chips, Chips]:
    return windows.split(fraction=options.val_fraction, buffer=0, seed=options.seed)


def _bring_near(windows: Chips, folder: Path | None, options: PretrainOptions) -> Chips:
    """Have pixels that are lazy written to a folder, or without one read into memory."""
    lazy = windows.pixels is None and any(
        windows.pairs[sensor.name].chunks is not None for sensor in windows.sensors
    )
    if not lazy:
        return windows
    if folder is None:
        return windows.load(progress=options.progress)
    path = folder / CHIPS
    if not path.exists():
        return windows.save(path, seed=options.seed, progress=options.progress)
    if not is_saved(windows, path, seed=options.seed):
        raise DataError(
            problem(
                expected="the chips of this call, as an earlier one wrote them",
                received=f"other chips in {path}",
                do="choose another `out`, or remove that store",
            )
        )
    return load_chips(path)


def _as_chips(obj: xr.Dataset | Chips, options: PretrainOptions) -> Chips:
    if isinstance(obj, Chips):
        found = obj
    elif "pair" in obj.dims:
        found = chips(obj, size=options.chip_size)
    else:
        found = chips(pairs(obj), size=options.chip_size)
    if len(found.sensors) < len(SENSORS):
        raise DataError(
            problem(
                expected="chips with both sensors",
                received=f"only {', '.join(s.title for s in found.sensors)}",
                do="pair a cube that has s1 and s2",
            )
        )
    return found


def _choose_batch(batch_size: int | None, n_chips: int) -> int:
    size = batch_size if batch_size is not None else min(256, max(SMALLEST_BATCH, n_chips // 2))
    if size < 2 or n_chips < size:
        raise TrainingError(
            problem(
                expected=f"at least as many training chips as a batch ({size}, of 2 or more)",
                received=f"{n_chips} chips",
                do="use a smaller `batch_size`, smaller chips, a stride below their size, "
                "or a longer period",
            )
        )
    return size


def _choose_steps(max_steps: int | None, n_chips: int, batch_size: int) -> int:
    if max_steps is None:
        return int(np.clip(100 * n_chips // batch_size, 300, 20_000))
    if max_steps < 0:
        raise DataError(
            problem(expected="max_steps of 0 or more", received=str(max_steps), do="leave it out")
        )
    return max_steps


def _choose_crop(chip_size: int) -> int:
    return max(16, chip_size * 3 // 4 // 16 * 16)


def _cache_root() -> Path:
    from platformdirs import user_cache_path

    root = Path(os.environ.get("XCONTRAST_CACHE") or user_cache_path("xcontrast")) / "models"
    root.mkdir(parents=True, exist_ok=True)
    return root
