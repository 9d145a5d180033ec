"""What processes started by tests run: in a module that they can import, unlike a test's own."""

from __future__ import annotations

import multiprocessing

import xcontrast as xc


def send_batches(path: str, answers: multiprocessing.Queue, begin: int) -> None:
    """Send the numbers of the chips of each batch of a pass."""
    loader = xc.load_chips(path).loader(batch_size=16, seed=2, resident=False)
    loader.step = begin
    answers.put([batch["chip"].tolist() for batch in loader])


def train_rank(rank: int, folder: str, answers: multiprocessing.Queue) -> None:
    """Send what one of two ranks is given in two epochs."""
    import torch.distributed as dist

    store = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    chips = xc.load_chips(f"{folder}/chips.zarr")
    got = {}
    for resident in (True, False):
        loader = chips.loader(batch_size=8, seed=4, resident=resident)
        got[resident] = [[b["chip"].tolist() for b in loader] for _ in range(2)]
    answers.put((rank, got))
    dist.barrier()
    dist.destroy_process_group()
