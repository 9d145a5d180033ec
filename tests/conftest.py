from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
import xarray as xr
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from scenes import planted_cube

import xcontrast as xc

# A first call imports what it needs, and machines are shared: time is no part of a property.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Where the real imagery lies."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("XCONTRAST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"real imagery is not at {folder}; set XCONTRAST_DATA")
    return folder


@pytest.fixture
def no_compute() -> Iterator[None]:
    """Fail when anything is computed: for building what must stay lazy."""

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a lazy call computed something")

    with dask.config.set(scheduler=refuse):
        yield


@pytest.fixture
def cube() -> xr.Dataset:
    return planted_cube()


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    """A ResNet-18 pair with random weights and a measured normaliser."""
    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("models") / "untrained"
    return xc.pretrain(planted_cube(), max_steps=0, out=out, options=options)
