"""Segmenters as STAC items, by the Machine Learning Model extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xcontrast.model.items import build_item, describe_input

if TYPE_CHECKING:
    from pystac import Item

    from xcontrast.heads.segmenting.segmenter import Segmenter
    from xcontrast.legends import Legend

__all__ = ["segmenter_item"]

APART = ("n_pixels", "held_out", "seconds", "device", "interrupted", "val_loss")
"""Facts of training that are no settings."""


def segmenter_item(
    segmenter: Segmenter,
    *,
    id: str | None = None,
    href: str | None = None,
    bbox: Sequence[float] | None = None,
) -> Item:
    """Describe the segmenter as a STAC item, by the Machine Learning Model extension.

    Its card tells neither area nor dates: the item has the geometry that is given here, and bears
    the time at which the weights were written.

    Parameters
    ----------
    segmenter : Segmenter
        What is described.
    id : str, optional
        Of the item; by default ``xcontrast-`` and the digest.
    href : str, optional
        Where the folder lies for those who read the item: an address or a path. By default where
        it lies here.
    bbox : sequence of float, optional
        West, south, east, north in degrees.

    Returns
    -------
    pystac.Item
        As of :meth:`Model.stac_item`, with the legend as classes.
    """
    card = segmenter.card
    leading, shape = ["batch"], [-1]
    if card.n_dates > 1:
        leading, shape = ["batch", "time"], [-1, card.n_dates]
    settings = {k: v for k, v in card.training.items() if k not in APART and v is not None}
    properties = {
        "mlm:architecture": f"{card.decoder} on {card.encoder}",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:pretrained": True,
        "mlm:pretrained_source": f"xcontrast model {card.model_digest}",
        "mlm:input": [
            describe_input(name, own, leading, shape) for name, own in card.sensors.items()
        ],
        "mlm:output": [
            {
                "name": "probability",
                "description": f"Of each category of {card.legend.title}, for each pixel.",
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, len(card.legend.codes), -1, -1],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": _list_classes(card.legend),
                "post_processing_function": None,
            }
        ],
        "mlm:hyperparameters": {"temporal": card.temporal, "stem": card.stem, **settings},
    }
    return build_item(
        segmenter.path, segmenter.digest, card.sensors, properties, id=id, href=href, bbox=bbox
    )


def _list_classes(legend: Legend) -> list[dict[str, Any]]:
    classes = []
    for code, name, color in zip(legend.codes, legend.names, legend.colors, strict=True):
        digits = color.removeprefix("#")
        hint = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        plain = "".join(letter if letter.isalnum() else "_" for letter in name)
        classes.append(
            {"value": code, "name": plain, "description": name, "color_hint": hint.upper()}
        )
    return classes
