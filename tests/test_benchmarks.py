"""The page of benchmarks says what the committed rows say."""

from __future__ import annotations

import pandas as pd
import pytest
from benchmarks import board, tables


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two groups of one category: IoU .5 and .25, pooled .375."""
    counts = {"group": ["a", "b"], "code": [1, 1], "hit": [4, 2]}
    return pd.DataFrame(counts | {"false": [2, 3], "missed": [2, 3]})


def test_the_page_holds_the_tables_of_the_rows() -> None:
    page = tables.PAGE.read_text()
    assert tables.fill(page) == page, "run: python tests/benchmarks/tables.py"


def test_counts_and_means_are_those_of_a_loop(rows: pd.DataFrame) -> None:
    assert board.mean_iou(rows) == pytest.approx(6 / 16)
    low, high = board.interval(rows)
    assert low == pytest.approx(0.25)  # b twice
    assert high == pytest.approx(0.5)


def test_an_interval_of_a_difference_from_itself_is_none(rows: pd.DataFrame) -> None:
    assert board.interval(rows, rows) == (0, 0)
