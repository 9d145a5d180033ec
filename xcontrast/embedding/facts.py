"""Whose an embedding is: what results made from it keep of its attributes."""

from __future__ import annotations

from typing import Any

import xarray as xr

__all__ = ["SHARED", "identify"]

SHARED = ("joint",)
"""Spaces in which cells of different sensors can be compared."""
FACTS = ("model_digest", "space")


def identify(embedding: xr.DataArray) -> dict[str, Any]:
    """Give the model and the space of an embedding, as far as it states them.

    Parameters
    ----------
    embedding : DataArray
        Any.

    Returns
    -------
    dict
        Of its ``attrs``.
    """
    return {key: embedding.attrs[key] for key in FACTS if key in embedding.attrs}
