from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xcontrast.errors import SourceError
from xcontrast.legends import FLOOD
from xcontrast.regions import RegionStore


def _lazy(n_times: int = 2, height: int = 37, width: int = 50) -> xr.Dataset:
    """A map and its probabilities, as `predict` gives them."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (n_times, height, width)).astype("uint8")
    label[:, 3] = 255
    share = rng.random((n_times, 2, height, width)).astype("float32")
    share[:, :, 3] = np.nan
    data = xr.Dataset(
        {
            "label": (("s1_time", "y", "x"), label, FLOOD.attrs),
            "probability": (("s1_time", "category", "y", "x"), share),
        },
        {
            "s1_time": np.array(["2023-05-01", "2023-05-13"], "M8[ns]")[:n_times],
            "category": ["dry", "flood"],
            "y": 5e6 - 40 * np.arange(height),
            "x": 5e5 + 40 * np.arange(width),
            "s1_orbit_state": ("s1_time", ["ascending"] * n_times),
        },
        {"model_digest": "abc"},
    )
    return data.chunk(s1_time=1, y=16, x=16)


STEPS = {"s1_time": 1, "y": 16, "x": 16}


def _fill(store: RegionStore, lazy: xr.Dataset) -> None:
    for region in store.pending():
        store.write(region, lazy.isel(region.indexers).compute())
        store.mark(region)


def test_what_was_written_by_regions_is_the_whole(tmp_path, no_compute: None) -> None:
    lazy = _lazy()
    store = RegionStore.open(lazy, tmp_path / "map.zarr", steps=STEPS, stated={"model": "abc"})
    assert len(store) == len(list(store)) == len(store.pending()) == 2 * 3 * 4


def test_types_attributes_and_values_survive(tmp_path) -> None:
    lazy = _lazy()
    store = RegionStore.open(lazy, tmp_path / "map.zarr", steps=STEPS, stated={"model": "abc"})
    empty = xr.open_zarr(store.path)
    assert (empty.label == 255).all()
    assert np.isnan(empty.probability).all()
    assert empty.attrs["xcontrast_complete"] is False
    assert not store.finish()
    _fill(store, lazy)
    assert store.pending() == []
    assert store.finish()
    found = xr.open_zarr(store.path)
    assert found.label.dtype == np.uint8
    assert found.label.attrs["flag_meanings"] == "dry flood"
    assert found.attrs["model_digest"] == "abc"
    assert found.attrs["xcontrast_complete"] is True
    xr.testing.assert_equal(found.compute(), lazy.compute())
    assert not store.marks.exists()
    assert store.pending() == []
    # A shard is a region: no two writers touch one file.
    files = [f for f in (store.path / "label" / "c").rglob("*") if f.is_file()]
    assert len(files) == len(store)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_regions_cover_everything_once(height: int, width: int, down: int, across: int) -> None:
    store = RegionStore(Path("map.zarr"), {"y": height, "x": width}, {"y": down, "x": across}, ())
    seen = np.zeros((height, width), int)
    for region in store:
        seen[region.indexers["y"], region.indexers["x"]] += 1
    assert (seen == 1).all()
    assert len({region.name for region in store}) == len(store)


def test_another_plan_is_refused_and_the_same_is_gone_on_with(tmp_path) -> None:
    lazy, path = _lazy(), tmp_path / "map.zarr"
    store = RegionStore.open(lazy, path, steps=STEPS, stated={"model": "abc"})
    first = store.pending()[0]
    store.write(first, lazy.isel(first.indexers).compute())
    store.mark(first)
    again = RegionStore.open(lazy, path, steps=STEPS, stated={"model": "abc"})
    assert len(again.pending()) == len(again) - 1
    with pytest.raises(SourceError, match=r"same plan.*begun with other model.*another path"):
        RegionStore.open(lazy, path, steps=STEPS, stated={"model": "xyz"})
    (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match=r"does not exist.*other.*choose another path"):
        RegionStore.open(lazy, tmp_path / "other", steps=STEPS, stated={})


def test_marks_are_of_one_store_alone(tmp_path) -> None:
    lazy, path = _lazy(), tmp_path / "map.zarr"
    killed = RegionStore.open(lazy, path, steps=STEPS, stated={"model": "abc"})
    first, second, *_ = killed.pending()
    killed.write(first, lazy.isel(first.indexers).compute())
    killed.mark(first)
    neighbour = RegionStore.open(lazy, tmp_path / "map.zarr.b", steps=STEPS, stated={})
    neighbour.mark(first)
    shutil.rmtree(path)
    anew = RegionStore.open(lazy, path, steps=STEPS, stated={"model": "xyz"})
    assert len(anew.pending()) == len(anew)
    assert not killed.marks.exists()
    assert len(neighbour.pending()) == len(neighbour) - 1
    # The run before was not dead yet.
    killed.mark(second)
    assert not killed.marks.exists()
    with pytest.raises(SourceError, match=r"that was planned.*created anew since.*plan again"):
        killed.write(second, lazy.isel(second.indexers).compute())
    assert len(anew.pending()) == len(anew)
    _fill(anew, lazy)
    assert anew.finish()
    anew.mark(second)
    assert not anew.marks.exists()
    xr.testing.assert_equal(xr.open_zarr(path).compute(), lazy.compute())


def test_a_region_that_could_not_be_written_is_not_marked(tmp_path, monkeypatch) -> None:
    lazy = _lazy()
    store = RegionStore.open(lazy, tmp_path / "map.zarr", steps=STEPS, stated={})
    first = store.pending()[0]

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_zarr", full)
        with pytest.raises(OSError, match="No space"):
            store.write(first, lazy.isel(first.indexers).compute())
    assert store.pending()[0] == first


SCRIPT = """
import json, sys
import numpy as np, xarray as xr
sys.path[:0] = json.loads(sys.argv[2])
from test_regions import STEPS, _lazy
from xcontrast.regions import RegionStore
lazy = _lazy()
store = RegionStore.open(lazy, sys.argv[1], steps=STEPS, stated={})
for region in store.pending()[int(sys.argv[3])::2]:
    store.write(region, lazy.isel(region.indexers).compute())
    store.mark(region)
"""


def test_two_processes_fill_one_store(tmp_path) -> None:
    lazy, path = _lazy(), tmp_path / "map.zarr"
    store = RegionStore.open(lazy, path, steps=STEPS, stated={})
    command = [sys.executable, "-c", SCRIPT, str(path), json.dumps(sys.path)]
    both = [subprocess.Popen([*command, str(k)]) for k in (0, 1)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    _fill(store, lazy)
    assert store.finish()
    xr.testing.assert_equal(xr.open_zarr(path).compute(), lazy.compute())
