"""The sections of a page about a map: what is said, tabled and shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xcontrast.evaluation.counts import Numbers
from xcontrast.evaluation.pictures import Place, draw_places
from xcontrast.evaluation.ratios import BY_CATEGORY, OVERALL, ratios_of
from xcontrast.legends import Legend
from xcontrast.plotting.scores import plot_confusion, plot_reliability
from xcontrast.report import Picture, Section, Table

__all__ = ["Judged", "list_facts", "say_verdict", "tell_sections"]

FEW = 10
"""Groups below which an interval over groups is too narrow to be believed."""
SHOWN = 3
"""Worst and best groups that are shown."""


@dataclass(frozen=True)
class Judged:
    """A map, its truth, and everything that was made of them."""

    label: xr.DataArray
    truth: xr.DataArray
    legend: Legend
    numbers: Numbers
    """Of the group of each pixel, in its own order; -1 where it is of none."""
    names: npt.NDArray[Any]
    """Of the groups."""
    told: str
    """What a group is, in a word."""
    scores: xr.Dataset
    table: xr.Dataset | None
    cube: xr.Dataset | None

    @property
    def focus(self) -> int:
        """Place in the legend of the category shown: the second of two, else the worst mapped."""
        if len(self.legend.codes) == 2:
            return 1
        counts = self.scores.confusion.values
        return int((counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)).argmax())


def tell_sections(judged: Judged) -> list[Section]:
    """Give all sections, in order.

    Parameters
    ----------
    judged : Judged
        What they are about.

    Returns
    -------
    list of Section
    """
    sections = [_scored(judged), _confused(judged)]
    if judged.table is not None:
        sections.append(_calibrated(judged, judged.table))
    return [*sections, _grouped(judged), *_shown(judged)]


def say_verdict(judged: Judged) -> str:
    """Say in a few sentences how good the map is, and what to mind when reading it."""
    scores, k = judged.scores, judged.focus
    name, n = judged.legend.names[k], scores.sizes["group"]
    many = len(judged.legend.codes) > 2
    low, high = (scores.mean_iou_interval if many else scores.iou_interval[k]).values
    what, value = ("Mean IoU", scores.mean_iou) if many else (f"IoU of {name}", scores.iou[k])
    text = (
        f"{what}: {float(value):.3f} over all pixels (95 % interval {low:.3f} to {high:.3f}, by "
        f"bootstrap over {n} {judged.told}s). Accuracy {float(scores.accuracy):.3f}, kappa "
        f"{float(scores.kappa):.3f}."
    )
    if many:
        text += f" Maps and {judged.told}s below show {name}, the category with most errors."
    else:
        mean = float(scores.iou_over_groups[k])
        text += f" Mean IoU of the {judged.told}s, each of one weight: {mean:.3f}."
    held = scores.group_confusion.values[:, k].sum(1)
    if held.sum() and held.max() > 0.3 * held.sum():
        text += (
            f"\n\nOne {judged.told}, {scores.group.values[held.argmax()]}, holds "
            f"{held.max() / held.sum():.0%} of all true {name}: scores over all pixels weigh it "
            "most. Read the mean beside them."
        )
    if n < FEW:
        text += f"\n\nWith {n} {judged.told}s the intervals are too narrow to be relied on."
    return text


def list_facts(judged: Judged) -> dict[str, str]:
    """Say what was judged, by whom it was mapped, and what is left out."""
    scores = judged.scores
    n, left = int(scores.confusion.sum()), int(scores.n_unmapped)
    facts = {
        "Judged": f"{n:,} pixels with a truth and a category",
        "Not mapped": f"{left:,} pixels with a truth, {100 * left / (n + left):.1f} %, have no "
        "category and count nowhere",
        "Groups": f"{scores.sizes['group']} {judged.told}s",
        "Legend": f"{judged.legend.title}: {', '.join(judged.legend.names)}",
    }
    told = {"Model": "model_digest", "Head": "head_kind"}
    attrs = judged.label.attrs
    return facts | {name: f"`{attrs[key]}`" for name, key in told.items() if key in attrs}


def _with_interval(values: xr.DataArray, bounds: xr.DataArray) -> list[str]:
    """Write values with their intervals."""
    rows = zip(np.atleast_1d(values.values), np.atleast_2d(bounds.values), strict=True)
    return [f"{v:.3f} ({low:.3f} to {high:.3f})" if v == v else "–" for v, (low, high) in rows]


def _scored(judged: Judged) -> Section:
    scores = judged.scores
    mean = f"IoU, mean of {judged.told}s"
    titles = dict(zip(BY_CATEGORY, ("IoU", "F1", "precision", "recall"), strict=True))
    columns = {
        title: _with_interval(scores[name], scores[f"{name}_interval"])
        for name, title in {**titles, "iou_over_groups": mean}.items()
    }
    frame = pd.DataFrame(columns, index=pd.Index(judged.legend.names, name="category"))
    overall = pd.DataFrame(
        {
            "score": ["accuracy", "kappa", "mean IoU", "mean F1"],
            "value": [_with_interval(scores[k], scores[f"{k}_interval"])[0] for k in OVERALL],
        }
    )
    text = (
        "Counted over all pixels that have a truth and a category in the map; in brackets 95 % "
        f"intervals by bootstrap over {judged.told}s, as neighbouring pixels are no independent "
        "witnesses.\n\n"
        "- `IoU`: hits, of hits, misses and false alarms together.\n"
        "- `precision`: of what is mapped as a category, the share that is. `recall`: of what is, "
        "the share that is mapped.\n"
        f"- `mean of {judged.told}s`: those in which the category is there or mapped.\n"
        "- Means over categories leave out those that neither truth nor map has."
    )
    tables = [
        Table(frame=frame[["IoU", mean]], caption="Overlap, by category."),
        Table(frame=frame[["precision", "recall", "F1"]], caption="By category."),
        Table(frame=overall, caption="All categories together."),
    ]
    return Section(title="Scores", text=text, tables=tables)


def _confused(judged: Judged) -> Section:
    figure = Picture(
        image=plot_confusion(judged.scores),
        caption="Of each true category (row), the share that is mapped as each (column).",
        alt="Confusion matrix of truth and map",
    )
    return Section(title="What is taken for what", figures=[figure])


def _calibrated(judged: Judged, table: xr.Dataset) -> Section:
    text = (
        f"Expected calibration error of the most probable category {float(table.ece):.3f}, Brier "
        f"score {float(table.brier):.3f}, log loss {float(table.log_loss):.3f} nats. A perfect map "
        "has 0 in all three; a constant guess can have the first as well."
    )
    figure = Picture(
        image=plot_reliability(table, category=judged.legend.names[judged.focus]),
        caption="Pixels by the probability they were given, and the share for which it came true. "
        "Below the dashed line the category is given too readily, above it too rarely.",
        alt="Reliability diagram",
    )
    return Section(title="What probabilities mean", text=text, figures=[figure])


def _grouped(judged: Judged) -> Section:
    scores, k = judged.scores, judged.focus
    name = judged.legend.names[k]
    counts = scores.group_confusion.values
    ratios = ratios_of(counts)
    frame = pd.DataFrame(
        {
            judged.told: [str(g) for g in scores.group.values],
            "IoU": ratios["iou"][:, k],
            "precision": ratios["precision"][:, k],
            "recall": ratios["recall"][:, k],
            "accuracy": ratios["accuracy"],
            "pixels": counts.sum((1, 2)),
            f"true {name}, %": 100 * counts[:, k].sum(1) / counts.sum((1, 2)),
        }
    ).sort_values("IoU", kind="stable")
    ranked = frame[frame["IoU"].notna()]
    ends = frame
    if len(ranked) > 4 * SHOWN:
        ends = pd.concat([ranked.iloc[: 2 * SHOWN], ranked.iloc[-2 * SHOWN :]])
    formats = dict.fromkeys(("IoU", "precision", "recall", "accuracy"), ".3f")
    formats |= {"pixels": ",d", f"true {name}, %": ".1f"}
    low, half, high = np.nanquantile(frame["IoU"], [0.1, 0.5, 0.9]) if len(ranked) else [np.nan] * 3
    without = len(frame) - len(ranked)
    text = (
        f"Of {len(frame)} {judged.told}s, half have an IoU of {name} above {half:.3f}, a tenth "
        f"below {low:.3f}, a tenth above {high:.3f}."
        + (f" In {without} it is neither there nor mapped." if without else "")
    )
    some = "All." if len(ends) == len(frame) else f"The {2 * SHOWN} worst and the {2 * SHOWN} best."
    table = Table(frame=ends, caption=f"{some} Scores of {name}.", formats=formats)
    return Section(title=f"By {judged.told}", text=text, tables=[table])


def _shown(judged: Judged) -> list[Section]:
    """Show the whole scene, then the worst and best groups."""
    code, name = judged.legend.codes[judged.focus], judged.legend.names[judged.focus]
    sections = []
    if "location" not in judged.label.dims:
        whole = Place("whole", judged.label, judged.truth, judged.cube)
        figure = Picture(
            image=draw_places([whole], judged.legend, code),
            caption=f"Truth, map, and where they agree about {name}. Grey is not judged.",
            alt=f"Truth, map, and hits and misses of {name} in the whole scene",
        )
        sections.append(Section(title="Where it is right and wrong", figures=[figure]))
    iou = judged.scores.group_iou.values[:, judged.focus]
    order = np.argsort(iou, kind="stable")[: int(np.isfinite(iou).sum())]
    n = min(SHOWN, len(order) // 2)
    many = "location" in judged.label.dims
    ends = {"Worst": order[:n], "Best": order[len(order) - n :][::-1]}
    for word, chosen in ends.items():
        if not len(chosen):
            continue
        places = [_cut(judged, k) for k in chosen]
        figure = Picture(
            image=draw_places(places, judged.legend, code),
            caption=f"{word} {judged.told}s by IoU of {name}"
            + ("; of one with several images, that with most errors." if many else "."),
            alt=f"Truth, map, and hits and misses of {name}, {word.lower()} {judged.told}s",
        )  # fmt: skip
        sections.append(Section(title=f"{word} {judged.told}s", figures=[figure]))
    return sections


def _cut(judged: Judged, k: int) -> Place:
    """Cut a group out: the image with most errors, or the box around it."""
    name = judged.scores.group.values[k]
    inside = judged.numbers == np.flatnonzero(judged.names == name)[0]
    title = f"{judged.told} {name}, IoU {judged.scores.group_iou.values[k, judged.focus]:.3f}"
    if "location" in judged.label.dims:
        known = np.isin(judged.label, judged.legend.codes) & np.isin(
            judged.truth, judged.legend.codes
        )
        wrong = (inside & known & (judged.label.values != judged.truth.values)).sum((1, 2))
        held = np.where(inside.any((1, 2)), wrong, -1)
        where = {"location": int(held.argmax())}
        if inside.any((1, 2)).sum() > 1:
            title += f", location {where['location']}"
        box: dict[str, int | slice] = dict(where)
    else:
        rows, cols = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        box = {"y": slice(rows[0], rows[-1] + 1), "x": slice(cols[0], cols[-1] + 1)}
    label, truth = (v.isel(box) for v in (judged.label, judged.truth))
    cube = None if judged.cube is None else judged.cube.isel(box)
    return Place(title, label, truth, cube)
