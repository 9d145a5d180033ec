from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from xcontrast.nn.augment import crop_boxes, resize_crops
from xcontrast.nn.augmentation import SAR, Augmentation
from xcontrast.nn.intensity import blur, draw_change, flip, mix, shift_hue
from xcontrast.nn.scaling import Scaling

UNIT = Scaling((0.0,) * 3, (1.0,) * 3, curve="clip", low=(0.0,) * 3, high=(1.0,) * 3)
OFF = {
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
    "p_jitter": 1.0, "p_grey": 0.0, "p_blur": 0.0,
}  # fmt: skip


def _images(n: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def change(images, augmentation, *, scaling, generator, rgb):
    mean = scaling.to_unit(images.mean((2, 3), keepdim=True))[..., 0, 0]
    drawn = draw_change(mean, augmentation, generator=generator, rgb=rgb)
    return mix(images, drawn, scaling=scaling, rgb=rgb)


def _factor(seed: int, n: int, strength: float, which: int) -> torch.Tensor:
    """Draw as the code does: brightness, contrast and saturation in turn."""
    g = torch.Generator().manual_seed(seed)
    torch.rand(n, generator=g)  # Whether an image is jittered at all.
    return [1 + strength * (2 * torch.rand(n, generator=g) - 1) for _ in range(3)][which]


@pytest.mark.parametrize(
    ("name", "which", "reference"),
    [
        ("brightness", 0, tv.adjust_brightness),
        ("contrast", 1, tv.adjust_contrast),
        ("saturation", 2, tv.adjust_saturation),
    ],
)
def test_jitter_is_torchvisions(name: str, which: int, reference) -> None:
    images = _images()
    augmentation = Augmentation(**{**OFF, name: 0.4})
    g = torch.Generator().manual_seed(3)
    changed = change(images, augmentation, scaling=UNIT, generator=g, rgb=(0, 1, 2))
    factors = _factor(3, 4, 0.4, which)
    for k, factor in enumerate(factors):
        expected = reference(images[k], float(factor)).clamp(0, 1)
        assert torch.allclose(changed[k], expected, atol=2e-3), name


def test_hue_and_blur_are_torchvisions() -> None:
    images = _images()
    turns = torch.tensor([-0.1, 0.0, 0.05, 0.1])
    turned = shift_hue(images, turns.view(-1, 1, 1, 1))
    for k, turn in enumerate(turns):
        assert torch.allclose(turned[k], tv.adjust_hue(images[k], float(turn)), atol=1e-4)
    sigma = torch.full((4,), 1.3)
    assert torch.allclose(
        blur(images, sigma), tv.gaussian_blur(images, [13, 13], [1.3, 1.3]), atol=1e-5
    )


def test_jitters_are_composed_as_they_would_be_one_by_one() -> None:
    """Brightness, contrast and saturation in the drawn order, then hue, then grey."""
    images = _images(64)
    g = torch.Generator().manual_seed(9)
    mean = images.mean((2, 3))
    augmentation = Augmentation(p_blur=0.0, brightness=0.1, contrast=0.2, saturation=0.3)
    drawn = draw_change(mean, augmentation, generator=g, rgb=(0, 1, 2))
    changed = mix(images, drawn, scaling=UNIT, rgb=(0, 1, 2))
    g = torch.Generator().manual_seed(9)
    jittered = torch.rand(64, generator=g) < 0.8
    factors = [1 + f * (2 * torch.rand(64, generator=g) - 1) for f in (0.1, 0.2, 0.3)]
    order = torch.randperm(3, generator=g).tolist()
    turns = 0.1 * (2 * torch.rand(64, generator=g) - 1)
    grey = torch.rand(64, generator=g) < 0.2
    steps = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    n_inside = 0
    for k in range(64):
        image = images[k]
        inside = True
        if jittered[k]:
            for which in order:
                image = steps[which](image, float(factors[which][k]))
                inside &= bool(((image > 0) & (image < 1)).all())
            image = tv.adjust_hue(image, float(turns[k]))
        if grey[k]:
            image = tv.rgb_to_grayscale(image, 3)
        if inside:  # torchvision cuts to 0..1 after each, we once.
            assert torch.allclose(changed[k], image, atol=2e-3)
            n_inside += 1
    assert n_inside > 20


def test_bands_in_another_order_change_alike() -> None:
    images = _images()
    seen = [
        change(x, Augmentation(p_blur=0), scaling=UNIT, rgb=rgb,
               generator=torch.Generator().manual_seed(5))
        for x, rgb in ((images, (0, 1, 2)), (images.flip(1), (2, 1, 0)))
    ]  # fmt: skip
    assert torch.allclose(seen[0], seen[1].flip(1), atol=1e-6)


def test_chances_are_kept_and_each_image_is_its_own() -> None:
    images = _images(1).expand(2000, -1, -1, -1)
    g = torch.Generator().manual_seed(1)
    grey = Augmentation(**{**OFF, "p_jitter": 0.0, "p_grey": 0.2})
    changed = change(images, grey, scaling=UNIT, generator=g, rgb=(0, 1, 2))
    is_grey = (changed.std(1).amax((1, 2)) < 1e-6).float().mean()
    assert 0.17 < float(is_grey) < 0.23
    bright = Augmentation(**{**OFF, "brightness": 0.4, "p_jitter": 0.8})
    changed = change(images, bright, scaling=UNIT, generator=g, rgb=(0, 1, 2))
    ratio = changed.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert 0.77 < float(((ratio - 1).abs() > 1e-4).float().mean()) < 0.83
    assert float(ratio.min()) > 0.59
    assert len(ratio.unique()) > 1000


def test_radar_gets_no_colours() -> None:
    radar = torch.rand(6, 2, 16, 16) * 0.2 + 0.4
    scaling = Scaling((0.0, 0.0), (1.0, 1.0))
    vivid = Augmentation(**{**OFF, "saturation": 0.9, "hue": 0.5, "p_grey": 1.0})
    g = torch.Generator().manual_seed(0)
    same = change(radar, vivid, scaling=scaling, generator=g, rgb=())
    assert torch.allclose(same, radar, atol=1e-6)
    moved = change(radar, SAR, scaling=scaling, generator=g, rgb=())
    assert not torch.allclose(moved, radar, atol=1e-3)


def test_flips_mirror_the_crop() -> None:
    images = _images(64, seed=2)
    boxes = crop_boxes(64, generator=torch.Generator().manual_seed(0))
    both = Augmentation(p_flip=0.5, p_upside_down=0.5)
    flipped = flip(boxes, both, generator=torch.Generator().manual_seed(1))
    plain, mirrored = (resize_crops(images, b, size=16) for b in (boxes, flipped))
    kinds = set()
    for k in range(64):
        rows, cols = (bool(flipped[k, dim] < 0) for dim in (2, 3))
        kinds.add((rows, cols))
        dims = [dim for dim, turned in ((1, rows), (2, cols)) if turned]
        assert torch.allclose(mirrored[k], plain[k].flip(dims), atol=1e-5)
    assert len(kinds) == 4
