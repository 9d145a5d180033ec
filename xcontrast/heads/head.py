"""A head: a small classifier on frozen embeddings with its legend; fitted, saved, loaded."""

from __future__ import annotations

import hashlib
import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, ModelError, problem
from xcontrast.folders import claim_folder, publish_folder, read_folder, stage_folder
from xcontrast.heads.classifiers import Classifier, LinearClassifier, NeighbourClassifier
from xcontrast.heads.features import join_features
from xcontrast.heads.labels import match_labels
from xcontrast.legends import NO_LABEL, Legend
from xcontrast.version import __version__

__all__ = ["Head", "fit", "load_head"]

FORMAT = "xcontrast-head"
VERSION = 1
KINDS: dict[str, type[LinearClassifier] | type[NeighbourClassifier]] = {
    "linear": LinearClassifier,
    "knn": NeighbourClassifier,
}
N_MAX = 20_000
"""Labelled cells that a head is fitted on, at most, but for rare categories."""
N_RARE = 500
"""Cells of a category that are always kept."""
PLACE = 32
"""Side in cells of the blocks that cross-validation holds out whole."""


@dataclass(frozen=True)
class Head:
    """A classifier on frozen embeddings, and what it may be used on."""

    kind: str
    legend: Legend
    classifier: Classifier
    facts: dict[str, Any]
    """What it was fitted on: model digest, sensors, space, labelled cells per category."""

    @property
    def digest(self) -> str:
        """Names weights and legend together: two heads with one digest map alike."""
        told = hashlib.sha256(repr((self.kind, self.legend)).encode())
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
        legend = {k: getattr(self.legend, k) for k in ("title", "codes", "names", "colors")}
        publish_folder(
            stage_folder(target),
            target,
            form=FORMAT,
            version=VERSION,
            facts={"kind": self.kind, "legend": legend, "facts": self.facts},
            arrays=vars(self.classifier),
        )
        return load_head(target)

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name:<12} {value}" for name, value in self._rows())
        return f"<xcontrast.Head {self.kind}>\n{rows}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._rows()
        )
        return f"<div><b>xcontrast.Head</b> {self.kind}<table>{rows}</table></div>"

    def _rows(self) -> list[tuple[str, str]]:
        counts = ", ".join(f"{k} {v:,}" for k, v in self.facts["n_cells"].items())
        return [
            ("legend", f"{self.legend.title}: {', '.join(self.legend.names)}"),
            ("fitted on", f"{counts} cells"),
            ("features", f"{self.facts['n_features']} of {', '.join(self.facts['sensors'])}"),
            ("space", str(self.facts["space"])),
            ("model", str(self.facts["model_digest"])),
        ]


def load_head(path: str | os.PathLike[str]) -> Head:
    """Read a head folder.

    Parameters
    ----------
    path : path
        Written by :meth:`Head.save`.

    Returns
    -------
    Head

    Raises
    ------
    ModelError
        If it is no head folder, is of a newer format, or was damaged or changed.
    """
    from safetensors.numpy import load_file

    folder = Path(path)
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
    legend: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in card["legend"].items()
    }
    return Head(card["kind"], Legend(**legend), KINDS[card["kind"]](**arrays), card["facts"])


def fit(
    embedding: xr.DataArray | xr.Dataset,
    labels: Any,
    *,
    legend: Legend,
    column: str | None = None,
    kind: Literal["linear", "knn"] = "linear",
    seed: int = 0,
) -> Head:
    """Fit a small classifier on the labelled cells of an embedding.

    Only the blocks that hold labelled cells are computed. Cells without a valid embedding are
    left out.

    Parameters
    ----------
    embedding : DataArray or Dataset
        ``(…, feature, y, x)`` float32 with one time at most; a Dataset of both sensors is joined
        along ``feature``.
    labels : DataArray or geometries
        See :func:`xcontrast.heads.labels.match_labels`.
    legend : Legend
        What the codes mean.
    column : str, optional
        Column of a GeoDataFrame with codes or names.
    kind : {"linear", "knn"}
        Logistic regression, its strength chosen by cross-validation over places; or the 15
        nearest labelled cells by cosine.
    seed : int, default 0
        Draws cells where there are more than a head takes.

    Returns
    -------
    Head

    Raises
    ------
    DataError
        If the embedding has several times, labels do not fit, fewer than two categories are
        labelled on valid cells, or the kind is unknown.
    """
    if kind not in KINDS:
        raise DataError(
            problem(expected="kind 'linear' or 'knn'", received=repr(kind), do="choose one")
        )
    features, facts = join_features(embedding)
    _check_time(features)
    codes = match_labels(labels, features, legend=legend, column=column)
    x, y, groups = _labelled_cells(features, codes, legend, seed)
    present = np.unique(y)
    if len(present) < 2:
        names = ", ".join(legend.names[i] for i in present) or "none"
        raise DataError(
            problem(
                expected="at least two categories on cells with a valid embedding",
                received=names,
                do="label a second category, or labels where the embedding is valid",
            )
        )
    classifier = KINDS[kind].fit(x, y, groups, n_categories=len(legend.codes), seed=seed)
    counts = {legend.names[i]: int((y == i).sum()) for i in present}
    facts |= {"n_cells": counts, "n_features": x.shape[1], "seed": seed, "xcontrast": __version__}
    return Head(kind, legend, classifier, facts)


def _check_time(features: xr.DataArray) -> None:
    for dim in ("s1_time", "s2_time", "date"):
        if features.sizes.get(dim, 1) > 1:
            raise DataError(
                problem(
                    expected="an embedding with one time, as the labels have none",
                    received=f"{features.sizes[dim]} steps of {dim}",
                    do=f".sel({dim}=..., method='nearest'), .isel({dim}=0), or "
                    "xc.before_after(embedding, event=...)",
                )
            )


def _labelled_cells(
    features: xr.DataArray, codes: xr.DataArray, legend: Legend, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Read features at labelled cells only: (N, F), category numbers (N,), places (N,)."""
    features = features.squeeze([d for d in ("s1_time", "s2_time", "date") if d in features.dims])
    lead = features.dims[:-3]
    if codes.dims != (*lead, "y", "x"):
        raise DataError(
            problem(
                expected=f"labels with the dims {(*lead, 'y', 'x')}",
                received=str(codes.dims),
                do="give labels for each of the embedding's leading dims, and no others",
            )
        )
    where = _draw_cells(codes.values, legend, seed)
    index = {d: xr.DataArray(i, dims="cell") for d, i in zip(codes.dims, where, strict=True)}
    x = features.isel(index).transpose("cell", "feature").values.astype(np.float32)
    numbers = np.full(256, -1, np.intp)
    numbers[list(legend.codes)] = np.arange(len(legend.codes))
    y = numbers[codes.values[where]]
    rows, cols = where[-2] // PLACE, where[-1] // PLACE
    place = np.stack([*where[:-2], rows, cols])
    groups = np.unique(place, axis=1, return_inverse=True)[1].ravel()
    valid = np.isfinite(x).all(1)
    return x[valid], y[valid], groups[valid]


def _draw_cells(
    codes: npt.NDArray[np.uint8], legend: Legend, seed: int
) -> tuple[npt.NDArray[np.intp], ...]:
    """Choose labelled cells: all, or a seeded draw that keeps shares but spares rare categories."""
    flat = codes.ravel()
    labelled = np.flatnonzero(flat != NO_LABEL)
    if len(labelled) > N_MAX:
        rng = np.random.default_rng(seed)
        kept = []
        for code in legend.codes:
            own = np.flatnonzero(flat == code)
            n = max(N_RARE, round(N_MAX * len(own) / len(labelled)))
            kept.append(rng.permutation(own)[:n])
        labelled = np.sort(np.concatenate(kept))
    return np.unravel_index(labelled, codes.shape)
