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


def test_grids_may_not_be_shifted_and_dims_may_be_in_another_order() -> None:
    coords = {"y": [10.0, 20.0, 30.0], "x": [0.0, 10.0, 20.0, 30.0]}
    a = xr.DataArray(np.array([[1, 2, 5, 1]] * 3), coords, ("y", "x"))
    with pytest.raises(DataError, match=r"on one grid.*with other y"):
        xc.score(a, a.assign_coords(y=a.y + 10), legend=LAND)
    turned = xc.score(a, a.transpose("x", "y"), legend=LAND)
    assert float(turned.accuracy) == 1


@given(maps, maps)
def test_scores_equal_torchmetrics(a: np.ndarray, b: np.ndarray) -> None:
    import torch
    from torchmetrics.functional import classification as tm

    known = np.isin(a, LAND.codes) & np.isin(b, LAND.codes)
    if not known.any():
        return
    got = xc.score(*(xr.DataArray(v, dims=("y", "x")) for v in (a, b)), legend=LAND)
    p, y = (torch.from_numpy(np.searchsorted(LAND.codes, v[known])) for v in (a, b))
    each = {"num_classes": 3, "average": None}
    np.testing.assert_allclose(
        np.nan_to_num(got.iou), tm.multiclass_jaccard_index(p, y, **each), atol=1e-6
    )
    np.testing.assert_allclose(
        np.nan_to_num(got.f1), tm.multiclass_f1_score(p, y, **each), atol=1e-6
    )
    np.testing.assert_allclose(
        got.mean_iou, tm.multiclass_jaccard_index(p, y, num_classes=3), atol=1e-6
    )
    np.testing.assert_allclose(got.mean_f1, tm.multiclass_f1_score(p, y, num_classes=3), atol=1e-6)
    kappa = float(tm.multiclass_cohen_kappa(p, y, num_classes=3))
    if np.isfinite(got.kappa):
        assert float(got.kappa) == pytest.approx(kappa, abs=1e-5)


def test_what_is_ignored_never_counts() -> None:
    rng = np.random.default_rng(0)
    a, b = (xr.DataArray(rng.choice([1, 2, 5], (20, 30)), dims=("y", "x")) for _ in range(2))
    judged = rng.random(a.shape) < 0.7
    for noise in (255.0, np.nan, 7.0, -1.0, 300.0, 1.5):
        hidden = b.where(judged, noise)
        scores = xc.score(a, hidden, legend=LAND)
        few = xc.score(
            xr.DataArray(a.values[judged][None], dims=("y", "x")),
            xr.DataArray(b.values[judged][None], dims=("y", "x")),
            legend=LAND,
        )
        xr.testing.assert_equal(scores, few)
        assert int(scores.confusion.sum()) == judged.sum()


def test_a_map_is_told_what_it_leaves_out() -> None:
    truth = xr.DataArray(np.array([[1, 2, 255, 5]]), dims=("y", "x"))
    label = xr.DataArray(np.array([[1, 255, 255, 5]]), dims=("y", "x"))
    scores = xc.score(label, truth, legend=LAND)
    assert float(scores.accuracy) == 1
    assert int(scores.n_unmapped) == 1


def test_large_maps_are_counted_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = (xr.DataArray(rng.choice([1, 2, 5, 255], (40, 50)), dims=("y", "x")) for _ in "ab")
    whole = xc.score(a, b, legend=LAND)
    monkeypatch.setattr("xcontrast.evaluation.counts.STRIP", 77)
    xr.testing.assert_identical(xc.score(a, b, legend=LAND), whole)


def scenes(n_groups: int = 6) -> tuple[xr.DataArray, xr.DataArray, list[str]]:
    """Give maps and truths of 4 locations a group; the first group holds most of the water."""
    rng = np.random.default_rng(3)
    names = [f"g{k}" for k in range(n_groups) for _ in range(4)]
    wet = np.repeat([0.9] + [0.1] * (n_groups - 1), 4)[:, None, None]
    truth = (rng.random((4 * n_groups, 8, 8)) < wet).astype("uint8")
    wrong = rng.random(truth.shape) < np.repeat(np.linspace(0.3, 0.05, n_groups), 4)[:, None, None]
    dims = ("location", "y", "x")
    label = xr.DataArray(np.where(wrong, 1 - truth, truth).astype("uint8"), dims=dims)
    return label, xr.DataArray(truth, {"scene": ("location", names)}, dims), names


def test_pooled_scores_and_means_of_groups_are_both_given() -> None:
    label, truth, names = scenes()
    scores = xc.score(label, truth, legend=xc.FLOOD, groups="scene")
    own = [
        sk.jaccard_score(truth[np.array(names) == g].values.ravel(),
                         label[np.array(names) == g].values.ravel())
        for g in scores.group.values
    ]  # fmt: skip
    np.testing.assert_allclose(scores.group_iou.sel(category="flood"), own)
    assert float(scores.iou_over_groups.sel(category="flood")) == pytest.approx(np.mean(own))
    pooled = sk.jaccard_score(truth.values.ravel(), label.values.ravel())
    assert float(scores.iou.sel(category="flood")) == pytest.approx(pooled)
    xr.testing.assert_equal(scores.group_confusion.sum("group"), scores.confusion)
    # The same by an array of groups, and by groups of pixels.
    array = xr.DataArray(names, dims="location")
    xr.testing.assert_equal(xc.score(label, truth, legend=xc.FLOOD, groups=array), scores)
    pixels = array.broadcast_like(truth)
    xr.testing.assert_equal(xc.score(label, truth, legend=xc.FLOOD, groups=pixels), scores)


def test_cells_without_a_group_are_left_out() -> None:
    label, truth, names = scenes()
    some = np.array([n if n != "g0" else None for n in names], object)
    scores = xc.score(label, truth, legend=xc.FLOOD, groups=xr.DataArray(some, dims="location"))
    assert "g0" not in scores.group.values
    xr.testing.assert_equal(
        scores.confusion, xc.score(label[4:], truth[4:], legend=xc.FLOOD).confusion
    )


def test_scores_survive_the_disk(tmp_path) -> None:
    label, truth, _ = scenes()
    scores = xc.score(label, truth, legend=xc.FLOOD, groups="scene")
    scores.to_netcdf(tmp_path / "scores.nc")
    xr.testing.assert_allclose(xr.open_dataset(tmp_path / "scores.nc"), scores)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("event", r"name of a coord.*'event', with coords \['scene'\].*assign_coords"),
        (xr.DataArray([1, 2], dims="location"), r"groups for the 24 of 'location'.*received 2"),
    ],
)
def test_groups_that_do_not_fit(groups, message: str) -> None:
    label, truth, _ = scenes()
    with pytest.raises(DataError, match=message):
        xc.score(label, truth, legend=xc.FLOOD, groups=groups)


def test_truth_and_groups_follow_their_coords_in_any_order() -> None:
    label, truth, _ = scenes()
    names = [f"p{i}" for i in range(label.sizes["location"])]
    label, truth = (v.assign_coords(location=names) for v in (label, truth))
    scene = truth.scene.reset_coords(drop=True)
    right = xc.score(label, truth, legend=xc.FLOOD, groups=scene)
    turned = xc.score(label, truth[::-1], legend=xc.FLOOD, groups=scene[::-1])
    xr.testing.assert_equal(right, turned)
    strangers = truth.assign_coords(location=[f"q{i}" for i in range(len(names))])
    with pytest.raises(DataError, match=r"on one grid.*with other location"):
        xc.score(label, strangers, legend=xc.FLOOD)


def test_groups_on_the_ground_lie_where_the_map_does() -> None:
    a = xr.DataArray(np.ones((4, 4), "u1"), {"y": 40.0 - 10 * np.arange(4)}, ("y", "x"))
    groups = xr.DataArray(list("nnss"), {"y": a.y}, ("y",))
    assert xc.score(a, a, legend=LAND, groups=groups).group.values.tolist() == ["n", "s"]
    with pytest.raises(DataError, match=r"groups on the map's own grid.*in y.*reindex_like"):
        xc.score(a, a, legend=LAND, groups=groups[::-1])


def test_draws_are_needed_for_intervals() -> None:
    a = xr.DataArray(np.ones((3, 3), "u1"), dims=("y", "x"))
    with pytest.raises(DataError, match="n_draws of 1 or more"):
        xc.score(a, a, legend=LAND, groups=xr.DataArray([0, 1, 2], dims="y"), n_draws=0)
