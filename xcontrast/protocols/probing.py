"""A linear layer on an encoder, trained as Seasonal Contrast's code trains it.

Letters: N images, C bands, F features, K categories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from xcontrast.model import Model
from xcontrast.progress import track
from xcontrast.protocols.encoders import load_encoder
from xcontrast.protocols.options import ReproduceOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Recipe", "probe_features", "probe_images"]

Floats = npt.NDArray[np.float32]
Images = Callable[[npt.NDArray[np.intp]], Floats]
"""From rows to (n, C, H, W) in the sensor's units, NaN where invalid."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a layer is trained: Adam, its rate divided by ten twice."""

    loss: Literal["cross-entropy", "soft-margin"]
    """Of one category an image, or of several."""
    learning_rate: float
    batch_size: int
    dropout: float = 0.0
    epochs: int = 100
    milestones: tuple[int, int] = (60, 80)
    """Epochs from which the rate is a tenth of what it was."""
    trained: Literal["head", "all"] = "head"
    """The linear layer alone, or the encoder with it."""


def probe_features(
    train: Floats,
    targets: npt.NDArray[Any],
    test: Floats,
    recipe: Recipe,
    *,
    n_categories: int,
    seed: int,
    options: ReproduceOptions,
) -> Floats:
    """Train a linear layer on frozen features, and score others.

    Parameters
    ----------
    train, test : ndarray (N, F), float32
        Features.
    targets : ndarray (N,) int64 or (N, K) float32
        Of `train`: a category number each, or 0 and 1.
    recipe : Recipe
        The protocol's.
    n_categories : int
        K.
    seed : int
        Of the layer and the order.
    options : ReproduceOptions
        ``max_steps`` and ``device``.

    Returns
    -------
    ndarray (N, K), float32
        Logits of `test`.
    """
    import torch

    from xcontrast.nn.precision import choose_device

    device = choose_device(options.device)
    features = torch.from_numpy(train).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = _make_head(train.shape[1], n_categories, recipe).to(device)
        _train(lambda rows: head(features[rows]), head.parameters(), targets, recipe, seed, options)
    head.eval()
    with torch.inference_mode():
        logits: Floats = head(torch.from_numpy(test).to(device)).cpu().numpy()
    return logits


def probe_images(
    train: Images,
    targets: npt.NDArray[Any],
    test: Images,
    n_test: int,
    recipe: Recipe,
    model: Model,
    *,
    n_categories: int,
    seed: int,
    adapt: bool,
    options: ReproduceOptions,
) -> Floats:
    """Train a linear layer with the encoder run on every batch, and score other images.

    Parameters
    ----------
    train, test : callable
        Give Sentinel-2 images by rows.
    targets : ndarray (N,) int64 or (N, K) float32
        Of `train`.
    n_test : int
        Images to score.
    recipe : Recipe
        The protocol's; the encoder is trained as it says.
    model : Model
        Its encoder is copied, and left as it is.
    n_categories : int
        K.
    seed : int
        Of the layer and the order.
    adapt : bool
        Batch norms take the statistics of each batch while training, and move their own.
    options : ReproduceOptions
        ``max_steps`` and ``device``.

    Returns
    -------
    ndarray (n_test, K), float32
        Logits.
    """
    import torch

    from xcontrast.nn.precision import choose_device

    device = choose_device(options.device)
    encoder, scaling = load_encoder(model, "s2", device)
    width = int(model.card.levels[-1]["channels"])
    whole = recipe.trained == "all"

    def encode(images: Floats) -> Tensor:
        values = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        valid = torch.isfinite(values.sum(1, keepdim=True)).float()
        pooled: Tensor = encoder(scaling(torch.nan_to_num(values), valid))[-1].mean((2, 3))
        return pooled

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = _make_head(width, n_categories, recipe).to(device)

        def logits(rows: Tensor) -> Tensor:
            with torch.set_grad_enabled(whole):
                features = encode(train(rows.cpu().numpy()))
            result: Tensor = head(features)
            return result

        encoder.train(adapt)
        parameters = [*head.parameters(), *(encoder.parameters() if whole else ())]
        _train(logits, parameters, targets, recipe, seed, options)
    encoder.eval()
    head.eval()
    rows = np.array_split(
        np.arange(n_test), max(1, -(-n_test // (options.batch_size or recipe.batch_size)))
    )
    with torch.inference_mode():
        return np.concatenate([head(encode(test(part))).cpu().numpy() for part in rows])


def _make_head(n_features: int, n_categories: int, recipe: Recipe) -> nn.Module:
    from torch import nn

    return nn.Sequential(nn.Dropout(recipe.dropout), nn.Linear(n_features, n_categories))


def _train(
    logits: Callable[[Tensor], Tensor],
    parameters: Iterable[nn.Parameter],
    targets: npt.NDArray[Any],
    recipe: Recipe,
    seed: int,
    options: ReproduceOptions,
) -> None:
    """Minimise a recipe's loss; an epoch is all whole batches, as published."""
    import torch
    from torch import nn

    kept = list(parameters)
    device = kept[0].device
    wanted = torch.from_numpy(targets).to(device)
    loss_of = nn.CrossEntropyLoss() if recipe.loss == "cross-entropy" else (
        nn.MultiLabelSoftMarginLoss()
    )  # fmt: skip
    size = min(options.batch_size or recipe.batch_size, len(targets))
    per_epoch = len(targets) // size
    n_steps = options.limit(recipe.epochs * per_epoch)
    optimiser = torch.optim.Adam(kept, lr=recipe.learning_rate)
    falls = [n_steps * epoch // recipe.epochs for epoch in recipe.milestones]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, falls, gamma=0.1)
    generator = torch.Generator().manual_seed(seed)
    for step in track(range(n_steps), what=f"training the {recipe.trained}", leave=False):
        if step % per_epoch == 0:
            order = torch.randperm(len(targets), generator=generator)
        first = step % per_epoch * size
        rows = order[first : first + size].to(device)
        loss = loss_of(logits(rows), wanted[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
