from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import NTXentLoss, VICRegLoss

from xcontrast.nn.losses import key_logits, nt_xent, vicreg


def _brute_force(
    a: torch.Tensor,
    b: torch.Tensor,
    t: float,
    exclude: torch.Tensor | None,
    cross_only: bool = False,
) -> float:
    """The paper's sums, one term at a time."""
    n = len(a)
    x = [F.normalize(row, dim=0) for row in (*a, *b)]
    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        denominator = 0.0
        for k in range(2 * n):
            other = exclude is not None and bool(exclude[i % n, k % n]) and i % n != k % n
            if cross_only and k // n == i // n:
                continue
            if k != i and not other:
                denominator += math.exp(float(x[i] @ x[k]) / t)
        total -= math.log(math.exp(float(x[i] @ x[positive]) / t) / denominator)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cross_only", [False, True])
def test_nt_xent_equals_the_papers_sums(temperature: float, masked: bool, cross_only: bool) -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(7, 5, generator=g), torch.randn(7, 5, generator=g)
    exclude = torch.rand(7, 7, generator=g) < 0.3 if masked else None
    if exclude is not None:
        exclude = exclude | exclude.T | torch.eye(7, dtype=torch.bool)
    expected = _brute_force(a.double(), b.double(), temperature, exclude, cross_only)
    loss = nt_xent(a, b, temperature=temperature, exclude=exclude, cross_only=cross_only)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


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


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5])
def test_nt_xent_and_its_gradient_equal_another_librarys(temperature: float) -> None:
    g = torch.Generator().manual_seed(2)
    gradients, losses = [], []
    for ours in (True, False):
        a, b = (torch.randn(16, 8, generator=g.manual_seed(k)).requires_grad_() for k in (3, 4))
        if ours:
            loss = nt_xent(a, b, temperature=temperature)
        else:
            labels = torch.arange(16).repeat(2)
            loss = NTXentLoss(temperature=temperature)(torch.cat([a, b]), labels)
        loss.backward()
        gradients.append(torch.cat([a.grad, b.grad]))
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)


def test_cross_only_is_clips_loss() -> None:
    g = torch.Generator().manual_seed(5)
    a, b = torch.randn(9, 6, generator=g), torch.randn(9, 6, generator=g)
    similarity = F.normalize(a) @ F.normalize(b).T / 0.2
    own = torch.arange(9)
    expected = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
    assert torch.allclose(nt_xent(a, b, temperature=0.2, cross_only=True), expected)


def test_key_logits_equal_their_loop() -> None:
    g = torch.Generator().manual_seed(6)
    query, key = torch.randn(4, 5, generator=g), torch.randn(4, 5, generator=g)
    queue, batch = torch.randn(7, 5, generator=g), torch.randn(4, 5, generator=g)
    masked = torch.rand(4, 7, generator=g) < 0.4
    logits = key_logits(query, key, [(queue, masked), (batch, None)], temperature=0.3)
    assert logits.shape == (4, 1 + 7 + 4)
    for i in range(4):
        row = [F.cosine_similarity(query[i], key[i], dim=0)]
        row += [F.cosine_similarity(query[i], other, dim=0) for other in (*queue, *batch)]
        for k, value in enumerate(row):
            hidden = 1 <= k <= 7 and bool(masked[i, k - 1])
            expected = -math.inf if hidden else float(value) / 0.3
            assert float(logits[i, k]) == pytest.approx(expected, abs=1e-5)


def test_the_loss_against_a_queue_equals_another_librarys() -> None:
    """A memory of past keys, each of a place of its own, and one positive a query."""
    g = torch.Generator().manual_seed(7)
    query, key, past = (torch.randn(n, 8, generator=g) for n in (6, 6, 20))
    total = 0.0
    for i in range(6):
        # One query at a time: its own key and the past ones, not the other keys of the batch.
        refs = torch.cat([key[i : i + 1], past])
        labels = torch.cat([torch.tensor([i]), torch.arange(100, 120)])
        loss = NTXentLoss(temperature=0.07)
        total += float(loss(query[i : i + 1], torch.tensor([i]), ref_emb=refs, ref_labels=labels))
    logits = key_logits(query, key, [(past, None)], temperature=0.07)
    ours = F.cross_entropy(logits, torch.zeros(6, dtype=torch.long))
    assert float(ours) == pytest.approx(total / 6, rel=1e-5)


def test_vicreg_equals_another_librarys() -> None:
    g = torch.Generator().manual_seed(8)
    a, b = torch.randn(12, 6, generator=g) * 0.7, torch.randn(12, 6, generator=g) * 0.7
    theirs = VICRegLoss(invariance_lambda=25, variance_mu=25, covariance_v=1)
    assert float(vicreg(a, b)) == pytest.approx(float(theirs(a, ref_emb=b)), rel=1e-4)


def test_vicreg_says_collapse_what_it_is() -> None:
    same = torch.ones(8, 4)
    assert float(vicreg(same, same)) == pytest.approx(25 * (1 - 0.01), rel=1e-3)
