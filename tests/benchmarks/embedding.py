"""Embedding a cube through dask, beside the bare encoder and the obvious way; one table, one run.

    python tests/benchmarks/embedding.py speed --side 4096 --stride 16
    python tests/benchmarks/embedding.py beside   # the obvious way: graph, loads, memory, seams
    python tests/benchmarks/embedding.py graph    # of 10,980 px and 10 dates
    python tests/benchmarks/embedding.py memory   # to Zarr: 1, 4 and 10 dates, and twice the area
    python tests/benchmarks/embedding.py workers  # one and two processes of one thread

Bare: the encoder alone, on the same pixels in memory, scaled and laid out before the clock starts,
in windows of 2048 px without halos. Obvious: `map_blocks` over chunks of 1024 px with the module
in the graph, float32, no halo. Memory is the most above what the process held before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cloudpickle
import dask
import numpy as np
import psutil
import torch
import xarray as xr

import xcontrast as xc
from xcontrast.embedding import embed as module_of_embed
from xcontrast.mapping.effort import count_work
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


class Obvious:
    """The module and its scaling, as one would hand them to xarray."""

    def __init__(self, model: xc.Model, counter: Path | None = None) -> None:
        scaling = load_network(str(model.path), model.digest, "s2", "cpu", "32").normalise
        self.mean, self.std = scaling.mean, scaling.std
        self.encoder = build_encoder(model.card, "s2").eval()
        self.counter = counter

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come out of a graph: counted."""
        self.__dict__ = state
        if self.counter is not None:
            with self.counter.open("a") as file:
                file.write("x")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(…, C, H, W) -> (…, F, h, w)."""
        images = torch.from_numpy(values.reshape(-1, *values.shape[-3:]))
        with torch.no_grad():
            maps = self.encoder((images - self.mean) / self.std)
            same = [torch.nn.functional.interpolate(m, maps[-1].shape[-2:]) for m in maps]
            joined = torch.cat(same, 1).numpy()
        return joined.reshape(*values.shape[:-3], *joined.shape[1:])


def obvious(s2: xr.DataArray, network: Obvious, n_features: int) -> Any:
    """Embed as one would write it first: the module in the graph, chunk by chunk, stride 16."""
    chunks = ((n_features,), *(tuple(n // 16 for n in sizes) for sizes in s2.chunks[-2:]))
    return s2.data.map_blocks(
        network, chunks=(*s2.chunks[:-3], *chunks), dtype="float32",
        meta=np.empty((0,) * s2.ndim, "float32"),
    )  # fmt: skip


def speed(side: int, stride: int, encoder: str, *, compiled: bool, repeats: int) -> None:
    """Print a table of rates: the best of several rounds, ways in turn."""
    model = untrained(encoder)
    cube = make_cube(side)
    network = load_network(str(model.path), model.digest, "s2", "cpu", "bf16")
    ways: dict[str, tuple[Callable[[], Any], float]] = {
        f"bare, {name}": (partial(run_bare, cube.s2.values[0], *form), 1.0)
        for name, form in bare_forms(network, model, compiled=compiled).items()
    }
    for precision in ("32", "bf16"):
        lazy = cube.s2.contrast.embed(model, stride=stride, precision=precision)
        work = count_work(cube.s2, model, stride * max(lazy.chunksizes["y"])) / side**2
        ways[f"xcontrast, {precision}"] = (partial(run_lazy, lazy.data), work)
    own = obvious(cube.s2, Obvious(model), model.card.n_features)
    ways["obvious"] = (partial(run_lazy, own), 1.0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (run, _) in ways.items():
            found[name].append(run())
    print(f"\n{encoder} to stride 16, {side} x {side} px, {len(BANDS)} bands, cells of {stride} px")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, best of {repeats}\n")
    print("| form | Mpx/s | of the best bare | GB | a pixel encoded, of the best bare |")
    print("|---|---|---|---|---|")
    rates = {name: side * side / 1e6 / min(found[name])[0] for name in ways}
    best = max(rate for name, rate in rates.items() if name.startswith("bare"))
    for name, rate in rates.items():
        work, memory = ways[name][1], max(m for _, m in found[name])
        encoded = f"{rate * work / best:.2f} (x {work:.2f})" if work > 1 else ""
        print(f"| {name} | {rate:.2f} | {rate / best:.2f} | {memory:.2f} | {encoded} |")


def run_bare(
    values: np.ndarray, net: Any, kind: torch.dtype, layout: torch.memory_format
) -> tuple[float, float]:
    """Encode windows that lie ready in memory: seconds, GB."""
    side = values.shape[-1]
    part = min(side, 2048)
    windows = [
        window.to(kind).contiguous(memory_format=layout)
        for line in torch.from_numpy(values)[None].split(part, 2)
        for window in line.split(part, 3)
    ]

    def run() -> None:
        for window in windows:
            net(window)

    with torch.inference_mode():
        net(windows[0])
        return measure(run)


def run_lazy(array: Any) -> tuple[float, float]:
    """Compute a lazy embedding with threads: seconds, GB."""
    with dask.config.set(scheduler="threads"):
        return measure(lambda: reduce_blocks(array))


def reduce_blocks(lazy: Any) -> None:
    """Compute every block and keep a number of each, as a writer to disk would."""
    import dask.array

    dask.array.map_blocks(
        lambda block: np.zeros((1,) * block.ndim), lazy, chunks=(1,) * lazy.ndim, dtype=float
    ).compute()


def measure_graph(array: Any) -> tuple[int, float]:
    """Give the tasks and MB of what embedding adds to a graph, as the scheduler gets it."""
    (optimised,) = dask.optimize(array)
    tasks = {str(key): task for key, task in dict(optimised.__dask_graph__()).items()}
    return len(tasks), len(cloudpickle.dumps(tasks, protocol=5)) / 1e6


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
    source = measure_graph(values)
    print("| | seconds to build | tasks | graph, MB |\n|---|---|---|---|")
    print(f"| the source alone | | {source[0]} | {source[1]:.2f} |")
    for name, build in (
        ("xcontrast", lambda: s2.contrast.embed(model).data),
        ("obvious", lambda: obvious(s2, Obvious(model), model.card.n_features)),
    ):
        begin = time.perf_counter()
        lazy = build()
        seconds = time.perf_counter() - begin
        n_tasks, size = measure_graph(lazy)
        print(f"| {name}, source included | {seconds:.2f} | {n_tasks} | {size:.2f} |", flush=True)


def beside(encoder: str) -> None:
    """Print both ways side by side, on two worker processes: graph, loads, memory, seams."""
    from distributed import Client, LocalCluster

    model, side = untrained(encoder), 2048
    cube = make_cube(side).chunk(y=512, x=512)
    print("| | graph, MB | loads of the model | Mpx/s | GB a worker | seam score |")
    print("|---|---|---|---|---|---|")
    for name in ("xcontrast", "obvious"):
        counter = Path(tempfile.mkdtemp()) / "count"
        counter.touch()
        with (
            mock.patch.object(module_of_embed, "_choose_block", return_value=512),
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.run(warm)
            before = max(client.run(peak_memory).values())
            if name == "obvious":
                lazy = obvious(cube.s2, Obvious(model, counter), model.card.n_features)
            else:
                lazy = cube.s2.contrast.embed(model, stride=16).data
            size = measure_graph(lazy)[1] - measure_graph(cube.s2.data)[1]
            counter.write_text("")
            begin = time.perf_counter()
            values = lazy.compute()
            seconds = time.perf_counter() - begin
            memory = (max(client.run(peak_memory).values()) - before) / 1e9
            loads = len(counter.read_text()) or sum(client.run(count_networks).values())
        emb = xr.DataArray(values[0], dims=("feature", "y", "x"))
        score = emb.contrast.seam_score(every=512 // 16)
        rate = side * side / 1e6 / seconds
        print(f"| {name} | {size:.2f} | {loads} | {rate:.2f} | {memory:.2f} | {score:.3f} |")


def warm() -> None:
    """Import what a worker needs: not counted."""
    import xcontrast.nn.encoders
    from xcontrast.embedding import kernel

    assert kernel
    assert xcontrast.nn.encoders


def peak_memory() -> float:
    """Give the most memory that this process held, bytes.

    Not by getrusage: what that tells of a new process begins with its parent's.
    """
    status = Path("/proc/self/status").read_text()
    return 1024.0 * int(status.split("VmHWM:")[1].split()[0])


def pin(core: int) -> None:
    """Keep all threads of this process, and those that they will start, on one core."""
    for thread in psutil.Process().threads():
        os.sched_setaffinity(thread.id, {core})


def count_networks() -> int:
    """Count the models that this process loaded."""
    from xcontrast.model import network

    return len(network._networks)


def to_zarr(side: int, n_times: int, model: xc.Model, stride: int) -> tuple[float, float]:
    """Embed a lazy source into a store with two threads: seconds, GB above what was held."""
    import dask.array

    values = dask.array.random.default_rng(0).random(
        (n_times, len(BANDS), side, side), dtype="float32", chunks=(1, 10, 1024, 1024)
    )
    s2 = xr.DataArray(values, {"s2_band": BANDS}, ("s2_time", "s2_band", "y", "x"))
    s2.attrs["units"] = "1"
    lazy = s2.contrast.embed(model, stride=stride).rename("embedding")
    folder = Path(tempfile.mkdtemp())
    try:
        with dask.config.set(scheduler="threads", num_workers=2):
            return measure(lambda: xc.write_zarr(lazy, folder / "e.zarr", progress=False))
    finally:
        shutil.rmtree(folder)


def memory(encoder: str, stride: int) -> None:
    """Print memory and time of streaming to Zarr: more dates, and more area."""
    model = untrained(encoder)
    to_zarr(1024, 1, model, stride)
    print(f"cells of {stride} px, chunks of 1024 px and one date, two threads\n")
    print("| side, px | dates | seconds | s a Gpx | GB |\n|---|---|---|---|---|")
    for side, n_times in ((4096, 1), (4096, 4), (4096, 10), (5792, 1), (8192, 1), (10_980, 1)):
        seconds, peak = to_zarr(side, n_times, model, stride)
        rate = seconds / (side * side * n_times / 1e9)
        print(f"| {side} | {n_times} | {seconds:.1f} | {rate:.0f} | {peak:.2f} |", flush=True)


def workers(encoder: str, stride: int) -> None:
    """Print what a second worker process brings to a plan that reads from Zarr; each has a core."""
    from distributed import Client, LocalCluster

    model, folder = untrained(encoder), Path(tempfile.mkdtemp())
    # With a time, and smooth: noise would cost more to decompress than imagery.
    cube = make_cube(4096).coarsen(y=8, x=8).mean()
    cube = cube.isel(y=np.arange(4096) // 8, x=np.arange(4096) // 8)
    # Two dates, for a run that is long beside what starting a worker takes.
    cube = cube.isel(s2_time=[0, 0])
    cube = cube.assign_coords(s2_time=np.array(["2023-05-01", "2023-05-06"], "M8[ns]"))
    xc.write_zarr(cube.chunk(s2_time=1, y=512, x=512), folder / "cube.zarr", progress=False)
    cube = xr.open_zarr(folder / "cube.zarr")
    print("| workers | seconds | times as fast |\n|---|---|---|")
    alone = 0.0
    for round_, n_workers in enumerate((1, 2) * 2):
        with (
            mock.patch.object(module_of_embed, "_choose_block", return_value=1024),
            LocalCluster(
                n_workers=n_workers, threads_per_worker=1, dashboard_address=None,
                env={"OMP_NUM_THREADS": "1"},
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            client.run(warm)
            xc.share(model, client)
            for core, worker in enumerate(client.scheduler_info()["workers"]):
                client.run(pin, core, workers=[worker])
            plan = xc.plan_map(
                cube=cube, model=model, sensor="s2", stride=stride, probe=False,
                store=folder / f"{round_}.zarr",
            )  # fmt: skip
            report = plan.run(client, progress=False)
            assert report.complete
        alone = report.seconds if n_workers == 1 else alone
        print(f"| {n_workers} | {report.seconds:.1f} | {alone / report.seconds:.2f} |", flush=True)
    shutil.rmtree(folder)


def main() -> None:
    """Read the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "beside", "graph", "memory", "workers"))
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--stride", type=int, default=16)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    match args.what:
        case "speed":
            speed(
                args.side,
                args.stride,
                args.encoder,
                compiled=args.compiled,
                repeats=args.repeats,
            )
        case "beside":
            beside(args.encoder)
        case "graph":
            graph(args.encoder)
        case "memory":
            memory(args.encoder, args.stride)
        case "workers":
            workers(args.encoder, args.stride)


if __name__ == "__main__":
    main()
