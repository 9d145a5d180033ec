"""Everything that fine-tuning can be told beyond the call's own arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from xcontrast.errors import DataError, problem
from xcontrast.fields import ABOVE_0, FROM_0, Rule, check_fields

__all__ = ["FinetuneOptions"]

BELOW_1: Rule = ("of 0 or more and below 1", lambda share: 0 <= share < 1)
RULES: dict[str, Rule] = {
    **dict.fromkeys(("learning_rate", "clip", "eval_every", "patience"), ABOVE_0),
    **dict.fromkeys(("encoder_rate", "balance", "weight_decay", "gain", "noise"), FROM_0),
    **dict.fromkeys(("average", "dropout", "brightness", "drop_sensor", "val_fraction"), BELOW_1),
    "crop_size": ("of 16 px or more", lambda side: side >= 16),
}


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Settings of a fine-tuning run; the defaults suit tens of labelled tiles and one device.

    :meth:`paper` gives what was published instead.

    Raises
    ------
    DataError
        If a value lies outside its range.

    Examples
    --------
    >>> FinetuneOptions(trained="none").trained
    'none'
    """

    trained: Literal["none", "deepest", "all"] = "none"
    """Which weights of the encoders are trained: none, those of the deepest level, or all. All is
    for hundreds of labelled tiles, or an encoder that learnt nothing yet."""
    encoder_rate: float = 0.1
    """Learning rate of the encoders, as a share of the decoder's."""
    norms: Literal["fixed", "batch"] | None = None
    """Batch norms of the encoders: statistics as they were pretrained, or of each batch. None is
    batch where all of the encoder is trained."""
    temporal: Literal["both", "difference"] = "both"
    """How two dates are joined: before, after and their absolute difference, or that alone."""
    dropout: float = 0.1
    """Share of the decoder's features that are dropped in training."""
    loss: Literal["ce", "dice", "focal", "ce+dice"] = "ce+dice"
    """Cross-entropy, Dice, focal, or the sum of the first two; pixels without a label have no part
    in any."""
    balance: float = 0.0
    """Categories weigh by their share of the labelled pixels to the power of -x: 1 makes all
    count alike, and probabilities too high for the rare ones. Dice needs none."""
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """sgd has a momentum of .9."""
    learning_rate: float = 1e-3
    """At the first step."""
    weight_decay: float = 1e-2
    """Of the optimiser."""
    schedule: Literal["cosine", "poly", "exponential"] = "cosine"
    """To zero by a cosine or to the power of .9; or by .95 a hundredth of the steps."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    average: float = 0.0
    """The weights that are looked at and kept are a running mean in which each step has a share of
    1 - x (.98: about the last fifty steps); 0 takes those of the step itself."""
    crop_size: int = 128
    """Side of a training crop, pixels; where a scene is smaller, as much as it has."""
    flips: bool = True
    """Mirror crops both ways. A mirrored radar image is one of the opposite orbit."""
    turns: bool | None = None
    """Turn crops by quarters. No radar of Sentinel-1 looks north or south, so that slopes and
    walls never look like that: None turns where there is Sentinel-2 alone."""
    gain: float = 0.02
    """Sentinel-1: offset of each image and date; standard deviation, as a share of the range of
    values (four standard deviations or what the scaling cuts to; about 20 dB)."""
    noise: float = 0.02
    """Sentinel-1: offset of each value, as speckle is in dB; as a share of that range."""
    brightness: float = 0.1
    """Sentinel-2: factors from 1 - x to 1 + x on each image and date, all bands alike."""
    drop_sensor: float = 0.1
    """Of two sensors: share of the crops in which one is not there, as under clouds."""
    val_fraction: float = 0.2
    """Share of the ground held out, to stop early and keep the best weights: whole groups; whole
    locations, of four or more; or a strip with a crop's width between. 0 holds none out."""
    groups: str | None = None
    """Coord of the leading dim whose values are held out whole, such as "scene"."""
    held_groups: tuple[str, ...] = ()
    """Its values that are held out; () draws them."""
    eval_every: int | None = None
    """Steps between two looks at what is held out; None is twenty over the run, ten apart at
    least."""
    patience: int | None = 6
    """Looks without a lower loss after which training stops; None goes to the end. The best
    weights are kept either way."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of training; auto is bfloat16 where the device computes in it, float32 elsewhere."""
    device: str = "auto"
    """auto is the GPU if there is one."""
    seed: int = 0
    """Of the decoder's weights, crops and what is held out."""
    progress: bool = True
    """Show a bar."""

    def __post_init__(self) -> None:
        check_fields(self, RULES)
        if self.held_groups and self.groups is None:
            raise DataError(
                problem(
                    expected="options in their documented ranges: held_groups with groups",
                    received=f"held_groups={self.held_groups!r} and no groups",
                    do="name the coord that they are of, as groups='scene'; see "
                    "help(xc.FinetuneOptions)",
                )
            )

    @classmethod
    def paper(cls, name: str, **changed: Any) -> FinetuneOptions:
        """Give the published settings of a protocol; ``finetune(preset=...)`` uses them.

        Parameters
        ----------
        name : {"dual-encoder", "oscd"}
            Fine-tuning of the dual-encoder paper, its rate that of its own encoders on
            Sen1Floods11 (it sweeps .1 to .0001 on all labels); or change detection of SeCo's.
        **changed
            Fields that shall differ.

        Returns
        -------
        FinetuneOptions

        References
        ----------
        Jain, Wilson and Gulshan (2022), section 4 and appendix. Manas et al. (2021), Seasonal
        Contrast, section 4.4 and its public code.

        Examples
        --------
        >>> FinetuneOptions.paper("dual-encoder").crop_size
        321
        >>> FinetuneOptions.paper("oscd").temporal
        'difference'
        """
        from xcontrast.heads.segmenting.presets import find_preset

        return cls(**{**find_preset(name).options, **changed})
