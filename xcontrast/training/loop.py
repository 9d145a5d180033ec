"""One visible training loop on Lightning: cut, augment, project, loss, watch, keep."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from xcontrast.sampling.batches import Batch, find_same_ground
from xcontrast.sampling.loader import Loader
from xcontrast.sampling.statistics import Statistics
from xcontrast.training.checkpoints import Keeper
from xcontrast.training.methods.multimodal import Multimodal
from xcontrast.training.monitor import (
    check_health,
    effective_rank,
    feature_spread,
    measure_retrieval,
)
from xcontrast.training.options import PretrainOptions

__all__ = ["Run", "train"]


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
    method: Multimodal,
    loader: Loader,
    held: Loader,
    statistics: dict[str, Statistics],
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
    method : Multimodal
        Its weights are changed.
    loader, held : Loader
        Of the training chips, for `max_steps`; of the held-out ones.
    statistics : dict of str to Statistics
        The normaliser of each sensor.
    max_steps, crop_size : int
        Steps, pixels a side of a view.
    options : PretrainOptions
        The rest.
    folder : Path, optional
        Where checkpoints are kept, every ``options.checkpoint_seconds``; none without it.
    checkpoint : Path, optional
        Of the same run, to go on from.

    Returns
    -------
    Run

    Raises
    ------
    TrainingError
        On a loss that is not finite, or collapse.
    """
    accelerator = _choose_accelerator(options.device)
    precision = _choose_precision(options.precision, accelerator)
    keeper = Keeper(folder, options.checkpoint_seconds) if folder is not None else None
    task = _Task(method, loader, held, statistics, max_steps, crop_size, options, keeper)
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            max_steps=max_steps,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=options.progress,
            callbacks=[_Bar()] if options.progress else None,
            gradient_clip_val=1.0,
        )
        started = time.perf_counter()
        interrupted = False
        try:
            if max_steps:
                # Our own checkpoint: tensors, numbers and text.
                trainer.fit(task, loader, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:
            # How Lightning ends `fit` on Ctrl-C: the model so far is what the person wants.
            if not trainer.interrupted:
                raise
            interrupted = True
        seconds = task.seconds_before + time.perf_counter() - started
    task.move()
    method.eval()
    held_out = task.evaluate()
    return Run(
        pd.DataFrame(task.rows),
        held_out,
        seconds,
        str(task.device),
        precision,
        steps=trainer.global_step,
        interrupted=interrupted,
    )


class _Bar(TQDMProgressBar):  # type: ignore[misc]
    """Steps, not epochs: there is only one pass over the order."""

    def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("pretraining")


class _Task(lightning.LightningModule):  # type: ignore[misc]
    """One step and its optimiser; the loaders make their batches on the device."""

    def __init__(
        self,
        method: Multimodal,
        loader: Loader,
        held: Loader,
        statistics: dict[str, Statistics],
        max_steps: int,
        crop_size: int,
        options: PretrainOptions,
        keeper: Keeper | None,
    ) -> None:
        super().__init__()
        self.method = method
        self._keeper = keeper
        self._loaders = loader, held
        self._statistics = statistics
        self._max_steps = max_steps
        self._crop_size = crop_size
        self._options = options
        self._eval_every = options.eval_every or max(1, max_steps // 20)
        self.rows: list[dict[str, Any]] = []
        self.seconds_before = 0.0
        """Spent on steps before this call, where it goes on from a checkpoint."""
        self._started = time.perf_counter()

    def move(self) -> None:
        """Have batches made on the device, and the encoders in channels-last order."""
        for loader in self._loaders:
            loader.to(self.device)
        self.method.to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        self.move()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rows"] = self.rows
        checkpoint["seconds"] = self.seconds_before + time.perf_counter() - self._started
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.rows = checkpoint["rows"]
        self.seconds_before = checkpoint["seconds"]
        torch.set_rng_state(checkpoint["random"])

    def training_step(self, batch: Batch, _number: int) -> Tensor:
        # Crops are a function of seed and step, so that a run can be repeated and resumed.
        generator = torch.Generator().manual_seed(_mix(self._options.seed, self.global_step))
        views = self.method.augment(
            self._normalise(batch),
            size=self._crop_size,
            scale=self._options.crop_scale,
            generator=generator,
        )
        same_ground = find_same_ground(batch["location"], batch["footprint"])
        loss = self.method.loss(self.method.project(views), same_ground)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(same_ground))
        return loss

    def on_train_batch_end(self, outputs: Any, _batch: Batch, _number: int) -> None:
        step = self.global_step
        loss = float(outputs["loss"])
        row: dict[str, Any] = {"step": step, "loss": loss}
        check_health(loss, None, step)
        if step % self._eval_every == 0 or step == self._max_steps:
            row |= self.evaluate()
            check_health(loss, row["feature_std"], step)
            self.log("recall@1", row["recall_at_1"], prog_bar=True, batch_size=1)
        self.rows.append(row)
        if self._keeper is not None:
            self._keeper.keep(self.trainer)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Retrieve held-out places across sensors, without augmentation."""
        held = self._loaders[1]
        was_training = self.method.training
        self.method.eval()
        parts = [
            self.method.project(self._normalise(held.take(index)))
            for index in torch.split(torch.arange(len(held.chips)), 64)
        ]
        self.method.train(was_training)
        a, b = (torch.cat([part[name] for part in parts]) for name in ("s1", "s2"))
        return {
            **measure_retrieval(a, b),
            "feature_std": min(feature_spread(a), feature_spread(b)),
            "effective_rank": min(effective_rank(a), effective_rank(b)),
        }

    def _normalise(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        ready = {}
        for name in self._statistics:
            values, valid = batch[name], batch[f"{name}_valid"]
            mean, std = (
                torch.tensor(numbers, dtype=torch.float32, device=values.device).view(1, -1, 1, 1)
                for numbers in (self._statistics[name].mean, self._statistics[name].std)
            )
            ready[name] = (values - mean) / std * valid, valid
        return ready

    def configure_optimizers(self) -> Any:
        options = self._options
        matrices = [p for p in self.method.parameters() if p.ndim > 1]
        vectors = [p for p in self.method.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=options.learning_rate)
        rising = max(1, round(options.warmup * self._max_steps))

        def factor(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            done = (step - rising) / max(1, self._max_steps - rising)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _choose_accelerator(device: str) -> str:
    if device == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return "gpu" if device.startswith("cuda") else device


def _choose_precision(precision: str, accelerator: str) -> str:
    if precision != "auto":
        return precision
    if accelerator == "gpu":
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    # Emulated bfloat16 is far slower than float32: ask for the instructions.
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "32"


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
