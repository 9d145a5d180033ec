"""Maps that are killed, on a cluster and without: nothing lost, nothing that only looks whole."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import children
import numpy as np
import pytest
import xarray as xr

import xcontrast as xc

SCRIPT = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import xcontrast as xc, xcontrast.embedding.embed as e
from scenes import planted_cube
e.BLOCK = e.BLOCK_STEP = 64
wide = planted_cube(160, n_times=3).isel(x=slice(0, 150), y=slice(0, 133)).chunk(y=50, x=70)
model = xc.load_model(sys.argv[2])
plan = xc.plan_map(cube=wide, model=model, sensor="s1", store=sys.argv[3], probe=False)
if sys.argv[4] == "here":
    plan.run(progress=False)
else:
    from distributed import Client, LocalCluster
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        plan.run(client, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "on a cluster"])
def test_killed_and_run_again_it_is_the_undisturbed_map(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None, where: str
) -> None:
    target = tmp_path / "killed.zarr"
    words = [json.dumps(sys.path), str(untrained.path), str(target), where]
    command = [sys.executable, "-c", SCRIPT, *words]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(tmp_path.glob(".killed.zarr.*.done/*"))) >= 3:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    plan = xc.plan_map(cube=wide, model=untrained, sensor="s1", store=target, probe=False)
    left = len(plan.pending())
    assert 0 < left < 27
    report = plan.run(progress=False)
    print(f"{27 - left} of 27 tiles outlived the kill")
    assert (report.done, report.before) == (left, 27 - left)
    direct = wide.s1.contrast.embed(untrained).compute()
    xr.testing.assert_allclose(plan.open().s1.compute(), direct, atol=1e-5)


@pytest.mark.slow
def test_on_a_cluster_a_killed_worker_costs_nothing(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    from distributed import Client, LocalCluster

    plan = xc.plan_map(
        cube=wide, model=untrained, sensor="s1", store=tmp_path / "c.zarr", probe=False
    )
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        first = next(iter(cluster.workers.values()))
        killer = subprocess.Popen(
            [
                sys.executable, "-c",
                "import os, signal, sys, time\n"
                "from pathlib import Path\n"
                "while len(list(Path(sys.argv[1]).glob('*'))) < 4: time.sleep(0.05)\n"
                "os.kill(int(sys.argv[2]), signal.SIGKILL)",
                str(plan.store.marks), str(first.process.process.pid),
            ]
        )  # fmt: skip
        report = plan.run(client, progress=False)
        assert killer.wait(timeout=60) == 0
    assert report.complete
    assert report.done == 27
    direct = wide.s1.contrast.embed(untrained).compute()
    xr.testing.assert_allclose(plan.open().s1.compute(), direct, atol=1e-5)


def test_a_network_has_all_cores_of_its_worker() -> None:
    from distributed import Client, LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 3, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        assert client.submit(children.count_cores).result() == (1, 3)
    alone, at_work = children.count_cores()
    assert alone == at_work


def test_stopped_on_a_cluster_it_stops_there_too(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from distributed import Client, LocalCluster

    s1 = wide.s1.copy(data=wide.s1.data.map_blocks(children.take_time, meta=wide.s1.data._meta))
    plan = xc.plan_map(
        cube=s1.to_dataset(name="s1"), model=untrained, sensor="s1", store=tmp_path / "c.zarr",
        probe=False,
    )  # fmt: skip
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=False, **options) as cluster, Client(cluster) as client:
        begun = cluster.scheduler.tasks

        def press_stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("xcontrast.progress.Lines.update", press_stop)
        # What is caught holds all that the run held, as a notebook holds the last error.
        with pytest.raises(KeyboardInterrupt) as held:
            plan.run(client)
        deadline = time.monotonic() + 60
        while any("make_tile" in str(key) for key in begun) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = len(plan.pending())
        assert 20 <= left < 27
        report = plan.run(client, progress=False)
        assert held.type is KeyboardInterrupt
    assert (report.done, report.before, report.complete) == (left, 27 - left, True)


@pytest.mark.slow
def test_a_full_disk_and_tiles_that_always_fail_are_told_and_made_when_they_can_be(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from distributed import Client, LocalCluster

    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken"
    broken.touch()
    check = functools.partial(children.refuse_second_date, broken=str(broken))
    single = wide.s1.chunk(s1_time=1)
    s1 = single.copy(data=single.data.map_blocks(check, dtype="float32", meta=single.data._meta))
    plan = xc.plan_map(
        cube=s1.to_dataset(name="s1"), model=untrained, sensor="s1", store="c.zarr", probe=False
    )
    second = {region.name for region in plan.store if region.name.startswith("1.")}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        xc.share(untrained, client)
        client.run(os.chdir, "/")  # Workers may have been started in another folder.
        client.run(children.limit_files, 2000)
        full = plan.run(client, progress=False)
        assert len(full.failed) == len(plan.pending()) == 27
        reasons = {name: reason for name, reason in full.failed.items() if name not in second}
        assert all("File too large" in reason for reason in reasons.values()), full
        assert np.isnan(plan.open().s1).all()
        assert not plan.open().attrs["xcontrast_complete"]

        client.run(children.limit_files, None)
        most = plan.run(client, progress=False)
        assert set(most.failed) == second
        assert set(most.failed.values()) == {"RuntimeError: this date is broken"}
        assert (most.done, most.complete) == (18, False)

        broken.unlink()
        last = plan.run(client, progress=False)
    assert (last.done, last.before, last.complete) == (9, 18, True)
    direct = wide.s1.contrast.embed(untrained).compute()
    xr.testing.assert_allclose(plan.open().s1.compute(), direct, atol=1e-5)
