from __future__ import annotations

import pytest
from scenes import planted_cube

import xcontrast as xc


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    """A pair of small encoders with random weights and a measured normaliser."""
    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("models") / "tiny"
    return xc.pretrain(
        planted_cube(96), encoder="test_resnet", max_steps=0, out=out, options=options
    )


@pytest.fixture(scope="session")
def tiny_head(tiny: xc.Model) -> xc.Head:
    """On both sensors' features before, after and of the difference."""
    cube = planted_cube(96)
    emb = xc.before_after(cube.contrast.embed(tiny), event="2023-04-10").compute()
    first = emb["s1"].isel(feature=0)
    labels = (first > float(first.mean())).astype("uint8").reset_coords(drop=True)
    labels = labels.assign_coords(spatial_ref=emb.spatial_ref)
    return emb.contrast.fit(labels, legend=xc.FLOOD)


@pytest.fixture(scope="session")
def tiny_segmenter(tiny: xc.Model) -> xc.Segmenter:
    """Of two dates of radar; trained for a step."""
    cube = planted_cube(96)[["s1"]]
    labels = (cube.s1.isel(s1_time=0, s1_band=0) > -11).astype("uint8").reset_coords(drop=True)
    labels = labels.assign_coords(spatial_ref=cube.spatial_ref)
    options = xc.FinetuneOptions(crop_size=32, val_fraction=0, progress=False, device="cpu")
    return cube.contrast.finetune(
        labels, tiny, legend=xc.FLOOD, max_steps=1, batch_size=2, options=options
    )
