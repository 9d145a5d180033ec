"""Contrastive losses: pure functions of embedding matrices.

Letters: N samples, D projected dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["nt_xent"]


def nt_xent(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float = 0.1,
    exclude: Tensor | None = None,
) -> Tensor:
    """Normalised temperature-scaled cross entropy over both views, same-sensor negatives included.

    Parameters
    ----------
    a, b : Tensor (N, D), float
        Projections of the two views; row i of both is a positive pair. Normalised here.
    temperature : float, default 0.1
        Divides the cosine similarities.
    exclude : Tensor (N, N), bool, optional
        True where two different samples must not be negatives of each other, because they show
        the same ground. The diagonal is ignored.

    Returns
    -------
    Tensor (), float32
        Mean over the 2N anchors.

    Notes
    -----
    With x the concatenation of both views, the loss of anchor i with positive p is
    ``-log(exp(x_i . x_p / t) / sum_{k != i} exp(x_i . x_k / t))``: 2 (N - 1) negatives a anchor.

    References
    ----------
    Jain, Wilson and Gulshan (2022), section 3, the symmetric loss with same-modality negatives;
    Chen et al. (2020), SimCLR, equation 1.

    Examples
    --------
    >>> import torch
    >>> round(float(nt_xent(torch.eye(2), torch.eye(2), temperature=1.0)), 4)
    0.5514
    """
    n = len(a)
    x = F.normalize(torch.cat([a, b]).float(), dim=1)  # (2N, D)
    logits = x @ x.T / temperature  # (2N, 2N)
    forbidden = torch.eye(2 * n, dtype=torch.bool, device=x.device)
    if exclude is not None:
        other = exclude & ~torch.eye(n, dtype=torch.bool, device=x.device)
        forbidden = forbidden | other.repeat(2, 2)
    logits = logits.masked_fill(forbidden, float("-inf"))
    positive = torch.arange(2 * n, device=x.device).roll(n)
    return F.cross_entropy(logits, positive)
