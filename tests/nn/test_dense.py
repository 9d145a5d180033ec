"""Levels brought to one grid by plain operations are those brought there in place."""

from __future__ import annotations

import pytest
import torch

from xcontrast.nn.dense import dense_features, join_levels
from xcontrast.nn.levels import Level

LEVELS = (
    Level(channels=3, stride=2, offset=0.0, radius=5),
    Level(channels=2, stride=4, offset=1.5, radius=9),
    Level(channels=4, stride=16, offset=-2.5, radius=40),
)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("sides", [(16, 16), (48, 80)])
def test_plain_operations_give_the_same_cells(stride: int, sides: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(2, own.channels, *(side // own.stride for side in sides), generator=g)
        for own in LEVELS
    ]
    shape = sides[0] // stride, sides[1] // stride
    expected = dense_features(maps, LEVELS, stride=stride, start=(0, 0), shape=shape)
    found = join_levels(maps, LEVELS, stride=stride)
    assert found.shape == (2, 9, *shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
