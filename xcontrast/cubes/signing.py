"""Links that need a token: fetched when a file is read, one a container in a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from xcontrast.cubes.faults import Fault, ReadError, fault_of_answer, fault_of_failure

if TYPE_CHECKING:
    from pystac import Item

__all__ = ["PLANETARY_COMPUTER", "TokenSigner", "choose_signer"]

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
AZURE = ".blob.core.windows.net"

MARGIN = 60.0
"""Seconds before its end from which a token is not used any more; a quarter of its life if that
is less."""

_tokens: dict[tuple[str, str], tuple[str, float]] = {}
"""By endpoint and container: the token, and until when to use it, by the monotonic clock."""
_locks: dict[tuple[str, str], threading.Lock] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class TokenSigner:
    """Signs links to Azure storage with tokens (SAS) of an endpoint.

    Small to pickle and without state: the tokens live in the process, so that every worker fetches
    its own, one a container.

    Parameters
    ----------
    endpoint : str, optional
        Answers ``GET {endpoint}/{account}/{container}`` with JSON that holds ``token``; by default
        that of the Planetary Computer (``PC_SDK_SAS_URL``, with the key in
        ``PC_SDK_SUBSCRIPTION_KEY`` if there is one).
    storage : str, default ".blob.core.windows.net"
        End of the host names whose links are signed.
    timeout : float, default 30
        Seconds until a request for a token is given up.

    Examples
    --------
    >>> sign = xc.TokenSigner()
    >>> sign("https://example.org/B04.tif")  # not on Azure: left as it is
    'https://example.org/B04.tif'
    >>> sign.forget("https://example.org/B04.tif")
    """

    endpoint: str | None = None
    storage: str = AZURE
    timeout: float = 30.0

    def __call__(self, href: str) -> str:
        """Sign a link; any signature that it carries is replaced.

        Parameters
        ----------
        href : str
            Link; others than to the storage are given back as they are.

        Returns
        -------
        str

        Raises
        ------
        ReadError
            If no token can be had; with the fault of the endpoint.
        """
        container = self._container(href)
        if container is None:
            return href
        key = (self._endpoint(), container)
        with _guard:
            lock = _locks.setdefault(key, threading.Lock())
        with lock:
            token, until = _tokens.get(key, ("", 0.0))
            if time.monotonic() >= until:
                token, until = self._fetch(*key)
                _tokens[key] = token, until
        return f"{href.split('?')[0]}?{token}"

    def forget(self, link: str) -> None:
        """Drop the token that a signed link carries, so that the next one is fetched.

        Parameters
        ----------
        link : str
            As signed. Where another thread has a new token already, that is kept.
        """
        container = self._container(link)
        if container is None:
            return
        key = (self._endpoint(), container)
        with _guard:
            if _tokens.get(key, ("", 0.0))[0] == link.partition("?")[2]:
                _tokens.pop(key, None)

    def _endpoint(self) -> str:
        if self.endpoint is not None:
            return self.endpoint
        from planetary_computer.settings import Settings

        return str(Settings.get().sas_url)

    def _container(self, href: str) -> str | None:
        parts = urlsplit(href)
        if not parts.netloc.endswith(self.storage):
            return None
        account = parts.netloc.removesuffix(self.storage) or "storage"
        return f"{account}/{parts.path.lstrip('/').split('/')[0]}"

    def _fetch(self, endpoint: str, container: str) -> tuple[str, float]:
        import requests

        address = f"{endpoint.rstrip('/')}/{container}"
        try:
            answer = requests.get(address, headers=_key(), timeout=self.timeout)
            fault = fault_of_answer(answer)
            if fault is None:
                token = str(answer.json()["token"])
                return token, time.monotonic() + _life(token, answer.headers.get("Date"))
        except requests.JSONDecodeError:
            fault = Fault("busy", "an answer that is no JSON")
        except requests.RequestException as failure:
            fault = fault_of_failure(failure, address)
        except (KeyError, TypeError, ValueError):
            fault = Fault("busy", "an answer without a token")
        raise ReadError(replace(fault, message=f"{fault.message} (asking {address} for a token)"))


def _life(token: str, date: str | None) -> float:
    """Give the seconds for which a token may be used, by the server's own clock.

    Only ``se``, the end, counts: its start is known to be wrong at times.
    """
    ends = parse_qs(token).get("se")
    if not ends:
        return 0.0
    end = datetime.fromisoformat(ends[0].replace("Z", "+00:00"))
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    left = (end.replace(tzinfo=end.tzinfo or UTC) - now).total_seconds()
    return left - min(MARGIN, left / 4)


def _key() -> dict[str, str]:
    from planetary_computer.settings import Settings

    key = Settings.get().subscription_key
    return {"Ocp-Apim-Subscription-Key": key} if key else {}


def choose_signer(source: object, items: Iterable[Item] = ()) -> Callable[[str], str] | None:
    """Give what signs the links of a source, or None where they are open.

    Parameters
    ----------
    source : object
        As given to ``open_cube``: the Planetary Computer (None, or its address) needs tokens.
    items : iterable of pystac.Item, optional
        So do items from elsewhere whose links point to its storage.

    Returns
    -------
    callable or None
    """
    if isinstance(source, Path):
        return None
    if source is None or "planetarycomputer.microsoft.com" in str(source):
        return TokenSigner()
    links = (asset.href for item in items for asset in item.assets.values())
    return TokenSigner() if any(f"{AZURE}/" in link for link in links) else None
