"""What a report is made of: sections of text, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Picture", "Section", "Table"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with what to see in it.

    Examples
    --------
    >>> ax = xc.plot(labels.assign_attrs(xc.FLOOD.attrs))
    >>> Picture(image=ax, caption="A third of the plain is wet.", alt="Map of the flood").caption
    'A third of the plain is wet.'
    """

    image: Figure | Axes | bytes
    """A matplotlib figure, axes (their whole figure is taken) or the bytes of a PNG."""
    caption: str
    """What it shows and what to look for, in a sentence or two."""
    alt: str
    """What it says, for a person who does not see it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with formatted numbers; units belong in the column names.

    Examples
    --------
    >>> table = Table(frame=pd.DataFrame({"IoU": [0.4567]}), formats={"IoU": ".2f"})
    >>> table.frame.shape
    (1, 1)
    """

    frame: pd.DataFrame
    """The rows; the index is shown when it has a name."""
    caption: str = ""
    """What it shows."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Format specification by column, e.g. ``{"IoU": ".3f"}``."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of a report: text, then tables, then figures.

    The text is plain: a blank line ends a paragraph, lines that start with a dash make a list,
    lines indented by four spaces are code, and words between backticks are code too.

    Examples
    --------
    >>> Section(title="Flood", text="- one or `two`").title
    'Flood'
    """

    title: str
    """Heading, also in the table of contents."""
    text: str = ""
    """Plain text as above; HTML in it is shown, not obeyed."""
    figures: Sequence[Picture] = ()
    """Shown in order, after the tables."""
    tables: Sequence[Table] = ()
    """Shown in order, after the text."""
