"""The papers' tables as data: what each start of the encoder reached, and where that is written.

``checked`` is False for figures that were not read in a source, or in one that was unsure: compare
them with the paper before they are quoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from xcontrast.errors import DataError, problem

__all__ = ["METRICS", "Name", "published", "summarise"]

Name = Literal["sen1floods11", "dynamic-world", "eurosat", "bigearthnet", "oscd"]

METRICS: dict[str, str] = {
    "sen1floods11": "IoU of water, %",
    "dynamic-world": "overall accuracy, %",
    "eurosat": "accuracy, %",
    "bigearthnet": "micro-averaged average precision, %",
    "oscd": "precision, recall and F1 of change, %",
}

DUAL = "Jain, Wilson and Gulshan 2022, section 5"
SECO = "Manas et al. 2021"
CACO = "Mall, Hariharan and Bala 2023 (CACo)"
SSL4ECO = "Plekhanova et al. 2025 (SSL4Eco)"
STARTS = ("random", "ImageNet", "SimCLR", "multimodal")
SECO_STARTS = ("random", "ImageNet", "MoCo-v2", "MoCo+TP", "SeCo-1M")


@dataclass(frozen=True)
class Row:
    """One figure of a paper."""

    task: str
    start: str
    """How the encoder was initialised."""
    mean: float
    std: float | None = None
    source: str = DUAL
    checked: bool = True


def _across(
    task: str,
    figures: Sequence[float | None],
    *,
    starts: Sequence[str] = STARTS,
    std: Sequence[float] = (),
    source: str = DUAL,
    memory: Sequence[str] = (),
) -> list[Row]:
    """Make a row a start of a line of a paper's table; `memory` names those not checked."""
    spread: list[float | None] = [*std] or [None] * len(starts)
    return [
        Row(task, start, mean, own, source, start not in memory)
        for start, mean, own in zip(starts, figures, spread, strict=True)
        if mean is not None
    ]


ROWS: dict[str, list[Row]] = {
    "sen1floods11": [
        *_across("10 %", (55.22, 54.33, 55.35, 57.89), std=(5.29, 2.84, 4.95, 5.65)),
        *_across("100 %", (66.42, 65.56, 66.40, 68.71), std=(0.25, 0.47, 0.21, 0.29)),
        Row("10 %", "SimCLR, tuned for radar", 56.55),
        Row("100 %", "SimCLR, tuned for radar", 67.83),
    ],
    "dynamic-world": [
        *_across("s1, 1 %", (47.49, 50.71, 58.49, None)),
        Row("s1, 1 %", "multimodal", 59.59, 0.96),
        *_across("s1, 10 %", (55.81, 59.00, 63.70, None)),
        Row("s1, 10 %", "multimodal", 64.73, 0.39),
        *_across("s1, 100 %", (61.86, 65.93, 67.45, None)),
        Row("s1, 100 %", "multimodal", 68.72, 0.55),
        *_across("s2, 1 %", (49.96, 56.71, 65.87, 68.07)),
        *_across("s2, 10 %", (62.90, 69.00, 71.67, 72.93)),
        *_across("s2, 100 %", (71.32, 73.02, 74.96, 74.95)),
        Row("s1, 1 %", "SimCLR, tuned for radar", 57.86),
        Row("s1, 10 %", "SimCLR, tuned for radar", 64.14),
        Row("s1, 100 %", "SimCLR, tuned for radar", 67.92),
    ],
    "eurosat": [
        *_across("linear", (63.21, 86.44, 83.72, 89.51, 93.14), starts=SECO_STARTS, source=SECO,
                 memory=("random", "MoCo-v2")),
        *_across("linear", (64.21, 86.16, 93.99), starts=("random", "ImageNet", "SeCo-1M"),
                 source=CACO),
        Row("linear", "CACo-1M", 94.72, source=CACO),
    ],
    "bigearthnet": [
        *_across("linear, 100 %", (45.95, 66.40, 70.90, 71.08, 77.00), starts=SECO_STARTS,
                 source=SECO, memory=("MoCo+TP",)),
        *_across("fine-tune, 100 %", (79.80, 85.90, 85.23, 85.71, 87.27), starts=SECO_STARTS,
                 source=SECO),
        *_across("linear, 10 %", (43.05, 65.69, 69.28, None, 76.05), starts=SECO_STARTS,
                 source=SECO, memory=SECO_STARTS),
        *_across("fine-tune, 10 %", (68.11, 78.76, 78.33, None, 81.86), starts=SECO_STARTS,
                 source=SECO, memory=SECO_STARTS),
        Row("linear, 100 %", "SeCo-1M, ResNet-50", 80.35, source=SECO),
        Row("fine-tune, 100 %", "SeCo-1M, ResNet-50", 87.81, source=SECO),
        Row("linear, 10 %", "SeCo-1M, retrained", 67.68, source=CACO),
        Row("linear, 100 %", "SeCo-1M, retrained", 69.95, source=CACO),
        Row("linear, 10 %", "SeCo-1M, ResNet-50", 79.2, source=SSL4ECO),
    ],
    "oscd": [
        *_across("F1", (29.44, 36.20, 40.71, 40.12, 46.94), starts=SECO_STARTS, source=SECO,
                 memory=("random", "ImageNet", "MoCo-v2")),
        *_across("precision", (70.53, 70.42, 64.49, 69.14, 65.47), starts=SECO_STARTS,
                 source=SECO, memory=SECO_STARTS),
        *_across("recall", (19.17, 25.12, 30.94, 29.66, 38.06), starts=SECO_STARTS, source=SECO,
                 memory=SECO_STARTS),
        *_across("F1", (28.91, 35.30, 38.21, 46.84, 50.29), source=CACO,
                 starts=("random", "ImageNet", "MoCo-v2 (100k)", "SeCo-100k", "CACo-100k")),
    ],
}  # fmt: skip
"""ResNet-18 where nothing is said, and ResNet-50 in the dual-encoder paper."""


def published(name: str) -> pd.DataFrame:
    """Give what papers report of a data set.

    Parameters
    ----------
    name : {"sen1floods11", "dynamic-world", "eurosat", "bigearthnet", "oscd"}
        Which.

    Returns
    -------
    DataFrame
        Columns ``task``, ``start``, ``mean`` and ``std`` (percent, see `METRICS`), ``n`` (runs, 0
        where not stated), ``source`` and ``checked``.

    Raises
    ------
    DataError
        If there is no such data set.

    Examples
    --------
    >>> from xcontrast.protocols.tables import published
    >>> rows = published("sen1floods11").query("task == '100 %'").set_index("start")
    >>> float(rows.loc["multimodal", "mean"])
    68.71
    """
    if name not in get_args(Name):
        raise DataError(
            problem(
                expected=f"a data set of {', '.join(get_args(Name))}",
                received=repr(name),
                do="choose one of them",
            )
        )
    rows = pd.DataFrame([vars(row) for row in ROWS[name]]).astype({"std": float})
    rows.insert(4, "n", np.where(rows["std"].isna(), 0, rows["task"].map(_runs)))
    return rows


def _runs(task: str) -> int:
    return 3 if task.endswith("100 %") else 5


def summarise(task: str, start: str, values: Sequence[float]) -> dict[str, object]:
    """Make a row of our own from the scores of its runs.

    Parameters
    ----------
    task, start : str
        As in the published rows.
    values : sequence of float
        One score a run, percent.

    Returns
    -------
    dict
        With the columns of :func:`published`; the deviation is the sample's, NaN of one run.
    """
    return {
        "task": task,
        "start": start,
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        "n": len(values),
        "source": "this run",
        "checked": True,
    }
