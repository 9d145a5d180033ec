"""A head: a small classifier on frozen embeddings with its legend; saved, loaded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from xcontrast.errors import ModelError, problem
from xcontrast.folders import claim_folder, publish_folder, read_folder, stage_folder
from xcontrast.heads.cards import head_markdown
from xcontrast.heads.classifiers import (
    BoostingClassifier,
    Classifier,
    ForestClassifier,
    LinearClassifier,
    NeighbourClassifier,
    PrototypeClassifier,
)
from xcontrast.heads.classifiers.calibration import soften
from xcontrast.heads.classifiers.classifier import Floats
from xcontrast.heads.decision import weigh_categories
from xcontrast.legends import Legend
from xcontrast.model.hub import find_folder, push_to_hub
from xcontrast.records import read_record
from xcontrast.sheets import Described, Sheet

__all__ = ["KINDS", "Head", "load_head"]

FORMAT = "xcontrast-head"
VERSION = 1
Kind: TypeAlias = (
    type[LinearClassifier]
    | type[NeighbourClassifier]
    | type[ForestClassifier]
    | type[BoostingClassifier]
    | type[PrototypeClassifier]
)
KINDS: dict[str, Kind] = {
    "linear": LinearClassifier,
    "knn": NeighbourClassifier,
    "forest": ForestClassifier,
    "boosting": BoostingClassifier,
    "prototypes": PrototypeClassifier,
}


@dataclass(frozen=True, repr=False)
class Head(Described):
    """A classifier on frozen embeddings, and what it may be used on.

    Examples
    --------
    >>> head = xc.fit(emb.s1, points, legend=xc.FLOOD, column="category")
    >>> again = head.save(folder / "flood")
    >>> again.digest == head.digest
    True
    >>> again.card_markdown().splitlines()[1]
    'library_name: xcontrast'
    >>> again.probability(np.zeros((2, head.facts["n_features"]), "float32")).shape
    (2, 2)
    """

    kind: str
    legend: Legend
    classifier: Classifier
    facts: dict[str, Any]
    """What it was fitted on: model digest, sensors, space, labelled cells per category."""
    temperature: float = 1.0
    """Divides the logarithms of the classifier's probabilities: found on places held out."""

    def probability(self, x: Floats) -> Floats:
        """Give calibrated ``(N, K)`` probabilities of ``(N, F)`` features."""
        seen = np.isin(self.legend.names, list(self.facts["n_cells"]))
        return soften(self.classifier.probability(x), self.temperature, seen)

    @property
    def weights(self) -> Floats:
        """Of the categories, ``(K,)``: probability times weight says which one a pixel is given."""
        counts = [self.facts["n_cells"].get(name, 0) for name in self.legend.names]
        balance = 0.0 if self.classifier.weighs_alike else self.facts["balance"]
        # What the temperature does to probabilities is done to weights: it changes no label.
        return weigh_categories(counts, balance / self.temperature)

    @property
    def digest(self) -> str:
        """Names weights and legend together: two heads with one digest map alike."""
        told = hashlib.sha256(repr((self.kind, self.legend, self.temperature)).encode())
        told.update(self.weights.tobytes())
        for name, array in sorted(vars(self.classifier).items()):
            told.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return told.hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> Head:
        """Write the head as a folder: ``weights.safetensors`` and a readable ``card.json``.

        Parameters
        ----------
        path : path
            A folder that does not exist or is empty.

        Returns
        -------
        Head
            As read back.

        Raises
        ------
        ModelError
            If the folder holds something.
        """
        target = claim_folder(path)
        publish_folder(
            stage_folder(target),
            target,
            form=FORMAT,
            version=VERSION,
            facts={
                "kind": self.kind,
                "legend": asdict(self.legend),
                "temperature": self.temperature,
                "facts": self.facts,
            },
            arrays=vars(self.classifier),
        )
        return load_head(target)

    card_markdown = head_markdown
    push_to_hub = push_to_hub

    def _sheet(self) -> Sheet:
        counts = ", ".join(f"{k} {v:,}" for k, v in self.facts["n_cells"].items())
        weights = [f"{weight:.2g}" for weight in self.weights if weight > 0]
        n_held = self.facts["n_calibrated"]
        calibrated = f"temperature {self.temperature:.2f}, on {n_held:,} cells of places held out"
        rows = [
            ("legend", f"{self.legend.title}: {', '.join(self.legend.names)}"),
            ("fitted on", f"{counts} cells"),
            ("features", f"{self.facts['n_features']} of {', '.join(self.facts['sensors'])}"),
            ("space", str(self.facts["space"])),
            ("calibrated", calibrated if n_held else "no: too few places"),
            (
                "labels",
                f"probability x {', '.join(weights)}" if len(set(weights)) > 1 else "most probable",
            ),
            ("model", str(self.facts["model_digest"])),
        ]
        return Sheet(f"xcontrast.Head {self.kind}", rows)


def load_head(path: str | os.PathLike[str]) -> Head:
    """Read a head folder.

    Parameters
    ----------
    path : path
        Written by :meth:`Head.save`; or a hub id, as :func:`load_model` takes it.

    Returns
    -------
    Head

    Raises
    ------
    ModelError
        If it is no head folder, is of a newer format, was written by a version whose classifiers
        held other arrays, or was damaged or changed; or if the hub has no such repository, or
        cannot be reached.

    Examples
    --------
    >>> head = xc.fit(emb.s1, points, legend=xc.FLOOD, column="category")
    >>> _ = head.save(folder / "flood")
    >>> xc.load_head(folder / "flood").legend.names
    ('dry', 'flood')
    """
    from safetensors.numpy import load_file

    folder = find_folder(path)
    card = read_folder(folder, form=FORMAT, version=VERSION)
    if card["kind"] not in KINDS:
        raise ModelError(
            problem(
                expected=f"a head of kind {' or '.join(KINDS)}",
                received=repr(card["kind"]),
                do="upgrade xcontrast",
            )
        )
    arrays = load_file(folder / "weights.safetensors")
    names = {field.name for field in fields(KINDS[card["kind"]])}
    if set(arrays) != names:
        raise ModelError(
            problem(
                expected=f"arrays {', '.join(sorted(names))}, of a {card['kind']} head",
                received=f"{', '.join(sorted(arrays))} in {folder}",
                do="fit the head again: another version of xcontrast wrote this one",
            )
        )
    legend = read_record(Legend, card["legend"])
    classifier = KINDS[card["kind"]](**arrays)
    return Head(card["kind"], legend, classifier, card["facts"], card["temperature"])
