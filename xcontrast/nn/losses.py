"""Contrastive losses: pure functions of embedding matrices.

Letters: N samples, D projected dimensions, K other keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["key_logits", "nt_xent", "vicreg"]


def nt_xent(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float = 0.1,
    exclude: Tensor | None = None,
    cross_only: bool = False,
) -> Tensor:
    """Normalised temperature-scaled cross entropy over both views.

    Parameters
    ----------
    a, b : Tensor (N, D), float
        Projections of the two views; row i of both is a positive pair. Normalised here.
    temperature : float, default 0.1
        Divides the cosine similarities.
    exclude : Tensor (N, N), bool, optional
        True where two different samples must not be negatives of each other, because they show
        the same ground. The diagonal is ignored.
    cross_only : bool, default False
        Only samples of the other view are negatives (CLIP's symmetric loss); by default those of
        the same view are too.

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
    Chen et al. (2020), SimCLR, equation 1. Radford et al. (2021), CLIP, figure 3, for
    `cross_only`.

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
    if cross_only:
        view = torch.arange(2 * n, device=x.device) // n
        forbidden = view[:, None] == view
    if exclude is not None:
        other = exclude & ~torch.eye(n, dtype=torch.bool, device=x.device)
        forbidden = forbidden | other.repeat(2, 2)
    logits = logits.masked_fill(forbidden, float("-inf"))
    positive = torch.arange(2 * n, device=x.device).roll(n)
    return F.cross_entropy(logits, positive)


def key_logits(
    query: Tensor,
    key: Tensor,
    negatives: Sequence[tuple[Tensor, Tensor | None]],
    *,
    temperature: float = 0.07,
) -> Tensor:
    """Similarities of queries to their own key, in column 0, and to other keys.

    Parameters
    ----------
    query, key : Tensor (N, D), float
        Row i of both is a positive pair. Normalised here.
    negatives : sequence of tuple of Tensor
        Keys ``(K, D)``, and ``(N, K)`` bool, True where one must not be a negative; None masks
        none.
    temperature : float, default 0.07
        Divides the cosine similarities.

    Returns
    -------
    Tensor (N, 1 + sum of K), float32
        Its cross entropy with the target 0 is the loss; what is masked is -inf.

    References
    ----------
    He et al. (2020), MoCo, equation 1; Manas et al. (2021), Seasonal Contrast, section 3.2: the
    negatives of a subspace are its queue, and for the season and the artificial subspace also the
    keys of the other kinds in the batch.

    Examples
    --------
    >>> import torch
    >>> key_logits(torch.eye(2), torch.eye(2), [(torch.eye(2)[:1], None)], temperature=1.0)
    tensor([[1., 1.],
            [1., 0.]])
    """
    query, key = F.normalize(query.float(), dim=1), F.normalize(key.float(), dim=1)
    parts = [(query * key).sum(1, keepdim=True)]
    for others, masked in negatives:
        similarity = query @ F.normalize(others.float(), dim=1).T
        if masked is not None:
            similarity = similarity.masked_fill(masked, float("-inf"))
        parts.append(similarity)
    return torch.cat(parts, dim=1) / temperature


def vicreg(
    a: Tensor,
    b: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    """Variance, invariance and covariance of two views: no negatives.

    Parameters
    ----------
    a, b : Tensor (N, D), float
        Projections of the two views, not normalised; row i of both is a positive pair.
    invariance, variance, covariance : float
        Weights of the three terms.

    Returns
    -------
    Tensor (), float32

    References
    ----------
    Bardes, Ponce and LeCun (2022), VICReg, equations 1 to 6 and algorithm 1.

    Examples
    --------
    >>> import torch
    >>> spread = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> float(vicreg(spread, spread))
    0.0
    """
    a, b = a.float(), b.float()
    total = invariance * F.mse_loss(a, b)
    for z in (a, b):
        centred = z - z.mean(0)
        std = (centred.square().sum(0) / (len(z) - 1) + 1e-4).sqrt()
        total = total + variance / 2 * F.relu(1 - std).mean()
        matrix = centred.T @ centred / (len(z) - 1)
        off = matrix.square().sum() - matrix.diagonal().square().sum()
        total = total + covariance * off / z.shape[1]
    return total
