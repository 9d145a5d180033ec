from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xcontrast.embedding.blending import blend_windows, halo_of_windows

STEP, OVERLAP, STRIDE = 32, 16, 4


def _pad(image: Tensor) -> Tensor:
    """Add the margin, and fill the block to whole steps."""
    halo = halo_of_windows(STEP, OVERLAP)
    rows, cols = (-n % STEP for n in image.shape[2:])
    return F.pad(image, (halo, halo + cols, halo, halo + rows))


def _blend(image: Tensor, encode) -> Tensor:
    cells = tuple(-(-n // STRIDE) for n in image.shape[2:])
    return blend_windows(
        _pad(image), encode, stride=STRIDE, cells=cells, step=STEP, overlap=OVERLAP
    )


@settings(max_examples=20)
@given(st.integers(1, 25), st.integers(1, 25))
def test_windows_that_agree_give_the_whole(rows: int, cols: int) -> None:
    """Any size: weights add up to 1 in every cell, and every cell is where it belongs."""
    torch.manual_seed(0)
    image = torch.randn(1, 2, rows * STRIDE, cols * STRIDE)
    blended = _blend(image, lambda x: F.avg_pool2d(x, STRIDE))
    assert blended.shape == (rows, cols, 2)
    whole = F.avg_pool2d(image, STRIDE)[0].permute(1, 2, 0)
    assert torch.allclose(blended, whole, atol=1e-5)


def test_windows_that_disagree_fade_into_each_other() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 1, 128, 128)

    def encode(windows: Tensor) -> Tensor:
        """Each window with a level of its own, as a network that sees all of it has."""
        level = 20 * windows.mean((1, 2, 3), keepdim=True)
        return level.expand(-1, 1, *(n // STRIDE for n in windows.shape[2:]))

    blended = _blend(image, encode)[..., 0]
    steps = torch.cat([blended.diff(dim=0).flatten(), blended.diff(dim=1).flatten()]).abs()
    side, padded = STEP + OVERLAP, _pad(image)
    levels = torch.stack(
        [
            encode(
                torch.cat([padded[..., y : y + side, x : x + side] for x in range(0, 160, STEP)])
            )
            for y in range(0, 160, STEP)
        ]
    )[:, :, 0, 0, 0]
    jump = torch.cat([levels.diff(dim=0).flatten(), levels.diff(dim=1).flatten()]).abs().max()
    # A fade over four cells: its steepest step is sin(pi / 4) ** 2 - sin(pi / 8) ** 2 of the jump.
    assert 0.05 * float(jump) < float(steps.max()) < 0.39 * float(jump)


def test_the_loop_over_cells_agrees() -> None:
    """The weights written out for one line of cells."""
    torch.manual_seed(0)
    image = torch.randn(1, 1, STEP, 3 * STEP)
    padded = _pad(image)
    side, m = STEP + OVERLAP, (STEP + OVERLAP) // STRIDE

    def encode(windows: Tensor) -> Tensor:
        return F.avg_pool2d(windows, STRIDE) * windows.abs().mean((1, 2, 3), keepdim=True)

    blended = _blend(image, encode)
    margin, fade = halo_of_windows(STEP, OVERLAP) // STRIDE, OVERLAP // STRIDE
    row = 3
    for col in range(3 * STEP // STRIDE):
        total, weights = 0.0, 0.0
        for i in range(2):
            for j in range(4):
                y, x = row + margin - i * STEP // STRIDE, col + margin - j * STEP // STRIDE
                if 0 <= y < m and 0 <= x < m:
                    window = padded[..., i * STEP : i * STEP + side, j * STEP : j * STEP + side]
                    weight = 1.0
                    for k in (y, x):
                        near = min(k + 0.5, m - k - 0.5) / fade
                        weight *= float(torch.sin(torch.tensor(min(near, 1.0)) * torch.pi / 2)) ** 2
                    total += weight * float(encode(window)[0, 0, y, x])
                    weights += weight
        assert abs(weights - 1) < 1e-5
        assert abs(float(blended[row, col, 0]) - total) < 1e-4
