from __future__ import annotations

from pathlib import Path

import pytest

import xcontrast as xc
from xcontrast.model import SensorCard
from xcontrast.protocols.encoders import make_random


def make_seer(mean: float, std: float, encoder: str) -> xc.Model:
    """Make a small random encoder whose scaling centres what the tests plant."""
    scaling = SensorCard(
        bands=("B04", "B03", "B02"), units="1", gsd=10.0, mean=(mean,) * 3, std=(std,) * 3
    )
    return make_random({"s2": scaling}, encoder=encoder, out_stride=8, seed=0)


@pytest.fixture(scope="session")
def seer() -> xc.Model:
    """For the colours of EuroSAT's layout."""
    return make_seer(0.13, 0.08, "resnet18")


@pytest.fixture(scope="session")
def patch_seer() -> xc.Model:
    """For the levels of BigEarthNet's layout."""
    return make_seer(0.065, 0.045, "test_resnet")


@pytest.fixture(scope="session")
def real_lists(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Lists of 300 real pictures of EuroSAT."""
    folder = tmp_path_factory.mktemp("lists")
    root = data_dir / "eurosat_rgb"
    for k, split in enumerate(("train", "val", "test")):
        names = [
            file.name
            for kind in sorted(p for p in root.iterdir() if p.is_dir())
            for file in sorted(kind.iterdir())[10 * k : 10 * k + 10]
        ]
        (folder / f"eurosat-{split}.txt").write_text("\n".join(names))
    return folder
