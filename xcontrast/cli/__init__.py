"""The command line: the same words as the functions."""

from xcontrast.cli import collect, demo, info, labelling, regions, reproduce, training
from xcontrast.cli.app import app, main

__all__ = [
    "app",
    "collect",
    "demo",
    "info",
    "labelling",
    "main",
    "regions",
    "reproduce",
    "training",
]
