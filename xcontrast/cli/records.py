"""Folders given on the command line: what they hold is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xcontrast.errors import ModelError, problem

if TYPE_CHECKING:
    from xcontrast.heads.head import Head
    from xcontrast.heads.segmenting.segmenter import Segmenter
    from xcontrast.model import Model

__all__ = ["load_any", "load_any_head"]


def load_any_head(place: str) -> Head | Segmenter:
    """Load a head or a segmenter, whichever it is, of a folder or the hub.

    Raises
    ------
    ModelError
        If it is neither, or not whole.
    """
    from xcontrast.folders import form_of
    from xcontrast.heads.head import load_head
    from xcontrast.heads.segmenting.segmenter import FORMAT, load_segmenter
    from xcontrast.model.hub import find_folder

    folder = find_folder(place)
    return load_segmenter(folder) if form_of(folder) == FORMAT else load_head(folder)


def load_any(folder: Path) -> Model | Head | Segmenter:
    """Load a model, head or segmenter, whichever it is.

    Raises
    ------
    ModelError
        If it is none, or not whole.
    """
    from xcontrast.folders import form_of
    from xcontrast.heads import head
    from xcontrast.heads.segmenting import segmenter
    from xcontrast.model import folder as model

    readers: dict[str, Callable[[Path], Model | Head | Segmenter]] = {
        model.FORMAT: model.load_model,
        head.FORMAT: head.load_head,
        segmenter.FORMAT: segmenter.load_segmenter,
    }
    form = form_of(folder)
    if form not in readers:
        raise ModelError(
            problem(
                expected="the folder of a model, head or segmenter",
                received=str(folder),
                do="give the folder that pretrain, fit or finetune wrote, or a Zarr store",
            )
        )
    return readers[form](folder)
