from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from xcontrast.errors import ModelError
from xcontrast.nn.dense import dense_features, halo_of, sample_levels
from xcontrast.nn.encoders import Encoder, Projector, pool_levels
from xcontrast.nn.levels import Level, measure_levels


def test_resnet_geometry_is_what_its_kernels_say() -> None:
    # 7x7 stem, 3x3 pool, then two blocks of two 3x3 a stage: computed by hand.
    levels = measure_levels(Encoder("resnet18", 3))
    assert [(v.stride, v.offset, v.radius) for v in levels] == [
        (2, 0.0, 3),
        (4, 0.0, 21),
        (8, 0.0, 49),
        (16, 0.0, 105),
    ]
    assert halo_of(levels) == 112


def test_a_kind_of_network_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xcontrast.nn.levels._KNOWN", {})
    first = measure_levels(Encoder("resnet18", 3))
    monkeypatch.setattr("xcontrast.nn.levels._gradient_support", None)
    assert measure_levels(Encoder("resnet18", 2)) == first
    for other in (Encoder("resnet18", 3, stem="3x3"), Encoder("resnet18", 3, out_stride=8)):
        with pytest.raises(TypeError):
            measure_levels(other)


def test_networks_that_see_the_whole_image_are_found_out() -> None:
    levels = measure_levels(Encoder("mobilenetv3_small_100", 2), largest=256)
    assert levels[-1].radius is None
    assert halo_of(levels) is None


def test_pooling_ignores_what_is_not_valid() -> None:
    encoder = Encoder("resnet18", 2).eval()
    x = torch.randn(1, 2, 64, 64)
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., :32, :32] = 1
    with torch.no_grad():
        pooled = pool_levels(encoder(x), valid)
        corner = torch.cat(
            [m[..., : m.shape[2] // 2, : m.shape[3] // 2].mean((2, 3)) for m in encoder(x)], 1
        )
    assert pooled.shape == (1, encoder.n_features)
    assert torch.allclose(pooled, corner, atol=1e-5)


def test_levels_are_put_where_they_look() -> None:
    # Each level holds the pixel position of its cells; interpolation must give cell centres.
    levels = tuple(Level(1, s, o, 1) for s, o in ((2, 0.0), (4, 1.5), (8, 0.0), (16, 7.5)))
    maps = [
        (v.offset + v.stride * torch.arange(128 // v.stride)).expand(1, 1, 128 // v.stride, -1)
        for v in levels
    ]
    for stride in (1, 4, 8):
        n = 64 // stride
        out = dense_features(maps, levels, stride=stride, start=(32, 32), shape=(n, n))
        centres = 32 + stride * torch.arange(n) + (stride - 1) / 2
        for feature in out[0]:
            assert torch.allclose(feature[0], centres.float(), atol=1e-4)


def test_unknown_encoders_and_strides_are_refused() -> None:
    with pytest.raises(ModelError, match=r"Expected a timm model.*'resnet17'"):
        Encoder("resnet17", 3)
    with pytest.raises(ModelError, match=r"strides \[4, 8, 16, 32\].*a larger out_stride"):
        Encoder("convnext_atto", 3, out_stride=2)


def test_projectors_do_not_share_weights() -> None:
    one, two = (Projector(8, n_hidden=4, n_projected=2) for _ in range(2))
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
    assert one(torch.randn(3, 8)).shape == (3, 2)


def test_levels_are_read_where_their_cells_look() -> None:
    """A level whose cells hold the position they look at tells the position of any point."""
    size = 96
    levels = tuple(Level(2, s, o, 1) for s, o in ((2, 0.0), (4, 1.5), (16, 7.5)))
    points = torch.rand(3, 10, 2, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    maps = []
    for level in levels:
        centre = level.offset + level.stride * torch.arange(size // level.stride)
        share = (centre + 0.5) / size
        n = len(share)
        both = torch.stack([share[:, None].expand(n, n), share.expand(n, n)])
        maps.append(both.expand(3, -1, -1, -1))
    read = sample_levels(maps, levels, points, size=size)
    assert read.shape == (3, 10, 6)
    for k in range(3):
        assert torch.allclose(read[..., 2 * k : 2 * k + 2], points, atol=1e-5)
    # As PyTorch reads between cells, edges included.
    image = torch.randn(2, 5, 7, 9)
    position = torch.rand(2, 20, 2, generator=torch.Generator().manual_seed(1)) * 10 - 1
    grid = ((2 * position + 1) / torch.tensor([7.0, 9.0]) - 1).flip(-1)[:, :, None]
    expected = torch.nn.functional.grid_sample(
        image, grid, padding_mode="border", align_corners=False
    )[..., 0].transpose(1, 2)
    own = sample_levels([image], (Level(5, 1, 0.0, 1),), (position + 0.5) / 100, size=100)
    assert torch.allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 7, 32, 32), (3, 128, 16, 16), (2, 5, 128, 128)])
def test_pooling_does_not_depend_on_an_images_neighbours(shape: tuple[int, ...]) -> None:
    """In bfloat16 too: a gap in one image of a batch leaves the others' vectors as they are."""
    level = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 1
    half = level.bfloat16()
    whole = torch.ones(shape[0], 1, 2 * shape[2], 2 * shape[3])
    gappy = whole.clone()
    gappy[-1, :, :5, :3] = 0
    exact = half.double().mean((2, 3))
    for valid in (whole, gappy):
        with torch.inference_mode():
            pooled = pool_levels([half], valid)
        assert pooled.dtype == torch.float32
        assert torch.allclose(pooled[:-1].double(), exact[:-1], rtol=1e-5, atol=1e-5)
    weight = F.adaptive_avg_pool2d(gappy, shape[2:]).double()
    expected = (half.double() * weight).sum((2, 3)) / weight.sum((2, 3))
    assert torch.allclose(pooled[-1].double(), expected[-1], rtol=1e-5, atol=1e-5)
    # In memory as encoders give it, and of an image that is nowhere valid.
    last = half.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.allclose(pool_levels([last], gappy), pooled, rtol=1e-5, atol=1e-6)
        assert not pool_levels([half], whole * 0).any()
