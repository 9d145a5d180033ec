"""What a person sees who prints `.contrast` of what xcontrast made."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube

import xcontrast as xc


@pytest.fixture(scope="module")
def seen() -> xr.Dataset:
    cube = planted_cube()
    orbits = {"s1_relative_orbit": ("s1_time", [95, 95])}
    return cube.assign_coords(orbits | {"s1_orbit_state": ("s1_time", ["descending"] * 2)})


def test_an_embedding_is_told_by_sensor_space_and_model(
    seen: xr.Dataset, untrained: xc.Model, no_compute: None
) -> None:
    emb = seen.contrast.embed(untrained)
    for held in (emb, emb.s1):
        text = repr(held.contrast)
        assert text.startswith("xcontrast embedding")
        assert "24 × 24 cells of 40 m around" in text
        assert "Sentinel-1  2 passes, " in text
        assert "orbits 95 descending; 512 features" in text
        assert "Space       encoder, 4 px a cell" in text
        assert f"Model       {untrained.digest}, multimodal, resnet18" in text
    assert "Sentinel-2  2 days" in repr(emb.contrast)
    assert "Sentinel-2" not in repr(emb.s1.contrast)


def test_before_and_after_packed_pooled_and_single_times_are_told(
    seen: xr.Dataset, untrained: xc.Model, no_compute: None
) -> None:
    emb = seen.contrast.embed(untrained)
    change = xc.before_after(emb[["s1"]])
    assert "Sentinel-1  before, after, difference; 1,536 features" in repr(change.contrast)
    packed = repr(emb.s1.contrast.pack().contrast)
    assert "packed, one byte a feature: .contrast.unpack()" in packed
    assert untrained.digest in packed
    pooled = repr(xc.embed(seen.s1, untrained, pool=True).contrast)
    assert "encoder, pooled over each image" in pooled
    day = str(seen.s1_time.values[0])[:10]
    assert f"Sentinel-1  {day}; 512 features" in repr(emb.s1.isel(s1_time=0).contrast)


def test_a_map_is_told_by_legend_and_maker(
    seen: xr.Dataset, untrained: xc.Model, given_labels: xr.DataArray
) -> None:
    emb = seen.isel(s1_time=0).s1.contrast.embed(untrained).compute()
    head = xc.fit(emb, given_labels, legend=xc.FLOOD)
    mapped = xc.predict(emb, head, like=seen)
    for held in (mapped, mapped.label):
        text = repr(held.contrast)
        assert text.startswith("xcontrast map")
        assert "96 × 96 px of 10 m around" in text
        assert "Legend   flood: 0 dry, 1 flood" in text
        assert f"Made by  linear, model {untrained.digest}, xcontrast" in text
    assert "Legend   dry, flood" in repr(mapped.probability.contrast)
    assert "Holds    label, probability, entropy" in repr(mapped.contrast)
    dated = mapped.label.expand_dims(s1_time=np.array(["2023-05-01"], "datetime64[ns]"))
    assert "Times    1 passes, 2023-05-01 to 2023-05-01" in repr(dated.contrast)


def test_a_store_whose_tiles_are_not_all_done_says_so(
    seen: xr.Dataset, untrained: xc.Model, tmp_path
) -> None:
    plan = xc.plan_map(
        cube=seen, model=untrained, sensor="s1", store=tmp_path / "s1.zarr", probe=False
    )
    assert "run the same plan again, it goes on" in repr(plan.open().contrast)
    plan.run(progress=False)
    assert "not complete" not in repr(plan.open().contrast)


def test_one_sensor_of_a_cube_is_told_like_the_cube(seen: xr.Dataset) -> None:
    text = repr(seen.s1.contrast)
    assert "Sentinel-1  2 passes" in text
    assert "vv, vh" in text
    assert "Sentinel-2" not in text


def test_other_things_are_told_by_their_dims() -> None:
    other = xr.DataArray(np.zeros((2, 3)), dims=("y", "x"), name="change")
    assert "No cube, pairs, embedding or map" in repr(other.contrast)
    assert "y 2, x 3" in repr(other.contrast)
