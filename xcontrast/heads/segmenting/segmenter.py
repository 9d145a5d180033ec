"""A segmenter: encoder, decoder and legend as a folder; loaded, saved, shown with its facts."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from xcontrast.errors import ModelError, problem
from xcontrast.folders import cached_folder, claim_folder, copy_folder, read_folder
from xcontrast.heads.cards import segmenter_markdown
from xcontrast.heads.segmenting.items import segmenter_item
from xcontrast.legends import Legend
from xcontrast.model import SensorCard
from xcontrast.model.hub import find_folder, push_to_hub
from xcontrast.records import read_record
from xcontrast.sheets import Described, Sheet

__all__ = ["FORMAT", "VERSION", "Segmenter", "SegmenterCard", "find_segmenter", "load_segmenter"]

FORMAT = "xcontrast-segmenter"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SegmenterCard:
    """Everything about a segmenter but its weights."""

    legend: Legend
    decoder: Literal["unet", "deeplabv3plus"]
    n_dates: int
    """1, or 2: before and after."""
    temporal: Literal["both", "difference"]
    encoder: str
    """timm name."""
    out_stride: int
    """Deepest level of the encoders, pixels a cell."""
    stem: Literal["own", "3x3"]
    sensors: dict[str, SensorCard]
    """Those that it needs, in the order of its layers."""
    model_digest: str
    """Of the model that it began from."""
    training: dict[str, Any] = field(default_factory=dict)
    """Facts: options, labelled pixels, steps, what was held out and the scores there."""
    xcontrast: str = ""
    """Version that wrote it."""

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> SegmenterCard:
        """Read the JSON form."""
        legend = read_record(Legend, card["legend"])
        sensors = {name: read_record(SensorCard, own) for name, own in card["sensors"].items()}
        return read_record(cls, {**card, "sensors": sensors, "legend": legend})


@dataclass(frozen=True, repr=False)
class Segmenter(Described):
    """Encoder and decoder fine-tuned together, as a checked folder; small, safe to send.

    Examples
    --------
    >>> options = xc.FinetuneOptions(crop_size=32, val_fraction=0, progress=False)
    >>> one = cube.s1.isel(s1_time=[0])
    >>> segmenter = xc.finetune(one, labels, model, legend=xc.FLOOD, max_steps=1, options=options)
    >>> again = segmenter.save(folder / "flood")
    >>> again.digest == segmenter.digest
    True
    >>> again.card_markdown().splitlines()[1]
    'library_name: xcontrast'
    >>> again.stac_item(bbox=(9.0, 45.1, 9.1, 45.2)).properties["mlm:tasks"]
    ['semantic-segmentation']
    """

    path: Path
    card: SegmenterCard
    digest: str
    """Names weights and card together; two segmenters with one digest map alike."""

    @property
    def legend(self) -> Legend:
        """What the codes of its maps mean."""
        return self.card.legend

    @property
    def facts(self) -> dict[str, Any]:
        """What it was trained on, and how."""
        return {"model_digest": self.card.model_digest, **self.card.training}

    @property
    def history(self) -> pd.DataFrame:
        """Losses, and mean IoU of what was held out, one row a look."""
        log = self.path / "history.csv"
        return pd.read_csv(log) if log.exists() else pd.DataFrame()

    def save(self, path: str | os.PathLike[str]) -> Segmenter:
        """Copy the folder to a new place.

        Parameters
        ----------
        path : path
            A folder that does not exist or is empty.

        Returns
        -------
        Segmenter
            The copy.

        Raises
        ------
        ModelError
            If the folder holds something.
        """
        target = claim_folder(path)
        copy_folder(self.path, target)
        return load_segmenter(target)

    card_markdown = segmenter_markdown
    stac_item = segmenter_item
    push_to_hub = push_to_hub

    def _sheet(self) -> Sheet:
        card, told = self.card, self.card.training
        counts = ", ".join(f"{k} {v:,}" for k, v in told["n_pixels"].items())
        seen = {"both": "before, after, difference", "difference": "|after - before|"}
        rows = [
            ("legend", f"{card.legend.title}: {', '.join(card.legend.names)}"),
            ("trained on", f"{counts} pixels, {told['steps']} steps"),
            ("network", f"{card.encoder}, {card.decoder}"),
            *((name, ", ".join(own.bands)) for name, own in card.sensors.items()),
            ("dates", "one" if card.n_dates == 1 else seen[card.temporal]),
            ("held out", told["held_out"]),
        ]
        if "val_iou" in told:
            rows.append(("mean IoU", f"{told['val_iou']:.3f} there, step {told['best_step']}"))
        rows += [("model", card.model_digest), ("folder", str(self.path))]
        return Sheet(f"xcontrast.Segmenter {self.digest}", rows)


def load_segmenter(path: str | os.PathLike[str]) -> Segmenter:
    """Open a segmenter folder and check that it is whole; the weights stay on disk.

    Parameters
    ----------
    path : path
        Written by :func:`finetune` or :meth:`Segmenter.save`; or a hub id, as :func:`load_model`
        takes it.

    Returns
    -------
    Segmenter

    Raises
    ------
    ModelError
        If it is no segmenter folder, is of a newer format, or was damaged or changed; or if the
        hub has no such repository, or cannot be reached.

    Examples
    --------
    >>> options = xc.FinetuneOptions(crop_size=32, val_fraction=0, progress=False)
    >>> one = cube.s1.isel(s1_time=[0])
    >>> segmenter = xc.finetune(one, labels, model, legend=xc.FLOOD, max_steps=1, options=options)
    >>> _ = segmenter.save(folder / "flood")
    >>> xc.load_segmenter(folder / "flood").legend.names
    ('dry', 'flood')
    """
    folder = find_folder(path)
    facts = read_folder(folder, form=FORMAT, version=VERSION)
    try:
        card = SegmenterCard.from_json(facts)
    except (KeyError, TypeError) as error:
        raise ModelError(
            problem(
                expected="a complete card.json",
                received=f"{folder / 'card.json'}, where {error} is missing or unknown",
                do="copy the segmenter again from where it was made, or finetune again",
            )
        ) from error
    return Segmenter(folder, card, facts["digest"])


def find_segmenter(path: str, digest: str) -> Segmenter:
    """Find a segmenter by its digest: at its path, or in the cache of this process.

    Parameters
    ----------
    path : str
        Where it was on the client.
    digest : str
        Of the segmenter.

    Returns
    -------
    Segmenter

    Raises
    ------
    ModelError
        If neither place holds it, whole.
    """
    places = Path(path), cached_folder(digest)
    for folder in places:
        try:
            found = load_segmenter(folder)
        except ModelError:
            continue
        if found.digest == digest:
            return found
    raise ModelError(
        problem(
            expected=f"segmenter {digest} at its path or in the cache",
            received=f"no such one in {' or '.join(map(str, places))}",
            do="send it to the workers of a cluster with xc.share(segmenter, client); or put its "
            "folder back, and predict again",
        )
    )
