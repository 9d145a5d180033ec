from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from xcontrast.errors import DataError
from xcontrast.protocols.tables import METRICS, Name, published, summarise


def test_every_data_set_has_a_metric_and_rows_with_a_source() -> None:
    for name in get_args(Name):
        rows = published(name)
        assert name in METRICS
        assert rows["source"].str.contains(r"20\d\d").all()
        assert rows["mean"].between(10, 100).all()
        assert not rows.duplicated(["task", "start", "source"]).any()
        assert {"random", "ImageNet"} <= set(rows["start"])


def test_the_dual_encoder_paper_is_quoted_right() -> None:
    rows = published("sen1floods11").set_index(["task", "start"])
    few = rows.loc[("10 %", "multimodal")]
    assert (few["mean"], few["std"], few["n"]) == (57.89, 5.65, 5)
    assert rows.loc[("100 %", "random"), "mean"] == 66.42
    assert rows["checked"].all()
    cover = published("dynamic-world").set_index(["task", "start"])["mean"]
    assert cover[("s2, 100 %", "SimCLR")] == 74.96
    assert cover[("s1, 1 %", "multimodal")] == 59.59
    assert len(cover) == 27


def test_what_is_from_memory_is_marked() -> None:
    rows = published("bigearthnet")
    ten = rows[(rows["task"] == "linear, 10 %") & rows["source"].str.startswith("Manas")]
    assert not ten["checked"].any()
    verified = rows[(rows["task"] == "linear, 100 %") & (rows["start"] == "SeCo-1M")]
    assert verified["checked"].all()
    assert verified["mean"].item() == 77.00


def test_a_row_of_our_own_has_the_samples_deviation() -> None:
    row = summarise("10 %", "mine", [50.0, 54.0])
    assert row["mean"] == 52
    assert row["std"] == pytest.approx(np.sqrt(8))
    assert np.isnan(summarise("10 %", "mine", [50.0])["std"])
    assert list(row) == list(published("oscd").columns)


def test_an_unknown_data_set_is_told() -> None:
    with pytest.raises(DataError, match=r"Expected a data set of sen1floods11.*received 'so2sat'"):
        published("so2sat")
