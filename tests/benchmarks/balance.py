"""How labels are chosen from probabilities: a study on development data.

Linear heads are fitted as :func:`xcontrast.fit` does, on the draws of labelled tiles of
`strength.py`, and map tiles of other places; each probability is multiplied by the category's
share of the labelled cells to the power of minus `balance` before the largest is chosen. Rows are
appended draw by draw.

    python tests/benchmarks/balance.py run --models encoders
    python tests/benchmarks/balance.py show
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from xcontrast.heads.classifiers import LinearClassifier
from xcontrast.heads.classifiers.calibration import find_temperature, soften
from xcontrast.heads.decision import choose_codes, weigh_categories

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board, strength

ROWS = Path(__file__).with_name("balance.csv")
BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)


def measure(
    few: strength.Tiles, other: strength.Tiles, tiles: np.ndarray
) -> Iterator[dict[str, float]]:
    """Fit on some tiles, and score on all of the others: one row a balance."""
    x, y, place = few.take(tiles)
    codes = np.unique(y)
    n = len(codes)
    y = np.searchsorted(codes, y)
    classifier = LinearClassifier.fit(x, y, place, n_categories=n)
    temperature, _ = find_temperature(classifier, x, y, place)
    unseen, truth, _ = other.take(np.arange(len(other.codes)))
    probability = soften(classifier.probability(unseen), temperature, np.ones(n, bool))
    for balance in BALANCES:
        weights = weigh_categories(np.bincount(y), balance / temperature)
        found = choose_codes(probability, codes=tuple(codes), weights=weights)
        iou = strength.score_labels(found, truth)
        yield {"balance": balance, "temperature": temperature, "iou": iou}


def run(draws: list[int], folder: Path) -> None:
    """Make the runs that are not there."""
    strength.make_draws(ROWS, measure, draws, folder)


def table() -> str:
    """Give the table: means over draws by balance."""
    rows = pd.read_csv(ROWS)
    lines = []
    for name, own in rows.groupby("board", sort=False):
        means = own.groupby("balance").iou.mean()
        cells = [str(name), str(own.draw.nunique())]
        lines.append([*cells, *(f"{means[balance]:.3f}" for balance in BALANCES)])
    return board.as_table(["", "draws", *(f"{b:g}" for b in BALANCES)], lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="draws", n=5, models=True)
