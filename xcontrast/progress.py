"""One way of showing progress: a bar for a person who watches, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import length_hint
from typing import Any

__all__ = ["Lines", "hush", "is_on", "track"]

SWITCH = "XCONTRAST_PROGRESS"
"""Environment variable: 0 shows none, whatever a call says."""
EVERY = 10.0
"""Seconds between two lines of a log, at least."""

_hushed = ContextVar("hushed", default=False)


def track(
    iterable: Iterable[Any] | None = None,
    *,
    what: str,
    total: int | None = None,
    initial: int = 0,
    unit: str = "it",
    unit_scale: bool = False,
    leave: bool = True,
    on: bool = True,
) -> Any:
    """Show how far a loop is.

    Parameters
    ----------
    iterable : iterable, optional
        What is looped over; without it the caller calls ``update``.
    what : str
        What is being done, such as ``"mapping"``.
    total : int, optional
        Of its steps; by default the length of the iterable.
    initial : int, default 0
        Steps done before.
    unit, unit_scale : str, bool
        Of a bar, as tqdm has them.
    leave : bool, default True
        Whether the end is shown too.
    on : bool, default True
        Whether to show anything.

    Returns
    -------
    tqdm or Lines
        A bar in a notebook and on a terminal, lines elsewhere: iterable, a context manager, with
        ``update``, ``set_postfix``, ``reset`` and ``close``.
    """
    # Imported only when something is shown: it costs a tenth of all of `import xcontrast`.
    with warnings.catch_warnings():
        # Without ipywidgets a notebook's bar is one of text: nothing to warn of.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm

    off = not is_on(on)
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    if off or in_notebook or sys.stderr.isatty():
        return tqdm(
            iterable, desc=what, total=total, initial=initial, unit=unit, unit_scale=unit_scale,
            leave=leave, disable=off,
        )  # fmt: skip
    return Lines(iterable, what=what, total=total, initial=initial, leave=leave)


@contextmanager
def hush(on: bool) -> Iterator[None]:
    """Show no progress of what is called within, where that has no switch of its own.

    Parameters
    ----------
    on : bool
        Whether to.
    """
    token = _hushed.set(on or _hushed.get())
    try:
        yield
    finally:
        _hushed.reset(token)


def is_on(wanted: bool) -> bool:
    """Say whether to show progress: if it is wanted, and nothing around it forbids it."""
    return wanted and not _hushed.get() and os.environ.get(SWITCH) != "0"


class Lines:
    """Progress as lines that a log can keep: the first, the last, and one every ten seconds.

    Parameters
    ----------
    iterable, what, total, initial, leave
        As for :func:`track`.
    """

    disable = False

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        what: str,
        total: int | None = None,
        initial: int = 0,
        leave: bool = True,
    ) -> None:
        if total is None and iterable is not None:
            total = length_hint(iterable) or None
        self.n, self.total, self.initial, self.leave = initial, total, initial, leave
        self._iterable, self._what, self._facts = iterable, what, ""
        self._begun, self._told, self._text = time.monotonic(), -EVERY, ""
        self.refresh()

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self._iterable or ():
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Go on by `n` steps."""
        self.n += n
        self.refresh()

    def reset(self, total: int | None = None) -> None:
        """Begin anew."""
        self.n, self.total, self._begun = 0, total, time.monotonic()

    def set_description(self, what: str) -> None:
        """Say what is being done."""
        self._what = what

    def set_postfix(self, facts: dict[str, Any], **_: object) -> None:
        """Say figures beside it."""
        shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in facts.items()}
        self._facts = ", ".join(f"{name} {value}" for name, value in shown.items())

    def refresh(self, *_: object) -> None:
        """Write a line, if the last one is long enough ago."""
        if not self.disable and time.monotonic() - self._told >= EVERY:
            self._write()

    def close(self) -> None:
        """Write the last line."""
        if not self.disable and self.leave:
            self._write()
        self.disable = True

    def _write(self) -> None:
        gone = time.monotonic() - self._begun
        done = self.n - self.initial
        share = f"{100 * self.n / self.total:.0f} %" if self.total else f"{self.n}"
        parts = [f"{self._what}: {share}", f"{gone:.0f} s gone"]
        if self.total and done > 0 and self.n < self.total:
            parts.append(f"{gone / done * (self.total - self.n):.0f} s left")
        text = ", ".join([*parts, self._facts] if self._facts else parts)
        if text != self._text:
            print(text, file=sys.stderr, flush=True)
        self._told, self._text = time.monotonic(), text
