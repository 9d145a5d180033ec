"""`xcontrast embed` and `xcontrast map`, as a person calls them, on a simulated archive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from click.testing import Result
from typer.testing import CliRunner

import xcontrast as xc
from xcontrast.cli import app


def _spawn(*words: str) -> subprocess.CompletedProcess[str]:
    """Call it as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "xcontrast", *words],
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def _call(*words: str) -> Result:
    """Call it in this process, which has imported everything already."""
    return CliRunner().invoke(app, words)


def test_a_region_is_embedded_and_gone_on_with(
    area: tuple[Path, str, xr.Dataset], model: xc.Model, tmp_path: Path
) -> None:
    catalog, box, _ = area
    every = xc.open_cube(
        bbox=tuple(map(float, box.split(","))), datetime="2023-04/2023-05", source=catalog
    )
    assert set(every.s1_relative_orbit.values) == {15, 95}
    store = tmp_path / "e.zarr"
    words = ["embed", f"--bbox={box}", "--datetime=2023-04/2023-05", f"--model={model.path}",
             f"--store={store}", f"--source={catalog}", "--sensor=s1", "--stride=16",
             "--relative-orbit=95"]  # fmt: skip
    dry = _call(*words, "--dry-run")
    assert dry.exit_code == 0, dry.output[-2000:]
    assert "xcontrast.MapPlan" in dry.stdout
    assert not xr.open_zarr(store).attrs["xcontrast_complete"]
    done = _spawn(*words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MapReport: complete" in done.stdout
    found = xr.open_zarr(store)
    assert found.attrs["xcontrast_complete"] is True
    assert found.s1.attrs["model_digest"] == model.digest
    assert set(found.s1_relative_orbit.values) == {95}
    assert np.isfinite(found.s1).mean() > 0.9
    assert re.search(r"done +0 tiles", _call(*words).stdout)


def test_a_flood_is_mapped(
    area: tuple[Path, str, xr.Dataset], model: xc.Model, tmp_path: Path
) -> None:
    catalog, box, truth = area
    event = str(truth.attrs["peak"])[:10]
    one = xc.CubeOptions(relative_orbit=int(truth.attrs["relative_orbit"]))
    cube = xc.open_cube(
        geobox=truth.odc.geobox, datetime="2023-03/2023-06", source=catalog, options=one
    )
    change = xc.before_after(cube.s1.contrast.embed(model), event=event)
    head = change.contrast.fit(truth.flood, legend=xc.FLOOD).save(tmp_path / "head")
    store = tmp_path / "flood.zarr"
    words = ["map", f"--bbox={box}", "--datetime=2023-03/2023-06", f"--model={model.path}",
             f"--head={tmp_path / 'head'}", f"--event={event}", f"--store={store}",
             f"--source={catalog}", f"--relative-orbit={one.relative_orbit}"]  # fmt: skip
    done = _call(*words)
    assert done.exit_code == 0, done.output[-2000:]
    found = xr.open_zarr(store)
    assert found.label.dims == ("y", "x")
    assert found.label.dtype == np.uint8
    assert set(np.unique(found.label)) <= {0, 1, 255}
    assert head.digest in found.attrs["xcontrast_plan"]


def test_what_is_wrong_is_told_without_a_traceback(tmp_path: Path) -> None:
    words = ["embed", "--bbox=11,44", "--datetime=2023", f"--model={tmp_path}"]
    wrong = _spawn(*words, f"--store={tmp_path / 'e.zarr'}")
    assert wrong.returncode == 2
    assert "west,south,east,north" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def _find_file(catalog: Path, time: np.datetime64, band: str) -> Path:
    day = str(time)[:10].replace("-", "")
    (file,) = catalog.parent.glob(f"sentinel-1-rtc/*_{day}T*/{band}.tif")
    return file


def test_a_file_that_is_missing_leaves_gaps_until_it_is_there(
    area: tuple[Path, str, xr.Dataset], model: xc.Model, tmp_path: Path
) -> None:
    catalog, box, _ = area
    cube = xc.open_cube(
        bbox=tuple(float(part) for part in box.split(",")),
        datetime="2023-04/2023-05",
        source=catalog,
    )
    whole = xc.plan_map(cube=cube, model=model, sensor="s1", store=tmp_path / "a.zarr", probe=False)
    assert whole.run(progress=False).gaps == {}
    missing = _find_file(catalog, cube.s1_time.values[0], "vv")
    away = missing.rename(tmp_path / "away.tif")
    words = ["embed", f"--bbox={box}", "--datetime=2023-04/2023-05", f"--model={model.path}",
             f"--store={tmp_path / 'b.zarr'}", f"--source={catalog}", "--sensor=s1"]  # fmt: skip
    try:
        broken = _call(*words)
        plan = xc.plan_map(
            cube=cube, model=model, sensor="s1", store=tmp_path / "b.zarr", stride=4, probe=False
        )
        report = plan.run(progress=False)
        assert [region.name for region in plan.pending()] == ["0.0.0"]
        assert np.isnan(plan.open().s1.isel(s1_time=0)).all()
        accepted = plan.run(accept_gaps=True, progress=False)
    finally:
        away.rename(missing)
    assert broken.exit_code == 1
    assert "MapReport: not complete" in broken.stdout
    assert "0.0.0: " in broken.stdout
    assert "vv (missing)" in broken.stdout
    assert not report.complete
    assert (report.done, report.failed) == (0, {})
    assert "vv (missing)" in report.gaps["0.0.0"]
    assert accepted.complete
    assert accepted.done == 1


def test_what_was_missing_is_read_when_it_is_there(
    area: tuple[Path, str, xr.Dataset], model: xc.Model, tmp_path: Path
) -> None:
    catalog, _, truth = area
    cube = xc.open_cube(geobox=truth.odc.geobox, datetime="2023-04/2023-05", source=catalog)
    direct = cube.s1.contrast.embed(model).compute()
    damaged = _find_file(catalog, cube.s1_time.values[-1], "vh")
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    plan = xc.plan_map(cube=cube, model=model, sensor="s1", store=tmp_path / "c.zarr", probe=False)
    try:
        report = plan.run(progress=False)
    finally:
        damaged.write_bytes(content)
    assert "vh (damaged)" in str(report.gaps)
    assert len(plan.pending()) == len(report.gaps) == 1
    assert plan.run(progress=False).complete
    xr.testing.assert_allclose(plan.open().s1.compute(), direct, atol=1e-5)
