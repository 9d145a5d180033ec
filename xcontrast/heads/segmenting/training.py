"""A training run: steps, looks at what is held out, the best weights.

A loop of its own: what Lightning runs in pretraining is bound to pairs of views, and a few hundred
steps on one device need none of the rest.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor, nn

from xcontrast.errors import TrainingError, problem
from xcontrast.heads.segmenting.crops import Crops, Plot
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.heads.segmenting.steps import Plan, Stepper
from xcontrast.nn.layers import LayerScaling
from xcontrast.nn.segmentation import SegmentationNetwork
from xcontrast.progress import track

__all__ = ["Run", "train"]

LOOKS = 20
"""At what is held out, over a run."""
APART = 10
"""Steps between two of them, at least, and on a GPU between two looks at the loss."""


@dataclass
class Run:
    """What a training run leaves."""

    history: pd.DataFrame
    steps: int
    best_step: int
    """Whose weights are kept."""
    scores: dict[str, float]
    """Of those weights, on what is held out."""
    seconds: float
    device: str
    precision: str
    interrupted: bool


@dataclass
class _Best:
    """The weights with the lowest loss on what is held out."""

    scores: dict[str, float] = field(default_factory=lambda: {"val_loss": math.inf})
    step: int | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    waited: int = 0
    """Looks since."""

    def compare(self, network: nn.Module, step: int, scores: dict[str, float]) -> None:
        self.waited += 1
        if scores["val_loss"] < self.scores["val_loss"]:
            self.scores, self.step, self.waited = scores, step, 0
            self.state = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def train(
    network: SegmentationNetwork,
    scaling: LayerScaling,
    plots: list[Plot],
    held: Crops | None,
    *,
    plan: Plan,
    options: FinetuneOptions,
) -> Run:
    """Train a network in place, and leave it with its best weights.

    Parameters
    ----------
    network : SegmentationNetwork
        Its weights are changed, those that need a gradient.
    scaling : LayerScaling
        Of its layers.
    plots : list of Plot
        Ground to train on.
    held : Crops or None
        Ground to look at; without it the last weights are kept.
    plan : Plan
        How long and on what.
    options : FinetuneOptions
        The rest.

    Returns
    -------
    Run
        After Ctrl-C of the steps so far.

    Raises
    ------
    TrainingError
        On a loss that is not finite.
    """
    stepper = Stepper(network, scaling, plan, options)
    every = options.eval_every or max(APART, plan.max_steps // LOOKS)
    rows: list[dict[str, float]] = []
    best, step, interrupted, started = _Best(), 0, False, time.perf_counter()
    bar = track(range(1, plan.max_steps + 1), what="fine-tuning", on=options.progress)
    try:
        for step in bar:
            loss = stepper.step(plots, step)
            due = step % every == 0 or step == plan.max_steps
            if due or stepper.device == "cpu" or step % APART == 0:
                _check_loss(float(loss), step)
            if not due:
                continue
            rows.append({"step": step, "loss": float(loss)})
            if held is not None:
                scores = stepper.look(held)
                best.compare(stepper.result, step, scores)
                rows[-1] |= scores
            bar.set_postfix({k: f"{v:.3f}" for k, v in rows[-1].items() if k != "step"})
            if options.patience is not None and best.waited >= options.patience:
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:
        bar.close()
    network.load_state_dict(stepper.result.state_dict() if best.step is None else best.state)
    return Run(
        pd.DataFrame(rows, columns=None if rows else ["step", "loss"]),
        steps=step,
        best_step=step if best.step is None else best.step,
        scores={} if best.step is None else best.scores,
        seconds=time.perf_counter() - started,
        device=stepper.device,
        precision=stepper.precision,
        interrupted=interrupted,
    )


def _check_loss(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            problem(
                expected="a finite loss",
                received=f"{loss} at step {step}",
                do="lower learning_rate (say by 10), or look for extreme values in the data",
            )
        )
