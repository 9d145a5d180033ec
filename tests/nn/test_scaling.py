from __future__ import annotations

import math

import pytest
import torch

from xcontrast.errors import ModelError
from xcontrast.model.layouts import SECO_RGB
from xcontrast.nn.scaling import Scaling
from xcontrast.nn.stems import find_first_layer, spread_filters

ONE = torch.ones(1, 1, 1, 1)


def _pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def test_the_seasonal_papers_scaling_in_its_own_numbers() -> None:
    """Value 60 in steps of 1/255 in each band: (-0.10, 0.52, 1.18) for red, green and blue."""
    own = SECO_RGB
    scaling = Scaling(own.mean, own.std, curve=own.curve, low=own.low, high=own.high)
    scaled = scaling(_pixel(60 / 255, 60 / 255, 60 / 255), ONE).flatten().tolist()
    assert scaled == pytest.approx([-0.087, 0.52, 1.18], abs=0.02)
    # What lies beyond the quantiles is cut off: snow and shadow.
    bright = scaling(_pixel(0.9, 0.9, 0.9), ONE).flatten()
    assert torch.allclose(bright, scaling(_pixel(0.6, 0.6, 0.6), ONE).flatten())
    assert float(bright[0]) == pytest.approx((1 - 0.485) / 0.229, rel=1e-5)


def test_the_dual_encoder_papers_scaling_is_dynamic_worlds() -> None:
    low, over = 1.7417268, 2.0232987
    scaling = Scaling((0.0,), (1.0,), curve="sigmoid", low=(low,), high=(low + over,))
    for dn in (1.0, 300.0, 1500.0, 9000.0):
        x = (math.log(dn * 0.005 + 1) - low) / over
        x = math.exp(5 * x - 1)
        expected = x / (x + 1)
        assert float(scaling(_pixel(dn / 1e4), ONE)) == pytest.approx(expected, rel=1e-5)
    radar = Scaling((0.0,), (1.0,), curve="clip", low=(-20.0,), high=(5.0,))
    assert radar(_pixel(-30.0), ONE).item() == 0
    assert radar(_pixel(-7.5), ONE).item() == pytest.approx(0.5)
    assert radar(_pixel(9.0), ONE).item() == 1


@pytest.mark.parametrize("curve", ["none", "clip", "sigmoid"])
def test_what_jitter_works_on_is_undone(curve: str) -> None:
    scaling = Scaling((0.3, 0.1), (0.2, 0.4), curve=curve, low=(0.0, 0.1), high=(0.5, 0.8))
    values = torch.rand(3, 2, 5, 5) * 0.4 + 0.1
    scaled = scaling(values, torch.ones(3, 1, 5, 5))
    unit = scaling.to_unit(scaled)
    assert torch.allclose(scaling.from_unit(unit), scaled, atol=1e-5)
    assert float(unit.min()) > -1
    assert float(unit.max()) < 2
    gone = scaling(values, torch.zeros(3, 1, 5, 5))
    assert float(gone.abs().max()) == 0


def test_filters_know_which_bands_are_colours() -> None:
    filters = torch.randn(8, 3, 3, 3)
    spread = spread_filters(filters, (2, 1, 0), 6)
    assert torch.allclose(spread[:, 2], filters[:, 0] / 2)
    assert torch.allclose(spread[:, 0], filters[:, 2] / 2)
    assert torch.allclose(spread[:, 5], filters.mean(1) / 2)
    # A grey image is answered as before, whatever the bands.
    assert torch.allclose(spread.sum(1), filters.sum(1), atol=1e-5)
    radar = spread_filters(filters, (), 2)
    assert torch.allclose(radar.sum(1), filters.sum(1), atol=1e-5)
    with pytest.raises(ModelError, match=r"over 4 channels; received a of 3 channels"):
        find_first_layer({"a": filters}, 4)


@pytest.mark.parametrize("curve", ["none", "clip", "sigmoid"])
def test_what_was_scaled_is_scaled_back(curve) -> None:
    low, high = ((), ()) if curve == "none" else ((0.1, 0.2), (1.5, 2.0))
    scaling = Scaling((0.4, 0.5), (0.2, 0.3), curve=curve, low=low, high=high)
    values = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    # Where no curve is flat: reflectance up to .07, of which the logarithm is within the range.
    values = values * 0.05 + 0.01 if curve == "sigmoid" else values + 0.3
    scaled = scaling(values, torch.ones(2, 1, 4, 4))
    torch.testing.assert_close(scaling.undo(scaled), values, rtol=1e-4, atol=1e-5)
    assert (scaling.undo(torch.full((1, 2, 1, 1), 99.0)) > 0.05).all()
