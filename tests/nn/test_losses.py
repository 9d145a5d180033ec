from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from xcontrast.nn.losses import nt_xent


def _brute_force(a: torch.Tensor, b: torch.Tensor, t: float, exclude: torch.Tensor | None) -> float:
    """The paper's sums, one term at a time."""
    n = len(a)
    x = [F.normalize(row, dim=0) for row in (*a, *b)]
    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        denominator = 0.0
        for k in range(2 * n):
            other = exclude is not None and bool(exclude[i % n, k % n]) and i % n != k % n
            if k != i and not other:
                denominator += math.exp(float(x[i] @ x[k]) / t)
        total -= math.log(math.exp(float(x[i] @ x[positive]) / t) / denominator)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("masked", [False, True])
def test_nt_xent_equals_the_papers_sums(temperature: float, masked: bool) -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(7, 5, generator=g), torch.randn(7, 5, generator=g)
    exclude = torch.rand(7, 7, generator=g) < 0.3 if masked else None
    if exclude is not None:
        exclude = exclude | exclude.T | torch.eye(7, dtype=torch.bool)
    expected = _brute_force(a.double(), b.double(), temperature, exclude)
    assert float(nt_xent(a, b, temperature=temperature, exclude=exclude)) == pytest.approx(
        expected, rel=1e-5
    )


def test_nt_xent_is_symmetric_and_blind_to_order() -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(6, 4, generator=g), torch.randn(6, 4, generator=g)
    order = torch.randperm(6, generator=g)
    assert torch.allclose(nt_xent(a, b), nt_xent(b, a))
    assert torch.allclose(nt_xent(a, b), nt_xent(a[order], b[order]))
    assert nt_xent(a, a) < nt_xent(a, b)


def test_a_perfect_and_a_collapsed_batch_have_their_known_losses() -> None:
    n = 8
    collapsed = torch.ones(n, 3)
    assert float(nt_xent(collapsed, collapsed)) == pytest.approx(math.log(2 * n - 1), rel=1e-5)
    perfect = torch.eye(n)
    assert float(nt_xent(perfect, perfect, temperature=0.05)) < 1e-6
