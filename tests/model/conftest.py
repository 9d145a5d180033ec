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
