"""A SimCLR training step beside two peers' and the bare encoder: one table, one run.

A ResNet-18 down to stride 32 with SimCLR's head, batches of 64 chips of 128 px and 10 bands, two
views of 96 px each, NT-Xent, an update. Sides take turns in blocks, so that the noise of a shared
machine meets them alike.

- bare: forward and backward of the encoder alone, on 128 random views that are there already:
  float32 as PyTorch has it by default; and the best form of the machine, bfloat16 and channels-last
  (compiled too, with ``--compile``).
- xcontrast: the loader's own batch, scaled and augmented (flips, jitter, blur), in bfloat16.
- torchgeo: ``SimCLRTask.training_step`` with its own augmentations, on a float32 batch in memory.
- lightly: the loop of its documentation (backbone, ``SimCLRProjectionHead``, ``NTXentLoss``) with
  torchvision's transforms chip by chip in the dataset (crop, flip, blur: its colour jitter takes
  three bands), which is what its own transforms do with images; and the same with views that are
  there already, free of charge.

    pip install torchgeo lightly
    python tests/benchmarks/throughput.py [--device cpu] [--encoder resnet18] [--batch 64]
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

import xcontrast as xc
from xcontrast.sampling.statistics import measure_statistics

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from scenes import imagery_pairs
from steps import VIEW, build_step

CHIP = 128
Step = Callable[[], None]


def build_bare(
    encoder: str, n: int, device: torch.device, *, best: bool, compiled: bool = False
) -> Step:
    """Forward and backward of the encoder, its output's square as the loss."""
    network = timm.create_model(encoder, in_chans=10, num_classes=0).to(device).train()
    views = torch.randn(n, 10, VIEW, VIEW, device=device)
    if best:
        network = network.to(memory_format=torch.channels_last)
        views = views.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()

    def step() -> None:
        network.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=best):
            out = network(views)
        out.float().square().mean().backward()

    return step


def build_ours(args: argparse.Namespace, device: torch.device, chips: xc.Chips) -> Step:
    """The loader and the whole step."""
    loader = chips.loader(batch_size=args.batch, device=args.device)
    bands = {"s2": tuple(map(str, chips.pairs["s2_band"].values))}
    step = build_step(
        "simclr", bands, measure_statistics(loader, n_max=256), device, encoder=args.encoder,
        out_stride=32, pooled="last", compiled=args.compile,
    )  # fmt: skip

    def endless() -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from loader

    batches, count = endless(), iter(range(10**9))
    return lambda: step(next(batches), next(count))


def build_torchgeo(args: argparse.Namespace, device: torch.device, pixels: torch.Tensor) -> Step:
    """SimCLRTask's own step and optimiser, on batches in memory."""
    from torchgeo.trainers import SimCLRTask

    task = SimCLRTask(
        model=args.encoder, in_channels=10, version=1, layers=2, hidden_dim=512, output_dim=128,
        memory_bank_size=0, size=VIEW,
    ).to(device)  # fmt: skip
    task.log = lambda *_args, **_options: None
    optimiser = torch.optim.Adam(task.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)

    def step() -> None:
        chosen = torch.from_numpy(rng.integers(len(pixels), size=args.batch))
        batch = {"image": pixels[chosen].to(device)}
        loss = task.training_step(batch, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def build_lightly(
    args: argparse.Namespace, device: torch.device, pixels: torch.Tensor, *, free: bool
) -> Step:
    """Its documented loop; its views made chip by chip, or free of charge."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from torchvision.transforms import v2

    backbone = timm.create_model(args.encoder, in_chans=10, num_classes=0)
    width = backbone.num_features
    network = nn.Sequential(backbone, SimCLRProjectionHead(width, 512, 128)).to(device)
    criterion = NTXentLoss(temperature=0.1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.06)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(VIEW, scale=(0.25, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], p=0.5),
        ]
    )
    rng = np.random.default_rng(0)
    there = torch.randn(2, args.batch, 10, VIEW, VIEW)

    def step() -> None:
        if free:
            x0, x1 = there
        else:
            chosen = rng.integers(len(pixels), size=args.batch)
            x0, x1 = (torch.stack([transform(pixels[k]) for k in chosen]) for _ in range(2))
        z0, z1 = network(x0.to(device)), network(x1.to(device))
        loss = criterion(z0, z1)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--block", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(args.device)
    chips = imagery_pairs(args.side, n_dates=4)[["s2"]].contrast.chips(size=CHIP, stride=CHIP // 2)
    whole = chips.loader(batch_size=len(chips), progress=False)
    pixels = next(iter(whole))["s2"].contiguous()
    sides = {
        "bare encoder, float32": build_bare(args.encoder, 2 * args.batch, device, best=False),
        "bare encoder, best form": build_bare(
            args.encoder, 2 * args.batch, device, best=True, compiled=args.compile
        ),
        "xcontrast": build_ours(args, device, chips),
    }
    if find_spec("torchgeo"):
        sides["torchgeo's SimCLRTask"] = build_torchgeo(args, device, pixels)
    if find_spec("lightly"):
        sides["lightly's loop"] = build_lightly(args, device, pixels, free=False)
        sides["lightly's loop, views free"] = build_lightly(args, device, pixels, free=True)
    report(sides, args, device)


def report(sides: dict[str, Step], args: argparse.Namespace, device: torch.device) -> None:
    """Time blocks of steps in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for k in range(args.rounds + 1):
        for name, step in sides.items():
            for _ in range(args.block):
                begin = time.perf_counter()
                step()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                # The first round warms up: kernels, threads, the first batches.
                if k:
                    seconds[name].append(time.perf_counter() - begin)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    print(f"{device.type} {machine}, {torch.get_num_threads()} threads, {args.encoder}, "
          f"batch {args.batch}\n")  # fmt: skip
    print("| side | seconds a step, median | least | speed of bare float32 | of bare best form |")
    print("|---|---|---|---|---|")
    middle = {name: float(np.median(own)) for name, own in seconds.items()}
    for name, own in seconds.items():
        plain, best = (
            middle[f"bare encoder, {form}"] / middle[name] for form in ("float32", "best form")
        )
        print(f"| {name} | {middle[name]:.3f} | {min(own):.3f} | {plain:.2f} | {best:.2f} |")


if __name__ == "__main__":
    main()
