from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcontrast.blocks import Pieces, Window, map_blocks_with_halo


def box_sum(window: Window, pieces: Pieces) -> np.ndarray:
    """Sum of a 5 x 5 neighbourhood at the first pixel of each cell, NaN as 0."""
    filled = np.nan_to_num(pieces.join())
    total = sum(np.roll(filled, (dy, dx), (-2, -1)) for dy in range(-2, 3) for dx in range(-2, 3))
    rows, cols = window.cells
    inner = total[..., window.halo :: window.stride, window.halo :: window.stride]
    return inner[..., :rows, :cols]


def whole(array: np.ndarray, stride: int) -> np.ndarray:
    padded = np.pad(array, [(0, 0)] * (array.ndim - 2) + [(2, 2), (2, 2)])
    height, width = array.shape[-2:]
    total = sum(
        padded[..., dy : dy + height, dx : dx + width] for dy in range(5) for dx in range(5)
    )
    return total[..., ::stride, ::stride]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 45), st.integers(1, 45), st.sampled_from([1, 2, 4]), st.data())
def test_any_chunks_and_blocks_give_the_whole(
    height: int, width: int, stride: int, data: st.DataObject
) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype("float32")
    chunks = tuple(data.draw(st.integers(1, n)) for n in array.shape)
    block = data.draw(st.sampled_from([4, 8, 16, 64]))
    lazy = map_blocks_with_halo(
        da.from_array(array, chunks=chunks), box_sum,
        block=block, halo=4, stride=stride, n_out=3, dtype="float32",
        name=f"box-{chunks}-{block}-{stride}-{height}-{width}",
    )  # fmt: skip
    expected = whole(array, stride)
    assert lazy.shape == expected.shape
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_pieces_cover_what_is_inside_once(height: int, width: int, data: st.DataObject) -> None:
    chunks = tuple(data.draw(st.integers(1, n)) for n in (height, width))

    def count(window: Window, pieces: Pieces) -> np.ndarray:
        seen = np.zeros(pieces.shape, int)
        for piece, top, left in pieces:
            seen[..., top : top + piece.shape[-2], left : left + piece.shape[-1]] += 1
        np.testing.assert_array_equal(seen, np.isfinite(pieces.join()))
        return np.zeros((1, *window.cells), "float32")

    map_blocks_with_halo(
        da.ones((1, height, width), chunks=(1, *chunks), dtype="float32"), count,
        block=8, halo=4, stride=2, n_out=1, dtype="float32", name=f"p-{height}-{width}-{chunks}",
    ).compute()  # fmt: skip


def test_what_lies_outside_is_nan() -> None:
    def corners(window: Window, pieces: Pieces) -> np.ndarray:
        values = pieces.join()
        assert values.shape == pieces.shape
        assert values.shape[-2:] == (8, 8)
        return np.isnan(values).sum(axis=(-3, -2, -1))[..., None, None, None].astype("float32")

    lazy = map_blocks_with_halo(
        da.zeros((1, 4, 4), dtype="float32"), corners,
        block=4, halo=2, stride=4, n_out=1, dtype="float32", name="corners",
    )  # fmt: skip
    assert lazy.compute().item() == 64 - 16


def test_one_source_chunk_is_shared_not_copied(no_compute: None) -> None:
    lazy = map_blocks_with_halo(
        da.zeros((5, 2, 2048, 2048), chunks=(1, 2, 1024, 1024)), box_sum,
        block=1024, halo=128, stride=4, n_out=2, dtype="float32", name="count",
    )  # fmt: skip
    own = [k for k in dict(lazy.__dask_graph__()) if k[0] == "count"]
    assert len(own) == 5 * 4


@pytest.mark.parametrize("n_out", [None, 3])
def test_the_promised_shape_is_the_computed_one(n_out: int | None) -> None:
    def kernel(window: Window, pieces: Pieces) -> np.ndarray:
        middle = () if n_out is None else (n_out,)
        return np.zeros((*pieces.shape[:-3], *middle, *window.cells), "float32")

    lazy = map_blocks_with_halo(
        da.zeros((2, 1, 33, 50), chunks=20), kernel,
        block=16, halo=0, stride=4, n_out=n_out, dtype="float32", name=f"shape-{n_out}",
    )  # fmt: skip
    assert lazy.compute().shape == lazy.shape
