"""Training on Lightning: devices, precision, bars, Ctrl-C, checkpoints."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

from xcontrast.nn.parallel import is_alone, share_batch_norm
from xcontrast.nn.precision import choose_device, choose_precision
from xcontrast.plotting.live import Curve
from xcontrast.progress import track
from xcontrast.sampling.devices import find_rank
from xcontrast.sampling.loader import Loader
from xcontrast.training.checkpoints import Keeper
from xcontrast.training.logs import Log
from xcontrast.training.methods.method import Method
from xcontrast.training.options import PretrainOptions
from xcontrast.training.task import FLUSH, Plan, Task

__all__ = ["Run", "train"]

TERMINATED = 143
"""Exit status of a process that was asked to end (128 and the number of SIGTERM)."""
COMPILE_FROM = 1000
"""Steps from which a compilation of half a minute is worth its while."""


@dataclass
class Run:
    """What a training run leaves."""

    history: pd.DataFrame
    held_out: dict[str, float]
    seconds: float
    device: str
    precision: str
    steps: int = field(default=0)
    interrupted: bool = False


def train(
    method: Method,
    loader: Loader,
    held: Loader,
    *,
    max_steps: int,
    crop_size: int,
    options: PretrainOptions,
    folder: Path | None = None,
    checkpoint: Path | None = None,
) -> Run:
    """Train a method in place.

    Parameters
    ----------
    method : Method
        Its weights are changed.
    loader, held : Loader
        Of the training chips, for `max_steps`; of the held-out ones.
    max_steps, crop_size : int
        Steps, pixels a side of a view.
    options : PretrainOptions
        The rest.
    folder : Path, optional
        Where checkpoints are kept, every ``options.checkpoint_seconds``, and the log is written;
        none without it.
    checkpoint : Path, optional
        Of the same run, to go on from.

    Returns
    -------
    Run

    Raises
    ------
    TrainingError
        On a loss that is not finite, or collapse.
    SystemExit
        With the status 143 on SIGTERM, after a last checkpoint.
    """
    device = choose_device(options.device)
    accelerator = "gpu" if device.startswith("cuda") else device
    precision = choose_precision(options.precision, device)
    first = find_rank()[0] == 0
    home = folder if first else None
    keeper = Keeper(home, options.checkpoint_seconds) if home is not None else None
    curve = Curve(home, shown=options.progress) if first else None
    log = Log(home, options.tensorboard if first else None, curve)
    _prepare(method, options, accelerator, max_steps)
    plan = Plan(max_steps, crop_size, bf16=precision == "bf16")
    task = Task(method, loader, held, plan, options, log, keeper)
    with _quiet_lightning():
        trainer = _build_trainer(accelerator, max_steps, progress=options.progress and first)
        started = time.perf_counter()
        interrupted = False
        try:
            if max_steps:
                # Our own checkpoint: tensors, numbers and text.
                trainer.fit(task, loader, ckpt_path=checkpoint, weights_only=True)
        except SIGTERMException as error:
            # A scheduler's: the run is to be gone on with, and nothing may take it for done.
            raise SystemExit(TERMINATED) from error
        except SystemExit:
            # How Lightning ends `fit` on Ctrl-C: the model so far is what the person wants.
            if not trainer.interrupted:
                raise
            interrupted = True
            task.write_pending()
        finally:
            log.close()
        seconds = task.seconds_before + time.perf_counter() - started
    task.move()
    method.eval()
    held_out = task.evaluate()
    return Run(
        pd.DataFrame(log.rows),
        held_out,
        seconds,
        str(task.device),
        precision,
        steps=trainer.global_step,
        interrupted=interrupted,
    )


def _prepare(method: Method, options: PretrainOptions, accelerator: str, max_steps: int) -> None:
    if not is_alone():
        share_batch_norm(method)
    wanted = options.compile
    if wanted is None:
        wanted = accelerator == "gpu" and max_steps >= COMPILE_FROM
    if wanted:
        for sensor in method.sensors:
            method.encoder(sensor).body.compile()


def _build_trainer(accelerator: str, max_steps: int, *, progress: bool) -> lightning.Trainer:
    local = int(os.environ.get("LOCAL_RANK", 0)) if not is_alone() else 0
    rate = FLUSH if accelerator == "gpu" else 1
    return lightning.Trainer(
        accelerator=accelerator,
        devices=[local] if accelerator == "gpu" else 1,
        # Of several processes each trains by itself: rows and gradients are exchanged by us.
        plugins=[LightningEnvironment()],
        precision="32-true",
        max_steps=max_steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
        callbacks=[_Bar(refresh_rate=rate)] if progress else None,
    )


class _Bar(TQDMProgressBar):  # type: ignore[misc]
    """Steps, not epochs: there is only one pass over the order."""

    def init_train_tqdm(self) -> Any:
        """Show it as everything else is shown."""
        return track(what="pretraining")

    def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("pretraining")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's greetings and its advice on data loaders, which do not apply here."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
