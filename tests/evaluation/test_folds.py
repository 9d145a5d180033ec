from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xcontrast.errors import DataError
from xcontrast.evaluation.folds import draw_units, grow, make_folds, make_squares

shapes = st.tuples(st.integers(1, 14), st.integers(1, 14))


@given(
    shape=shapes,
    side=st.integers(1, 6),
    n_folds=st.one_of(st.none(), st.integers(2, 5)),
    buffer=st.integers(0, 4),
    share=st.floats(0.1, 1),
    seed=st.integers(0, 99),
)
def test_squares_never_leak(shape, side, n_folds, buffer, share, seed) -> None:
    labelled = np.random.default_rng(seed).random(shape) < share
    squares = make_squares(shape, side)
    names = np.arange(squares.max() + 1)
    present = np.unique(squares[labelled])
    assume(len(present) >= (n_folds or 2))
    folds = make_folds(squares, names, labelled, n_folds=n_folds, buffer=buffer, seed=seed)
    times = np.zeros(shape, int)
    for k in range(folds.n_folds):
        train, test = folds.split(k)
        times += test
        assert not (train & test).any()
        assert not (train & ~labelled).any()
        # No labelled square is in both.
        assert not set(squares[train]) & set(squares[test])
        near = np.abs(np.argwhere(train)[:, None] - np.argwhere(test)[None]).max(-1, initial=0)
        assert not near.size or near.min() > buffer
        # Nothing is dropped but for the buffer.
        dropped = np.argwhere(labelled & ~train & ~test)
        if len(dropped):
            assert np.abs(dropped[:, None] - np.argwhere(test)[None]).max(-1).min(1).max() <= buffer
    assert (times == labelled).all()
    if n_folds is None:
        assert folds.n_folds == len(present)
    else:
        sizes = np.bincount(folds.fold, minlength=n_folds)
        assert sizes.max() - sizes.min() <= 1
    again = make_folds(squares, names, labelled, n_folds=n_folds, buffer=buffer, seed=seed)
    np.testing.assert_array_equal(again.fold, folds.fold)
    np.testing.assert_array_equal(folds.names[folds.block[labelled]], squares[labelled])


@given(
    groups=st.lists(st.integers(-1, 5), min_size=3, max_size=12),
    n_folds=st.one_of(st.none(), st.integers(2, 4)),
    seed=st.integers(0, 99),
)
def test_groups_of_locations_are_never_split(groups, n_folds, seed) -> None:
    own = np.broadcast_to(np.array(groups)[:, None, None], (len(groups), 3, 4))
    labelled = np.random.default_rng(seed).random(own.shape) < 0.8
    known = labelled & (own >= 0)
    assume(len(np.unique(own[known])) >= (n_folds or 2))
    folds = make_folds(own, np.arange(6), labelled, n_folds=n_folds, buffer=0, seed=seed)
    times = np.zeros(own.shape, int)
    for k in range(folds.n_folds):
        train, test = folds.split(k)
        assert not set(own[train]) & set(own[test])
        np.testing.assert_array_equal(train | test, known)
        times += test
    assert (times == known).all()


@given(shape=shapes, reach=st.integers(0, 5), seed=st.integers(0, 99))
def test_growing_equals_a_slow_loop(shape, reach, seed) -> None:
    mask = np.random.default_rng(seed).random((2, *shape)) < 0.1
    slow = np.zeros_like(mask)
    for layer, row, col in np.argwhere(mask):
        slow[
            layer, max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1
        ] = True
    np.testing.assert_array_equal(grow(mask, reach), slow)


@given(
    n_units=st.integers(2, 20),
    fractions=st.lists(st.floats(0.01, 1), min_size=1, max_size=4, unique=True).map(sorted),
    seed=st.integers(0, 99),
)
def test_units_are_drawn_whole_and_small_shares_lie_within_large_ones(
    n_units, fractions, seed
) -> None:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(n_units), 6).reshape(-1, 6)
    numbers = rng.integers(0, 2, units.shape).astype(np.uint8)
    numbers[:, :2] = 0, 1  # Each unit has both categories.
    train = rng.random(units.shape) < 0.9
    train[:, :2] = True
    parts = draw_units(train, units, numbers, tuple(fractions), n_categories=2, seed=seed)
    before = np.zeros_like(train)
    for fraction, part in zip(fractions, parts, strict=True):
        drawn = np.unique(units[part])
        np.testing.assert_array_equal(part, train & np.isin(units, drawn))
        assert len(drawn) == max(1, int(np.ceil(fraction * n_units - 1e-9)))
        assert (part >= before).all()
        before = part
    again = draw_units(train, units, numbers, tuple(fractions), n_categories=2, seed=seed)
    np.testing.assert_array_equal(parts, again)


def test_a_draw_holds_two_categories_though_most_units_hold_one() -> None:
    units = np.arange(40)[:, None]
    numbers = (units >= 36).astype(np.uint8)
    train = np.ones_like(units, bool)
    for seed in range(10):
        (part,) = draw_units(train, units, numbers, (0.05,), n_categories=2, seed=seed)
        assert part.sum() == 2
        assert len(np.unique(numbers[part])) == 2
    with pytest.raises(DataError, match=r"two categories.*1 of 40 blocks.*larger fractions"):
        draw_units(train, units, numbers, (0.01,), n_categories=2, seed=0)
    with pytest.raises(DataError, match="all that may be fitted on"):
        draw_units(numbers == 0, units, numbers, (1.0,), n_categories=2, seed=0)


@pytest.mark.parametrize(("n_folds", "told"), [(5, "5 blocks"), (1, "2 blocks")])
def test_there_must_be_as_many_blocks_as_folds(n_folds: int, told: str) -> None:
    squares = make_squares((8, 8), 4)
    with pytest.raises(
        DataError, match=rf"{told}.*n_folds={n_folds}, and 4 with labels.*fewer folds"
    ):
        make_folds(squares, np.arange(4), squares >= 0, n_folds=n_folds, buffer=0, seed=0)
