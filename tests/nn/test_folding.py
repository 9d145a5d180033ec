from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from xcontrast.nn.encoders import Encoder
from xcontrast.nn.folding import fold_batch_norms
from xcontrast.nn.threads import at_work


def _trained(name: str) -> Encoder:
    """Give an encoder whose batch norms have seen something."""
    torch.manual_seed(0)
    encoder = Encoder(name, 3, out_stride=16).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    return encoder


def _count(encoder: Encoder) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenetv3_small_050"])
def test_a_folded_encoder_gives_the_same_features(name: str) -> None:
    encoder = _trained(name)
    folded = fold_batch_norms(encoder)
    assert _count(encoder) > 10
    assert _count(folded) == 0
    image = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        for own, other in zip(encoder(image), folded(image), strict=True):
            assert torch.allclose(own, other, atol=1e-5 * float(own.abs().max()))


def test_without_batch_norms_nothing_changes() -> None:
    encoder = Encoder("convnext_atto", 3, out_stride=8).eval()
    assert fold_batch_norms(encoder) is encoder


def test_code_that_cannot_be_traced_is_left_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x) if x.mean() > 0 else self.body(-x)

    encoder = _trained("resnet18")
    encoder.body = Branching(encoder.body)
    assert fold_batch_norms(encoder) is encoder


def test_a_network_at_work_is_not_caught_by_the_tracing_of_another() -> None:
    body = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    encoder = Encoder("resnet18", 3).eval()
    faults: list[Exception] = []
    done = threading.Event()

    def work() -> None:
        try:
            while not done.is_set():
                with at_work():
                    body(torch.zeros(4, 8))
        except Exception as error:
            faults.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(10):
        folded = fold_batch_norms(encoder)
    done.set()
    worker.join()
    assert not faults
    assert _count(folded) == 0
