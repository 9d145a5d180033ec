"""Model folders: written whole or not at all, checked when read, shown with their facts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from xcontrast.errors import ModelError, problem
from xcontrast.folders import claim_folder, copy_folder, publish_folder, read_folder, stage_folder
from xcontrast.model.card import Card
from xcontrast.model.cards import card_markdown
from xcontrast.model.exporting import export as export_model
from xcontrast.model.hub import find_folder, push_to_hub
from xcontrast.model.items import stac_item
from xcontrast.sheets import Described, Sheet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Model", "load_model", "write_model"]

FORMAT = "xcontrast-model"
VERSION = 2


@dataclass(frozen=True, repr=False)
class Model(Described):
    """A model folder that has been checked; small, and safe to send to a worker.

    Examples
    --------
    >>> model.sensors, model.card.encoder
    (('s1', 's2'), 'resnet18')
    >>> mine = model.save(folder / "mine")
    >>> mine.digest == model.digest, sorted(f.name for f in mine.path.iterdir())
    (True, ['card.json', 'weights.safetensors'])
    >>> mine.card_markdown().splitlines()[1]
    'library_name: xcontrast'
    >>> item = mine.stac_item(bbox=(9.0, 45.1, 9.1, 45.2))
    >>> item.properties["mlm:architecture"]
    'resnet18'
    """

    path: Path
    card: Card
    digest: str
    """Names weights and card together; two models with one digest embed alike."""

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors that the model has an encoder for."""
        return tuple(self.card.sensors)

    @property
    def history(self) -> pd.DataFrame:
        """What was logged while training, one row a logged step; empty if nothing was."""
        log = self.path / "history.csv"
        return pd.read_csv(log) if log.exists() else pd.DataFrame()

    def save(self, path: str | os.PathLike[str]) -> Model:
        """Copy the model folder to a new place.

        Parameters
        ----------
        path : path
            A folder that does not exist or is empty.

        Returns
        -------
        Model
            The copy.

        Raises
        ------
        ModelError
            If the folder holds something.
        """
        target = claim_folder(path)
        copy_folder(self.path, target)
        return load_model(target)

    export = export_model
    card_markdown = card_markdown
    stac_item = stac_item
    push_to_hub = push_to_hub

    def _sheet(self) -> Sheet:
        card = self.card
        strides = ", ".join(str(level["stride"]) for level in card.levels)
        facts = [
            ("method", f"{card.method}, {card.training.get('steps', 0)} steps"),
            ("encoder", f"{card.encoder}, levels at {strides} px, {card.n_features} features"),
        ]
        facts += [
            (name, f"{', '.join(s.bands)} ({'reflectance' if s.units == '1' else s.units})")
            for name, s in card.sensors.items()
        ]
        facts.append(("spaces", ", ".join(card.spaces)))
        held = card.training.get("held_out")
        if held:
            facts.append(
                (
                    "held out",
                    f"recall@1 {held['recall_at_1']:.2f}, chance {held['chance_recall_at_1']:.3f}, "
                    f"{held['n_val']:.0f} places",
                )
            )
        facts.append(("folder", str(self.path)))
        return Sheet(f"xcontrast.Model {self.digest}", facts)


def write_model(
    path: Path,
    card: Card,
    state: dict[str, Tensor],
    *,
    history: pd.DataFrame | None = None,
) -> Model:
    """Write a model folder in one step: it is whole or not there.

    Parameters
    ----------
    path : Path
        A free folder, see :func:`claim_folder`.
    card : Card
        What goes into ``card.json``.
    state : dict of str to Tensor
        Weights by ``{sensor}.encoder.…`` and ``{sensor}.{space}.…``.
    history : DataFrame, optional
        What was logged, written as ``history.csv``.

    Returns
    -------
    Model
    """
    partial = stage_folder(path)
    if history is not None and len(history):
        history.to_csv(partial / "history.csv", index=False)
    arrays = {k: v.detach().cpu().numpy() for k, v in state.items()}
    facts = card.to_json()
    publish_folder(partial, path, form=FORMAT, version=VERSION, facts=facts, arrays=arrays)
    return load_model(path)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Open a model folder and check that it is whole; the weights stay on disk.

    Parameters
    ----------
    path : path
        A folder written by :func:`pretrain` or :meth:`Model.save`; or, where there is no such
        folder, a hub id, ``"name/repository"`` or ``"name/repository@revision"``: fetched once,
        and kept in the hub's own cache.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If it is not a model folder, is of a newer format, or was damaged or changed; or if the
        hub has no such repository, or cannot be reached.

    Examples
    --------
    >>> _ = model.save(folder / "mine")
    >>> xc.load_model(folder / "mine").sensors
    ('s1', 's2')
    """
    folder = find_folder(path)
    facts = read_folder(folder, form=FORMAT, version=VERSION)
    try:
        card = Card.from_json(facts)
    except (KeyError, TypeError) as error:
        raise ModelError(
            problem(
                expected="a complete card.json",
                received=f"{folder / 'card.json'}, where {error} is missing or unknown",
                do="copy the model again from where it was made, or train it again if it is older",
            )
        ) from error
    return Model(folder, card, facts["digest"])
