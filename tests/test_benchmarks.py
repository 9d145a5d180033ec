"""The page of benchmarks says what the committed rows say."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import board, tables
from PIL import Image


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two groups of one category: IoU .5 and .25, pooled .375."""
    counts = {"group": ["a", "b"], "code": [1, 1], "hit": [4, 2]}
    return pd.DataFrame(counts | {"false": [2, 3], "missed": [2, 3]})


def test_the_page_holds_the_tables_of_the_rows() -> None:
    page = tables.PAGE.read_text()
    assert tables.fill(page) == page, "run: python tests/benchmarks/tables.py"


def test_the_picture_is_of_these_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs" / "pictures")
    script = importlib.import_module("scoreboard")
    with Image.open(script.PICTURE) as image:
        told = image.info["digest"]
    assert told == script.digest(), "run: python docs/pictures/scoreboard.py"


def test_counts_and_means_are_those_of_a_loop(rows: pd.DataFrame) -> None:
    assert board.mean_iou(rows) == pytest.approx(6 / 16)
    low, high = board.interval(rows)
    assert low == pytest.approx(0.25)  # b twice
    assert high == pytest.approx(0.5)


def test_pixels_are_counted_as_a_loop_counts_them() -> None:
    rng = np.random.default_rng(0)
    mapped, truth = rng.integers(0, 3, (2, 6, 5, 4))
    truth[0, 0] = 255  # Not labelled.
    mapped[1, 0] = 255  # Not mapped: missed, where there is a label.
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    found = board.count_pixels(mapped, truth, groups, (0, 1, 2)).set_index(["group", "code"])
    for group in "abc":
        for code in (0, 1, 2):
            counts = dict.fromkeys(board.COUNTS, 0)
            for tile in np.flatnonzero(groups == group):
                pairs = zip(mapped[tile].ravel(), truth[tile].ravel(), strict=True)
                for said, so in pairs:
                    counts["hit"] += said == so == code
                    counts["false"] += said == code != so != 255
                    counts["missed"] += so == code != said
            assert found.loc[(group, code)].to_dict() == counts


def test_an_interval_of_a_difference_from_itself_is_none(rows: pd.DataFrame) -> None:
    assert board.interval(rows, rows) == (0, 0)


def test_one_value_has_no_spread() -> None:
    assert board.spread([0.5]) == "0.500"
    assert board.spread([0.5, 0.25], 2) == "0.38 (0.25 to 0.50)"
