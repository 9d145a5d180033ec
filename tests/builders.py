"""Small contrastive methods for tests, and a batch for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

import xcontrast as xc
from xcontrast.model import SensorCard
from xcontrast.nn.parallel import share_batch_norm
from xcontrast.training.gradients import send_back
from xcontrast.training.methods import BUILDERS
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import Images, View

BANDS = {"s1": ("vv", "vh"), "s2": ("B02", "B03", "B04")}
DATES = {"multimodal": 1, "simclr": 1, "moco": 1, "moco_tp": 2, "seco": 3}


def build(
    method: str,
    *,
    encoder: str = "resnet18",
    sensors: tuple[str, ...] = ("s1", "s2"),
    **options: Any,
) -> Method:
    """Build a method with small projectors and queues."""
    cards = {
        name: SensorCard(
            bands=BANDS[name],
            units="1",
            gsd=10.0,
            mean=(0.0,) * len(BANDS[name]),
            std=(1.0,) * len(BANDS[name]),
        )
        for name in sensors
    }
    own = {"out_stride": 8, "n_hidden": 8, "n_projected": 4, "queue": 16, **options}
    return BUILDERS[method](cards, encoder=encoder, options=xc.PretrainOptions(**own))


def make_images(n: int, *, size: int = 32, n_dates: int = 1, seed: int = 0) -> Images:
    """Make scaled values and validity of both sensors."""
    g = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(n, n_dates, len(bands), size, size, generator=g),
            torch.ones(n, n_dates, 1, size, size),
        )
        for name, bands in BANDS.items()
    }


def make_ground(n: int, *, seed: int = 0) -> torch.Tensor:
    """Lay windows of 32 px on a few locations, so that some overlap."""
    g = torch.Generator().manual_seed(seed)
    place = torch.randint(0, max(1, n // 3), (n, 1), generator=g)
    first = torch.randint(0, 100, (n, 2), generator=g)
    return torch.cat([place, first, first + 32], dim=1)


def to_double(view: View, *, device: str = "cpu") -> View:
    """Give a view in float64."""
    tensors = {
        name: tensor.double().to(device)
        for name in ("values", "valid", "points")
        if (tensor := getattr(view, name)) is not None
    }
    return replace(view, **tensors)


def run_step(
    name: str, *, train: bool, rank: int = 0, n_ranks: int = 1, device: str = "cpu"
) -> dict[str, torch.Tensor]:
    """Give loss, gradients, queues and statistics of one step of a batch of 8, in float64.

    Of several ranks each takes its part of the batch.
    """
    torch.manual_seed(0)
    method = build(name)
    views = method.make_views(
        make_images(8, n_dates=method.n_dates),
        size=24,
        generator=torch.Generator().manual_seed(0),
    )
    rows = slice(rank * 8 // n_ranks, (rank + 1) * 8 // n_ranks)
    views = {key: to_double(view[rows], device=device) for key, view in views.items()}
    if n_ranks > 1:
        share_batch_norm(method)
    method = method.double().train(train).to(device)
    loss, keys, ground = send_back(method, views, make_ground(8)[rows].to(device))
    method.end_step(keys, ground)
    found = {"loss": loss, "ground": ground.double()}
    found |= {f"grad {k}": p.grad for k, p in method.named_parameters() if p.grad is not None}
    found |= {f"buffer {k}": b.double() for k, b in method.named_buffers()}
    return {key: tensor.detach().cpu() for key, tensor in found.items()}
