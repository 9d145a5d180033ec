"""What can go wrong when a file is read, told apart by asking its server, and tried again."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    import requests

__all__ = [
    "Fault",
    "Patience",
    "ReadError",
    "diagnose",
    "fault_of_answer",
    "fault_of_failure",
    "persist",
]

T = TypeVar("T")
Kind = Literal["access", "busy", "network", "missing", "damaged"]

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
"""Seconds before the second attempt, doubled for each later one, and their limit."""
SAYINGS: dict[Kind, str] = {
    "access": r"\b40[13]\b|AccessDenied|credential|forbidden|InvalidAccessKey|not authorized",
    "missing": r"\b404\b|NoSuchKey|NoSuchBucket|does not exist",
    "damaged": r"TIFF|IReadBlock|decod|not recognized as",
}
DAMAGED_ATTEMPTS = 3
"""A body that breaks off looks like a file that is damaged: only the next attempts can tell."""


@dataclass(frozen=True)
class Patience:
    """How long to insist on one file.

    Examples
    --------
    >>> patience = xc.Patience(timeout=10, limit=600)
    >>> options = xc.CubeOptions(patience=patience)
    >>> patience.wait(1) < patience.wait(5)
    True
    """

    timeout: float = 30.0
    """Seconds until a request without an answer is given up."""
    attempts: int = 6
    """Most attempts."""
    limit: float = 180.0
    """Seconds after which no new attempt begins. An attempt makes a request that has no answer
    three times, with waits of half a second and a second, and asks why once; so a read without
    any answer ends within `limit` plus four times `timeout` and two seconds."""

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.attempts < 1 or self.limit < 0:
            raise DataError(
                problem(
                    expected="a timeout above 0 s, at least 1 attempt and a limit of 0 s or more",
                    received=f"timeout={self.timeout}, attempts={self.attempts}, "
                    f"limit={self.limit}",
                    do="leave them out for the defaults",
                )
            )

    def wait(self, attempt: int) -> float:
        """Draw the seconds to wait after an attempt (1, 2, ...): exponential, with jitter."""
        longest = min(FIRST_WAIT * 2.0 ** (attempt - 1), LONGEST_WAIT)
        # Workers that failed together must not come back together.
        return random.uniform(longest / 2, longest)


@dataclass(frozen=True)
class Fault:
    """Why a file could not be read."""

    kind: Kind
    """``access`` (401, 403) · ``busy`` (408, 429, 5xx) · ``network`` (no answer, no such host) ·
    ``missing`` (404, 410, no such file) · ``damaged`` (there, but it cannot be decoded)."""
    message: str
    """For people; without the token of a signed link."""
    retry_after: float | None = None
    """Seconds that the server asked to wait."""

    @property
    def of_asset(self) -> bool:
        """Whether the file itself is at fault, and not the way to it."""
        return self.kind in ("missing", "damaged")


class ReadError(OSError):
    """A file could not be read, and why. Inside the package only: users see a `SourceError`."""

    def __init__(self, fault: Fault, attempts: int = 1, seconds: float = 0.0) -> None:
        super().__init__(fault, attempts, seconds)
        self.fault = fault
        self.attempts = attempts
        self.seconds = seconds


def persist(
    read: Callable[[str, int], T],
    href: str,
    *,
    sign: Callable[[str], str] | None,
    patience: Patience,
) -> T:
    """Read a file, again where that may help.

    Parameters
    ----------
    read : callable
        Of the signed link and the number of the attempt (1, 2, ...); raises OSError.
    href : str
        Link or path.
    sign : callable, optional
        Signs a link, or raises ReadError; called before each attempt. Where it has a method
        ``forget(link)``, that is called, once, when access is refused: a token may be withdrawn
        before its time.
    patience : Patience
        When to give up.

    Returns
    -------
    object
        Of `read`.

    Raises
    ------
    ReadError
        When it has been given up.
    """
    begin = time.monotonic()
    refreshed = False
    for attempt in range(1, patience.attempts + 1):
        link = href
        try:
            link = sign(href) if sign else href
            return read(link, attempt)
        except ReadError as error:
            fault = error.fault
        except OSError as error:
            fault = diagnose(link, error, timeout=patience.timeout)
        forget = getattr(sign, "forget", None)
        refresh = fault.kind == "access" and forget is not None and not refreshed
        if refresh:
            assert forget is not None
            forget(link)
            refreshed = True
        pause = 0.0 if refresh else max(patience.wait(attempt), fault.retry_after or 0.0)
        seconds = time.monotonic() - begin
        if not _may_help(fault, attempt, refresh) or seconds + pause > patience.limit:
            break
        if attempt < patience.attempts:
            time.sleep(pause)
    raise ReadError(fault, attempt, time.monotonic() - begin)


def _may_help(fault: Fault, attempt: int, refresh: bool) -> bool:
    if fault.kind == "damaged":
        return attempt < DAMAGED_ATTEMPTS
    return refresh or fault.kind in ("busy", "network")


def diagnose(link: str, error: OSError, *, timeout: float) -> Fault:
    """Find out why a file could not be read.

    GDAL's messages differ between versions and hide the status of a failed range request, and it
    takes a refused link for a missing file. So the server itself is asked, for one byte.

    Parameters
    ----------
    link : str
        Signed link or path.
    error : OSError
        What reading raised.
    timeout : float
        Seconds to wait for the server.

    Returns
    -------
    Fault
    """
    said = _last_words(error, link)
    if link.startswith("file://") or not ("://" in link or link.startswith("/vsi")):
        there = Path(link.removeprefix("file://")).exists()
        return Fault("damaged", said) if there else Fault("missing", "no such file")
    if not link.startswith(("http://", "https://")):
        return _fault_of_words(said)
    import requests

    try:
        headers = {"Range": "bytes=0-0"}
        with requests.get(link, headers=headers, timeout=timeout, stream=True) as answer:
            fault = fault_of_answer(answer)
    except requests.RequestException as failure:
        return fault_of_failure(failure, link)
    if fault is not None:
        return fault
    # GDAL gave up waiting, though now the server answers.
    return Fault("network" if "timed out" in said.lower() else "damaged", said)


def _fault_of_words(said: str) -> Fault:
    """Tell a fault of a store that is not asked itself (s3://, az://) by what GDAL says.

    What is not understood counts as a fault of the way: it must not become an empty map.
    """
    for kind, pattern in SAYINGS.items():
        if re.search(pattern, said, re.I):
            return Fault(kind, said)
    return Fault("network", said)


def fault_of_answer(answer: requests.Response) -> Fault | None:
    """Give the fault that the status of an HTTP answer tells, None if it is none."""
    status = answer.status_code
    said = f"HTTP {status}"
    if status in (401, 403):
        return Fault("access", said)
    if status in (408, 429) or status >= 500:
        return Fault("busy", said, _seconds(answer.headers.get("Retry-After")))
    return Fault("missing", said) if status >= 400 else None


def fault_of_failure(failure: requests.RequestException, link: str) -> Fault:
    """Give the fault of a request that had no answer."""
    return Fault("network", _without_token(_innermost(failure), link))


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)


def _innermost(error: BaseException) -> str:
    """Give the reason that a chain of connection errors wraps."""
    reason = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(reason, BaseException):
        return _innermost(reason)
    return f"{type(error).__name__}: {reason}".split(" object at 0x")[0]


def _last_words(error: BaseException, link: str) -> str:
    """Give the first cause of an error of rasterio: it says what GDAL met."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _without_token(str(error), link)


def _without_token(text: str, link: str) -> str:
    return text.replace(link, link.split("?")[0]).split("?")[0] if "?" in link else text
