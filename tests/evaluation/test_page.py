from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube, smooth

import xcontrast as xc
from xcontrast.errors import DataError

LAND = xc.Legend(
    title="land", codes=(3, 7, 9), names=("wood", "field", "water"),
    colors=("#006600", "#eeee88", "#0066cc"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def close_all():
    yield
    plt.close("all")


def scene(n: int = 64) -> tuple[xr.Dataset, xr.DataArray]:
    """Give a map of three categories with its probabilities, and the truth, on a grid in metres."""
    cube = planted_cube(n)
    rng = np.random.default_rng(0)
    ground = smooth(rng, n, 6)
    truth = np.select([ground < -0.7, ground < 0.6], [9, 3], 7).astype("uint8")
    seen = ground + 0.4 * smooth(rng, n, 3)
    scores = np.exp(np.stack([1.2 - 3 * seen**2, -2 * (seen - 1) ** 2, -2 * (seen + 1) ** 2]))
    probability = (scores / scores.sum(0)).astype("float32")
    label = np.array(LAND.codes, "uint8")[probability.argmax(0)]
    probability[:, :8, :8], label[:8, :8] = np.nan, 255
    coords = {k: cube[k] for k in ("y", "x", "spatial_ref")}
    mapped = xr.Dataset(
        {
            "label": (("y", "x"), label, {**LAND.attrs, "model_digest": "abc"}),
            "probability": (("category", "y", "x"), probability),
        },
        {**coords, "category": np.array(LAND.names, object)},
    )
    return mapped, xr.DataArray(truth, coords, ("y", "x"))


def read(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    assert text.count("<section") == text.count("</section>")
    return text


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", re.sub(r"src=\"[^\"]+\"", "", text)))


def test_a_scene_becomes_a_page_with_scores_maps_and_reliability(tmp_path: Path) -> None:
    mapped, truth = scene()
    out = tmp_path / "page.html"
    scores = mapped.contrast.evaluate(truth, legend=LAND, out=out, cube=planted_cube(64))
    assert scores.sizes["group"] == 63  # One of 8 x 8 squares is not mapped at all.
    text = read(out)
    told = words(text)
    for title in ("Scores", "What is taken for what", "What probabilities mean", "By square",
                  "Where it is right and wrong", "Worst squares", "Best squares"):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    assert f"Mean IoU: {float(scores.mean_iou):.3f}" in told
    low, high = scores.iou_interval.sel(category="field").values
    value = float(scores.iou.sel(category="field"))
    assert f"{value:.3f} ({low:.3f} to {high:.3f})" in told
    assert "64 pixels with a truth, 1.6 %, have no category" in told
    ece = float(xc.calibration(mapped.probability, truth, legend=LAND).ece)
    assert f"Expected calibration error of the most probable category {ece:.3f}" in told
    assert text.count("data:image/png") == 5
    # Shown is the category with most errors.
    counts = scores.confusion.values
    wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    assert f"show {LAND.names[wrong.argmax()]}" in told


def tiles() -> tuple[xr.DataArray, xr.DataArray]:
    """Give six scenes of two tiles; the first holds most of the water and is mapped worst."""
    rng = np.random.default_rng(0)
    wet = np.repeat([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 2)[:, None, None]
    truth = (rng.random((12, 16, 16)) < wet).astype("uint8")
    wrong = rng.random(truth.shape) < np.repeat([0.8, 0.05, 0.1, 0.1, 0.1, 0.2], 2)[:, None, None]
    dims = ("location", "y", "x")
    scene = ("location", np.repeat([f"scene {k}" for k in "abcdef"], 2))
    label = np.where(wrong, 1 - truth, truth).astype("uint8")
    return (
        xr.DataArray(label, dims=dims, attrs=xc.FLOOD.attrs),
        xr.DataArray(truth, {"scene": scene}, dims),
    )


def test_a_scene_that_outweighs_the_others_is_named(tmp_path: Path) -> None:
    label, truth = tiles()
    scores = xc.evaluate(label, truth, legend=xc.FLOOD, out=tmp_path / "a.html", groups="scene")
    xr.testing.assert_equal(scores, xc.score(label, truth, legend=xc.FLOOD, groups="scene"))
    told = words(read(tmp_path / "a.html"))
    share = scores.group_confusion.values[:, 1].sum(1)
    assert f"One scene, scene a, holds {share[0] / share.sum():.0%} of all true flood" in told
    assert "With 6 scenes the intervals are too narrow" in told
    assert "What probabilities mean" not in told
    assert told.index("scene a 0.1") < told.index("scene b 0.")
    assert f"{float(scores.iou_over_groups.sel(category='flood')):.3f}" in told


def test_each_location_is_a_group_where_none_are_given(tmp_path: Path) -> None:
    label, truth = tiles()
    scores = xc.evaluate(label, truth, legend=xc.FLOOD, out=tmp_path / "a.html")
    assert scores.sizes["group"] == 12
    assert "<h2>Worst locations</h2>" in read(tmp_path / "a.html")


def test_a_map_without_any_positive_has_a_page_too(tmp_path: Path) -> None:
    label, truth = tiles()
    xc.evaluate(label * 0, truth * 0, legend=xc.FLOOD, out=tmp_path / "a.html")
    assert "neither there nor mapped" in words(read(tmp_path / "a.html"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: ((m.expand_dims(s1_time=2), t), {}), "map with the dims y and x.*isel"),
        (lambda m, t: ((m, t[1:]), {}), "on one grid"),
        (lambda m, t: ((m, t), {"cube": planted_cube(32)}), "a cube on the map's pixels.*like="),
        (lambda m, t: ((m, t), {"groups": "event"}), "name of a coord"),
    ],
)
def test_what_has_no_page(change, message: str, tmp_path: Path) -> None:
    args, options = change(*scene())
    with pytest.raises(DataError, match=message):
        xc.evaluate(*args, legend=LAND, out=tmp_path / "a.html", **options)
    assert not list(tmp_path.iterdir())
