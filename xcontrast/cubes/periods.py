"""When: the period that a person asks for, and the time of an item."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xcontrast.errors import DataError, SourceError, problem

if TYPE_CHECKING:
    from pystac import Item

__all__ = ["Period", "parse_period", "read_instant", "read_span", "time_of"]

Period = tuple[pd.Timestamp | None, pd.Timestamp | None]
"""First and last instant, UTC; None where open."""


def parse_period(datetime: str) -> Period:
    """Read a STAC API datetime: an instant, a day, month or year, or an interval of them.

    Parameters
    ----------
    datetime : str
        ``"2023-05-16"``, ``"2023-04/2023-06"`` (to the end of June), ``"2023-01-01/.."``.

    Returns
    -------
    tuple of Timestamp or None
        First and last instant, UTC; None where open.

    Raises
    ------
    DataError
        If it cannot be read or ends before it starts.
    """
    parts = str(datetime).split("/")
    try:
        if len(parts) > 2 or not all(parts) or parts in ([".."], ["..", ".."]):
            raise ValueError
        spans = [None if part == ".." else _span(part) for part in (parts[0], parts[-1])]
        first, last = spans
        start = first[0] if first else None
        end = last[1] if last else None
        if start is not None and end is not None and end < start:
            raise ValueError
    except ValueError:
        raise DataError(
            problem(
                expected="a date, month or year, or two of them with a slash",
                received=repr(datetime),
                do="write it as '2023-05-16', '2023-04/2023-06' or '2023-04-01/..'",
            )
        ) from None
    return start, end


def _span(part: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    if re.fullmatch(r"\d{4}(-\d\d){0,2}", part):
        period = pd.Period(part)
        return period.start_time.tz_localize("UTC"), period.end_time.tz_localize("UTC")
    # pandas also reads "April 2023", as its first instant: a period without a day in it.
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d", part):
        raise ValueError(part)
    instant = pd.Timestamp(part)
    instant = instant.tz_localize("UTC") if instant.tz is None else instant.tz_convert("UTC")
    return instant, instant


def read_instant(moment: str | pd.Timestamp) -> pd.Timestamp:
    """Read one instant, in UTC and without a zone, as the times of cubes are.

    Parameters
    ----------
    moment : str or Timestamp
        In UTC where it states no zone.

    Returns
    -------
    Timestamp

    Raises
    ------
    DataError
        If it cannot be read.

    Examples
    --------
    >>> read_instant("2023-05-16T06:00+02:00")
    Timestamp('2023-05-16 04:00:00')
    """
    try:
        instant: pd.Timestamp | None = pd.Timestamp(moment)
    except (ValueError, TypeError):
        instant = None
    if instant is None or pd.isna(instant):
        raise DataError(
            problem(
                expected="a date, or a date and a time",
                received=repr(moment),
                do="write it as '2023-05-16' or '2023-05-16T05:30'",
            )
        )
    return instant if instant.tz is None else instant.tz_convert("UTC").tz_localize(None)


def read_span(span: str | pd.Timedelta, name: str) -> pd.Timedelta:
    """Read a length of time.

    Parameters
    ----------
    span : str or Timedelta
        Such as ``"3D"``.
    name : str
        What it is, for errors.

    Returns
    -------
    Timedelta

    Raises
    ------
    DataError
        If it cannot be read, has no unit or is below zero.

    Examples
    --------
    >>> read_span("36h", "gap")
    Timedelta('1 days 12:00:00')
    """
    limit: pd.Timedelta | None = None
    # pandas would take a bare number for nanoseconds.
    if isinstance(span, dt.timedelta | np.timedelta64) or (
        isinstance(span, str) and re.search("[a-zA-Z:]", span)
    ):
        with contextlib.suppress(ValueError):
            limit = pd.Timedelta(span)
    if limit is None or pd.isna(limit) or limit < pd.Timedelta(0):
        raise DataError(
            problem(
                expected=f"a {name} of at least zero, such as '3D' or '12h'",
                received=repr(span),
                do="write a number and a unit that pandas.Timedelta reads",
            )
        )
    return limit


def time_of(item: Item) -> pd.Timestamp:
    """Give the time of an item, UTC; the start where it states a range."""
    moment = item.datetime or item.common_metadata.start_datetime
    if moment is None:
        raise SourceError(
            problem(
                expected="an item with a datetime or a start_datetime",
                received=f"{item.id}, with neither",
                do="mend the catalog",
            )
        )
    stamp = pd.Timestamp(moment)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
