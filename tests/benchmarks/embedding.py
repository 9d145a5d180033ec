"""Embedding a cube through dask, beside the bare encoder and the obvious way; one table, one run.

    python tests/benchmarks/embedding.py --side 4096 --stride 16
    python tests/benchmarks/embedding.py --graph

Bare: the encoder alone, on the same pixels in memory, scaled and laid out before the clock starts,
in windows of 2048 px without halos. Obvious: `xr.apply_ufunc` over chunks of 1024 px with the
module in the graph, float32, no halo. Memory is the most above what the process held before.
"""

from __future__ import annotations

import argparse
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import psutil
import torch
import xarray as xr

import xcontrast as xc
from xcontrast.model import build_encoder, load_network
from xcontrast.model.network import Network

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


def make_cube(side: int, *, n_times: int = 1) -> xr.Dataset:
    """Make a cube of noise, of 10 bands, in chunks of 1024 px."""
    rng = np.random.default_rng(0)
    values = rng.random((n_times, len(BANDS), side, side), dtype=np.float32)
    s2 = xr.DataArray(values, {"s2_band": BANDS}, ("s2_time", "s2_band", "y", "x"))
    return xc.as_cube(s2=s2).chunk({"s2_time": 1, "y": 1024, "x": 1024})


def untrained(encoder: str) -> xc.Model:
    """Make a model with random weights."""
    cube = make_cube(256, n_times=1).compute()
    s1 = xr.DataArray(
        np.random.default_rng(0).normal(-12, 3, (1, 1, 256, 256)).astype("float32"),
        {"s1_band": ["vv"]}, ("s1_time", "s1_band", "y", "x"),
    )  # fmt: skip
    when = {"s1_time": ("s1_time", np.array(["2023-05-01"], "M8[ns]"))}
    both = xc.as_cube(
        s1=s1.assign_coords(when), s2=cube.s2.assign_coords(s2_time=when["s1_time"][1])
    )
    options = xc.PretrainOptions(progress=False, chip_size=64, crop_size=48)
    return xc.pretrain(both, encoder=encoder, max_steps=0, batch_size=4, options=options)


def measure(run: Callable[[], Any]) -> tuple[float, float]:
    """Give seconds, and the most memory above that before, GB."""
    process = psutil.Process()
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - begin
    done.set()
    watcher.join()
    del result
    return seconds, (peak - before) / 1e9


def bare_forms(network: Network, model: xc.Model, *, compiled: bool) -> dict[str, Any]:
    """Give the encoder in the forms that a user could write."""
    plain = build_encoder(model.card, "s2").eval()
    rough = build_encoder(model.card, "s2").eval().to(memory_format=torch.channels_last)
    forms = {
        "float32": (plain, torch.float32, torch.contiguous_format),
        "float32, channels last": (rough, torch.float32, torch.channels_last),
        "bfloat16, channels last": (
            build_encoder(model.card, "s2").eval().bfloat16().to(memory_format=torch.channels_last),
            torch.bfloat16, torch.channels_last,
        ),
        "bfloat16, channels last, folded": (
            network.encoder, torch.bfloat16, torch.channels_last,
        ),
    }  # fmt: skip
    if compiled:
        own = forms["bfloat16, channels last"]
        forms["bfloat16, channels last, compiled"] = (torch.compile(own[0]), *own[1:])
    return forms


def obvious(cube: xr.Dataset, model: xc.Model, stride: int) -> xr.DataArray:
    """Embed as one would write it first: the module in the graph, chunk by chunk."""
    network = load_network(str(model.path), model.digest, "s2", "cpu", "32")
    encoder = build_encoder(model.card, "s2").eval()
    mean, std = network.normalise.mean, network.normalise.std

    def run(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            maps = encoder((torch.from_numpy(values) - mean) / std)
            same = [torch.nn.functional.interpolate(m, maps[-1].shape[-2:]) for m in maps]
            return torch.cat(same, 1).numpy()

    given = cube.s2.rename(y="row", x="col")
    return xr.apply_ufunc(
        run,
        given,
        input_core_dims=[["s2_band", "row", "col"]],
        output_core_dims=[["feature", "y", "x"]],
        exclude_dims={"row", "col"},
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {
            "feature": model.card.n_features, "y": 1, "x": 1}},
        output_dtypes=["float32"],
    )  # fmt: skip


def speed(side: int, stride: int, encoder: str, *, compiled: bool) -> None:
    """Print a table of rates."""
    model = untrained(encoder)
    cube = make_cube(side)
    pixels = side * side / 1e6
    network = load_network(str(model.path), model.digest, "s2", "cpu", "bf16")
    scaled = torch.from_numpy(cube.s2.values[0])[None]
    part = min(side, 2048)
    rows = []
    for name, (net, kind, layout) in bare_forms(network, model, compiled=compiled).items():
        windows = [
            window.to(kind).contiguous(memory_format=layout)
            for line in scaled.split(part, 2)
            for window in line.split(part, 3)
        ]
        with torch.inference_mode():
            net(windows[0])

            def run(net: Any = net, windows: Any = windows) -> None:
                for window in windows:
                    net(window)

            rows.append((f"bare, {name}", *measure(run)))
    for precision in ("32", "bf16"):
        lazy = cube.s2.contrast.embed(model, stride=stride, precision=precision)
        block = stride * max(lazy.chunksizes["y"])
        halo = model.card.halo or 0
        work = np.mean([
            (min(b + halo, side) - max(a - halo, 0)) / (b - a)
            for a in range(0, side, block) for b in [min(a + block, side)]
        ]) ** 2  # fmt: skip
        with dask.config.set(scheduler="threads"):
            seconds, memory = measure(lambda lazy=lazy: reduce_blocks(lazy))
        rows.append((f"xcontrast, {precision}, halo included (x {work:.2f})", seconds, memory))
        rows.append((f"xcontrast, {precision}, a pixel that is encoded", seconds / work, memory))
    with dask.config.set(scheduler="threads"):
        chunks = cube.s2.data.to_delayed().ravel()
        del chunks
        rows.append(("obvious", *measure(lambda: by_chunk(cube, model, stride))))
    print(f"\n{encoder} to stride 16, {side} x {side} px, {len(BANDS)} bands, cells of {stride} px")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| form | Mpx/s | of the best bare | GB |\n|---|---|---|---|")
    best = max(pixels / seconds for name, seconds, _ in rows if name.startswith("bare"))
    for name, seconds, memory in rows:
        rate = pixels / seconds
        print(f"| {name} | {rate:.2f} | {rate / best:.2f} | {memory:.2f} |")


def reduce_blocks(lazy: xr.DataArray) -> None:
    """Compute every block and keep a number of each, as a writer to disk would."""
    import dask.array

    dask.array.map_blocks(
        lambda block: np.zeros((1,) * block.ndim), lazy.data, chunks=(1,) * lazy.ndim, dtype=float
    ).compute()


def by_chunk(cube: xr.Dataset, model: xc.Model, stride: int) -> None:
    """Run the obvious way over all chunks."""
    side = cube.sizes["y"]
    for first in range(0, side, 1024):
        part = cube.isel(y=slice(first, first + 1024))
        for begin in range(0, side, 1024):
            obvious(part.isel(x=slice(begin, begin + 1024)), model, stride).compute()


def graph(encoder: str) -> None:
    """Print what building 10,980 px x 10 dates costs, and the bytes of both graphs."""
    import dask.array

    model = untrained(encoder)
    side, n_times = 10_980, 10
    values = dask.array.zeros(
        (n_times, len(BANDS), side, side), "float32", chunks=(1, 10, 1024, 1024)
    )
    s2 = xr.DataArray(values, {"s2_band": BANDS}, ("s2_time", "s2_band", "y", "x"))
    s2.attrs["units"] = "1"
    print("| | seconds to build | tasks | graph, MB |\n|---|---|---|---|")
    for name, build in (
        ("xcontrast", lambda: s2.contrast.embed(model)),
        ("obvious", lambda: obvious(s2.to_dataset(name="s2"), model, 16)),
    ):
        begin = time.perf_counter()
        lazy = build()
        seconds = time.perf_counter() - begin
        own = dict(lazy.data.dask.layers[lazy.data.name])
        size = len(pickle.dumps(own, protocol=5)) / 1e6
        print(f"| {name} | {seconds:.2f} | {len(own)} | {size:.2f} |", flush=True)


def main() -> None:
    """Read the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--stride", type=int, default=16)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--graph", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.graph:
        graph(args.encoder)
    else:
        speed(args.side, args.stride, args.encoder, compiled=args.compiled)


if __name__ == "__main__":
    main()
