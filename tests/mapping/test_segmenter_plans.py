"""Maps of regions by a segmenter: planned, made tile by tile, here and on a cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xcontrast as xc
from xcontrast.cli.records import load_any_head
from xcontrast.errors import DataError, ModelError, SourceError
from xcontrast.folders import cached_folder, holds

TWO = {"s1_time": slice(0, 2), "s2_time": slice(0, 2)}


@pytest.fixture(scope="module")
def segmenter(untrained: xc.Model, tmp_path_factory: pytest.TempPathFactory) -> xc.Segmenter:
    """A network that has hardly learnt anything, on two dates of both sensors."""
    from scenes import planted_cube

    cube = planted_cube(96)
    labels = (cube.s1.isel(s1_time=0, s1_band=0, drop=True) > -12).astype("uint8")
    options = xc.FinetuneOptions(crop_size=64, val_fraction=0, progress=False)
    return xc.finetune(
        cube, labels, untrained, legend=xc.FLOOD, max_steps=2, batch_size=2, options=options,
        out=tmp_path_factory.mktemp("segmenters") / "s",
    )  # fmt: skip


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 px, in windows of 96."""
    for name, value in {"WHOLE": 64, "STEP": 64, "OVERLAP": 32}.items():
        monkeypatch.setattr(f"xcontrast.heads.segmenting.maps.{name}", value)


def test_tiles_are_the_map_in_one_pass(
    wide: xr.Dataset, segmenter: xc.Segmenter, small_windows: None, tmp_path: Path
) -> None:
    cube = wide.isel(TWO)
    given = {"cube": cube, "head": segmenter, "store": tmp_path / "m.zarr"}
    plan = xc.plan_map(**given)
    assert plan.facts["tiles"] == 3 * 3
    assert 0 < plan.facts["seconds_to_encode"] < 600
    # Blocks of 64 px as windows of 384, as the probe of a real plan counts them.
    assert plan.work > cube.sizes["y"] * cube.sizes["x"]
    assert plan.run(progress=False).complete
    direct = cube.contrast.predict(segmenter).compute()
    found = plan.open()
    assert set(found.data_vars) == {"label", "probability"}
    np.testing.assert_array_equal(found.label, direct.label)
    np.testing.assert_allclose(found.probability, direct.probability, atol=1e-5)
    with pytest.raises(SourceError, match="begun with other"):
        xc.plan_map(**given | {"cube": cube.isel(x=slice(10, None))}, probe=False)


def test_workers_get_the_segmenter(
    wide: xr.Dataset, segmenter: xc.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    plan = xc.plan_map(cube=wide.isel(TWO), head=segmenter, store=tmp_path / "m.zarr", probe=False)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with Client(processes=False, **options) as client:
        assert plan.run(client, progress=False).complete
    assert holds(cached_folder(segmenter.digest), segmenter.digest)


def test_a_segmenter_that_is_gone_cannot_be_shared(
    segmenter: xc.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setenv("XCONTRAST_CACHE", str(tmp_path / "cache"))
    copy = segmenter.save(tmp_path / "copy")
    copy.path.rename(tmp_path / "elsewhere")
    with (
        Client(processes=False, n_workers=1, dashboard_address=None) as client,
        pytest.raises(ModelError, match=r"at its path or in the cache.*put its folder back"),
    ):
        xc.share(copy, client)


def test_what_cannot_be_planned(
    wide: xr.Dataset, segmenter: xc.Segmenter, untrained: xc.Model, tmp_path: Path
) -> None:
    given = {"cube": wide, "store": tmp_path / "m.zarr"}
    with pytest.raises(DataError, match=r"a model, or a segmenter as `head`; received neither"):
        xc.plan_map(**given)
    with pytest.raises(DataError, match="embeddings, to pack them; received a head"):
        xc.plan_map(**given, head=segmenter, packed=True)
    with pytest.raises(DataError, match=r"fitted on: s1, s2; received sensor='s1'"):
        xc.plan_map(**given, head=segmenter, sensor="s1")


def test_the_command_line_tells_heads_from_segmenters(
    segmenter: xc.Segmenter, tmp_path: Path
) -> None:
    assert load_any_head(segmenter.path).digest == segmenter.digest
    with pytest.raises(ModelError, match="xcontrast-head"):
        load_any_head(str(tmp_path))
