from __future__ import annotations

import torch

from xcontrast.nn.augment import crop_boxes, resize_crops


def _ramp(n: int) -> torch.Tensor:
    line = (torch.arange(n) + 0.5) / n
    return torch.stack([line[:, None].expand(n, n), line[None].expand(n, n)])[None]


def test_crops_show_exactly_their_box() -> None:
    boxes = crop_boxes(50, generator=torch.Generator().manual_seed(0))
    crops = resize_crops(_ramp(64).expand(50, -1, -1, -1), boxes, size=32)
    share = (torch.arange(32) + 0.5) / 32 - 0.5
    for crop, (row, col, height, width) in zip(crops, boxes, strict=True):
        # A ramp resampled linearly stays a ramp, but for half a pixel at the image's edge.
        rows, cols = row + share * height, col + share * width
        inner = slice(1, -1)
        assert torch.allclose(crop[0, inner, 16], rows[inner], atol=1e-2)
        assert torch.allclose(crop[1, 16, inner], cols[inner], atol=1e-2)


def test_boxes_lie_inside_with_the_asked_areas() -> None:
    boxes = crop_boxes(5000, scale=(0.3, 0.8), generator=torch.Generator().manual_seed(1))
    centre, extent = boxes[:, :2], boxes[:, 2:]
    assert float((centre - extent / 2).min()) >= -1e-6
    assert float((centre + extent / 2).max()) <= 1 + 1e-6
    area = extent.prod(1)
    assert 0.29 < float(area.min()) < 0.32
    assert 0.53 < float(area.mean()) < 0.57
    assert float(area.max()) < 0.81


def test_boxes_are_a_function_of_the_generator() -> None:
    one, two, three = (
        crop_boxes(4, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_the_whole_image_is_left_as_it_is() -> None:
    image = torch.randn(1, 3, 16, 16)
    whole = torch.tensor([[0.5, 0.5, 1.0, 1.0]])
    assert torch.allclose(resize_crops(image, whole, size=16), image, atol=1e-5)
