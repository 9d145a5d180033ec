"""Cards of heads and segmenters in Markdown, from their facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xcontrast.heads.features import IDENTITY
from xcontrast.model.cards import (
    TITLES,
    describe_sensors,
    list_facts,
    open_call,
    render,
    show_options,
)

if TYPE_CHECKING:
    from xcontrast.heads.head import Head
    from xcontrast.heads.segmenting.segmenter import Segmenter
    from xcontrast.legends import Legend

__all__ = ["head_markdown", "segmenter_markdown"]


def head_markdown(head: Head, *, source: str = "head", license: str | None = None) -> str:
    """Describe the head in Markdown, from its facts alone.

    Parameters
    ----------
    head : Head
        What is described.
    source : str, default "head"
        Where others load it from, for the lines of code: a hub id or a path.
    license : str, optional
        A licence's identifier on the hub; without one the card says that none was given.

    Returns
    -------
    str
        As :meth:`Model.card_markdown` gives it.
    """
    told = head.facts
    kept = ("n_features", "n_places", "balance", "seed")
    limits = ["- It fits the embeddings of one model only, in one space."]
    if not told.get("n_calibrated"):
        limits.append("- Its probabilities are not calibrated: there were too few places.")
    missing = [name for name in head.legend.names if name not in told["n_cells"]]
    if missing:
        limits.append(f"- No cell was labelled {', '.join(missing)}: it never names that.")
    facts: dict[str, Any] = {
        "sensors": [TITLES.get(name, name) for name in told["sensors"]],
        **{name.removeprefix("n_"): told.get(name) for name in kept},
        "cells held out for calibration": told.get("n_calibrated") or None,
        "temperature": head.temperature,
    }
    return render(
        f"xcontrast head {head.digest}",
        [f"A classifier (`{head.kind}`) of embeddings: {head.legend.title}."],
        [
            ("Legend", _show_legend(head.legend, told["n_cells"], "labelled cells")),
            ("Takes", _describe_embedding(told)),
            ("Fitted on", list_facts(facts)),
            ("Limits", limits),
            ("Use", _show_head(told, source)),
            ("Versions", list_facts({"xcontrast": told.get("xcontrast")})),
        ],
        tags=[*(TITLES[s].lower() for s in told["sensors"] if s in TITLES), "image-segmentation"],
        license=license,
    )


def segmenter_markdown(
    segmenter: Segmenter, *, source: str | None = None, license: str | None = None
) -> str:
    """Describe the segmenter in Markdown, from the facts of its card alone.

    Parameters
    ----------
    segmenter : Segmenter
        What is described.
    source : str, optional
        Where others load it from, for the lines of code: a hub id or a path. By default its own
        folder.
    license : str, optional
        A licence's identifier on the hub; without one the card says that none was given.

    Returns
    -------
    str
        As :meth:`Model.card_markdown` gives it.
    """
    card, told = segmenter.card, segmenter.card.training
    apart = ("n_pixels", "held_out", "val_iou", "best_step", "steps", "event", "interrupted")
    dates = "one date" if card.n_dates == 1 else "two dates, before and after"
    limits = ["- Only the labels above were seen; other areas and dates were not measured."]
    if "val_iou" not in told:
        limits.append("- Nothing was measured on ground held out.")
    if told.get("interrupted"):
        limits.append("- Training was interrupted before its last step.")
    scores = {"mean IoU": told.get("val_iou"), "at step": told.get("best_step")}
    return render(
        f"xcontrast segmenter {segmenter.digest}",
        [f"A map from images: {card.legend.title}. `{card.encoder}` with a `{card.decoder}` "
         f"decoder, on {dates}."],
        [
            ("Legend", _show_legend(card.legend, told.get("n_pixels", {}), "labelled pixels")),
            ("Takes", describe_sensors(card.sensors)),
            ("Trained on", list_facts({"steps": told.get("steps"), "event": told.get("event"),
                                       "began from model": card.model_digest})),
            ("Options", show_options({k: v for k, v in told.items() if k not in apart})),
            ("Scores", list_facts({"held out": told.get("held_out"), **scores})
                if "val_iou" in told else []),
            ("Limits", limits),
            ("Use", _show_segmenter(segmenter, source or str(segmenter.path))),
            ("Versions", list_facts({"xcontrast": card.xcontrast})),
        ],
        tags=[*(TITLES[name].lower() for name in card.sensors), "image-segmentation"],
        license=license,
    )  # fmt: skip


def _show_legend(legend: Legend, counts: Mapping[str, int], what: str) -> list[str]:
    rows = [f"| code | name | {what} |", "|---|---|---|"]
    rows += [
        f"| {code} | {name} | {counts.get(name, 0):,} |"
        for code, name in zip(legend.codes, legend.names, strict=True)
    ]
    return [*rows, "", "255 is no label."]


def _describe_embedding(told: Mapping[str, Any]) -> list[str]:
    return ["Embeddings of one model:", "", *list_facts({key: told.get(key) for key in IDENTITY})]


def _show_head(told: Mapping[str, Any], source: str) -> list[str]:
    sensors, space = told["sensors"], told["space"]
    cube = "cube"
    if not told["composite"] and len(sensors) > 1:
        cube += f".isel({', '.join(f'{name}_time=-1' for name in sensors)})"
    options = "" if space == "encoder" else f', space="{space}"'
    own = f".{sensors[0]}" if len(sensors) == 1 else ""
    lines = [
        f'head = xc.load_head("{source}")',
        f'model = xc.load_model("model")  # the one of digest {told["model_digest"]}',
        open_call({}, dates=2 if told["composite"] else 1),
        f"emb = {cube}.contrast.embed(model{options})",
    ]
    if told["composite"]:
        lines.append('emb = xc.before_after(emb, event="2023-05-16")')
    lines.append(f"result = emb{own}.contrast.predict(head)  # label, probability, entropy")
    return ["```python", "import xcontrast as xc", "", *lines, "```"]


def _show_segmenter(segmenter: Segmenter, source: str) -> list[str]:
    card, cube, event = segmenter.card, "cube", ""
    if card.n_dates == 2:
        event = ', event="2023-05-16"'
    else:
        cube += f".isel({', '.join(f'{name}_time=-1' for name in card.sensors)})"
    return [
        "```python",
        "import xcontrast as xc",
        "",
        f'segmenter = xc.load_segmenter("{source}")',
        open_call(card.sensors, dates=card.n_dates),
        f"result = {cube}.contrast.predict(segmenter{event})  # label, probability, entropy",
        "```",
    ]
