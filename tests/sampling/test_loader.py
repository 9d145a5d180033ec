from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from children import send_batches, train_rank
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError, SourceError
from xcontrast.sampling.batches import Batch, to_values
from xcontrast.sampling.loader import Loader
from xcontrast.sampling.pixels import Pixels
from xcontrast.sampling.reading import view_windows
from xcontrast.sampling.resident import all_windows, store_chips
from xcontrast.sampling.statistics import measure_statistics
from xcontrast.sampling.stream import prefetch
from xcontrast.training.ground import find_near


@pytest.fixture(scope="module")
def chips() -> xc.Chips:
    cube = planted_cube(96, n_times=3).copy(deep=True)
    cube["s2"].values[0, 1, 5:9, 5:9] = np.nan
    cube["s1"].values[1, :, 40:60, 40:80] = np.nan
    return xc.chips(xc.pairs(cube), size=16, stride=8, min_valid=0.3)


@pytest.fixture(scope="module")
def saved(chips: xc.Chips, tmp_path_factory: pytest.TempPathFactory) -> xc.Chips:
    """On disk, in chunks of four chips."""
    from xcontrast.sampling import saving

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "CHUNK_BYTES", 4 * 16 * 16 * 4 * 2)
        return chips.save(tmp_path_factory.mktemp("store") / "chips.zarr", progress=False)


def _same(one: Iterable[Batch], two: Iterable[Batch]) -> int:
    n = 0
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
        n += 1
    return n


def _check_batch(chips: xc.Chips, batch: Batch) -> None:
    """Against what indexing gives: values, validity, place and time."""
    for k, i in enumerate(batch["chip"].tolist()):
        chip = chips[i]
        for name, step in (("s1", 0.01), ("s2", 1e-4)):
            truth = chip[name].values
            known = np.isfinite(truth)
            values, valid = batch[name][k].numpy(), batch[f"{name}_valid"][k].numpy()
            np.testing.assert_array_equal(valid[0] == 1, known.all(0))
            np.testing.assert_allclose(values[known], truth[known], atol=0.51 * step, rtol=1e-5)
            assert (values[~known] == 0).all()
            assert batch[f"{name}_time"][k] == chip[f"{name}_time"].values.astype("int64")
        first, end = batch["footprint"][k, :2].tolist(), batch["footprint"][k, 2:].tolist()
        assert first == [chips.row[i], chips.col[i]]
        assert end == [chips.row[i] + chips.size, chips.col[i] + chips.size]


@pytest.mark.parametrize("resident", [True, False])
def test_batches_hold_what_indexing_gives(chips: xc.Chips, saved: xc.Chips, resident: bool) -> None:
    source = chips if resident else saved
    loader = source.loader(batch_size=32, resident=resident)
    assert loader.is_resident == resident
    batches = list(loader)
    assert len(batches) == len(loader) == len(chips) // 32
    for batch in batches[::3]:
        _check_batch(chips, batch)
        assert batch["s2"].is_contiguous(memory_format=torch.channels_last)
    _check_batch(chips, loader.take(torch.tensor([0, 7, len(chips) - 1])))


@pytest.mark.parametrize("resident", [True, False])
def test_one_seed_one_order_whatever_the_threads(saved: xc.Chips, resident: bool) -> None:
    def build(n_workers: int, seed: int = 5) -> Loader:
        return saved.loader(batch_size=24, seed=seed, n_workers=n_workers, resident=resident)

    alone = build(0)
    first, second = list(alone), list(alone)
    for n_workers in (1, 4):
        other = build(n_workers)
        assert _same(first, other) == _same(second, other) == len(alone) > 3
    assert not torch.equal(first[0]["chip"], second[0]["chip"])
    assert not torch.equal(first[0]["chip"], next(iter(build(1, seed=6)))["chip"])


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("stop", [0, 4, 16, 21])
def test_it_goes_on_exactly_where_it_was(saved: xc.Chips, resident: bool, stop: int) -> None:
    def build() -> Loader:
        return Loader(saved, batch_size=24, seed=1, n_steps=30, resident=resident)

    whole = list(build())
    begun = build()
    for _, _batch in zip(range(stop), begun, strict=False):
        pass
    rest = build()
    rest.load_state_dict(begun.state_dict())
    assert rest.step == stop
    assert _same(whole[stop:], rest) == 30 - stop
    # Left and taken up by the same loader.
    assert _same(whole[stop:], begun) == 30 - stop


def test_a_run_goes_on_where_there_is_more_memory(saved: xc.Chips) -> None:
    """Begun from disk, it keeps that order in memory; the other way it cannot."""
    begun = saved.loader(batch_size=24, seed=1, resident=False)
    for _, _batch in zip(range(4), begun, strict=False):
        pass
    rest = saved.loader(batch_size=24, seed=1, resident=True)
    rest.load_state_dict(begun.state_dict())
    assert _same(begun, rest) > 3
    assert _same(begun, rest) > 6
    state = saved.loader(batch_size=24, seed=1, resident=True).state_dict()
    with pytest.raises(DataError, match=r"received by_chunks=False \(here True\)"):
        saved.loader(batch_size=24, seed=1, resident=False).load_state_dict(state)


def test_a_state_of_something_else_is_refused(saved: xc.Chips) -> None:
    state = saved.loader(batch_size=24).state_dict()
    with pytest.raises(DataError, match=r"same chips, batches and seed; received batch_size=24"):
        saved.loader(batch_size=12).load_state_dict(state)
    with pytest.raises(DataError, match=r"received chips=\d+ \(here \d+\)"):
        saved.take(np.arange(len(saved))[::-1]).loader(batch_size=24).load_state_dict(state)
    with pytest.raises(DataError, match=r"received n_chips=.*build the loader as it was"):
        saved[:60].loader(batch_size=24).load_state_dict(state)


def test_each_chunk_is_decoded_once_an_epoch(saved: xc.Chips) -> None:
    read: Counter[tuple[str, int]] = Counter()

    class Counted(Pixels):
        def read(self, name, slots):
            read[name, slots.start] += 1
            return super().read(name, slots)

    own = saved.pixels
    pixels = Counted(own.arrays, own.scale, own.attrs, own.slot, own.chunk, own.place)
    counted = xc.Chips(
        saved.pairs, saved.size, saved.pair, saved.row, saved.col, saved.valid_fraction,
        saved.weight, saved.told, pixels,
    )  # fmt: skip
    loader = counted.loader(batch_size=16, resident=False)
    for _ in range(2):
        read.clear()
        list(loader)
        assert len(read) > 2 * 0.9 * own.n_chunks > 100
        assert set(read.values()) == {1}


def test_chunks_are_let_go(saved: xc.Chips, monkeypatch: pytest.MonkeyPatch) -> None:
    from xcontrast.sampling import loader as module
    from xcontrast.sampling import stream

    monkeypatch.setattr(module, "WINDOW_BYTES", 1)
    most = 0
    take = stream._Chunks.take

    def watched(self, epoch, batch):
        nonlocal most
        most = max(most, len(self._held))
        return take(self, epoch, batch)

    monkeypatch.setattr(stream._Chunks, "take", watched)
    n = len(list(saved.loader(batch_size=8, resident=False)))
    # A window of eight, one and a half times that at the ends, and the chunks read ahead.
    assert n > 40
    assert 8 <= most <= 12 + 1 + 5 * 8


def test_seasonal_dates_are_drawn_anew_at_each_visit(tmp_path: Path) -> None:
    cube = planted_cube(32, n_times=5).drop_vars("s1")
    pairs = cube.contrast.pairs(kind="seasonal", gap="1D")
    chips = pairs.contrast.chips(size=16, stride=4)
    assert chips.pairs.sizes["date"] == 5
    for source, resident in ((chips, True), (chips.save(tmp_path / "c.zarr"), False)):
        loader = source.loader(batch_size=5, n_dates=3, resident=resident)
        drawn = []
        for batch in loader:
            assert batch["s2"].shape == (5, 3, 4, 16, 16)
            assert batch["s2_valid"].shape == (5, 3, 1, 16, 16)
            for k, i in enumerate(batch["chip"].tolist()):
                times = chips[i].s2_time.values.astype("int64")
                which = [int(np.flatnonzero(times == t)[0]) for t in batch["s2_time"][k].tolist()]
                assert len(set(which)) == 3
                np.testing.assert_allclose(
                    batch["s2"][k].numpy(), chips[i].s2.values[which], atol=5.1e-5
                )
                drawn.append(tuple(which))
        assert len(set(drawn)) > 10
        assert loader.take(torch.tensor([0, 1])).get("s2").shape == (2, 5, 4, 16, 16)
    repeated = cube.contrast.pairs(kind="seasonal", gap="1D", replace=True)
    loader = repeated.contrast.chips(size=16, stride=4).loader(batch_size=25)
    times = torch.cat([batch["s2_time"] for _ in range(8) for batch in loader])
    different = (times.sort(1).values.diff(dim=1) > 0).all(1).float().mean()
    # With five dates drawn three times with replacement: 12 in 25 differ.
    assert 0.35 < float(different) < 0.6


def test_acquisitions_shared_by_pairs_are_stored_once() -> None:
    cube = planted_cube(32, n_times=3).isel(s1_time=[1])
    store = store_chips(xc.chips(xc.pairs(cube, tolerance="30D"), size=16), progress=False)
    assert store.stacks["s1"].images.shape[0] == 1
    assert store.stacks["s2"].images.shape[0] == 3
    assert store.n_bytes == 32 * 32 * 2 * (1 * 2 + 3 * 4)


def test_windows_are_cut_on_a_device_as_on_the_host() -> None:
    """A GPU cuts them by strides; the same is done here on the CPU."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(-9, 9, (3, 20, 17, 5)).astype("int16"))
    at = tuple(torch.from_numpy(rng.integers(0, n, (6, 2))) for n in (3, 20 - 7, 17 - 7))
    there = all_windows(images, 7)[at]
    here = torch.from_numpy(view_windows(images.numpy(), 7)[tuple(a.numpy() for a in at)])
    assert there.shape == (6, 2, 7, 7, 5)
    assert torch.equal(there, here)
    stored = images.permute(0, 3, 1, 2).clone(memory_format=torch.channels_last)
    stored[1, 2, 3, 4] = -32768
    values, valid = to_values(stored, 0.5)
    bad = stored == -32768
    assert torch.equal(values, torch.where(bad, 0, stored * 0.5))
    assert torch.equal(valid, (~bad).all(1, keepdim=True).float())


def test_statistics_are_global_and_ignore_the_invalid(cube: xr.Dataset, tmp_path: Path) -> None:
    holed = cube.copy(deep=True)
    holed["s1"].values[:, :, :, 40:50] = np.nan
    chips = xc.chips(xc.pairs(holed), size=32, min_valid=0.5)
    for source, resident in ((chips, True), (chips.save(tmp_path / "c.zarr"), False)):
        measured = measure_statistics(source.loader(batch_size=4, resident=resident))
        for name in ("s1", "s2"):
            dims = (f"{name}_time", "y", "x")
            np.testing.assert_allclose(measured[name].mean, holed[name].mean(dims), rtol=1e-3)
            np.testing.assert_allclose(measured[name].std, holed[name].std(dims), rtol=2e-3)


def test_statistics_of_nothing_are_refused(cube: xr.Dataset) -> None:
    holed = cube.assign(s2=cube.s2.where(cube.s2_band != "B08"))
    loader = xc.chips(xc.pairs(holed), size=32).loader(batch_size=4)
    with pytest.raises(DataError, match=r"valid in all bands.*none of s2 in 18 chips.*leave out"):
        measure_statistics(loader)


def test_more_dates_than_there_are_is_refused_with_the_number() -> None:
    pairs = xc.pairs(planted_cube(32, n_times=4), kind="seasonal", gap="13D")
    chips = xc.chips(pairs, size=16)
    assert chips.pairs.sizes["date"] == 2
    with pytest.raises(DataError, match=r"1\.\.2, as .*n_dates=3\. Do this: set n_dates=2"):
        chips.loader(batch_size=2)
    assert next(iter(chips.loader(batch_size=2, n_dates=2)))["s2"].shape[:2] == (2, 2)


def test_same_ground_is_overlap_at_one_place() -> None:
    pairs = xc.pairs(planted_cube(16, n_times=2)).assign_coords(location=("pair", [0, 1]))
    chips = xc.chips(pairs, size=8, stride=4)
    batch = chips.loader(batch_size=1).take(torch.arange(len(chips)))
    ground = torch.cat([batch["location"][:, None], batch["footprint"]], dim=1)
    same = find_near(ground, ground, 0.0)
    for i in range(len(chips)):
        for j in range(len(chips)):
            overlap = max(abs(chips.row[i] - chips.row[j]), abs(chips.col[i] - chips.col[j])) < 8
            assert bool(same[i, j]) == (overlap and chips.location[i] == chips.location[j])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "a batch_size of 1 or more"),
        ({"n_workers": -1}, r"received .*n_workers=-1"),
        ({"batch_size": 100_000}, r"as many chips as a batch of 100000; received \d+ chips"),
        ({"n_dates": 0}, "n_dates=0"),
    ],
)
def test_options_out_of_range(chips: xc.Chips, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        chips.loader(**options)


def _own_threads() -> list[str]:
    names = ("xcontrast-batch", "xcontrast-chunk")
    return [t.name for t in threading.enumerate() if t.name.startswith(names)]


def test_an_error_while_reading_ahead_reaches_the_caller(
    saved: xc.Chips, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = saved.loader(batch_size=16, resident=False)

    def fail(self, name, slots):
        raise SourceError("the disk is gone")

    monkeypatch.setattr(Pixels, "read", fail)
    with pytest.raises(SourceError, match="the disk is gone"):
        next(iter(loader))
    assert not _own_threads()


def test_a_pass_that_is_left_leaves_no_thread(saved: xc.Chips) -> None:
    loader = saved.loader(batch_size=16, resident=False)
    batches = iter(loader)
    next(batches)
    assert _own_threads()
    batches.close()
    deadline = time.monotonic() + 5
    while _own_threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers()), st.integers(1, 4))
def test_prefetching_changes_nothing(items: list[int], n_ahead: int) -> None:
    assert list(prefetch(iter(items), n_ahead=n_ahead)) == items


def test_what_comes_next_is_made_while_this_is_used() -> None:
    def slow():
        for k in range(6):
            time.sleep(0.05)
            yield k

    begin = time.perf_counter()
    for _ in prefetch(slow()):
        time.sleep(0.05)
    both = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in slow():
        time.sleep(0.05)
    assert both < 0.85 * (time.perf_counter() - begin)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_no_deadlock_in_processes_after_zarr_and_dask(saved: xc.Chips, method: str) -> None:
    """Threads of zarr, dask and torch run already when the children begin."""
    place = saved.pixels.place
    xr.open_zarr(place).s2.mean().compute()
    here = [batch["chip"].tolist() for batch in saved.loader(batch_size=16, seed=2, resident=False)]
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [context.Process(target=send_batches, args=(place, answers, 0)) for _ in range(2)]
    for child in children:
        child.start()
    try:
        assert [answers.get(timeout=90) for _ in children] == [here, here]
    finally:
        for child in children:
            child.kill()
            child.join()


def test_inside_a_torch_data_loader(saved: xc.Chips) -> None:
    """As an iterable in a worker process of torch's own loader."""

    class Batches(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(saved.loader(batch_size=16, seed=2, resident=False))

    there = torch.utils.data.DataLoader(Batches(), batch_size=None, num_workers=1, timeout=90)
    here = saved.loader(batch_size=16, seed=2, resident=False)
    assert _same(there, here) == len(here)


def test_ranks_of_a_process_group_get_batches_of_their_own(chips: xc.Chips, tmp_path: Path) -> None:
    saved = chips.save(tmp_path / "chips.zarr", progress=False)
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    children = [
        context.Process(target=train_rank, args=(rank, str(tmp_path), answers)) for rank in (0, 1)
    ]
    for child in children:
        child.start()
    try:
        got = dict(answers.get(timeout=120) for _ in children)
    finally:
        for child in children:
            child.join(20)
            child.kill()
    alone = saved.loader(batch_size=16, seed=4, resident=True)
    for epoch in range(2):
        whole = [batch["chip"].tolist() for batch in alone]
        pairs = zip(got[0][True][epoch], got[1][True][epoch], strict=True)
        assert [a + b for a, b in pairs] == whole
        both = [np.concatenate(got[rank][False][epoch]).tolist() for rank in (0, 1)]
        assert len(both[0]) == len(both[1]) == len(chips) // 16 * 8
        assert len({*both[0], *both[1]}) == len(both[0]) * 2


class _Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4))


def _fit(saved: xc.Chips, folder: Path, stop: int | None, resume: Path | None) -> torch.Tensor:
    import lightning

    class Task(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.line = _Line()

        def training_step(self, batch, _step):
            # Depends on the order of the batches: no two orders give these weights.
            return ((self.line.weight - batch["s2"].mean((0, 2, 3))) ** 2).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)

    task = Task()
    trainer = lightning.Trainer(
        max_steps=stop or 25, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, max_epochs=-1,
    )  # fmt: skip
    loader = Loader(saved, batch_size=24, seed=1, n_steps=25, resident=False)
    trainer.fit(task, loader, ckpt_path=resume, weights_only=False)
    if stop:
        trainer.save_checkpoint(folder / "stopped.ckpt")
    return task.line.weight.detach()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_keeps_the_position_in_its_checkpoints(saved: xc.Chips, tmp_path: Path) -> None:
    whole = _fit(saved, tmp_path, None, None)
    _fit(saved, tmp_path, 9, None)
    state = torch.load(tmp_path / "stopped.ckpt", weights_only=False)
    kept = state["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert [own["step"] for own in kept] == [9]
    resumed = _fit(saved, tmp_path, None, tmp_path / "stopped.ckpt")
    assert torch.equal(whole, resumed)


def test_batches_are_copied_as_fast_as_a_bare_loop_fills_them(cube: xr.Dataset) -> None:
    """The windows themselves against slicing, and their time; the table is in benchmarks."""
    wide = cube.pad(y=(0, 300), x=(0, 300), mode="reflect").contrast.pairs()
    chips = wide.contrast.chips(size=64, stride=16)
    store = store_chips(chips, progress=False)
    order = [torch.randperm(len(chips))[:64] for _ in range(6)]
    images, number = store.stacks["s2"].images.numpy(), store.stacks["s2"].image.numpy()
    rows, cols = store.row.numpy(), store.col.numpy()
    batch = np.empty((64, 64, 64, images.shape[-1]), np.int16)

    def fill(index: torch.Tensor) -> None:
        for k, i in enumerate(index.tolist()):
            batch[k] = images[number[i], rows[i] : rows[i] + 64, cols[i] : cols[i] + 64]

    def best(take) -> float:
        seconds = []
        for _ in range(7):
            begin = time.perf_counter()
            for index in order:
                take(index)
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    store.stacks.pop("s1")
    ratio = best(fill) / best(store.gather)
    fill(order[0])
    np.testing.assert_array_equal(store.gather(order[0])["s2"].numpy(), batch)
    print(f"of the bare loop: {ratio:.2f}")
    assert ratio > 0.55
