"""One step and its optimiser, as Lightning runs them; the loaders make batches on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from xcontrast.sampling.batches import Batch
from xcontrast.sampling.devices import find_rank
from xcontrast.sampling.loader import Loader
from xcontrast.training.checkpoints import Keeper
from xcontrast.training.gradients import send_back
from xcontrast.training.logs import Log
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import Images
from xcontrast.training.monitor import check_health, check_negatives, summarise
from xcontrast.training.optimisers import build_optimiser, build_schedule
from xcontrast.training.options import PretrainOptions

__all__ = ["FLUSH", "Plan", "Task"]

FLUSH = 20
"""Steps on a GPU between two looks at the loss, which makes the host wait."""

SETTLED = 10
"""Steps of which one at least must have had negatives."""


@dataclass
class Plan:
    """How long and on what."""

    max_steps: int
    crop_size: int
    bf16: bool


class Task(lightning.LightningModule):  # type: ignore[misc]
    """Train a method; what is logged is in `log_book`."""

    def __init__(
        self,
        method: Method,
        loader: Loader,
        held: Loader,
        plan: Plan,
        options: PretrainOptions,
        log: Log,
        keeper: Keeper | None,
    ) -> None:
        super().__init__()
        # The gradient of a batch in parts is ours to send back.
        self.automatic_optimization = False
        self.method = method
        self._keeper = keeper
        self._loaders = loader, held
        self._plan = plan
        self._options = options
        self._eval_every = options.eval_every or max(1, plan.max_steps // 20)
        self._pending: list[tuple[int, Tensor]] = []
        self.log_book = log
        self.seconds_before = 0.0
        """Spent on steps before this call, where it goes on from a checkpoint."""
        self._started = time.perf_counter()
        self._contrasted = False

    def move(self) -> None:
        """Have batches made on the device, and the encoders in channels-last order."""
        for loader in self._loaders:
            loader.to(self.device)
        self.method.to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        """Lightning's hook, once the device is known."""
        self.move()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: what is not in its own state."""
        checkpoint["rows"] = self.log_book.rows
        checkpoint["seconds"] = self.seconds_before + time.perf_counter() - self._started
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: take it up again."""
        self.log_book.resume(checkpoint["rows"])
        self.seconds_before = checkpoint["seconds"]
        torch.set_rng_state(checkpoint["random"])

    def training_step(self, batch: Batch, _number: int) -> dict[str, Tensor]:
        """Cut, augment, project, loss, backward, update."""
        # Crops are a function of seed and step, so that a run can be repeated and resumed.
        generator = torch.Generator().manual_seed(_mix(self._options.seed, self.global_step))
        method, optimiser = self.method, self.optimizers()
        method.begin_step()
        views = method.make_views(
            method.scale(batch), size=self._plan.crop_size, generator=generator
        )
        optimiser.zero_grad()
        loss, keys, ground = send_back(
            method,
            views,
            torch.cat([batch["location"][:, None], batch["footprint"]], dim=1),
            micro_batch=self._options.micro_batch,
            encode=self._encode,
        )
        if self._options.clip is not None:
            torch.nn.utils.clip_grad_norm_(method.parameters(), self._options.clip)
        optimiser.step()
        self.lr_schedulers().step()
        method.end_step(keys, ground)
        settled = min(SETTLED, self._plan.max_steps)
        if not self._contrasted and self.global_step <= settled:
            self._contrasted = method.has_negatives(ground)
            if self.global_step == settled:
                check_negatives(self._contrasted, settled)
        return {"loss": loss}

    def _encode(self, function: Callable[[Any], Any], given: Any) -> Any:
        """Only the networks compute in half precision: a loss of large logits does not."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._plan.bf16):
            return function(given)

    def on_train_batch_end(self, outputs: Any, _batch: Batch, _number: int) -> None:
        """Log, watch, keep a checkpoint; each when it is time."""
        step = self.global_step
        self._pending.append((step, outputs["loss"]))
        watched = step % self._eval_every == 0 or step == self._plan.max_steps
        last = watched or self.trainer.received_sigterm
        if last or self.device.type == "cpu" or len(self._pending) >= FLUSH:
            self.write_pending()
            self.log("loss", self.log_book.rows[-1]["loss"], prog_bar=True, batch_size=1)
            rate = self.optimizers().param_groups[0]["lr"]
            self.log("rate", rate, prog_bar=True, batch_size=1)
        if watched:
            found = self.evaluate()
            self.log_book.add(step, found)
            # One chip has no spread.
            spread = found["feature_std"] if found["n_val"] > 1 else None
            check_health(self.log_book.rows[-1]["loss"], spread, step)
            self.log("recall@1", found["recall_at_1"], prog_bar=True, batch_size=1)
            self.log_book.draw()
        if self._keeper is not None and not self._pending:
            self._keeper.keep(self.trainer)

    def write_pending(self) -> None:
        """Look at the losses of the last steps, and write them down."""
        if not self._pending:
            return
        losses = torch.stack([loss for _, loss in self._pending]).float().tolist()
        steps = [step for step, _ in self._pending]
        self._pending.clear()
        for step, loss in zip(steps, losses, strict=True):
            check_health(loss, None, step)
            self.log_book.add(step, {"loss": loss})

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Retrieve held-out chips, without random augmentation."""
        held, method = self._loaders[1], self.method
        was_training = method.training
        method.eval()
        parts = []
        for index in torch.split(torch.arange(len(held.chips)), 64):
            images: Images = method.scale(held.take(index))
            parts.append(self._encode(method.watch, images))
        method.train(was_training)
        watched = {
            kind: (torch.cat([part[kind][0] for part in parts]),
                   torch.cat([part[kind][1] for part in parts]))
            for kind in parts[0]
        }  # fmt: skip
        return summarise(watched)

    def configure_optimizers(self) -> Any:
        """Lightning's hook."""
        optimiser = build_optimiser(self.method, self._options)
        schedule = build_schedule(optimiser, self._options, self._plan.max_steps)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def _mix(seed: int, step: int) -> int:
    rank = find_rank()[0]
    key = (seed, step, rank) if rank else (seed, step)
    return int(np.random.SeedSequence(key).generate_state(1)[0])
