from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube, smooth

import xcontrast as xc

QUICK = xc.FinetuneOptions(crop_size=32, progress=False, device="cpu", precision="32")
"""For tests: small crops, nothing shown."""


@pytest.fixture(scope="session")
def quick() -> xc.FinetuneOptions:
    return QUICK


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    """A pair of small encoders with random weights and a measured normaliser."""
    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("models") / "tiny"
    return xc.pretrain(
        planted_cube(96), encoder="test_resnet", max_steps=0, out=out, options=options
    )


def change_scene(n: int = 128, *, seed: int = 0, georeferenced: bool = True) -> tuple:
    """Give a cube of two dates, where values fall at the second in some patches; and these."""
    cube = planted_cube(n, seed=seed, georeferenced=georeferenced).copy(deep=True)
    flooded = smooth(np.random.default_rng(seed + 100), n, 6) > 0.5
    cube["s1"].values[1] -= 9 * flooded
    cube["s2"].values[1] -= 0.15 * flooded
    truth = xr.DataArray(flooded.astype("uint8"), cube.s1.isel(s1_time=0, s1_band=0).coords,
                         ("y", "x")).drop_vars(["s1_time", "s1_band"])  # fmt: skip
    return cube, truth


@pytest.fixture(scope="session")
def scene() -> tuple:
    return change_scene()


@pytest.fixture(scope="session")
def segmenter(scene: tuple, tiny: xc.Model) -> xc.Segmenter:
    """Fine-tuned on the north of the scene; both sensors and dates."""
    cube, truth = scene
    north = truth.where(truth.y > truth.y[80], 255).astype("uint8")
    options = replace(QUICK, trained="all", encoder_rate=1.0, learning_rate=1e-2, eval_every=20)
    return cube.contrast.finetune(
        north, tiny, legend=xc.FLOOD, max_steps=60, batch_size=4, options=options
    )
