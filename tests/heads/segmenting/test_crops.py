from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.heads.segmenting.crops import draw_crops, lay_crops, lay_plots, read_plots
from xcontrast.heads.segmenting.splits import split_labels


def stack(shape: tuple[int, ...], n_layers: int = 3) -> xr.DataArray:
    """Give layers that tell where they are from: place, row, column."""
    index = np.indices(shape).astype("float32")
    place = index[0] if len(shape) == 3 else np.zeros(shape, "float32")
    values = np.stack([place, index[-2], index[-1]][:n_layers], axis=-3)
    return xr.DataArray(
        values, dims=(*(("location",) if len(shape) == 3 else ()), "layer", "y", "x")
    )


@given(
    seed=st.integers(0, 100),
    share=st.sampled_from([0.0005, 0.01, 0.5]),
    plot=st.sampled_from([16, 40, 512]),
)
@settings(max_examples=25)
def test_every_crop_holds_a_label_and_lies_where_it_says(
    seed: int, share: float, plot: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (3, 50, 70)
    numbers = np.where(rng.random(shape) < share, rng.integers(2, size=shape), 255).astype("uint8")
    numbers[0, 0, 69] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xcontrast.heads.segmenting.crops.PLOT", plot)
        plots = read_plots(lay_plots(numbers, 16), stack(shape), [3])
    assert sum(len(p.pixels) for p in plots) == (numbers != 255).sum(), "each label once"
    for plan in (
        draw_crops(plots, 20, size=16, rng=rng),
        lay_crops(plots, size=16, at_most=10**6, seed=0),
    ):
        layers, drawn = plan
        assert (drawn != 255).any((1, 2)).all()
        place, row, col = (layers[:, k, 0, 0].astype(int) for k in range(3))
        for k in range(len(layers)):
            cut = (place[k], slice(row[k], row[k] + 16), slice(col[k], col[k] + 16))
            np.testing.assert_array_equal(drawn[k], numbers[cut])
            np.testing.assert_array_equal(layers[k], stack(shape).values[cut[0], :, *cut[1:]])


def test_all_labels_are_as_likely() -> None:
    numbers = np.full((40, 1100), 255, "uint8")
    numbers[20, [5, 600, 601, 1090]] = (0, 1, 0, 1)
    plots = read_plots(lay_plots(numbers, 8), stack(numbers.shape), [3])
    assert len(plots) == 3
    _, drawn = draw_crops(plots, 4000, size=8, rng=np.random.default_rng(0))
    # Of four labels two lie side by side, and are mostly seen together.
    both = ((drawn != 255).sum((1, 2)) == 2).mean()
    assert both == pytest.approx(0.5 * 7 / 8, abs=0.03)


def test_layers_and_labels_are_mirrored_and_turned_together() -> None:
    rng = np.random.default_rng(0)
    numbers = np.arange(36 * 36, dtype=np.int64).reshape(36, 36) % 251
    plots = read_plots(lay_plots(numbers.astype("uint8"), 16), stack(numbers.shape), [3])
    seen = set()
    for turns in (False, True):
        layers, drawn = draw_crops(plots, 200, size=16, rng=rng, flips=True, turns=turns)
        there = layers[:, 1].astype(int), layers[:, 2].astype(int)
        np.testing.assert_array_equal(drawn, numbers[there])
        steps = {
            (a[1, 0] - a[0, 0], a[0, 1] - a[0, 0], b[1, 0] - b[0, 0], b[0, 1] - b[0, 0])
            for a, b in zip(*there, strict=True)
        }
        assert len(steps) == (8 if turns else 4)
        seen |= steps
    assert len(seen) == 8


def test_labels_that_no_sensor_sees_are_forgotten() -> None:
    numbers = np.zeros((40, 40), "uint8")
    layers = stack(numbers.shape)
    layers.values[0, :10] = np.nan
    layers.values[2, :, :10] = np.nan
    one, two = (
        read_plots(lay_plots(numbers, 16), layers, sizes)[0].numbers == 255
        for sizes in ([3], [2, 1])
    )
    assert one.sum() == 40 * 40 - 30 * 30
    assert two.sum() == 100, "one sensor is enough"
    layers.values[:] = np.nan
    assert read_plots(lay_plots(numbers, 16), layers, [3]) == []


def test_more_than_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    numbers = np.zeros((40, 40), "uint8")
    with pytest.raises(DataError, match=r"fits into the 0.0 GB.*label fewer places"):
        read_plots(lay_plots(numbers, 16), stack(numbers.shape), [3])


@given(seed=st.integers(0, 200), crop=st.sampled_from([16, 24]), share=st.floats(0.05, 0.2))
@settings(max_examples=30)
def test_no_crop_touches_a_pixel_held_out(seed: int, crop: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random((90, 120)) < 0.05, rng.integers(2, size=(90, 120)), 255)
    numbers = numbers.astype("uint8")
    options = xc.FinetuneOptions(val_fraction=share, seed=seed)
    split = split_labels(numbers, stack(numbers.shape)[0], crop=crop, options=options)
    assert split.held is not None
    held = split.held != 255
    assert held.sum() > 0
    assert (numbers[held] == split.held[held]).all()
    plots = read_plots(lay_plots(split.train, crop), stack(numbers.shape), [3])
    layers, _ = draw_crops(plots, 40, size=crop, rng=rng)
    for k in range(len(layers)):
        row, col = (int(layers[k, i, 0, 0]) for i in (1, 2))
        assert not held[row : row + crop, col : col + crop].any()


def test_whole_places_are_held_out() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(2, size=(10, 20, 20)).astype("uint8")
    numbers[7:] = 255
    like = stack(numbers.shape).isel(layer=0)
    split = split_labels(numbers, like, crop=16, options=xc.FinetuneOptions(val_fraction=0.3))
    held = (split.held != 255).any((1, 2))
    assert split.how == "2 of 7 places"
    assert held.sum() == 2
    np.testing.assert_array_equal((split.train != 255).any((1, 2)), ~held & (np.arange(10) < 7))
    few = split_labels(numbers[6:9], like[6:9], crop=16, options=xc.FinetuneOptions())
    assert few.held is None
    assert "too few" in few.how


def test_a_strip_must_leave_half_of_the_labels() -> None:
    numbers = np.random.default_rng(0).integers(2, size=(100, 100)).astype("uint8")
    like = stack(numbers.shape).isel(layer=0)
    for crop, spared in ((24, True), (40, False)):
        split = split_labels(numbers, like, crop=crop, options=xc.FinetuneOptions())
        assert (split.held is not None) == spared
    two = np.stack([numbers, numbers])
    split = split_labels(two, stack(two.shape).isel(layer=0), crop=24,
                         options=xc.FinetuneOptions())  # fmt: skip
    assert (split.held != 255).sum() == 2 * 20 * 100
    assert (split.train != 255).sum() == 2 * 56 * 100


def test_groups_are_held_out_whole_by_draw_or_by_name() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(2, size=(10, 20, 20)).astype("uint8")
    scene = np.array(list("aabbccddee"), object)
    like = stack(numbers.shape).isel(layer=0).assign_coords(scene=("location", scene))
    options = xc.FinetuneOptions(groups="scene", val_fraction=0.4)
    split = split_labels(numbers, like, crop=16, options=options)
    held = (split.held != 255).any((1, 2))
    assert split.how == "2 of 5 by scene"
    assert held.sum() == 4
    assert not set(scene[held]) & set(scene[~held])
    named = xc.FinetuneOptions(groups="scene", held_groups=("b", "e"))
    held = (split_labels(numbers, like, crop=16, options=named).held != 255).any((1, 2))
    assert set(scene[held]) == {"b", "e"}
    missing = xc.FinetuneOptions(groups="scene", held_groups=("z",))
    with pytest.raises(DataError, match=r"groups of 'scene' that can be held out.*\('z',\)"):
        split_labels(numbers, like, crop=16, options=missing)
    with pytest.raises(DataError, match=r"a coord of a leading dim.*groups='event'"):
        split_labels(numbers, like, crop=16, options=xc.FinetuneOptions(groups="event"))


def test_groups_named_are_held_out_whatever_they_alone_show() -> None:
    numbers = np.random.default_rng(0).integers(2, size=(6, 20, 20)).astype("uint8")
    numbers[4, :5] = 2
    like = stack(numbers.shape).isel(layer=0)
    like = like.assign_coords(split=("location", np.array(list("ttttvv"), object)))
    options = xc.FinetuneOptions(groups="split", held_groups=("v",))
    split = split_labels(numbers, like, crop=16, options=options)
    np.testing.assert_array_equal(split.held[4:], numbers[4:])
    np.testing.assert_array_equal(split.train[:4], numbers[:4])
    assert (split.held[:4] == 255).all()
    assert (split.train[4:] == 255).all()
    # Drawn ones leave every category.
    drawn = xc.FinetuneOptions(groups="split", val_fraction=0.5)
    assert (split_labels(numbers, like, crop=16, options=drawn).held[4:] == 255).all()
    both = xc.FinetuneOptions(groups="split", held_groups=("t", "v"))
    with pytest.raises(DataError, match=r"labels in them, and others elsewhere.*'t', 'v'"):
        split_labels(numbers, like, crop=16, options=both)


def test_both_parts_show_every_category_where_that_can_be() -> None:
    numbers = np.zeros((8, 20, 20), "uint8")
    numbers[[2, 5], :10] = 1
    like = stack(numbers.shape).isel(layer=0)
    for seed in range(10):
        options = xc.FinetuneOptions(val_fraction=0.25, seed=seed)
        split = split_labels(numbers, like, crop=16, options=options)
        assert {0, 1} <= set(np.unique(split.train))
        assert {0, 1} <= set(np.unique(split.held))
