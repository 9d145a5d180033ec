"""Blocks are one piece: for networks of several kinds, and beside the naive way."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube

import xcontrast as xc

STRIDE = 8


@pytest.fixture(scope="module")
def noise() -> xr.DataArray:
    """Sides that divide nothing; noise, of which nothing is alike across a border."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 0.05, (1, 4, 700, 523)).astype("float32")
    bands = {"s2_band": ["B02", "B03", "B04", "B08"]}
    return xc.as_cube(s2=xr.DataArray(values, bands, ("s2_time", "s2_band", "y", "x"))).s2


@pytest.fixture(scope="module", params=["convnext_atto", "mobilenetv3_small_050"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("models") / request.param
    return xc.pretrain(
        planted_cube(96), encoder=request.param, max_steps=0, out=out, options=options
    )


def _embed(noise: xr.DataArray, model: xc.Model) -> xr.DataArray:
    return noise.contrast.embed(model, stride=STRIDE, precision="32")


def test_blocks_are_one_piece_and_every_pixel_is_covered(
    noise: xr.DataArray, model: xc.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = model.card.halo is not None
    assert local == (model.card.encoder == "convnext_atto")
    whole = _embed(noise, model)
    assert len(whole.chunksizes["y"]) == 1
    assert {"halo", "window"} & set(whole.attrs) == {"halo" if local else "window"}
    whole = whole.compute()
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK", 256)
    tiled = _embed(noise, model)
    assert tiled.chunksizes["y"] == (32, 32, 24)
    assert tiled.shape[-2:] == (88, 66)
    assert np.isfinite(tiled).all()
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * float(whole.std()))
    # One piece has a score at these lines too, by chance.
    own = whole.contrast.seam_score(every=256 // STRIDE)
    assert tiled.contrast.seam_score() <= 1.02 * own

    # Naive: each block by itself. The same borders show at once.
    parts = [
        [_embed(noise.isel(y=slice(a, a + 256), x=slice(b, b + 256)), model) for b in (0, 256)]
        for a in (0, 256)
    ]
    naive = xr.combine_nested(parts, ["y", "x"]).assign_attrs(whole.attrs)
    assert naive.contrast.seam_score() > 1.15 * own
