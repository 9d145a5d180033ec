from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError

floats = st.floats(-(2.0**60), 2.0**60, width=32)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3), elements=floats))
def test_a_feature_is_off_by_half_a_step_at_most(values: np.ndarray) -> None:
    emb = xr.DataArray(values, dims=("feature", "y", "x"))
    packed = xc.pack(emb)
    assert packed.packed.dtype == np.int8
    back = xc.unpack(packed)
    # The slow reference: cell by cell.
    for i, j in np.ndindex(values.shape[1:]):
        cell = values[:, i, j].astype(float)
        step = np.abs(cell).max() / 127
        error = np.abs(back.values[:, i, j] - cell).max()
        assert error <= step / 2 * (1 + 1e-4) + 1e-37
    assert back.dims == emb.dims


def test_an_embedding_stays_lazy_and_comes_back_from_a_store(
    untrained: xc.Model, tmp_path: Path
) -> None:
    cube = planted_cube(64)
    cube["s2"].values[0, :, :8, :8] = np.nan
    lazy = cube.s2.contrast.embed(untrained).chunk(y=8)
    packed = lazy.contrast.pack()
    assert packed.chunks
    assert packed.packed.dims == lazy.dims
    store = xc.write_zarr(packed, tmp_path / "packed.zarr", progress=False)
    back = xr.open_zarr(store).contrast.unpack()
    assert back.chunks
    assert back.dtype == np.float32
    exact = lazy.compute()
    np.testing.assert_array_equal(np.isnan(back), np.isnan(exact))
    assert float(abs(back - exact).max()) <= float(abs(exact).max()) / 254 * 1.001
    length = np.sqrt((back**2).sum("feature") * (exact**2).sum("feature"))
    cosine = (back * exact).sum("feature") / length.where(length > 0)
    assert float(cosine.min()) > 0.9999
    assert back.attrs["model_digest"] == untrained.digest
    assert back.name == lazy.name
    assert {"s2_time", "valid_fraction", "spatial_ref"} <= set(back.coords)
    assert back.odc.geobox == lazy.odc.geobox
    # What comes back is an embedding for all that takes one.
    assert (
        back.isel(s2_time=1).contrast.similar([(float(back.x[5]), float(back.y[5]))]).max() <= 1.001
    )


def test_building_computes_nothing(untrained: xc.Model, no_compute: None) -> None:
    packed = planted_cube(64).s2.contrast.embed(untrained).contrast.pack()
    assert packed.contrast.unpack().chunks


def test_what_cannot_be_packed_or_unpacked() -> None:
    with pytest.raises(DataError, match=r"floats with the dim feature.*int64.*embed\(model\)"):
        xc.pack(xr.DataArray(np.zeros((2, 2), int), dims=("y", "x")))
    with pytest.raises(DataError, match=r"packed and scale.*variables \['s1'\].*pack"):
        xc.unpack(xr.Dataset({"s1": ("x", [1.0])}))
