"""From a cube, pairs or chips to a model: the whole of pretraining in one call."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from xcontrast.errors import DataError, TrainingError, problem
from xcontrast.folders import cache_root, claim_folder
from xcontrast.model import Card, Model, load_model, write_model
from xcontrast.plotting.live import CURVE
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.saving import partial_of
from xcontrast.training.checkpoints import STOPPED, forget_failure, forget_run
from xcontrast.training.facts import describe_run, describe_sensors, describe_training
from xcontrast.training.material import CHIPS, as_chips, bring_near, count_drawn
from xcontrast.training.options import PretrainOptions
from xcontrast.training.presets import BATCH_SIZES, PASSES, STEPS
from xcontrast.training.ranks import check_folder, first_goes_ahead, is_first
from xcontrast.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


__all__ = ["pretrain"]

SMALLEST_BATCH = 8


def pretrain(
    obj: xr.Dataset | Chips,
    *,
    method: Literal["multimodal", "seco", "simclr", "moco", "moco_tp"] = "multimodal",
    encoder: str | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: bool = True,
    preset: Literal["paper"] | None = None,
    options: PretrainOptions | None = None,
) -> Model:
    """Train one encoder a sensor on positive pairs, without labels.

    A cube is paired (within three days; for the seasonal methods by dates at least 60 days apart;
    simclr and moco take the dates of a cube of one sensor one by one) and cut into chips first;
    pairs are cut; chips are taken as they are. A part of the ground is held out, in blocks or by
    location, and what belongs together is retrieved there all along: the two sensors from each
    other, or one place at another date.

    Parameters
    ----------
    obj : Dataset or Chips
        A cube or collection, pairs, or chips.
    method : {"multimodal", "seco", "simclr", "moco", "moco_tp"}
        multimodal: two sensors at one place and time are positives, in one joint space. seco:
        one sensor at three dates, in three spaces: invariant to all, to the season, to artificial
        changes. The papers' baselines: simclr and moco, two artificial views of an image;
        moco_tp, of two dates. The last four train an encoder for each sensor there is, by itself.
    encoder : str, optional
        Any timm network with a feature pyramid; by default "resnet18".
    max_steps : int, optional
        Training steps; by default 100 passes over the chips, at least 300 and at most 20,000.
        0 writes the network as it begins, with its scaling: the baseline of random weights.
    batch_size : int, optional
        Chips a step; by default 256, or half the chips where there are fewer than 512.
    out : path, optional
        Folder of the model; by default one in the user's cache.
    cache : bool, default True
        Chips of lazy data are written once, as by :meth:`Chips.save`, to ``out/chips.zarr``, and
        stay there for the next run; without `out`, for the run alone. A stopped call goes on
        where it was. False reads them into memory.
    preset : {"paper"}, optional
        The published settings: those of :meth:`PretrainOptions.paper`, a ResNet-50 (ResNet-18 for
        the seasonal methods), the paper's batch and steps, each unless it is given here.
    options : PretrainOptions, optional
        All the rest.

    Returns
    -------
    Model
        Written to `out`. Ctrl-C ends training early and returns the model so far. A run that was
        killed goes on from its last checkpoint in `out`, to the step, when it is called again;
        on SIGTERM, as a scheduler sends it, one is written first.

    Raises
    ------
    DataError
        If there are no pairs or no valid chips, a sensor or dates that the method needs are
        missing, an option is out of range, the device is not here, or another run was begun in
        `out`.
    TrainingError
        If there are fewer chips than a batch, all of them overlap so that none is a negative of
        another, the loss is not finite, or the features collapse.
    ModelError
        If `out` holds something, the encoder gives no feature pyramid, or weights to begin from
        do not fit.

    Notes
    -----
    Where PyTorch's process group is up (``torchrun``, then ``init_process_group``), the batch is
    that of each process; projections are gathered with their gradients, so that every process
    sees the negatives of all, and batch norms are shared. All processes return the same model.

    References
    ----------
    Jain, Wilson and Gulshan (2022), Multimodal contrastive learning for remote sensing tasks.
    Manas et al. (2021), Seasonal Contrast. Chen et al. (2020), SimCLR. He et al. (2020), MoCo.

    Examples
    --------
    >>> options = xc.PretrainOptions(chip_size=32, crop_size=24, out_stride=8, progress=False)
    >>> mine = xc.pretrain(cube, max_steps=1, batch_size=4, out=folder / "mine", options=options)
    >>> mine.sensors, mine.card.method
    (('s1', 's2'), 'multimodal')
    """
    options, encoder, batch_size = _choose_settings(method, encoder, batch_size, preset, options)
    begun = (CHIPS, partial_of(Path(CHIPS)).name, CURVE, f".{CURVE}.partial", *STOPPED)
    target = None if out is None else claim_folder(out, but=begun)
    windows = as_chips(obj, method, options)
    # What cannot be trained on is refused before anything is read.
    train_chips, _ = _split(windows, options)
    size = _choose_batch(batch_size, len(train_chips))
    steps = _choose_steps(max_steps, len(train_chips), size, method, preset)
    options = _fill_in(options, windows.size, len(train_chips), size)
    if options.device != "auto":
        # torch takes a second to import, but pixels may take hours to read.
        from xcontrast.nn.precision import choose_device

        choose_device(options.device)
    with ExitStack() as stack:
        folder = target
        if folder is None and cache:
            folder = Path(stack.enter_context(TemporaryDirectory(dir=cache_root())))
        check_folder(target)
        with first_goes_ahead():
            windows = bring_near(windows, folder if cache else None, options)
        card, weights, history = _train(windows, method, encoder, steps, size, target, options)
    if target is None:
        target = Path(mkdtemp(dir=cache_root()))
    with first_goes_ahead():
        if not is_first():
            return load_model(target)
        model = write_model(target, card, weights, history=history)
        forget_run(target)
    return model


def _choose_settings(
    method: str,
    encoder: str | None,
    batch_size: int | None,
    preset: str | None,
    options: PretrainOptions | None,
) -> tuple[PretrainOptions, str, int | None]:
    if method not in BATCH_SIZES or preset not in (None, "paper"):
        raise DataError(
            problem(
                expected=f"a method of {', '.join(BATCH_SIZES)}, and preset None or 'paper'",
                received=f"method={method!r}, preset={preset!r}",
                do="choose one of them",
            )
        )
    if preset is None:
        return options or PretrainOptions(), encoder or "resnet18", batch_size
    if options is not None:
        raise DataError(
            problem(
                expected="either a preset or options",
                received="both",
                do=f"give options=PretrainOptions.paper({method!r}, ...) with what shall differ",
            )
        )
    published = "resnet50" if method in STEPS else "resnet18"
    options = PretrainOptions.paper(method, batch_size=batch_size)
    return options, encoder or published, batch_size or BATCH_SIZES[method]


def _fill_in(options: PretrainOptions, chip_size: int, n_chips: int, size: int) -> PretrainOptions:
    """Decide what was left to the data."""
    queue = options.queue or max(size, min(16_384, n_chips // 2))
    return replace(options, crop_size=options.crop_size or _choose_crop(chip_size), queue=queue)


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

    from xcontrast.sampling.loader import Loader
    from xcontrast.sampling.statistics import measure_statistics
    from xcontrast.training.checkpoints import find_checkpoint
    from xcontrast.training.loop import train
    from xcontrast.training.methods import BUILDERS
    from xcontrast.training.monitor import choose_watched
    from xcontrast.training.weights import begin_from

    train_chips, held_chips = _split(windows, options)
    seed, progress = options.seed, options.progress
    watched = choose_watched(held_chips, seed=seed)
    held = Loader(watched, batch_size=1, n_dates=1, seed=seed, progress=progress)
    loader = Loader(
        train_chips, batch_size=size, n_steps=steps, n_dates=count_drawn(windows, method, options),
        seed=seed, progress=progress,
    )  # fmt: skip
    statistics = measure_statistics(loader, seed=seed)
    checkpoint = None
    if folder is not None and steps:
        called = {"method": method, "encoder": encoder, "steps": steps, "batch_size": size}
        told = describe_run(train_chips, statistics, options, **called)
        with first_goes_ahead():
            checkpoint = find_checkpoint(folder, told)
    sensors = describe_sensors(windows, statistics, method, options)
    with forget_failure(folder), torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BUILDERS[method](sensors, encoder=encoder, options=options)
        if options.weights is not None:
            begin_from(network, options.weights)
        assert options.crop_size is not None
        run = train(
            network,
            loader,
            held,
            max_steps=steps,
            crop_size=options.crop_size,
            options=options,
            folder=folder,
            checkpoint=checkpoint,
        )
    card = Card(
        method=method,
        encoder=encoder,
        out_stride=options.out_stride,
        levels=tuple(asdict(level) for level in network.levels),
        sensors=sensors,
        stem=options.stem,
        projected=network.spaces,
        projector=network.projector_card,
        training=describe_training(windows, train_chips, held_chips, size, options, run),
        xcontrast=__version__,
    )
    return card, network.state(), run.history


def _split(windows: Chips, options: PretrainOptions) -> tuple[Chips, Chips]:
    return windows.split(fraction=options.val_fraction, buffer=0, seed=options.seed)


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


def _choose_steps(
    max_steps: int | None, n_chips: int, batch_size: int, method: str, preset: str | None
) -> int:
    if max_steps is None and preset is not None:
        return STEPS.get(method, PASSES * n_chips // batch_size)
    if max_steps is None:
        return int(np.clip(100 * n_chips // batch_size, 300, 20_000))
    if max_steps < 0:
        raise DataError(
            problem(expected="max_steps of 0 or more", received=str(max_steps), do="leave it out")
        )
    return max_steps


def _choose_crop(chip_size: int) -> int:
    return max(16, chip_size * 3 // 4 // 16 * 16)
