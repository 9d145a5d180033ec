from __future__ import annotations

import numpy as np
import pytest
import torch

from xcontrast.nn.layers import LayerScaling, disturb, drop_sensors
from xcontrast.nn.scaling import Scaling

DB = Scaling((-12.0, -18.0), (4.0, 5.0))
CUT = Scaling((0.0,) * 3, (1.0,) * 3, curve="clip", low=(0.0,) * 3, high=(0.5,) * 3)


def stack(*, seed: int = 0, n: int = 4) -> torch.Tensor:
    """Two dates of two bands of one sensor, then two of three of the other."""
    g = torch.Generator().manual_seed(seed)
    first = -15 + 3 * torch.randn(n, 4, 8, 8, generator=g)
    return torch.cat([first, 0.4 * torch.rand(n, 6, 8, 8, generator=g)], dim=1)


def test_layers_are_taken_apart_by_sensor_date_and_band() -> None:
    layers = stack()
    layers[0, 2, 3, 4] = torch.nan
    layers[1, :, 5, 5] = torch.nan
    scaling = LayerScaling({"s1": DB, "s2": CUT}, 2)
    images, valid = scaling(layers)
    assert images["s1"].shape == (4, 2, 2, 8, 8)
    assert images["s2"].shape == (4, 2, 3, 8, 8)
    # The second date's first band is the third layer.
    whole = (layers[2, 2] + 12) / 4
    torch.testing.assert_close(images["s1"][2, 1, 0], whole)
    torch.testing.assert_close(images["s2"][2, 1, 2], layers[2, 9] / 0.5)
    assert (images["s1"][0, 1, :, 3, 4] == 0).all()
    assert (images["s1"][0, 0, :, 3, 4] != 0).all()
    seen = scaling.see(valid)
    # One sensor is enough, but at both dates.
    assert seen[0, 3, 4]
    assert not seen[1, 5, 5]
    assert int((~seen).sum()) == 1
    alone = LayerScaling({"s1": DB}, 2)
    assert not alone.see(alone(layers[:, :4])[1])[0, 3, 4]


def test_disturbance_is_what_it_says() -> None:
    images = torch.zeros(400, 2, 2, 8, 8)
    valid = torch.ones(400, 2, 1, 8, 8)
    valid[:, :, :, 0, 0] = 0
    g = torch.Generator().manual_seed(0)
    gained = disturb(images, valid, DB, gain=0.05, generator=g)
    # .05 of four standard deviations; one offset an image and date, for all bands.
    assert float(gained[:, :, 0, 4, 4].std()) == pytest.approx(0.2, rel=0.1)
    assert float((gained[:, :, :, 4, 4] - gained[:, :, :1, 5, 5]).abs().max()) == 0
    assert (gained[:, :, :, 0, 0] == 0).all()
    noisy = disturb(images, valid, DB, noise=0.05, generator=g)
    assert float(noisy[..., 1:, 1:].std()) == pytest.approx(0.2, rel=0.05)
    assert abs(float(noisy[..., 1:, 1:].mean())) < 0.01
    bright = disturb(torch.full((400, 1, 3, 2, 2), 0.5), torch.ones(400, 1, 1, 2, 2), CUT,
                     brightness=0.2, generator=g)  # fmt: skip
    assert 0.4 <= float(bright.min()) < 0.42 < 0.58 < float(bright.max()) <= 0.6
    same = disturb(images, valid, DB, generator=g)
    np.testing.assert_array_equal(same, images)


def test_a_curve_is_never_left() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 3, 4, 4, generator=g)
    changed = disturb(images, torch.ones(50, 1, 1, 4, 4), CUT, gain=0.5, generator=g)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


def test_dropping_leaves_one_sensor_at_least() -> None:
    scaling = LayerScaling({"s1": DB, "s2": CUT}, 2)
    images, valid = scaling(stack(n=600))
    g = torch.Generator().manual_seed(0)
    less, seen = drop_sensors(images, valid, 0.3, generator=g)
    gone = {name: (own.flatten(1) == 0).all(1) for name, own in seen.items()}
    assert not (gone["s1"] & gone["s2"]).any()
    for name in images:
        assert float(gone[name].float().mean()) == pytest.approx(0.15, abs=0.04)
        assert (less[name][gone[name]] == 0).all()
        torch.testing.assert_close(less[name][~gone[name]], images[name][~gone[name]])
    alone, _ = drop_sensors({"s1": images["s1"]}, {"s1": valid["s1"]}, 0.9, generator=g)
    torch.testing.assert_close(alone["s1"], images["s1"])
