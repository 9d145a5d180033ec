from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch import DeepLabV3Plus
from segmentation_models_pytorch import Unet as SmpUnet

from xcontrast.errors import ModelError
from xcontrast.nn.encoders import Encoder
from xcontrast.nn.segmentation import DeepLab, SegmentationNetwork, Unet, choose_trained

TINY = "test_resnet"
"""timm's own for tests: 16 to 128 channels, strides 2 to 32."""


def build(
    sensors: tuple[str, ...] = ("s1", "s2"), *, encoder: str = TINY, out_stride: int = 16, **told
) -> SegmentationNetwork:
    bands = {"s1": 2, "s2": 3}
    torch.manual_seed(0)
    encoders = {s: Encoder(encoder, bands[s], out_stride=out_stride) for s in sensors}
    return SegmentationNetwork(encoders, n_categories=4, **told)


def images(n_dates: int, size: int = 64, sensors: tuple[str, ...] = ("s1", "s2")) -> dict:
    g = torch.Generator().manual_seed(0)
    return {s: torch.randn(2, n_dates, {"s1": 2, "s2": 3}[s], size, size, generator=g)
            for s in sensors}  # fmt: skip


@pytest.mark.parametrize("decoder", ["unet", "deeplabv3plus"])
@pytest.mark.parametrize("out_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [64, 70, 97])
def test_every_pixel_is_named(decoder: str, out_stride: int, size: int) -> None:
    network = build(("s1",), decoder=decoder, out_stride=out_stride).eval()
    with torch.inference_mode():
        assert network(images(1, size, ("s1",))).shape == (2, 4, size, size)


@pytest.mark.parametrize("encoder", ["convnext_atto", "vit_tiny_patch16_224"])
def test_encoders_without_fine_levels_have_a_unet(encoder: str) -> None:
    network = build(("s1",), encoder=encoder).eval()
    with torch.inference_mode():
        assert network(images(1, 64, ("s1",))).shape == (2, 4, 64, 64)


def test_deeplab_needs_a_level_at_four_pixels() -> None:
    with pytest.raises(ModelError, match=r"a level at 4 px.*received levels at 16 px.*unet"):
        build(("s1",), encoder="vit_tiny_patch16_224", decoder="deeplabv3plus")


def test_unet_equals_that_of_smp_on_its_own_encoder() -> None:
    whole = SmpUnet("resnet18", encoder_weights=None, classes=4, in_channels=2).eval()
    ours = Unet([64, 64, 128, 256, 512], [2, 4, 8, 16, 32]).eval()
    ours.body.load_state_dict(whole.decoder.state_dict())
    x = torch.randn(1, 2, 96, 96)
    with torch.inference_mode():
        levels = whole.encoder(x)
        torch.testing.assert_close(ours(levels[1:], (96, 96)), whole.decoder(levels))


def test_deeplab_equals_that_of_smp_on_its_own_levels() -> None:
    # smp enlarges with corners aligned to 4 n cells, we to 4 n - 3 and the rest repeated: cell i
    # then lies where the encoder saw it. Up to there the two are one.
    whole = DeepLabV3Plus("resnet18", encoder_weights=None, classes=4, in_channels=2,
                          decoder_atrous_rates=(6, 12, 18)).eval()  # fmt: skip
    ours = DeepLab([64, 64, 128, 512], [2, 4, 8, 16]).eval()
    ours.load_state_dict(whole.decoder.state_dict())
    x = torch.randn(1, 2, 97, 97)
    with torch.inference_mode():
        levels = [x.new_zeros(0), x, torch.randn(1, 64, 25, 25), x, torch.randn(1, 512, 7, 7)]
        smp = whole.decoder.aspp(levels[-1])
        smp = torch.nn.functional.interpolate(smp, size=(25, 25), mode="bilinear",
                                              align_corners=True)  # fmt: skip
        smp = whole.decoder.block2(torch.cat([smp, whole.decoder.block1(levels[2])], 1))
        found = ours([x, levels[2], x, levels[-1]], (97, 97))
    torch.testing.assert_close(found[..., ::4, ::4], smp)
    assert [m.dilation[0] for m in ours.aspp[0].modules() if getattr(m, "dilation", 1) not in
            (1, (1, 1))] == [6, 12, 18]  # fmt: skip


def test_rates_are_the_papers_at_its_depth() -> None:
    deep = DeepLab([16, 32, 64, 128, 256], [2, 4, 8, 16, 32])
    dilated = {m.dilation[0] for m in deep.modules() if isinstance(m, torch.nn.Conv2d)}
    assert dilated == {1, 3, 6, 9}


def test_one_part_reaches_the_decoder_as_it_is() -> None:
    network = build(("s1",), n_dates=2, temporal="difference").eval()
    assert all(isinstance(joint, torch.nn.Identity) for joint in network.joints)
    given = images(2, sensors=("s1",))["s1"]
    seen = []
    network.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        network({"s1": given})
        before, after = (network.encoders["s1"](given[:, k]) for k in (0, 1))
    for level, b, a in zip(seen[0], before, after, strict=True):
        torch.testing.assert_close(level, (a - b).abs())


def test_difference_does_not_know_which_date_came_first() -> None:
    given = images(2)
    back = {name: own.flip(1) for name, own in given.items()}
    for temporal, same in (("difference", True), ("both", False)):
        network = build(n_dates=2, temporal=temporal).eval()
        with torch.inference_mode():
            assert torch.allclose(network(given), network(back), atol=1e-5) == same


def test_norms_of_a_frozen_encoder_stay() -> None:
    network = build(n_dates=2)
    network.train()
    assert network.decoder.training
    assert not any(m.training for m in network.encoders.modules() if m is not network.encoders)
    adapting = build(n_dates=2, adapt_norms=True).train()
    assert all(m.training for m in adapting.encoders.modules())
    for own, changes in ((network, False), (adapting, True)):
        before = {k: v.clone() for k, v in own.encoders.named_buffers()}
        own(images(2))
        moved = any(not torch.equal(v, before[k]) for k, v in own.encoders.named_buffers())
        assert moved == changes


def test_the_deepest_part_is_what_no_finer_level_needs() -> None:
    encoder = Encoder("resnet18", 2, out_stride=16)
    statistics = {k: v.clone() for k, v in encoder.named_buffers()}
    choose_trained(encoder, "deepest")
    trained = {k for k, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {k for k, _ in encoder.named_parameters() if ".layer3." in k}
    assert all(torch.equal(v, statistics[k]) for k, v in encoder.named_buffers())
    choose_trained(encoder, "all")
    assert all(p.requires_grad for p in encoder.parameters())
    choose_trained(encoder, "none")
    assert not any(p.requires_grad for p in encoder.parameters())
    single = Encoder("vit_tiny_patch16_224", 2, out_stride=16)
    with pytest.raises(ModelError, match=r"two levels or more.*trained='all'"):
        choose_trained(single, "deepest")
