"""In which order chips come: a function of seed and epoch, by chunks where that saves reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xcontrast.sampling.windows import Indices

__all__ = ["Order"]


@dataclass(frozen=True, eq=False)
class Order:
    """Batches of chips, each chip at most once an epoch, in a new order every epoch.

    An epoch draws chips without replacement: all of them, or with weights as many as the heaviest
    would be drawn once each, so that a chip of half the weight comes about every other epoch. The
    remainder that does not fill a batch is left out, another one each time.

    Examples
    --------
    >>> order = Order(n_chips=5, batch_size=2, seed=0)
    >>> order.n_batches, order.epoch(0).shape
    (2, (2, 2))
    """

    n_chips: int
    batch_size: int
    seed: int = 0
    weights: npt.NDArray[np.float32] | None = None
    """How often each chip is drawn, against the others, shape (n,)."""
    chunk: Indices | None = None
    """Chunk on disk of each chip, shape (n,); chips that come together lie in few of them."""
    window: int = 16
    """Chunks that are mixed with each other at a time."""
    rank: int = 0
    """Which of several processes that train together."""
    n_ranks: int = 1

    @property
    def n_epoch(self) -> int:
        """Chips of an epoch, over all ranks."""
        if self.weights is None:
            return self.n_chips
        drawn = round(float(self.weights.sum(dtype=float) / self.weights.max()))
        return int(np.clip(drawn, min(self.batch_size, self.n_chips), self.n_chips))

    @property
    def n_batches(self) -> int:
        """Batches of an epoch, the same for every rank."""
        return self.n_epoch // (self.batch_size * self.n_ranks)

    def epoch(self, number: int) -> Indices:
        """Give the chips of an epoch.

        Parameters
        ----------
        number : int
            From 0.

        Returns
        -------
        ndarray (n_batches, batch_size), intp
            Of this rank. Without chunks the ranks' batches side by side are those of one process
            with batches that much larger; with chunks each rank has its own stretch of the order,
            so that few chunks are read by two.
        """
        rng = np.random.default_rng((self.seed, number))
        chips = self._draw(rng)
        if self.chunk is not None:
            chips = self._gather_chunks(chips, rng)
        chips = chips[: self.n_batches * self.n_ranks * self.batch_size]
        if self.chunk is None:
            own: Indices = chips.reshape(-1, self.n_ranks, self.batch_size)[:, self.rank]
        else:
            own = chips.reshape(self.n_ranks, -1, self.batch_size)[self.rank]
            # Where a chip stands in its batch means nothing; side by side they are copied faster.
            own = np.take_along_axis(own, self.chunk[own].argsort(axis=1, kind="stable"), axis=1)
        return own

    def _draw(self, rng: np.random.Generator) -> Indices:
        if self.weights is None:
            return rng.permutation(self.n_chips)
        # Efraimidis and Spirakis (2006): the smallest of exponential waits, one after the other.
        waits = rng.exponential(size=self.n_chips) / self.weights
        drawn: Indices = waits.argsort()[: self.n_epoch]
        return drawn

    def _gather_chunks(self, chips: Indices, rng: np.random.Generator) -> Indices:
        """Put chips of one chunk within a window of the order: a chunk is needed for that long."""
        assert self.chunk is not None
        used, chunk = np.unique(self.chunk[chips], return_inverse=True)
        width = min(self.window, len(used))
        place = rng.permutation(len(used))
        # At both ends the window stands still, so that the first and last batches are mixed too.
        start = np.clip(place - width / 2, 0, len(used) - width)
        ordered: Indices = chips[np.argsort(start[chunk] + rng.uniform(0, width, len(chips)))]
        return ordered
