from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import DiceLoss
from torchvision.ops import sigmoid_focal_loss

from xcontrast.nn.segmentation_losses import build_loss, cross_entropy, dice, focal

KINDS = ("ce", "dice", "focal", "ce+dice")


def draw(k: int = 3, *, seed: int = 0, ignored: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, k, 5, 6, generator=g, dtype=torch.float64).float()
    target = torch.randint(k, (2, 5, 6), generator=g)
    target[torch.rand(target.shape, generator=g) < ignored] = 255
    return logits, target


def by_hand(logits: torch.Tensor, target: torch.Tensor, weight: list[float]) -> dict[str, float]:
    """Give each loss by a loop over pixels."""
    k = logits.shape[1]
    total = {"ce": 0.0, "focal": 0.0, "n": 0.0}
    shared, sizes, there = [0.0] * k, [0.0] * k, [False] * k
    for b in range(target.shape[0]):
        for i in range(target.shape[1]):
            for j in range(target.shape[2]):
                y = int(target[b, i, j])
                if y == 255:
                    continue
                odds = [math.exp(float(v)) for v in logits[b, :, i, j]]
                p = [v / sum(odds) for v in odds]
                total["ce"] -= weight[y] * math.log(p[y])
                total["focal"] -= weight[y] * (1 - p[y]) ** 2 * math.log(p[y])
                total["n"] += weight[y]
                shared[y] += p[y]
                there[y] = True
                for c in range(k):
                    sizes[c] += p[c] + (c == y)
    lost = [1 - 2 * s / n for s, n, t in zip(shared, sizes, there, strict=True) if t]
    ce, soft = total["ce"] / total["n"], sum(lost) / len(lost)
    return {"ce": ce, "focal": total["focal"] / total["n"], "dice": soft, "ce+dice": ce + soft}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 3.0]])
def test_losses_equal_a_loop_over_pixels(kind: str, weight: list[float] | None) -> None:
    logits, target = draw()
    ours = build_loss(kind, None if weight is None else torch.tensor(weight))(logits, target)
    assert float(ours) == pytest.approx(
        by_hand(logits, target, weight or [1.0] * 3)[kind], abs=1e-6
    )


def test_losses_equal_those_of_libraries() -> None:
    logits, target = draw()
    weight = torch.tensor([0.5, 1.0, 3.0])
    torch.testing.assert_close(
        cross_entropy(logits, target, weight=weight),
        F.cross_entropy(logits, target, weight=weight, ignore_index=255),
    )
    theirs = DiceLoss("multiclass", ignore_index=255)(logits, target)
    torch.testing.assert_close(dice(logits, target), theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(focal(logits, target, gamma=0), cross_entropy(logits, target))
    two, target = draw(2)
    known = target != 255
    margin = (two[:, 1] - two[:, 0])[known]
    theirs = sigmoid_focal_loss(margin, target[known].float(), alpha=-1, reduction="mean")
    torch.testing.assert_close(focal(two, target), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 50), share=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
@settings(max_examples=12)
def test_ignored_pixels_have_exactly_no_part(kind: str, seed: int, share: float) -> None:
    logits, target = draw(seed=seed, ignored=share)
    logits.requires_grad_()
    loss = build_loss(kind)(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    ignored = (target == 255)[:, None].expand_as(gradient)
    assert torch.isfinite(gradient).all()
    assert (gradient[ignored] == 0).all()
    changed = logits.detach() + 5 * ignored
    torch.testing.assert_close(build_loss(kind)(changed, target), loss.detach())
    if share == 1:
        assert float(loss.detach()) == 0


def test_dice_counts_the_categories_that_are_there() -> None:
    logits, target = draw()
    only = torch.where(target == 2, 255, target)
    per = [by_hand(logits, only, [1.0] * 3)["dice"]]
    assert float(dice(logits, only)) == pytest.approx(per[0], abs=1e-6)
    perfect = 50.0 * F.one_hot(only.clamp(max=2), 3).permute(0, 3, 1, 2).float()
    assert float(dice(perfect, only)) == pytest.approx(0, abs=1e-6)
