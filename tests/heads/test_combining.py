"""Maps of one ground made one: the logarithmic opinion pool, where each is valid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from embeddings import LAND, embedding
from hypothesis import given
from hypothesis import strategies as st

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.evaluation.baselines import fit_pixels, predict_pixels
from xcontrast.heads.flags import as_map


def made_up(seed: int, lean: tuple[float, ...] | None = None, n: int = 7) -> xr.Dataset:
    """Give a map of three categories with gaps, chosen at random."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(3), (n, n)).astype("float32")
    values[rng.random((n, n)) < 0.3] = np.nan
    probability = xr.DataArray(values, dims=("y", "x", "category"))
    probability = probability.assign_coords(category=np.array(LAND.names, object))
    probability = probability.transpose("category", "y", "x")
    weights = None if lean is None else np.array(lean, "float32")
    return as_map(probability, LAND, {"head_kind": f"kind {seed}"}, weights=weights)


@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=4, unique=True),
    data=st.data(),
)
def test_it_is_the_weighted_mean_of_logarithms(seeds: list[int], data: st.DataObject) -> None:
    some = st.floats(0.25, 4, width=32)
    leans = [data.draw(st.tuples(some, some, some)) for _ in seeds]
    trust = [data.draw(some) for _ in seeds]
    maps = [made_up(seed, lean) for seed, lean in zip(seeds, leans, strict=True)]
    told_weights = [m.label.attrs.get("category_weights", [1] * 3) for m in maps]
    got = xc.combine(maps, weights=trust)
    for row in range(7):
        for col in range(7):
            each = [
                (t, m.probability.values[:, row, col], told)
                for t, m, told in zip(trust, maps, told_weights, strict=True)
                if m.label.values[row, col] != 255
            ]
            found = got.probability.values[:, row, col]
            if not each:
                assert got.label.values[row, col] == 255
                assert np.isnan(found).all()
                continue
            total = sum(t for t, _, _ in each)
            raw = [
                math.exp(sum(t * math.log(max(p[k], 1e-6)) for t, p, _ in each) / total)
                for k in range(3)
            ]
            assert found == pytest.approx([r / sum(raw) for r in raw], abs=2e-5)
            lean = [math.prod(w[k] ** (t / total) for t, _, w in each) for k in range(3)]
            product = [r * w for r, w in zip(raw, lean, strict=True)]
            best = LAND.codes.index(int(got.label.values[row, col]))
            assert product[best] >= max(product) * (1 - 1e-4)


def test_one_map_alone_stays_as_it_is() -> None:
    one, two = made_up(1, (1, 2, 3)), made_up(2, (3, 1, 1))
    got = xc.combine([one, two])
    alone = (one.label != 255) & (two.label == 255)
    assert alone.any()
    np.testing.assert_array_equal(got.label.values[alone], one.label.values[alone])
    difference = abs(got.probability - one.probability).where(alone)
    assert float(difference.max()) < 1e-5
    assert bool((got.label != 255).equals((one.label != 255) | (two.label != 255)))
    twice = xc.combine([one, one])
    np.testing.assert_array_equal(twice.label, one.label)


def test_two_that_err_apart_are_better_together(no_compute: None) -> None:
    emb, truth = embedding()
    rng = np.random.default_rng(3)
    maps = []
    for sensor in ("s1", "s2"):
        noisy = emb + rng.normal(size=emb.shape).astype("float32") * 4
        noisy = noisy.assign_attrs(emb.attrs, sensor=sensor).where(emb.y > emb.y[-8])
        head = noisy.contrast.fit(truth, legend=LAND)
        own = noisy.assign_coords({f"{sensor}_time": np.datetime64("2024-05-01")})
        maps.append(own.chunk(y=20).contrast.predict(head))
    both = xc.combine(maps)
    assert both.probability.chunks
    assert both.odc.geobox == emb.odc.geobox
    assert "s1_time" not in both.coords
    assert both.attrs["head_kind"] == "linear"
    loaded = [m.load(scheduler="sync") for m in (*maps, both)]
    scores = [float(xc.score(m.label, truth, legend=LAND).accuracy) for m in loaded]
    assert scores[2] > max(scores[:2]) + 0.03


def test_boosted_pixels_and_what_was_on_disk_combine_too(tmp_path: Path) -> None:
    emb, truth = embedding()
    mapped = emb.contrast.predict(emb.contrast.fit(truth, legend=LAND))
    xc.write_zarr(mapped.chunk(y=24), tmp_path / "map.zarr")
    again = xr.open_zarr(tmp_path / "map.zarr")
    layers = emb.drop_attrs(deep=False)
    pixels = predict_pixels(fit_pixels(layers, truth, legend=LAND), layers, legend=LAND)
    assert pixels.odc.geobox == emb.odc.geobox
    got = xc.combine([again, pixels], weights=(2, 1))
    assert got.attrs["head_kind"] == "linear + gradient boosting on single pixels"
    assert got.attrs["model_digest"] == "d"
    np.testing.assert_allclose(
        got.probability, xc.combine([mapped, pixels], weights=(2, 1)).probability, atol=1e-6
    )


def land() -> xr.Dataset:
    emb, truth = embedding()
    return emb.contrast.predict(emb.contrast.fit(truth, legend=LAND))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: [m][:0], r"two maps or more; received 0.*predict with each head"),
        (lambda m: [m], "two maps or more; received 1"),
        (lambda m: [m, m[["label"]]], r"label and probability; received variables \['label'\]"),
        (lambda m: [m, m.isel(x=slice(40))], r"same pixels: y 48, x 48; received y 48, x 40"),
        (lambda m: [m, m.assign_coords(x=m.x + 40)], r"received y 48, x 48 elsewhere.*like=cube"),
        (lambda m: [m, m.expand_dims("s1_time")], "same pixels: y 48, x 48; received s1_time 1"),
        (lambda m: [m, m.rio.write_crs(32633)], "elsewhere"),
    ],
)
def test_what_cannot_be_combined(change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.combine(change(land()))


def test_one_legend_and_weights_above_zero() -> None:
    one = land()
    other = one.copy()
    other["label"] = one.label.assign_attrs(flag_meanings="a b d")
    with pytest.raises(DataError, match="maps of one legend: a, b, c; received a, b, d"):
        xc.combine([one, other])
    for weights in ((1,), (1, 0), (1, -1), (1, float("nan"))):
        with pytest.raises(DataError, match="weight above 0 for each of 2 maps"):
            xc.combine([one, one], weights=weights)


def test_what_a_head_was_never_shown_the_others_decide() -> None:
    """The other's share of it is taken over, and what is left is its own to divide."""
    emb, truth = embedding()
    some = truth.where(truth != 9, 255)
    both = emb.contrast.fit(truth, legend=LAND), emb.contrast.fit(some, legend=LAND)
    knows, ignores = (emb.contrast.predict(head) for head in both)
    assert ignores.label.attrs["category_weights"][2] == 0
    got = xc.combine([knows, ignores])
    alone, together = (xc.score(found.label, truth, legend=LAND) for found in (knows, got))
    assert float(together.recall.sel(category="c")) > 0.9
    assert float(together.accuracy) > float(alone.accuracy) - 0.01
    one, two = (m.probability.values.astype(float) for m in (knows, ignores))
    filled = np.stack([*(two[:2] * (1 - one[2])), one[2]])
    raw = np.sqrt(one.clip(1e-6) * filled.clip(1e-6))
    np.testing.assert_allclose(got.probability, raw / raw.sum(0), atol=1e-4)
    # Two that were never shown it say nothing of it.
    neither = xc.combine([ignores, ignores])
    assert float(neither.probability.sel(category="c").max()) == 0
    assert set(np.unique(neither.label)) == {3, 7}


def test_coords_are_compared_without_computing(no_compute: None) -> None:
    emb, truth = embedding()
    mapped = emb.contrast.predict(emb.contrast.fit(truth, legend=LAND))
    lazy = xr.Variable("y", np.ones(48)).chunk({"y": 16})
    other = xr.Variable("y", np.zeros(48)).chunk({"y": 16})
    maps = [mapped.assign_coords(share=v) for v in (lazy, other)]
    assert "share" not in xc.combine(maps).coords
    assert "share" in xc.combine([maps[0], maps[0]]).coords
