"""Maps of regions: planned, made tile by tile, gone on with, here and on a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr

import xcontrast as xc
from xcontrast.cubes.reports import READS
from xcontrast.errors import DataError, ModelError, SourceError
from xcontrast.mapping.cog import select_layer
from xcontrast.regions import RegionStore


def _head(cube: xr.Dataset, model: xc.Model) -> xc.Head:
    emb = cube.s1.isel(s1_time=0).contrast.embed(model)
    labels = (emb.isel(feature=0) > float(emb.isel(feature=0).mean())).astype("uint8")
    return emb.contrast.fit(labels.drop_vars("valid_fraction").compute(), legend=xc.FLOOD)


def test_a_plan_says_what_it_takes_and_reads_nothing(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None, no_compute: None
) -> None:
    plan = xc.plan_map(
        cube=wide, model=untrained, sensor="s1", store=tmp_path / "e.zarr", stride=16
    )
    told = plan.facts
    assert told["tiles"] == told["pending"] == 3 * 3 * 3
    assert told["pixels"] == 150 * 133
    assert told["bytes_to_read"] == wide.s1.size * 2
    assert told["bytes_to_write"] == 3 * 512 * 9 * 10 * 4
    assert 0 < told["seconds_to_encode"] < 600
    # Blocks of 64 px with a halo of 112, cut at the edges: the third begins at pixel 16.
    assert plan.work == 3 * (150 + 150 + 134) * (133 + 133 + 117)
    assert "27 not done" in repr(plan)
    assert "27 not done</td>" in plan._repr_html_()
    assert "3 s1_time" in repr(plan)
    whole = xc.plan_map(
        cube=wide, model=untrained, sensor="s1", store=tmp_path / "w.zarr", tile=1000, probe=False
    )
    assert len(whole.store) == 3
    strip = xc.plan_map(
        cube=wide.isel(y=slice(0, 20)), model=untrained, sensor="s1", store=tmp_path / "s.zarr",
        probe=False,
    )  # fmt: skip
    # Tiles are whole blocks, however narrow the region.
    assert dict(strip.store.steps) == {"s1_time": 1, "y": 5, "x": 16}
    assert "not probed" in repr(whole)


def test_tiles_are_the_embedding_and_the_map_in_one_pass(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    plan = xc.plan_map(
        cube=wide, model=untrained, sensor="s1", store=tmp_path / "e.zarr", probe=False
    )
    report = plan.run(progress=False)
    assert report.complete
    assert report.done == 27
    direct = wide.s1.contrast.embed(untrained)
    xr.testing.assert_allclose(plan.open().s1.compute(), direct.compute(), atol=1e-5)
    assert plan.open().s1.rio.transform() == direct.odc.geobox.transform
    assert plan.open().s1.attrs["model_digest"] == untrained.digest

    head = _head(wide, untrained)
    mapped = xc.plan_map(
        cube=wide, model=untrained, head=head, store=tmp_path / "m.zarr", tile=100, probe=False
    )
    assert len(mapped.store) == 3 * 2 * 2
    assert mapped.run(progress=False).complete
    found = xr.open_zarr(tmp_path / "m.zarr")
    expected = direct.contrast.predict(head).compute()
    assert found.label.dtype == np.uint8
    xr.testing.assert_equal(found.label.compute(), expected.label)
    xr.testing.assert_allclose(found.probability.compute(), expected.probability, atol=1e-5)
    assert found.attrs["xcontrast_complete"] is True


def test_a_packed_store_is_a_quarter_and_gives_the_embedding_back(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    given = {"cube": wide, "model": untrained, "sensor": "s2", "probe": False}
    plain = xc.plan_map(**given, store=tmp_path / "e.zarr")
    plan = xc.plan_map(**given, store=tmp_path / "p.zarr", packed=True)
    assert plan.facts["bytes_to_write"] < 0.26 * plain.facts["bytes_to_write"]
    assert plan.run(progress=False).complete
    direct = wide.s2.contrast.embed(untrained).compute()
    back = plan.open().contrast.unpack()
    assert back.name == "s2"
    assert back.attrs["model_digest"] == untrained.digest
    assert float(abs(back - direct).max()) <= float(abs(direct).max()) / 250
    with pytest.raises(DataError, match=r"as floats.*packed embedding.*without `packed`"):
        plan.write_overviews(progress=False)
    with pytest.raises(SourceError, match="begun with other packed"):
        xc.plan_map(**given, store=tmp_path / "p.zarr")


def test_a_head_on_both_sensors_maps_both(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    event = "2023-04-10"
    emb = wide.contrast.embed(untrained)
    change = xr.Dataset({k: xc.before_after(v, event=event) for k, v in emb.items()})
    change = change.drop_vars(["s1_valid_fraction", "s2_valid_fraction"], errors="ignore").compute()
    labels = (change.s1.isel(feature=0) > float(change.s1.isel(feature=0).mean())).astype("uint8")
    head = change.contrast.fit(labels, legend=xc.FLOOD)
    assert head.facts["sensors"] == ["s1", "s2"]
    plan = xc.plan_map(
        cube=wide, model=untrained, head=head, event=event, store=tmp_path / "m.zarr"
    )
    assert plan.facts["bytes_to_read"] == (wide.s1.size + wide.s2.size) * 2
    assert plan.run(progress=False).complete
    expected = change.contrast.predict(head).compute()
    agree = float((plan.open().label == expected.label).mean())
    assert agree > 0.999
    with pytest.raises(DataError, match=r"fitted on: s1, s2.*sensor='s1'.*leave `sensor` out"):
        xc.plan_map(
            cube=wide, model=untrained, head=head, sensor="s1", event=event,
            store=tmp_path / "n.zarr",
        )  # fmt: skip


def test_maps_of_two_plans_combine(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    wide["s2"] = wide.s2.where(wide.x < wide.x[100])  # The rest is under cloud.
    event, opened, direct = "2023-04-10", [], []
    for sensors in (["s1", "s2"], ["s1"]):
        change = xc.before_after(wide[sensors].contrast.embed(untrained), event=event).compute()
        first = change.s1.isel(feature=0)
        head = xc.fit(change, (first > first.mean()).astype("uint8"), legend=xc.FLOOD)
        plan = xc.plan_map(
            cube=wide[sensors], model=untrained, head=head, event=event, probe=False,
            store=tmp_path / f"{len(sensors)}.zarr",
        )  # fmt: skip
        assert plan.run(progress=False).complete
        opened.append(plan.open())
        direct.append(xc.predict(change, head))
    both = xc.combine(opened)
    assert both.label.chunks
    seen = [int((m.label != 255).sum()) for m in (*direct, both)]
    assert seen[0] < seen[1] == seen[2]
    xr.testing.assert_allclose(
        both.probability.compute(), xc.combine(direct).probability, atol=1e-4
    )
    assert both.odc.geobox == direct[0].odc.geobox


def test_what_failed_is_told_and_made_later(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = xc.plan_map(
        cube=wide,
        model=untrained,
        head=_head(wide, untrained),
        store=tmp_path / "m.zarr",
        probe=False,
    )
    calls: list[str] = []
    whole = RegionStore.write

    def write(self, region, values):
        calls.append(region.name)
        if region.name == "1.0.2":
            raise OSError(28, "No space left on device")
        if region.name == "0.1.1" and calls.count(region.name) == 1:
            raise RuntimeError("once")
        whole(self, region, values)

    with monkeypatch.context() as patch:
        patch.setattr(RegionStore, "write", write)
        report = plan.run(progress=False)
    assert not report.complete
    assert report.failed == {"1.0.2": "OSError: [Errno 28] No space left on device"}
    assert report.done == 26
    assert calls.count("0.1.1") == 2
    assert "1.0.2: OSError" in repr(report)
    assert "1.0.2: OSError" in report._repr_html_()
    half = plan.open()
    assert half.attrs["xcontrast_complete"] is False
    assert (half.label[1, :16, 32:] == 255).all()
    again = plan.run(progress=False)
    assert (again.done, again.before) == (1, 26)
    assert plan.open().attrs["xcontrast_complete"] is True
    assert (plan.open().label != 255).any(("y", "x")).all()
    assert plan.run(progress=False).done == 0


def test_a_finished_map_gets_levels_and_is_exported(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    head = _head(wide, untrained)
    plan = xc.plan_map(
        cube=wide, model=untrained, head=head, store=tmp_path / "m.zarr", probe=False
    )
    with pytest.raises(SourceError, match=r"all tiles are done.*27 of 27 not done.*run the plan"):
        plan.to_cog(tmp_path / "m.tif", time="2023-04-13")
    with pytest.raises(SourceError, match=r"all tiles are done.*27 of 27 not done.*run the plan"):
        plan.write_overviews()
    plan.run(progress=False)
    found = plan.open()
    with rasterio.open(plan.to_cog(tmp_path / "m.tif", time="2023-04-13")) as file:
        np.testing.assert_array_equal(file.read(1), found.label[1])
        assert (file.nodata, file.crs.to_epsg()) == (255, 32632)
        assert file.transform == found.odc.geobox.transform
        assert file.colormap(1)[1] == (31, 111, 180, 255)
    shares = plan.to_cog(tmp_path / "p.tif", name="probability", time=found.s1_time.values[2])
    with rasterio.open(shares) as file:
        assert file.descriptions == ("dry", "flood")
        np.testing.assert_array_equal(file.read(), found.probability[2])
    with pytest.raises(DataError, match=r"one of the times 2023-04-01.*None.*time='2023-04-01"):
        plan.to_cog(tmp_path / "n.tif")
    with pytest.raises(DataError, match=r"one of the times.*'2022', which is 0 of them.*give one"):
        plan.to_cog(tmp_path / "n.tif", time="2022")
    with pytest.raises(DataError, match=r"one variable of label, probability.*'s1'.*give its name"):
        plan.to_cog(tmp_path / "n.tif", name="s1")
    monkeypatch.setattr("xcontrast.mapping.overviews.SMALL", 20)
    assert plan.write_overviews(progress=False) == ["overview_2"]
    assert "multiscales" in xr.open_zarr(tmp_path / "m.zarr").attrs
    xr.testing.assert_identical(plan.open(), found)
    assert plan.run(progress=False).done == 0


def test_another_model_or_head_does_not_go_on(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    head = _head(wide, untrained)
    store = tmp_path / "m.zarr"
    xc.plan_map(cube=wide, model=untrained, head=head, store=store, probe=False)
    xc.plan_map(cube=wide, model=untrained, head=head, store=store, probe=False)
    other = _head(wide.isel(s1_time=slice(1, None)), untrained)
    with pytest.raises(SourceError, match=r"same plan.*begun with other head"):
        xc.plan_map(cube=wide, model=untrained, head=other, store=store, probe=False)
    assert head.digest != other.digest
    assert head.save(tmp_path / "head").digest == head.digest


def test_other_pixels_do_not_go_on(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None
) -> None:
    def plan(cube: xr.Dataset) -> xc.MapPlan:
        return xc.plan_map(
            cube=cube, model=untrained, sensor="s1", store=tmp_path / "m.zarr", probe=False
        )

    begun = plan(wide)
    louder = wide.assign(s1=(wide.s1 + 5).assign_attrs(wide.s1.attrs))
    with pytest.raises(SourceError, match=r"same plan.*begun with other pixels.*another path"):
        plan(louder)
    with pytest.raises(SourceError, match=r"same plan.*begun with other pixels.*another path"):
        plan(louder.compute())
    finer = wide.assign_coords(y=wide.y[0] + (wide.y - wide.y[0]) / 2)
    with pytest.raises(SourceError, match=r"same plan.*begun with other corners"):
        plan(finer)
    assert plan(wide.assign(s2=wide.s2 * 2)).store == begun.store


RESUMED = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import xarray as xr
import xcontrast as xc
cube = xr.open_zarr(sys.argv[3])
plan = xc.plan_map(
    cube=cube.isel(y=slice(8, None)), model=xc.load_model(sys.argv[2]), sensor="s1",
    store=sys.argv[4], probe=False,
)
print(len(plan.pending()))
"""


def test_a_cube_in_a_store_goes_on_in_another_process(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path
) -> None:
    xc.write_zarr(wide, tmp_path / "cube.zarr", progress=False)
    words = [untrained.path, tmp_path / "cube.zarr", tmp_path / "m.zarr"]
    command = [sys.executable, "-c", RESUMED, json.dumps(sys.path), *map(str, words)]
    told = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(2)]
    assert [process.stdout.split()[-1] for process in told] == ["3", "3"]
    xc.write_zarr(wide + 5, tmp_path / "louder.zarr", progress=False)
    command[-2] = str(tmp_path / "louder.zarr")
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "begun with other pixels" in refused.stderr


def test_a_plan_that_opens_its_cube_states_how(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = iter((50, 40, 50, 50, 50, 50))

    def opened(**_: object) -> xr.Dataset:
        # As open_cube: in chunks that depend on the memory that is free.
        return wide.chunk(y=next(chunks)).assign_attrs({READS: "xcontrast-1"})

    monkeypatch.setattr("xcontrast.mapping.planning.open_cube", opened)

    def plan(source: Any = "catalog.json", **options: Any) -> xc.MapPlan:
        return xc.plan_map(
            bbox=(9.0, 45.0, 9.1, 45.1), datetime="2023-04", source=source, model=untrained,
            sensor="s1", store=tmp_path / "m.zarr", probe=False,
            options=xc.CubeOptions(**options) if options else None,
        )  # fmt: skip

    begun = plan()
    assert plan(patience=xc.CubeOptions().patience, sign=str).store == begun.store
    with pytest.raises(SourceError, match=r"same plan.*begun with other options"):
        plan(floor_db=-30.0)
    with pytest.raises(SourceError, match=r"same plan.*begun with other source"):
        plan("other.json")
    with pytest.raises(SourceError, match=r"same plan.*begun with other source"):
        plan([SimpleNamespace(id="a"), SimpleNamespace(id="b")])


def test_it_must_be_clear_what_to_map(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path
) -> None:
    store = tmp_path / "m.zarr"
    with pytest.raises(DataError, match=r"one sensor to embed.*s1, s2.*sensor='s1'"):
        xc.plan_map(cube=wide, model=untrained, store=store)
    with pytest.raises(DataError, match=r"a cube, or an area.*a cube and bbox, datetime.*leave"):
        xc.plan_map(
            cube=wide, bbox=(0, 0, 1, 1), datetime="2023", model=untrained, sensor="s1",
            store=tmp_path / "e.zarr",
        )  # fmt: skip
    with pytest.raises(DataError, match=r"a cube, or datetime and one of.*datetime=None"):
        xc.plan_map(model=untrained, sensor="s1", store=store)
    with pytest.raises(DataError, match=r"one UTM zone.*EPSG:32632, EPSG:32633.*split_zones"):
        xc.plan_map(
            model=untrained, sensor="s1", store=store, bbox=(11.0, 44.0, 13.0, 45.0),
            datetime="2023",
        )  # fmt: skip
    with pytest.raises(DataError, match=r"a cube with s1; received variables s2.*that has the"):
        xc.plan_map(cube=wide[["s2"]], sensor="s1", model=untrained, store=store)
    with pytest.raises(DataError, match=r"at least one date and pixel.*0 along s1_time"):
        xc.plan_map(cube=wide.isel(s1_time=[]), sensor="s1", model=untrained, store=store)
    assert not store.exists()


def test_no_store_is_begun_for_a_model_that_is_gone(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("xcontrast.model.network._networks", {})
    gone = untrained.save(tmp_path / "gone")
    shutil.rmtree(gone.path)
    with pytest.raises(ModelError, match=r"at its path or in the cache"):
        xc.plan_map(cube=wide, sensor="s1", model=gone, store=tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()


def test_times_in_any_order_are_found() -> None:
    times = np.array(["2023-04-13", "2023-04-01", "2023-04-25"], "M8[ns]")
    data = xr.Dataset({"label": ("s1_time", [1, 0, 2])}, {"s1_time": times})
    assert [int(select_layer(data, time=str(t)[:10])) for t in times] == [1, 0, 2]
    with pytest.raises(DataError, match=r"one of the times.*'2022', which is 0 of them.*give one"):
        select_layer(data, time="2022")


def test_an_interruption_does_not_wait_for_the_tiles_to_come(
    wide: xr.Dataset, untrained: xc.Model, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = xc.plan_map(
        cube=wide, model=untrained, sensor="s1", store=tmp_path / "e.zarr", probe=False
    )

    def interrupt(future: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xcontrast.mapping.running._result_of", interrupt)
        with pytest.raises(KeyboardInterrupt):
            plan.run(progress=False)
    assert 0 < len(plan.pending()) < 27
    assert plan.run(progress=False).complete
