"""Which links need a token before they can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["PLANETARY_COMPUTER", "choose_signer"]

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"


def choose_signer(source: object) -> Callable[[str], str] | None:
    """Give the function that signs a link of a source, or None where links are open.

    Parameters
    ----------
    source : object
        As given to ``open_cube``: None and addresses of the Planetary Computer are signed; items
        are, where their links point to its storage.

    Returns
    -------
    callable or None
    """
    if isinstance(source, Path):
        return None
    if source is not None and not isinstance(source, str):
        source = next((a.href for item in source for a in item.assets.values()), "")  # type: ignore[attr-defined]
    known = ("planetarycomputer.microsoft.com", ".blob.core.windows.net")
    if source is None or any(host in str(source) for host in known):
        import planetary_computer

        sign: Callable[[str], str] = planetary_computer.sign_url
        return sign
    return None
