"""The gradient of a whole batch: at once, in parts that fit, and over several processes.

A contrastive loss compares every chip with every other, so that the mean of the gradients of small
batches is not the gradient of a large one. In parts, all chips are first projected without a
graph; the loss of the whole batch gives the gradient of each projection; then each part is
projected again and that gradient sent through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from xcontrast.nn.parallel import average_gradients, gather_rows
from xcontrast.training.methods.method import Method
from xcontrast.training.methods.views import View, Views

__all__ = ["send_back"]

Rows = dict[str, Tensor]


def send_back(
    method: Method,
    views: Views,
    ground: Tensor,
    *,
    micro_batch: int | None = None,
    encode: Callable[..., Rows] | None = None,
) -> tuple[Tensor, Rows, Tensor]:
    """Leave the gradient of the loss of the whole batch in the parameters.

    Parameters
    ----------
    method : Method
        Whose loss it is.
    views : mapping of str to View
        Of this process.
    ground : Tensor (B, 5), int64
        Location and footprint of each chip.
    micro_batch : int, optional
        Chips at a time, about: parts are alike, and none is of one chip; by default all.
    encode : callable, optional
        Wraps ``method.project`` and ``method.keys``, for a precision.

    Returns
    -------
    tuple
        The loss; the keys of all processes; the ground of all processes.

    References
    ----------
    Gao et al. (2021), Scaling deep contrastive learning batch size under memory limited setup.
    """
    run = encode or (lambda function, given: function(given))
    parts = _part(len(ground), micro_batch)
    cut = [{name: view[rows] for name, view in views.items()} for rows in parts]
    keys = _join([run(method.keys, part) for part in cut])
    ground = gather_rows(ground)
    keys = {name: gather_rows(rows) for name, rows in keys.items()}
    if len(parts) == 1:
        projected = run(method.project, cut[0])
        loss = method.loss(_gather(projected), keys, ground)
        loss.backward()  # type: ignore[no-untyped-call]
    else:
        loss = _send_in_parts(method, cut, keys, ground, run)
    average_gradients(method.parameters())
    return loss.detach(), keys, ground


def _part(n: int, micro_batch: int | None) -> list[slice]:
    """Divide a batch evenly; batch norm has no statistics of a single chip."""
    n_parts = max(1, min(-(-n // (micro_batch or n)), n // 2))
    # The first n % n_parts are one chip larger.
    ends = [k * (n // n_parts) + min(k, n % n_parts) for k in range(n_parts + 1)]
    return [slice(first, end) for first, end in pairwise(ends)]


def _send_in_parts(
    method: Method,
    cut: list[dict[str, View]],
    keys: Rows,
    ground: Tensor,
    run: Callable[..., Rows],
) -> Tensor:
    states = []
    first = []
    with torch.no_grad(), _still(method):
        for part in cut:
            states.append(_random_state())
            first.append(run(method.project, part))
    leaves = {name: rows.requires_grad_() for name, rows in _join(first).items()}
    loss = method.loss(_gather(leaves), keys, ground)
    loss.backward()  # type: ignore[no-untyped-call]
    begin = 0
    for part, state, rows in zip(cut, states, first, strict=True):
        _restore(state)  # The same dropped paths as in the first pass.
        again = run(method.project, part)
        n = len(next(iter(rows.values())))
        gradients = {name: leaf.grad[begin : begin + n] for name, leaf in leaves.items()
                     if leaf.grad is not None}  # fmt: skip
        torch.autograd.backward([again[name] for name in gradients], list(gradients.values()))
        begin += n
    return loss


def _join(parts: list[Rows]) -> Rows:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _gather(rows: Mapping[str, Tensor]) -> Rows:
    return {name: gather_rows(own) for name, own in rows.items()}


@contextmanager
def _still(method: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms as they are: each chip counts once."""
    norms = [m for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if _on_gpu() else []


def _restore(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _on_gpu() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
