"""Everything that a probe can be told beyond the call's own arguments."""

from __future__ import annotations

from dataclasses import dataclass

from xcontrast.fields import ABOVE_0, FROM_0, Rule, check_fields

__all__ = ["BASELINES", "ProbeOptions"]

BASELINES = ("statistics", "random", "pixels", "unet")
RULES: dict[str, Rule] = {
    **dict.fromkeys(("block", "unet_steps", "n_draws", "n_bins"), ABOVE_0),
    "buffer": FROM_0,
    "baselines": (f"of {', '.join(BASELINES)}", lambda names: set(names) <= set(BASELINES)),
    "windows": ("odd, one or more", lambda sides: sides and all(n > 0 and n % 2 for n in sides)),
}


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Settings of a probe.

    Raises
    ------
    DataError
        If a value lies outside its range.

    Examples
    --------
    >>> ProbeOptions(block=512).baselines
    ('statistics', 'random', 'pixels')
    """

    block: int | None = None
    """Side of a spatial block, pixels of the truth; None is such that there are five a fold."""
    buffer: int | None = None
    """Pixels of the truth around tested ones that are not fitted on; None is as far as a cell sees,
    and two cells more, as maps are interpolated between cells and labels gathered in them."""
    baselines: tuple[str, ...] = ("statistics", "random", "pixels")
    """What stands beside the encoder, where a cube and a model are given: "statistics", local
    means and deviations in the same cells with the same head; "random", the same encoder with
    random weights; "pixels", gradient boosting on single pixels; "unet", trained from scratch."""
    stride: int | None = None
    """Pixels a cell, as in :func:`xcontrast.embed`."""
    windows: tuple[int, ...] = (5, 15, 45)
    """Sides of the windows of "statistics", pixels; odd."""
    unet_steps: int | None = None
    """Steps that "unet" is trained; None leaves it to :func:`xcontrast.finetune`."""
    n_draws: int = 1000
    """Of blocks with replacement, for the intervals."""
    n_bins: int = 15
    """Of the expected calibration error."""
    seed: int = 0
    """Of folds, draws of labels, heads, random weights and intervals."""
    progress: bool = True
    """Show a bar."""

    def __post_init__(self) -> None:
        check_fields(self, RULES)
