"""Workers that do not see the folder of a model: it is sent to them, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest
import xarray as xr
from safetensors.torch import load_file

import xcontrast as xc
from xcontrast.errors import ModelError
from xcontrast.folders import cached_folder, pack_folder
from xcontrast.model import write_model
from xcontrast.model.sharing import Parcel, find_model

PATIENCE = {
    "distributed.comm.timeouts.connect": "30s",
    "distributed.comm.timeouts.tcp": "60s",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-ttl": "120s",
}
WAIT = 120
"""Seconds after which a test fails rather than waits on."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this process a cache of its own."""
    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(untrained: xc.Model, tmp_path: Path) -> xc.Model:
    return untrained.save(tmp_path / "model")


@contextmanager
def processes(cache: Path) -> Iterator[tuple[Any, Any]]:
    """Start a cluster of one worker, a process with another cache than this one."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with (
        dask.config.set(PATIENCE),
        LocalCluster(processes=True, env={"XCONTRAST_CACHE": str(cache)}, **options) as cluster,
        Client(cluster, timeout=WAIT) as client,
    ):
        yield cluster, client


@contextmanager
def threads() -> Iterator[Any]:
    """Start a cluster of one worker in this process."""
    from distributed import Client

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with dask.config.set(PATIENCE), Client(processes=False, timeout=WAIT, **options) as client:
        yield client


def _move(model: xc.Model) -> xc.Model:
    """Rename the folder, so that graphs name one that is not there."""
    moved = model.path.rename(model.path.with_name("moved"))
    return xc.load_model(moved)


def _pack(model: xc.Model) -> Parcel:
    return Parcel(str(model.path), model.digest, pack_folder(model.path))


def _shared(client: Any) -> list[str]:
    names = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
    return [name for name in names if name.startswith("xcontrast")]


@pytest.mark.slow
def test_workers_that_do_not_see_the_folder_get_the_model(
    cube: xr.Dataset, model: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = cube.s1.isel(s1_time=0).contrast.embed(model)
    direct = lazy.compute()
    moved = _move(model)
    with processes(tmp_path / "first") as (cluster, client):
        with pytest.raises(ModelError, match=r"model \w+ at its path or.*xc\.share\(model, client"):
            client.compute(lazy, retries=0).result(timeout=WAIT)

        assert xc.share(moved, client) is None
        again = client.compute(lazy + 0, retries=0).result(timeout=WAIT)
        xr.testing.assert_allclose(again, direct, atol=1e-5)

        with monkeypatch.context() as patch:
            patch.delattr(type(client), "register_plugin")
            xc.share(moved, client)
        assert _shared(client) == [f"xcontrast-{model.digest}"]

        # Another machine, for all that it can see.
        present = set(client.scheduler_info()["workers"])
        cluster.new_spec["options"]["env"] = {"XCONTRAST_CACHE": str(tmp_path / "second")}
        cluster.scale(2)
        client.wait_for_workers(2, timeout=WAIT)
        late = sorted(set(client.scheduler_info()["workers"]) - present)
        there = client.compute(lazy + 1, workers=late, retries=0).result(timeout=WAIT)
        xr.testing.assert_allclose(there, direct + 1, atol=1e-5)
    for own in ("first", "second"):
        kept = tmp_path / own / "models"
        assert [f.name for f in kept.iterdir()] == [model.digest]
        assert xc.load_model(kept / model.digest).digest == model.digest


@pytest.mark.slow
def test_a_plan_sends_its_model_and_its_head_is_in_the_graph(
    cube: xr.Dataset, model: xc.Model, tmp_path: Path
) -> None:
    emb = cube.s1.contrast.embed(model).compute()
    first = emb.isel(s1_time=0)
    labels = (first.isel(feature=0) > float(first.isel(feature=0).mean())).astype("uint8")
    head = first.contrast.fit(labels.drop_vars("valid_fraction"), legend=xc.FLOOD)
    head = head.save(tmp_path / "head")
    store = tmp_path / "m.zarr"
    plan = xc.plan_map(cube=cube, model=model, head=head, store=store, probe=False)
    shutil.rmtree(tmp_path / "head")
    with processes(tmp_path / "workers") as (_, client):
        report = replace(plan, network=_move(model)).run(client, progress=False)
        assert _shared(client) == [f"xcontrast-{model.digest}"]
    assert report.complete, report
    assert (report.done, report.before) == (2, 0)
    xr.testing.assert_equal(plan.open().label.compute(), emb.contrast.predict(head).label.compute())


def test_a_model_that_reached_no_cache_can_be_sent_again(
    model: xc.Model, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = _move(model)
    with threads() as client:
        cache.write_text("a file where the cache's folder should be")
        xc.share(moved, client)  # The worker sees the folder: no copy, no fault.
        client.unregister_worker_plugin(_shared(client)[0])

        with monkeypatch.context() as patch:
            patch.setattr(Parcel, "is_in", lambda *_: False)
            with pytest.raises(ModelError, match=r"a cache on every worker.*set XCONTRAST_CACHE"):
                xc.share(moved, client)
        assert _shared(client) == []

        cache.unlink()
        xc.share(moved, client)
        assert xc.load_model(cached_folder(model.digest)).digest == model.digest


def test_what_was_changed_is_not_sent(model: xc.Model) -> None:
    (model.path / "weights.safetensors").write_bytes(b"other")
    expected = r"at its path or in the cache.*nothing whole with that digest in"
    with threads() as client, pytest.raises(ModelError, match=expected):
        xc.share(model, client)


def test_what_is_damaged_or_partial_is_not_the_model(model: xc.Model) -> None:
    target = cached_folder(model.digest)
    partial = target.with_name(".left.partial")
    shutil.copytree(model.path, partial)
    parcel = _pack(model)
    _move(model)
    with pytest.raises(ModelError, match=r"no whole model in .*model and no whole model in"):
        find_model(str(model.path), model.digest)

    shutil.copytree(partial, target)
    assert find_model(str(model.path), model.digest).path == target
    for damaged in ("weights.safetensors", "card.json"):
        (target / damaged).write_bytes(b"{}")
        with pytest.raises(ModelError, match="no whole model in"):
            find_model(str(model.path), model.digest)
        replace(parcel).unpack()
        assert find_model(str(model.path), model.digest).path == target


def test_many_workers_of_a_machine_keep_one_copy(model: xc.Model) -> None:
    target = cached_folder(model.digest)
    target.mkdir(parents=True)
    (target / "card.json").write_text("{}")
    parcels = [_pack(model) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Parcel.unpack, parcels))
    assert [f.name for f in target.parent.iterdir()] == [model.digest]
    assert xc.load_model(target).digest == model.digest
    assert not any(parcel.files for parcel in parcels)

    before = os.stat(target / "weights.safetensors").st_ino
    _pack(model).unpack()
    assert os.stat(target / "weights.safetensors").st_ino == before


def test_another_model_at_the_path_is_passed_over(model: xc.Model, tmp_path: Path) -> None:
    _pack(model).unpack()
    card = replace(model.card, training={**model.card.training, "steps": 1})
    weights = load_file(model.path / "weights.safetensors")
    other = write_model(tmp_path / "other", card, weights)
    assert other.digest != model.digest
    assert find_model(str(other.path), model.digest).path == cached_folder(model.digest)
    with pytest.raises(ModelError, match=rf"Expected model 0123.*received model {other.digest} in"):
        find_model(str(other.path), "0123")
