"""Uncurated imagery gathered over places and seasons into one store."""

from __future__ import annotations

from xcontrast.cubes.collecting.collect import collect
from xcontrast.cubes.collecting.collection import open_collection
from xcontrast.cubes.collecting.plan import CollectOptions

__all__ = ["CollectOptions", "collect", "open_collection"]
