"""One visible training loop on Lightning: cut, augment, project, loss, watch, keep."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from xcontrast.sampling.loader import BatchOrder, ChipStore, Statistics
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
    store: ChipStore,
    held: ChipStore,
    statistics: dict[str, Statistics],
    *,
    max_steps: int,
    batch_size: int,
    crop_size: int,
    options: PretrainOptions,
) -> Run:
    """Train a method in place.

    Parameters
    ----------
    method : Multimodal
        Its weights are changed.
    store, held : ChipStore
        Training and held-out chips, on the CPU.
    statistics : dict of str to Statistics
        The normaliser of each sensor.
    max_steps, batch_size, crop_size : int
        Steps, chips a step, pixels a side of a view.
    options : PretrainOptions
        The rest.

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
    task = _Task(method, store, held, statistics, max_steps, crop_size, options)
    weights = store.weight.numpy()
    uneven = weights if np.ptp(weights) > 0 else None
    order = BatchOrder(len(store), batch_size, max_steps, options.seed, uneven)
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
                trainer.fit(task, train_dataloaders=order)
        except SystemExit:
            # How Lightning ends `fit` on Ctrl-C: the model so far is what the person wants.
            if not trainer.interrupted:
                raise
            interrupted = True
        seconds = time.perf_counter() - started
    task.move_stores()
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
    """One step and its optimiser; the stores live on the device."""

    def __init__(
        self,
        method: Multimodal,
        store: ChipStore,
        held: ChipStore,
        statistics: dict[str, Statistics],
        max_steps: int,
        crop_size: int,
        options: PretrainOptions,
    ) -> None:
        super().__init__()
        self.method = method
        self._stores = store, held
        self._statistics = statistics
        self._max_steps = max_steps
        self._crop_size = crop_size
        self._options = options
        self._eval_every = options.eval_every or max(1, max_steps // 20)
        self.rows: list[dict[str, Any]] = []

    def move_stores(self) -> None:
        """Put all pixels on the device, as int16, and the encoders in channels-last order."""
        self._stores = tuple(store.to(self.device) for store in self._stores)  # type: ignore[assignment]
        self.method.to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        self.move_stores()

    def training_step(self, index: Tensor, step: int) -> Tensor:
        store = self._stores[0]
        # Crops are a function of seed and step, so that a run can be repeated and resumed.
        generator = torch.Generator().manual_seed(_mix(self._options.seed, step))
        views = self.method.augment(
            self._normalised(store, index),
            size=self._crop_size,
            scale=self._options.crop_scale,
            generator=generator,
        )
        loss = self.method.loss(self.method.project(views), store.same_ground(index))
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: Any, _batch: Tensor, batch_idx: int) -> None:
        step = batch_idx + 1
        loss = float(outputs["loss"])
        row: dict[str, Any] = {"step": step, "loss": loss}
        check_health(loss, None, step)
        if step % self._eval_every == 0 or step == self._max_steps:
            row |= self.evaluate()
            check_health(loss, row["feature_std"], step)
            self.log("recall@1", row["recall_at_1"], prog_bar=True)
        self.rows.append(row)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Retrieve held-out places across sensors, without augmentation."""
        held = self._stores[1]
        was_training = self.method.training
        self.method.eval()
        parts = [
            self.method.project(self._normalised(held, index))
            for index in torch.split(_one_a_place(held, self._options.seed), 64)
        ]
        self.method.train(was_training)
        a, b = (torch.cat([part[name] for part in parts]) for name in ("s1", "s2"))
        return {
            **measure_retrieval(a, b),
            "feature_std": min(feature_spread(a), feature_spread(b)),
            "effective_rank": min(effective_rank(a), effective_rank(b)),
        }

    def _normalised(self, store: ChipStore, index: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        batch = {}
        for name, (values, valid) in store.cut(index).items():
            mean, std = (
                torch.tensor(numbers, dtype=torch.float32, device=values.device).view(1, -1, 1, 1)
                for numbers in (self._statistics[name].mean, self._statistics[name].std)
            )
            batch[name] = (values - mean) / std * valid, valid
        return batch

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


def _one_a_place(store: ChipStore, seed: int, n_max: int = 512) -> Tensor:
    """Choose held-out chips of which no two share more than half their ground."""
    windows = torch.stack([store.place, store.row, store.col], dim=1).cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(windows))
    kept: list[int] = []
    for index in order:
        if len(kept) == n_max:
            break
        place, row, col = windows[index]
        other = windows[kept]
        near = (other[:, 0] == place) & (
            np.maximum(abs(other[:, 1] - row), abs(other[:, 2] - col)) < store.size // 2
        )
        if not near.any():
            kept.append(int(index))
    return torch.tensor(kept)


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
