"""The one bridge from xarray to torch: chips in, tensors on a device out.

Pixels stay int16 (nodata -32768) until they are on the device; validity and units are made there.
Letters: B batch, D dates (seasonal chips alone), C channels, S a chip's side.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xcontrast.errors import DataError, problem
from xcontrast.sampling.batches import Batch, describe_chips, to_values
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.devices import find_rank, fits
from xcontrast.sampling.orders import Order
from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.resident import store_chips
from xcontrast.sampling.stream import prefetch, stream_batches
from xcontrast.sampling.windows import Indices

__all__ = ["Loader"]

WINDOW_BYTES = 256e6
"""Chunks that are mixed at a time, at most; one and a half times that is held."""


class Loader:
    """Batches of chips as tensors; each pass over it is an epoch, in an order of its own.

    The order is a function of seed and epoch, whatever the threads. Where PyTorch's process group
    is up, each rank gets batches of its own. ``state_dict`` and ``load_state_dict`` keep the exact
    position, also in the middle of an epoch; a pass that was left goes on where it was. Chips that
    are read from disk as it goes come chunk by chunk, and so in another order than those that
    `resident` holds, by default as far as there is memory.

    Yields
    ------
    dict of str to Tensor
        ``s1`` and ``s2``, those there are: ``(B, [D,] C, S, S)`` float32, channels-last, in the
        sensor's units, 0 where invalid; ``s1_valid``, ``s2_valid``: ``(B, [D,] 1, S, S)`` float32,
        1 where all bands are valid; ``s1_time``, ``s2_time``: ``(B, [D])`` int64, nanoseconds since
        1970 (NaT is the least int64); ``chip``: ``(B,)`` int64, its number; ``location``: ``(B,)``
        int64, number of the place; ``footprint``: ``(B, 4)`` int64, rows and columns in the
        place's grid: first row, first column, and the ends.

    Examples
    --------
    >>> import torch
    >>> chips = xc.chips(xc.pairs(cube), size=32)
    >>> loader = chips.loader(batch_size=4, progress=False)
    >>> batch = next(iter(loader))
    >>> len(loader), batch["s1"].shape, batch["s2_valid"].shape
    (4, torch.Size([4, 2, 32, 32]), torch.Size([4, 1, 32, 32]))
    >>> state = loader.state_dict()
    >>> chips.loader(batch_size=4, progress=False).load_state_dict(state)
    >>> loader.take(torch.tensor([0, 5])).keys() >= {"s1", "s2"}
    True
    >>> loader.to(torch.device("cpu")).is_resident
    True
    """

    def __init__(
        self,
        chips: Chips,
        *,
        batch_size: int = 64,
        seed: int = 0,
        device: str | torch.device = "cpu",
        n_workers: int = 4,
        n_dates: int = 3,
        n_steps: int | None = None,
        resident: bool | None = None,
        progress: bool = True,
    ) -> None:
        """See :meth:`Chips.loader`; with `n_steps` one pass is so many batches, over epochs."""
        _check(chips, batch_size, n_workers, n_dates, n_steps)
        self.chips = chips
        self.step = 0
        """Batches given so far."""
        self._batch_size = batch_size
        self._seed = seed
        self._n_workers = n_workers
        self._n_dates = n_dates if "date" in chips.pairs.dims else 0
        self._n_steps = n_steps
        self._device = torch.device(device)
        self._facts = describe_chips(chips)
        on_disk = chips.pixels is not None and chips.pixels.chunk is not None
        hold = not on_disk or (resident if resident is not None else fits(chips.n_bytes, device))
        self._store = store_chips(chips, progress=progress) if hold else None
        self._by_chunks = not hold
        self.to(self._device)
        self._check_length()

    def _order(self) -> Order:
        """Give the order; which rank this is may be known only once training begins."""
        chunk, window, pixels = None, 1, self.chips.pixels
        if self._by_chunks and pixels is not None and pixels.chunk:
            chunk = pixels.slot // pixels.chunk
            chip_bytes = self.chips.n_bytes / len(self.chips)
            window = max(8, int(WINDOW_BYTES // (pixels.chunk * chip_bytes)))
        weights = self.chips.weight if np.ptp(self.chips.weight) > 0 else None
        return Order(
            len(self.chips), self._batch_size, self._seed, weights, chunk, window, *find_rank()
        )

    def _check_length(self) -> None:
        order = self._order()
        if not order.n_batches:
            raise DataError(
                problem(
                    expected=f"at least as many chips as a batch of {order.batch_size}"
                    + (f" on each of {order.n_ranks} devices" if order.n_ranks > 1 else ""),
                    received=f"{order.n_epoch} chips an epoch",
                    do="use a smaller `batch_size`",
                )
            )

    def __len__(self) -> int:
        """Batches of a pass."""
        return self._order().n_batches if self._n_steps is None else self._n_steps

    @property
    def is_resident(self) -> bool:
        """Whether all pixels are held in memory, rather than read as they are needed."""
        return self._store is not None

    def to(self, device: torch.device) -> Loader:
        """Make batches on another device from now on."""
        self._device = device
        if self._store is not None and fits(self._store.n_bytes, device):
            self._store = self._store.to(device)
        return self

    def take(self, index: Tensor) -> Batch:
        """Give one batch of chosen chips, all dates of seasonal ones; the position stays.

        Parameters
        ----------
        index : Tensor (B,), int64
            Numbers of the chips.

        Returns
        -------
        dict of str to Tensor
            As in a pass.
        """
        if self._store is not None:
            pixels = self._store.gather(index)
        else:
            disk = self._on_disk()
            slot = disk.slot[index.numpy()]
            pixels = {name: torch.from_numpy(disk.read(name, slot)) for name in disk.arrays}
        return self._finish({**pixels, **self._facts_of(index, None)})

    def state_dict(self) -> dict[str, Any]:
        """Give the position, and what it is a position in."""
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position.

        Parameters
        ----------
        state : dict
            Of :meth:`state_dict`.

        Raises
        ------
        DataError
            If it is of other chips, another batch size, seed or number of devices, or if all was
            in memory there and is not here: the order would be another one.
        """
        if self.is_resident and self.chips.pixels is not None:
            # What is in memory can be given in the order of what was read from disk.
            self._by_chunks = bool(state.get("by_chunks"))
        own = self._identity()
        changed = [key for key in own if state.get(key) != own[key]]
        if changed:
            raise DataError(
                problem(
                    expected="the state of a loader of the same chips, batches and seed",
                    received=", ".join(f"{k}={state.get(k)!r} (here {own[k]!r})" for k in changed),
                    do="build the loader as it was, or begin anew without a state",
                )
            )
        self.step = int(state["step"])

    def _identity(self) -> dict[str, Any]:
        return {
            "n_chips": len(self.chips), "batch_size": self._batch_size, "seed": self._seed,
            "n_ranks": find_rank()[1], "n_dates": self._n_dates, "by_chunks": self._by_chunks,
            "chips": self._digest(),
        }  # fmt: skip

    def _digest(self) -> int:
        """Tell apart what the order and the batches depend on."""
        order = self._order()
        arrays = [tensor.numpy() for tensor in self._facts.values()]
        arrays += [known for known in (order.weights, order.chunk) if known is not None]
        return zlib.crc32(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))

    def __iter__(self) -> Iterator[Batch]:
        order = self._order()
        n = order.n_batches
        end = (self.step // n + 1) * n if self._n_steps is None else self._n_steps
        batches = self._prepare(order, self.step, end)
        if self._n_workers and not self._is_on_device():
            batches = prefetch(batches)
        for batch in batches:
            self.step += 1
            yield self._finish(batch)

    def _is_on_device(self) -> bool:
        """Say whether nothing is left for the host to do."""
        return self._store is not None and self._store.row.device.type != "cpu"

    def _prepare(self, order: Order, begin: int, end: int) -> Iterator[Batch]:
        """Do what the host does of each batch: in a thread of its own while another trains."""
        gathered = self._gather(order, begin, end)
        for step, (index, pixels) in enumerate(gathered, start=begin):
            batch = {**pixels, **self._facts_of(index, self._draw_dates(order, step))}
            if self._device.type == "cpu":
                batch = self._decode(batch)
            elif self._device.type == "cuda" and not self._is_on_device():
                batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
            yield batch

    def _gather(self, order: Order, begin: int, end: int) -> Iterator[tuple[Tensor, Batch]]:
        """Give the numbers of the chips of each batch, and their integers."""
        indices = (index for epoch in self._epochs(order, begin, end) for index in epoch)
        if self._store is not None:
            for step, index in enumerate(map(torch.from_numpy, indices), start=begin):
                yield index, self._store.gather(index, self._draw_dates(order, step))
            return
        disk = self._on_disk()
        slots = (disk.slot[epoch] for epoch in self._epochs(order, begin, end))
        stream = stream_batches(disk, slots, n_workers=self._n_workers)
        for step, (index, stored) in enumerate(zip(indices, stream, strict=True), start=begin):
            batch = {name: torch.from_numpy(own) for name, own in stored.items()}
            dates = self._draw_dates(order, step)
            if dates is not None:
                rows = torch.arange(len(dates))[:, None]
                batch = {name: own[rows, dates] for name, own in batch.items()}
            yield torch.from_numpy(index), batch

    def _epochs(self, order: Order, begin: int, end: int) -> Iterator[Indices]:
        """Give the batches from one step to another, epoch by epoch."""
        n = order.n_batches
        for number in range(begin // n, -(-end // n)):
            yield order.epoch(number)[max(0, begin - number * n) : end - number * n]

    def _draw_dates(self, order: Order, step: int) -> Tensor | None:
        """Draw dates of each chip of a batch: (B, D)."""
        if not self._n_dates:
            return None
        rng = np.random.default_rng((self._seed, step, order.rank, 1))
        shape = (order.batch_size, self.chips.pairs.sizes["date"])
        if _with_replacement(self.chips):
            return torch.from_numpy(rng.integers(shape[1], size=(shape[0], self._n_dates)))
        return torch.from_numpy(rng.random(shape).argsort(1)[:, : self._n_dates])

    def _facts_of(self, index: Tensor, dates: Tensor | None) -> Batch:
        known = {"chip": index}
        for name, facts in self._facts.items():
            own = facts[index]
            if dates is not None and name.endswith("_time"):
                own = own.gather(1, dates)
            known[name] = own
        return known

    def _finish(self, batch: Batch) -> Batch:
        if self.chips.sensors[0].valid in batch:
            return batch
        moved = {name: t.to(self._device, non_blocking=True) for name, t in batch.items()}
        return self._decode(moved)

    def _decode(self, batch: Batch) -> Batch:
        """Make values and validity of the stored integers."""
        for sensor in self.chips.sensors:
            stored = batch.pop(sensor.name)
            lead = stored.shape[:-3]
            values, valid = to_values(
                stored.reshape(-1, *stored.shape[-3:]).permute(0, 3, 1, 2), self._scale(sensor.name)
            )
            batch[sensor.name] = values.view(*lead, *values.shape[1:])
            batch[sensor.valid] = valid.view(*lead, *valid.shape[1:])
        return batch

    def _scale(self, name: str) -> float:
        if self._store is not None:
            return self._store.stacks[name].scale
        return self._on_disk().scale[name]

    def _on_disk(self) -> Pixels:
        assert self.chips.pixels is not None
        return self.chips.pixels


def _check(
    chips: Chips, batch_size: int, n_workers: int, n_dates: int, n_steps: int | None
) -> None:
    if batch_size < 1 or n_workers < 0 or (n_steps is not None and n_steps < 0):
        raise DataError(
            problem(
                expected="a batch_size of 1 or more, n_workers and n_steps of 0 or more",
                received=f"batch_size={batch_size}, n_workers={n_workers}, n_steps={n_steps}",
                do="leave them out for the defaults",
            )
        )
    most = chips.pairs.sizes.get("date", n_dates)
    if n_dates < 1 or (n_dates > most and not _with_replacement(chips)):
        raise DataError(
            problem(
                expected=f"n_dates in 1..{most}, as each place has {most}",
                received=f"n_dates={n_dates}",
                do=f"set n_dates={most}, or pair with replace=True, which draws a date repeatedly",
            )
        )


def _with_replacement(chips: Chips) -> bool:
    return bool(json.loads(chips.pairs.attrs.get("pairing", "{}")).get("replace", False))
