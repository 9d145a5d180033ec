"""Which category a pixel is given: probability times weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from embeddings import LAND, embedding
from hypothesis import given
from hypothesis import strategies as st

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.evaluation.baselines import fit_pixels, predict_pixels
from xcontrast.heads.decision import choose_codes, weigh_categories
from xcontrast.heads.head import KINDS


def rare_flood(seed: int = 0, share: float = 0.1) -> tuple[xr.DataArray, xr.DataArray]:
    """Give an embedding of four features, which are higher where it is flooded, and the truth."""
    rng = np.random.default_rng(seed)
    wet = rng.random((80, 80)) < share
    values = (rng.normal(size=(4, *wet.shape)) + wet).astype("float32")
    attrs = {"model_digest": "d", "space": "encoder", "sensor": "s1", "stride": 4}
    emb = xr.DataArray(values, dims=("feature", "y", "x"), name="embedding", attrs=attrs)
    return emb, xr.DataArray(wet.astype("uint8"), dims=("y", "x"))


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=12).filter(any),
    st.floats(0, 1),
)
def test_weights_are_powers_of_the_shares(counts: list[int], balance: float) -> None:
    weights = weigh_categories(counts, balance)
    for count, weight in zip(counts, weights, strict=True):
        shares = count / sum(counts), max(counts) / sum(counts)
        expected = shares[0] ** -balance / shares[1] ** -balance if count else 0
        assert weight == pytest.approx(expected, rel=1e-5)


def test_the_largest_product_is_chosen() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(4), (30, 20)).astype("float32")
    probability[3, 4] = np.nan
    probability[5, 6, 2] = np.nan
    codes, weights = (10, 20, 40, 80), np.array([1, 2.5, 0, 1.2], "float32")
    got = choose_codes(probability, codes=codes, weights=weights)
    plain = choose_codes(probability, codes=codes)
    for row in range(30):
        for col in range(20):
            p = [float(v) for v in probability[row, col]]
            if any(np.isnan(p)):
                assert got[row, col] == plain[row, col] == 255
                continue
            products = [a * float(b) for a, b in zip(p, weights, strict=True)]
            assert got[row, col] == codes[products.index(max(products))]
            assert plain[row, col] == codes[p.index(max(p))]


@pytest.mark.parametrize("kind", KINDS)
def test_rarer_categories_need_less_and_probabilities_stay(kind: Any) -> None:
    emb, truth = rare_flood()
    new, unseen = rare_flood(seed=1)
    heads = [xc.fit(emb, truth, legend=xc.FLOOD, kind=kind, balance=b) for b in (0, 0.5, 1)]
    maps = [xc.predict(new, head) for head in heads]
    for one in maps[1:]:
        np.testing.assert_array_equal(one.probability, maps[0].probability)
    wet = [int((one.label == 1).sum()) for one in maps]
    if kind == "prototypes":  # They weigh categories alike by nature.
        assert wet[0] == wet[1] == wet[2]
        return
    assert wet[0] < wet[1] < wet[2]
    assert "category_weights" not in maps[0].label.attrs
    q = float(truth.mean())
    for balance, head, one in zip((0.5, 1), heads[1:], maps[1:], strict=True):
        odds = ((1 - q) / q) ** (balance / head.temperature)
        assert one.label.attrs["category_weights"] == pytest.approx([1, odds], rel=1e-3)
        flood = one.probability.sel(category="flood")
        assert float(((flood > 1 / (1 + odds)) == (one.label == 1)).mean()) > 0.999
    iou = [
        float(xc.score(one.label, unseen, legend=xc.FLOOD).iou.sel(category="flood"))
        for one in maps
    ]
    assert iou[1] > iou[0]


def test_a_temperature_changes_no_label() -> None:
    emb, truth = rare_flood()
    head = xc.fit(emb, truth, legend=xc.FLOOD)
    plain = xc.predict(emb, head).label
    for temperature in (0.5, 3.0, 20.0):
        other = xc.predict(emb, replace(head, temperature=temperature)).label
        assert float((other == plain).mean()) > 0.999


def test_a_map_says_what_its_labels_were_chosen_by(tmp_path: Path) -> None:
    emb, truth = rare_flood()
    head = xc.fit(emb, truth, legend=xc.FLOOD)
    again = head.save(tmp_path / "head")
    np.testing.assert_array_equal(again.weights, head.weights)
    assert again.digest == head.digest != xc.fit(emb, truth, legend=xc.FLOOD, balance=0).digest
    assert f"probability x 1, {head.weights[1]:.2g}" in repr(again)
    assert "most probable" in repr(xc.fit(emb, truth, legend=xc.FLOOD, balance=0))


def test_labels_on_a_finer_grid_are_chosen_there() -> None:
    emb, truth = embedding()
    rare = truth.where((truth != 7) | (np.arange(48) < 4), 255).astype("uint8")
    head = emb.contrast.fit(rare, legend=LAND)
    assert head.weights[1] > 1.5
    mapped = emb.chunk(y=20).contrast.predict(head, like=emb.odc.geobox.zoom_out(0.25)).compute()
    product = mapped.probability.transpose("y", "x", "category").values * head.weights
    known = np.isfinite(product).all(-1)
    expected = np.array(LAND.codes)[np.nan_to_num(product).argmax(-1)]
    np.testing.assert_array_equal(mapped.label.values[known], expected[known])
    assert (mapped.label.values[~known] == 255).all()


@pytest.mark.parametrize("balance", [-0.1, 1.5, float("nan")])
def test_a_balance_that_cannot_be(balance: float) -> None:
    emb, truth = rare_flood()
    with pytest.raises(DataError, match=r"balance between 0.*and 1.*received.*leave it at 0\.5"):
        xc.fit(emb, truth, legend=xc.FLOOD, balance=balance)


def test_boosted_pixels_choose_as_heads_do() -> None:
    emb, truth = rare_flood()
    emb = emb.drop_attrs()
    wet = []
    for balance in (0, 0.5):
        model = fit_pixels(emb, truth, legend=xc.FLOOD, balance=balance)
        mapped = predict_pixels(model, emb, legend=xc.FLOOD)
        wet.append(int((mapped.label == 1).sum()))
    assert wet[0] < wet[1]
    counts = [int((truth == code).sum()) for code in (0, 1)]
    np.testing.assert_array_equal(model.weights, weigh_categories(counts, 0.5))
