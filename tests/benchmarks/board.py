"""What the scoreboards share: rows on disk, counts by category, intervals over groups, tables."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

COUNTS = ["hit", "false", "missed"]
DRAWS = 2000
"""Of the bootstrap."""


def is_there(path: Path, key: dict[str, object]) -> bool:
    """Say whether a run's rows have been written."""
    if not path.exists():
        return False
    rows = pd.read_csv(path)
    same = np.ones(len(rows), bool)
    for name, value in key.items():
        same &= (rows[name].astype(str) == str(value)).to_numpy()
    return bool(same.any())


def append(path: Path, rows: pd.DataFrame, key: dict[str, object], seconds: float) -> None:
    """Append a run's rows, with what it is, when and where it was made."""
    stamp = {
        "seconds": round(seconds, 1),
        "date": datetime.date.today().isoformat(),
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    rows = rows.assign(**key, **stamp)[[*key, *rows.columns, *stamp]]
    rows.to_csv(path, mode="a", header=not path.exists(), index=False)


def count_pixels(
    mapped: np.ndarray, truth: np.ndarray, groups: np.ndarray, codes: tuple[int, ...]
) -> pd.DataFrame:
    """Count pixels hit, false and missed of each category: one row a group and category.

    `mapped` and `truth` are ``(n, y, x)`` codes, `groups` ``(n,)``. `codes` are all that the truth
    may have, dry ground too: where it has none of them nothing is counted, nor false.
    """
    known = np.isin(truth, codes)
    rows = []
    for code in codes:
        is_so, said = (truth == code) & known, (mapped == code) & known
        pixels = {"hit": is_so & said, "false": ~is_so & said, "missed": is_so & ~said}
        counts = {name: which.sum((1, 2)) for name, which in pixels.items()}
        rows.append(pd.DataFrame({"group": groups.astype(str), "code": code, **counts}))
    table = pd.concat(rows).groupby(["group", "code"], as_index=False).sum()
    return table[table[COUNTS].sum(axis=1) > 0]


def mean_iou(rows: pd.DataFrame, codes: tuple[int, ...] | None = None) -> float:
    """Give the mean over categories of the IoU over all pixels."""
    sums = rows.groupby("code")[COUNTS].sum()
    sums = sums if codes is None else sums.reindex(codes).dropna()
    return float((sums.hit / sums.sum(axis=1)).mean())


def interval(
    rows: pd.DataFrame, base: pd.DataFrame | None = None, codes: tuple[int, ...] | None = None
) -> tuple[float, float]:
    """Give the 95 % interval over groups, of the mean IoU or of its difference from a base."""
    names = np.unique(rows.group)
    drawn = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    scores = []
    for own in (rows, base):
        if own is None:
            continue
        every = sorted(set(rows.code)) if codes is None else list(codes)
        table = own.groupby(["group", "code"])[COUNTS].sum()
        whole = pd.MultiIndex.from_product([names, every])
        counts = table.reindex(whole, fill_value=0).to_numpy().reshape(len(names), len(every), 3)
        sums = counts[drawn].sum(1)  # (draw, category, 3)
        with np.errstate(invalid="ignore"):
            scores.append(np.nanmean(sums[..., 0] / sums.sum(-1), axis=1))
    values = scores[0] if base is None else scores[0] - scores[1]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def as_table(columns: list[str], rows: list[list[str]]) -> str:
    """Give a Markdown table."""
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Write the mean of values with the least and the largest of them; one by itself."""
    mean, least, largest = np.mean(v := list(values)), min(v), max(v)
    told = f"{mean:.{digits}f}"
    return told if len(v) == 1 else f"{told} ({least:.{digits}f} to {largest:.{digits}f})"


def main(
    about: str,
    run: Callable[..., None],
    table: Callable[[], str],
    *,
    over: str,
    n: int,
    models: bool = False,
) -> None:
    """Read the call of a scoreboard: ``run`` makes what is missing, ``show`` gives the table.

    `over` is what runs are numbered by, folds or seeds, of which there are `n`; `models` whether
    encoders are kept in a folder.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("study", choices=["run", "show"])
    parser.add_argument(f"--{over}", nargs="*", type=int, default=list(range(n)), dest="numbers")
    if models:
        parser.add_argument("--models", type=Path, default=Path("encoders"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.study == "run":
        run(args.numbers, *([args.models] if models else []))
    print(table())
