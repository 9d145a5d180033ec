"""What a thing is, said in rows: text in a terminal, a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Described", "Sheet", "say_bytes"]


@dataclass(frozen=True)
class Sheet:
    """A title, rows of a name and a text, and notes under them.

    Examples
    --------
    >>> Sheet("pairs", [("lag", "3 days")])
    pairs
      lag  3 days
    """

    title: str
    rows: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self.rows), default=0) + 2
        lines = [self.title, *(f"  {name:<{width}}{text}" for name, text in self.rows)]
        lines += [f"  {'Note':<{width}}{note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Give a table that takes its colours from the notebook: light or dark, without scripts."""
        cell = "text-align:left; padding:.15em .8em .15em 0; vertical-align:top"
        rows = [*self.rows, *(("Note", note) for note in self.notes)]
        body = "".join(
            f'<tr><th style="{cell}">{html.escape(name)}</th>'
            f'<td style="{cell}">{html.escape(text)}</td></tr>'
            for name, text in rows
        )
        return (
            f'<div><strong>{html.escape(self.title)}</strong><table style="margin:.3em 0">'
            f"<tbody>{body}</tbody></table></div>"
        )


class Described:
    """What shows itself by its sheet."""

    def _sheet(self) -> Sheet:
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self._sheet())

    def _repr_html_(self) -> str:
        return self._sheet()._repr_html_()


def say_bytes(n_bytes: float) -> str:
    """Say a size in decimal units.

    Examples
    --------
    >>> say_bytes(3_276_800)
    '3.28 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
