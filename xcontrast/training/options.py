"""Everything that pretraining can be told beyond the call's own arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

from xcontrast.fields import ABOVE_0, FROM_0, SHARE, Rule, check_fields
from xcontrast.nn.augmentation import PLAIN, SAR, Augmentation

__all__ = ["PretrainOptions"]

RULES: dict[str, Rule] = {
    **dict.fromkeys(("learning_rate", "temperature", "out_stride", "clip", "queue"), ABOVE_0),
    **dict.fromkeys(("eval_every", "micro_batch"), ABOVE_0),
    **dict.fromkeys(("weight_decay", "min_distance", "dense_weight", "seasonal_weight"), FROM_0),
    "checkpoint_seconds": FROM_0,
    "warmup": ("of 0 or more and below 1", lambda share: 0 <= share < 1),
    "key_momentum": SHARE,
    **dict.fromkeys(("n_projected", "n_hidden"), ("above 1", lambda n: n > 1)),
    **dict.fromkeys(("crop_size", "chip_size"), ("of 16 px or more", lambda side: side >= 16)),
    "crop_scale": (
        "of two shares, 0 < least <= largest <= 1",
        lambda pair: 0 < pair[0] <= pair[1] <= 1,
    ),
    "val_fraction": ("above 0 and below 1", lambda share: 0 < share < 1),
}


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Settings of a pretraining run; the defaults suit one region and one device.

    :meth:`paper` gives what was published instead.

    Raises
    ------
    DataError
        If a value lies outside its range.

    Examples
    --------
    >>> options = PretrainOptions(temperature=0.2)
    >>> options.temperature, options.augmentation("s1") == options.s1_augmentation
    (0.2, True)
    """

    optimiser: Literal["adamw", "sgd", "lars"] = "adamw"
    """lars is the dual-encoder paper's, for batches of thousands; sgd is Seasonal Contrast's."""
    learning_rate: float = 1e-3
    """Peak, after the warm-up."""
    weight_decay: float = 1e-4
    """On weight matrices; not on biases and norms."""
    warmup: float = 0.1
    """Share of the steps with a rising rate."""
    schedule: Literal["cosine", "steps"] = "cosine"
    """cosine falls to zero; steps divides by ten after .6 and .8 of the steps."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    temperature: float = 0.1
    """Divides cosine similarities."""
    negatives: Literal["both", "cross", "none"] = "both"
    """multimodal and simclr: samples of both views, only of the other one (CLIP), or none
    (VICReg)."""
    min_distance: float | None = 0.0
    """Chips of one place are no negatives of each other if they overlap or their centres lie
    within so many pixels; None: all are, as in the papers."""
    dense_weight: float = 1.0
    """multimodal: of the term in which cells of both sensors that show one point are positives; 0
    leaves whole crops alone, as in the paper."""
    seasonal_weight: float = 0.0
    """multimodal, on pairs with dates: of the term in which two dates are positives, in a space
    of their own."""
    queue: int | None = None
    """moco, moco_tp, seco: keys held a space; None is half the training chips, at most 16,384."""
    key_momentum: float = 0.99
    """moco, moco_tp, seco: share of the key encoder kept at a step; the papers' .999 needs tens
    of thousands of steps."""
    n_projected: int = 128
    """Dimensions of a contrastive space; both papers' value."""
    n_hidden: int | None = 512
    """Width of the projectors' hidden layer; None is as many as the features."""
    pooled: Literal["all", "last"] = "all"
    """Levels that are projected: all, so that projectors apply to dense cells, or the deepest."""
    out_stride: int = 16
    """Deepest feature level, pixels a cell."""
    stem: Literal["own", "3x3"] = "own"
    """First layers: the network's own, or two convolutions of 3 x 3 as in the dual-encoder
    paper."""
    weights: str | os.PathLike[str] | None = None
    """To begin from: None is random; "imagenet", through timm; a folder of a model; a file of
    weights with timm's names."""
    scaling: Literal["standard", "paper", "weights"] = "standard"
    """standard: by the mean and deviation of the training chips; paper: as each paper does it,
    for the bands that it names; weights: as the model in `weights` does, for the sensors that it
    has."""
    crop_size: int | None = None
    """Side of a view, pixels; None is three quarters of the chip, to a multiple of 16."""
    crop_scale: tuple[float, float] = (0.25, 1.0)
    """Least and largest share of a chip's area in a crop."""
    s1_augmentation: Augmentation = SAR
    """Of artificial views of Sentinel-1; ``Augmentation()`` is plain SimCLR's."""
    s2_augmentation: Augmentation = PLAIN
    """Of artificial views of Sentinel-2."""
    chip_size: int = 128
    """Side of the chips cut when a cube or pairs are given, pixels."""
    val_fraction: float = 0.2
    """Share of the ground held out for retrieval."""
    eval_every: int | None = None
    """Steps between held-out retrievals; None is twenty over the run."""
    micro_batch: int | None = None
    """Chips that pass an encoder at a time; None is the batch. The gradient stays that of the
    whole batch, for one more forward pass."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of the encoders; auto is bfloat16 where the device computes in it, float32 elsewhere."""
    compile: bool | None = None
    """Compile the encoders; None does so on a GPU, for runs of 1,000 steps or more."""
    device: str = "auto"
    """auto is the first GPU if there is one, else the CPU."""
    checkpoint_seconds: float = 300.0
    """Least time between two checkpoints in `out`: what a run that is killed loses at most."""
    tensorboard: str | os.PathLike[str] | None = None
    """Folder to log into for TensorBoard, as the run goes."""
    seed: int = 0
    """Of weights, order, crops and the held-out ground."""
    progress: bool = True
    """Show bars."""

    def __post_init__(self) -> None:
        check_fields(self, RULES)

    def augmentation(self, sensor: str) -> Augmentation:
        """Give the augmentation of a sensor."""
        return self.s1_augmentation if sensor == "s1" else self.s2_augmentation

    @classmethod
    def paper(
        cls, method: str, *, batch_size: int | None = None, **changed: Any
    ) -> PretrainOptions:
        """Give the published settings of a method; ``pretrain(preset="paper")`` uses them.

        Parameters
        ----------
        method : str
            As for :func:`xcontrast.pretrain`.
        batch_size : int, optional
            That the rate of LARS is scaled to, 0.03 for each 256; by default the paper's 4096.
        **changed
            Fields that shall differ.

        Returns
        -------
        PretrainOptions

        References
        ----------
        Jain, Wilson and Gulshan (2022), section 3 (multimodal, and its SimCLR baseline). Manas et
        al. (2021), Seasonal Contrast, section 4.1 and its public code (seco, moco, moco_tp).

        Examples
        --------
        >>> PretrainOptions.paper("multimodal").learning_rate
        0.48
        >>> PretrainOptions.paper("seco").queue
        16384
        """
        from xcontrast.training.presets import publish

        return cls(**{**publish(method, batch_size), **changed})
