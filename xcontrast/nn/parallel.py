"""One batch over several processes: rows gathered with their gradients, shared batch norm.

Every process computes the loss of the whole batch. The gradient of a gathered row arrives once
from each process, so it is their sum, and :func:`average_gradients` divides it again: what remains
is the gradient of one process that holds the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "SharedBatchNorm",
    "average_gradients",
    "gather_rows",
    "is_alone",
    "share_batch_norm",
]


def is_alone() -> bool:
    """Say whether this process trains by itself."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.n = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        first = dist.get_rank() * ctx.n
        return gradient[first : first + ctx.n]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all processes, in the order of their ranks; gradients flow back.

    Parameters
    ----------
    rows : Tensor (N, ...)
        Of this process; as many on each.

    Returns
    -------
    Tensor (N * processes, ...)
    """
    if is_alone():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over all processes, in place, in one message.

    Parameters
    ----------
    parameters : iterable of Parameter
        The same on each; one without a gradient is left out, which must be so everywhere.
    """
    if is_alone():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batch of all processes, on any device.

    PyTorch's own ``SyncBatchNorm`` runs on GPUs only.
    """

    def __init__(self, n_channels: int, **options: Any) -> None:
        super().__init__(n_channels, **options)
        self.follow = nn.Sequential()
        """What timm's norm layers do after the norm: an activation."""

    def _check_input_dim(self, input: Tensor) -> None:
        del input

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same."""
        alone = not self.training or is_alone()
        normed = super().forward(input) if alone else self._normalise(input)
        followed: Tensor = self.follow(normed)
        return followed

    def _normalise(self, input: Tensor) -> Tensor:
        dims = [0, *range(2, input.ndim)]
        view = [1, -1] + [1] * (input.ndim - 2)
        x = input if input.dtype == torch.float64 else input.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        total = _Sum.apply(torch.cat([x.sum(dims), count]))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = x - mean.view(view)
        # Two sums, not the mean of squares: that would cancel where the mean is large.
        variance = _Sum.apply(centred.square().sum(dims)) / n
        self._remember(mean.detach(), variance.detach() * n / (n - 1))
        result = centred * torch.rsqrt(variance + self.eps).view(view)
        if self.affine:
            result = result * self.weight.view(view) + self.bias.view(view)
        given: Tensor = result.to(input.dtype)
        return given

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        share = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def share_batch_norm(module: nn.Module) -> None:
    """Put :class:`SharedBatchNorm` in the place of every batch norm, with its weights.

    Parameters
    ----------
    module : Module
        Changed in place.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            shared = SharedBatchNorm(
                child.num_features,
                eps=child.eps,
                momentum=child.momentum,
                affine=child.affine,
                track_running_stats=child.track_running_stats,
            )
            shared.load_state_dict(child.state_dict())
            shared.follow = nn.Sequential(*child.children())
            shared.train(child.training)
            setattr(module, name, shared)
        else:
            share_batch_norm(child)
