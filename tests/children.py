"""What processes started by tests run: in a module that they can import, unlike a test's own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

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


def step_rank(rank: int, folder: str, *, on_gpu: bool = False) -> None:
    """Save what one step of each method leaves on one of two ranks."""
    import torch
    from builders import DATES, run_step

    device = f"cuda:{rank}" if on_gpu else "cpu"
    with _joined(rank, folder, on_gpu=on_gpu):
        found = {
            f"{name} {train}": run_step(name, train=train, rank=rank, n_ranks=2, device=device)
            for name in DATES
            for train in (False, True)
        }
        torch.save(found, f"{folder}/rank{rank}.pt")
        if not on_gpu:
            _pretrain_rank(rank, folder)


def _pretrain_rank(rank: int, folder: str) -> None:
    """Pretrain as one of two ranks, on lazy pairs, as a script under torchrun would."""
    from scenes import planted_cube

    cube = planted_cube(256, n_times=2).chunk(y=128, x=128)
    options = xc.PretrainOptions(chip_size=32, progress=False, checkpoint_seconds=0, eval_every=3)
    model = xc.pretrain(cube, max_steps=6, batch_size=16, out=f"{folder}/model", options=options)
    with open(f"{folder}/digest{rank}", "w") as file:
        file.write(model.digest)


class Stubborn(RuntimeError):
    """Cannot be sent: its parts are not what it was made of."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def refuse_rank(rank: int, folder: str) -> None:
    """Save what each of two ranks is told where the first one refuses."""
    from scenes import planted_cube

    from xcontrast.errors import DataError
    from xcontrast.training.ranks import first_goes_ahead

    told = []
    with _joined(rank, folder, on_gpu=False):
        for error in (DataError("planted"), Stubborn("planted", "too")):
            try:
                with first_goes_ahead():
                    if rank == 0:
                        raise error
            except (ValueError, RuntimeError) as heard:
                told.append(f"{type(heard).__name__}: {heard}")
        out = Path(folder) / "begun"
        options = xc.PretrainOptions(chip_size=32, progress=False, out_stride=8)
        call = {"max_steps": 1, "batch_size": 3, "encoder": "resnet10t", "out": out}
        try:
            xc.pretrain(planted_cube(96), options=options, **call)
        except DataError as heard:
            told.append(str(heard))
        with first_goes_ahead():
            told.append("and on")
    Path(f"{folder}/told{rank}").write_text("\n".join(told))


@contextmanager
def _joined(rank: int, folder: str, *, on_gpu: bool) -> Iterator[None]:
    """Be one of two ranks that wait for each other at the end."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    if on_gpu:
        torch.cuda.set_device(rank)
    store, backend = f"file://{folder}/rendezvous", "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=2)
    yield
    dist.barrier()
    dist.destroy_process_group()


def refuse_second_date(values: np.ndarray, *, broken: str, block_id: tuple[int, ...]) -> np.ndarray:
    """Raise for the second date as long as a file is there."""
    if block_id and block_id[0] == 1 and Path(broken).exists():
        raise RuntimeError("this date is broken")
    return values


def take_time(values: np.ndarray) -> np.ndarray:
    """Hand on a block, a quarter of a second later."""
    time.sleep(0.25)
    return values


def limit_files(size: int | None) -> None:
    """Have this process fail to write files beyond a size, as on a full disk; None lifts it."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def count_cores(_: int = 0) -> tuple[int, int]:
    """Give how many cores torch computes with: by itself, and while a network is at work."""
    import torch

    from xcontrast.nn.threads import at_work

    alone = torch.get_num_threads()
    with at_work():
        return alone, torch.get_num_threads()
