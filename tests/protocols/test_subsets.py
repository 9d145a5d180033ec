from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcontrast.errors import DataError, TrainingError
from xcontrast.protocols.segmenting import RATES, Share, run_shares, sweep
from xcontrast.protocols.subsets import draw_disjoint, draw_share, hold_out


@given(st.integers(5, 400), st.floats(0.01, 0.2), st.integers(0, 9))
def test_subsets_share_no_image_and_are_fixed_by_the_seed(n: int, share: float, seed: int) -> None:
    size = max(1, round(share * n))
    if size * 5 > n:
        with pytest.raises(DataError, match=r"at least \d+ training images.*unpack the data set"):
            draw_disjoint(n, share, 5, seed=seed)
        return
    subsets = draw_disjoint(n, share, 5, seed=seed)
    every = np.concatenate(subsets)
    assert [len(rows) for rows in subsets] == [size] * 5
    assert len(np.unique(every)) == len(every)
    assert every.min() >= 0
    assert every.max() < n
    again = draw_disjoint(n, share, 5, seed=seed)
    assert all((a == b).all() for a, b in zip(subsets, again, strict=True))


def test_another_seed_gives_other_subsets() -> None:
    one, two = (draw_disjoint(252, 0.1, 5, seed=seed) for seed in (0, 1))
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


def test_a_share_with_replacement_repeats_images() -> None:
    # As Seasonal Contrast's code draws its tenth: 9.5 % are different ones.
    drawn = draw_share(20_000, 0.1, seed=42, replace=True)
    assert len(drawn) == 2_000
    assert len(np.unique(drawn)) / 20_000 == pytest.approx(0.095, abs=0.002)
    assert (drawn == np.random.default_rng(42).choice(range(20_000), 2_000)).all()
    assert len(np.unique(draw_share(20_000, 0.1, seed=42))) == 2_000
    assert (draw_share(7, 1.0, seed=0) == np.arange(7)).all()


def test_held_out_images_are_so_many() -> None:
    held = hold_out(22_891, 4_598, seed=1)
    assert held.sum() == 4_598
    assert (hold_out(22_891, 4_598, seed=1) == held).all()


def test_the_rate_that_validates_best_is_taken_over() -> None:
    tried: list[float] = []

    def validate(rate: float) -> float:
        tried.append(rate)
        return {0.1: np.nan, 0.01: 63.0, 0.001: 66.9, 0.0001: 51.0}[rate]

    assert sweep(RATES, validate) == 0.001
    assert tried == [0.1, 0.01, 0.001, 0.0001]
    with pytest.raises(TrainingError, match=r"a score of one rate at least.*0\.1, 0\.01, .*NaN"):
        sweep(RATES, lambda _: float("nan"))


def test_shares_run_on_their_subsets_and_the_whole_three_times() -> None:
    seen: list[tuple[tuple[int, ...], int]] = []

    def run(rows: np.ndarray, seed: int) -> float:
        seen.append((tuple(rows), seed))
        return float(len(rows))

    found = run_shares(40, (Share("10 %", 0.1, 5), Share("100 %", 1.0, 3)), run, seed=7)
    assert found == {"10 %": [4.0] * 5, "100 %": [40.0] * 3}
    few, whole = seen[:5], seen[5:]
    assert len({row for rows, _ in few for row in rows}) == 20
    assert [seed for _, seed in few] == [7, 8, 9, 10, 11]
    assert [seed for _, seed in whole] == [7, 8, 9]
    assert all(rows == tuple(range(40)) for rows, _ in whole)
