from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xcontrast as xc
from xcontrast.errors import DataError

LAND = xc.Legend(title="land", codes=(1, 2, 5), names=("a", "b", "c"), colors=("#000",) * 3)
maps = arrays(np.uint8, (6, 7), elements=st.sampled_from([1, 2, 5, 255, 9]))


@given(maps, maps)
def test_scores_equal_scikit_learn_where_both_are_known(a: np.ndarray, b: np.ndarray) -> None:
    known = np.isin(a, LAND.codes) & np.isin(b, LAND.codes)
    arrays_ = (xr.DataArray(v, dims=("y", "x")) for v in (a, b))
    if not known.any():
        with pytest.raises(DataError, match="a code of the legend in both"):
            xc.score(*arrays_, legend=LAND)
        return
    got = xc.score(*arrays_, legend=LAND)
    y, p = b[known], a[known]
    labels = list(LAND.codes)
    np.testing.assert_array_equal(got.confusion, sk.confusion_matrix(y, p, labels=labels))
    options = {"labels": labels, "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(got.f1, sk.f1_score(y, p, **options))
    np.testing.assert_allclose(
        got.iou,
        sk.jaccard_score(y, p, labels=labels, average=None, zero_division=0)
        + np.where(np.isnan(got.iou), np.nan, 0),
    )
    np.testing.assert_allclose(got.precision, sk.precision_score(y, p, **options))
    np.testing.assert_allclose(got.recall, sk.recall_score(y, p, **options))
    assert float(got.accuracy) == pytest.approx(sk.accuracy_score(y, p))
    if len(np.unique(np.concatenate([y, p]))) > 1:
        assert float(got.kappa) == pytest.approx(sk.cohen_kappa_score(y, p), abs=1e-9)


def test_grids_must_agree() -> None:
    a = xr.DataArray(np.ones((3, 3), "u1"), dims=("y", "x"))
    with pytest.raises(DataError, match=r"on one grid.*like=truth"):
        xc.score(a, a[:2], legend=LAND)
