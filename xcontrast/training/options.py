"""Everything that pretraining can be told beyond the call's own arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xcontrast.errors import DataError, problem

__all__ = ["PretrainOptions"]


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Settings of a pretraining run; the defaults suit one region and one device.

    Raises
    ------
    DataError
        If a value lies outside its range.

    Examples
    --------
    >>> PretrainOptions(temperature=0.2).temperature
    0.2
    """

    learning_rate: float = 1e-3
    """Peak of AdamW's rate, after the warm-up and before the cosine decay to zero."""
    weight_decay: float = 1e-4
    """On weight matrices; not on biases and norms."""
    warmup: float = 0.1
    """Share of the steps with a rising rate."""
    temperature: float = 0.1
    """Of NT-Xent; the dual-encoder paper's value."""
    n_projected: int = 128
    """Dimensions of the contrastive space; the dual-encoder paper's value."""
    n_hidden: int = 512
    """Width of the projectors' hidden layer; unstated in the paper."""
    out_stride: int = 16
    """Deepest feature level, pixels a cell."""
    crop_size: int | None = None
    """Side of a view, pixels; None is three quarters of the chip, to a multiple of 16."""
    crop_scale: tuple[float, float] = (0.25, 1.0)
    """Least and largest share of a chip's area in a crop; unstated in the paper."""
    chip_size: int = 128
    """Side of the chips cut when a cube or pairs are given, pixels."""
    val_fraction: float = 0.2
    """Share of the ground held out for retrieval."""
    eval_every: int | None = None
    """Steps between held-out retrievals; None is twenty over the run."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of the encoders; auto is bfloat16 where the device computes in it, float32 elsewhere."""
    device: str = "auto"
    """auto is the first GPU if there is one, else the CPU."""
    checkpoint_seconds: float = 300.0
    """Least time between two checkpoints in `out`: what a run that is killed loses at most."""
    seed: int = 0
    """Of weights, order, crops and the held-out ground."""
    progress: bool = True
    """Show bars."""

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, good in {
                "learning_rate": self.learning_rate > 0,
                "weight_decay": self.weight_decay >= 0,
                "warmup": 0 <= self.warmup < 1,
                "temperature": self.temperature > 0,
                "n_projected": self.n_projected > 1,
                "n_hidden": self.n_hidden > 1,
                "out_stride": self.out_stride >= 1,
                "crop_size": self.crop_size is None or self.crop_size >= 16,
                "crop_scale": 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1,
                "chip_size": self.chip_size >= 16,
                "val_fraction": 0 < self.val_fraction < 1,
                "eval_every": self.eval_every is None or self.eval_every > 0,
                "checkpoint_seconds": self.checkpoint_seconds >= 0,
                "precision": self.precision in ("auto", "32", "bf16"),
            }.items()
            if not good
        ]
        if wrong:
            raise DataError(
                problem(
                    expected="options in their documented ranges",
                    received=", ".join(f"{name}={getattr(self, name)!r}" for name in wrong),
                    do="see the fields of xc.PretrainOptions",
                )
            )
