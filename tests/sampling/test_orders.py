from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcontrast.sampling.orders import Order


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 16), st.integers(1, 4), st.integers(0, 99),
    st.integers(1, 20), st.integers(1, 9), st.booleans(),
)  # fmt: skip
def test_ranks_share_an_epoch_and_nothing_comes_twice(
    n: int, batch: int, n_ranks: int, seed: int, per_chunk: int, window: int, chunked: bool
) -> None:
    chunk = np.random.default_rng(seed).permutation(n) // per_chunk if chunked else None
    ranks = [
        Order(n, batch, seed, chunk=chunk, window=window, rank=rank, n_ranks=n_ranks)
        for rank in range(n_ranks)
    ]
    epochs = [order.epoch(2) for order in ranks]
    assert {own.shape for own in epochs} == {(n // (batch * n_ranks), batch)}
    given_out = np.concatenate([own.ravel() for own in epochs])
    assert len(np.unique(given_out)) == len(given_out) > n - batch * n_ranks
    assert (given_out < n).all()
    for order, own in zip(ranks, epochs, strict=True):
        np.testing.assert_array_equal(order.epoch(2), own)
    if not chunked:
        # Side by side, the ranks' batches are those of one process with a larger batch.
        whole = Order(n, batch * n_ranks, seed).epoch(2)
        np.testing.assert_array_equal(np.concatenate(epochs, axis=1), whole)


@pytest.mark.parametrize("chunk", [None, np.arange(200) // 10])
def test_no_two_epochs_have_one_order(chunk: np.ndarray | None) -> None:
    order = Order(200, 8, seed=3, chunk=chunk, window=8)
    epochs = {order.epoch(k).tobytes() for k in range(50)}
    assert len(epochs) == 50
    assert Order(200, 8, seed=4, chunk=chunk, window=8).epoch(0).tobytes() not in epochs


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(2, 12), st.integers(0, 9))
def test_a_chunk_is_needed_for_a_window_only(
    n_chunks: int, per_chunk: int, window: int, seed: int
) -> None:
    chunk = np.repeat(np.arange(n_chunks), per_chunk)
    order = chunk[Order(len(chunk), 1, seed, chunk=chunk, window=window).epoch(0).ravel()]
    first = np.array([np.flatnonzero(order == c)[0] for c in range(n_chunks)])
    last = np.array([np.flatnonzero(order == c)[-1] for c in range(n_chunks)])
    held = (
        (first[:, None] <= np.arange(len(order))) & (np.arange(len(order)) <= last[:, None])
    ).sum(0)
    # A little more at both ends, where the window stands still.
    assert held.max() <= (1.5 * window + 2 if n_chunks >= 2 * window else n_chunks)


def test_an_epoch_draws_by_weight_without_replacement() -> None:
    weights = np.array([1.0] * 20 + [0.25] * 40, "float32")
    order = Order(60, 10, 0, weights)
    assert order.n_epoch == 30
    epochs = [order.epoch(k).ravel() for k in range(400)]
    assert all(len(np.unique(own)) == 30 for own in epochs)
    counts = np.bincount(np.concatenate(epochs), minlength=60)
    # Without replacement the heavy ones cannot come more than once an epoch: under 4.
    assert 2.2 < counts[:20].mean() / counts[20:].mean() < 4
    np.testing.assert_array_equal(Order(60, 10, 0, weights).epoch(7).ravel(), epochs[7])


def test_batches_are_as_mixed_as_if_all_were_in_memory() -> None:
    """Chips of 40 places, shuffled on disk: how many pairs of a batch are of one place."""
    rng = np.random.default_rng(0)
    n, places = 4000, 40
    place = rng.permutation(np.arange(n) % places)  # On disk, by slot.
    chunk = np.arange(n) // 20

    def share(order: Order) -> float:
        batches = place[np.concatenate([order.epoch(k) for k in range(20)])]
        same = batches[:, :, None] == batches[:, None]
        return float((same.sum((1, 2)) - 50).mean() / (50 * 49))

    full = share(Order(n, 50, 1))
    near = share(Order(n, 50, 1, chunk=chunk, window=16))
    assert full == pytest.approx(1 / places, rel=0.05)
    assert near == pytest.approx(full, rel=0.05)
