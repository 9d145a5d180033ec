"""What is chosen of a run that follows a published protocol."""

from __future__ import annotations

from dataclasses import dataclass

from xcontrast.fields import explain_fields

__all__ = ["ReproduceOptions"]


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """How a protocol is run; everything else is the paper's.

    Examples
    --------
    >>> ReproduceOptions(max_steps=2).limit(100), ReproduceOptions().limit(100)
    (2, 100)
    """

    seed: int = 42
    """Of heads, orders and subsets; 42 in Seasonal Contrast's code."""
    repeats: int = 1
    """Runs where the paper has one, each with the next seed."""
    max_steps: int | None = None
    """Ends every training early: for trying out, never for a row to compare."""
    batch_size: int | None = None
    """Images a batch, where the paper's do not fit into memory."""
    paper_compat: bool = False
    """What the published code does and a careful evaluation would not: its own scaling in place of
    the one that the model was pretrained with, batch statistics that adapt where they did, draws
    with replacement, and scores on the validation split, over whole batches."""
    device: str = "auto"
    """A torch device; auto is the GPU if there is one."""

    def limit(self, n_steps: int) -> int:
        """Give the steps of a training that the paper has so many of."""
        return n_steps if self.max_steps is None else min(n_steps, self.max_steps)


explain_fields(ReproduceOptions)
