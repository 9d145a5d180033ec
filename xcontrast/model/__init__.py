"""A trained model as a folder: weights, a readable card, a digest; loaded once a process.

``weights.safetensors`` holds numbers only, ``card.json`` everything that is needed to use them
right: bands in order, units, scaling, geometry. Nothing is pickled.
"""

from __future__ import annotations

from xcontrast.model.card import Card, ProjectorCard, SensorCard
from xcontrast.model.files import read_export
from xcontrast.model.folder import Model, load_model, write_model
from xcontrast.model.importing import import_weights
from xcontrast.model.network import Network, build_encoder, load_network
from xcontrast.model.sharing import share

__all__ = [
    "Card",
    "Model",
    "Network",
    "ProjectorCard",
    "SensorCard",
    "build_encoder",
    "import_weights",
    "load_model",
    "load_network",
    "read_export",
    "share",
    "write_model",
]
