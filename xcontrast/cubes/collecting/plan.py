"""What is gathered at each location, and how: the call's arguments as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from xcontrast.cubes.options import CubeOptions
from xcontrast.cubes.periods import read_span
from xcontrast.errors import DataError, problem

__all__ = ["CollectOptions", "CollectPlan"]


def _is_whole(value: object, least: int) -> bool:
    return (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least
    )


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """How a collection is gathered beyond the call's own arguments.

    Examples
    --------
    >>> xc.CollectOptions(bands={"s2": ("B04", "B08")}, max_invalid=0.1).bands
    {'s2': ('B04', 'B08')}
    """

    preset: Literal["paper"] | None = None
    """The papers' own rule: only the latest image of each window, every pixel of it clean; with
    both sensors, the latest of each within the window, of any orbit. With the other arguments as
    they are that is Seasonal Contrast's; the dual-encoder paper's takes ``sensors=("s1", "s2"),
    dates=1, window="30D", max_cloud=15, size=512`` and RGB bands."""
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Bands by sensor; by default those of a cube."""
    max_invalid: float | None = None
    """Share of a patch that may be hidden (clouds, shadows) or missing at a date; by default .05,
    and 0 as in the paper."""
    max_draws: int = 50
    """Draws of a location before it is given up."""
    threads: int = 8
    """Locations that a process gathers at once."""
    progress: bool = True
    """Show a bar and a summary."""
    cube: CubeOptions = field(default_factory=CubeOptions)
    """How images are read."""

    def __post_init__(self) -> None:
        whole = _is_whole(self.max_draws, 1) and _is_whole(self.threads, 1)
        if not whole or self.preset not in (None, "paper"):
            raise DataError(
                problem(
                    expected="at least one draw and one thread, preset None or 'paper'",
                    received=f"max_draws={self.max_draws}, threads={self.threads}, "
                    f"preset={self.preset!r}",
                    do="leave them out for the defaults",
                )
            )


@dataclass(frozen=True, kw_only=True)
class CollectPlan:
    """What is gathered at each location."""

    sensors: tuple[str, ...]
    bands: dict[str, tuple[str, ...]]
    start: str
    end: str
    """First and last instant of the period, ISO."""
    dates: int
    gap: str
    window: str
    tolerance: str
    max_cloud: float
    max_invalid: float
    size: int
    seed: int
    preset: Literal["paper"] | None

    def __post_init__(self) -> None:
        for name in ("gap", "window", "tolerance"):
            read_span(getattr(self, name), name)
        wrong = self._find_wrong()
        if wrong:
            raise DataError(
                problem(
                    expected="dates, gap, window and tolerance that fit into the period; whole "
                    "numbers of dates, size of 16 px or more and seed of 0 or more; max_cloud in "
                    "0..100 and max_invalid in 0..1",
                    received=", ".join(wrong),
                    do="mend what was received; where the period is too short, widen it, or ask "
                    "for fewer dates or a smaller gap",
                )
            )

    def _find_wrong(self) -> list[str]:
        least = {"dates": 1, "size": 16, "seed": 0}
        most = {"max_cloud": 100, "max_invalid": 1}
        wrong = [name for name, low in least.items() if not _is_whole(getattr(self, name), low)]
        for name, high in most.items():
            share = getattr(self, name)
            if not isinstance(share, int | float | np.number) or not 0 <= share <= high:
                wrong.append(name)
        if wrong:
            return [f"{name}={getattr(self, name)!r}" for name in wrong]
        short = self.room < pd.Timedelta(0) or self.span <= pd.Timedelta(0)
        if short:
            wrong.append(
                f"{self.dates} dates {self.gap} apart with windows of {self.window}, "
                f"{self.needed.days} days in all, in {self.start[:10]} to {self.end[:10]}"
            )
        return wrong

    @property
    def span(self) -> pd.Timedelta:
        """Length of a window."""
        return pd.Timedelta(self.window)

    @property
    def room(self) -> pd.Timedelta:
        """How far all dates may be shifted together."""
        whole = pd.Timestamp(self.end) - pd.Timestamp(self.start)
        return whole - self.needed

    @property
    def needed(self) -> pd.Timedelta:
        """From the begin of the first window to the end of the last."""
        return (self.dates - 1) * pd.Timedelta(self.gap) + self.span

    @property
    def backward(self) -> bool:
        """Whether the latest image of a window is taken, as both papers do."""
        return self.preset == "paper"

    def draw_windows(self, location: int, attempt: int) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        """Draw the windows of a location's dates: one shift for all of them."""
        rng = np.random.default_rng((self.seed, 7, location, attempt))
        # Whole seconds: the same on every platform.
        shift = pd.Timedelta(int(rng.random() * self.room.total_seconds()), "s")
        first = pd.Timestamp(self.start) + shift
        starts = [first + n * pd.Timedelta(self.gap) for n in range(self.dates)]
        return [(start, start + self.span) for start in starts]
