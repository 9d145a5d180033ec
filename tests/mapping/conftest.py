from __future__ import annotations

import pytest
import xarray as xr
from scenes import planted_cube


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 px, so that a small cube has several."""
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK", 64)
    monkeypatch.setattr("xcontrast.embedding.embed.BLOCK_STEP", 64)


@pytest.fixture
def wide() -> xr.Dataset:
    """Sides that divide nothing; three dates."""
    return planted_cube(160, n_times=3).isel(x=slice(0, 150), y=slice(0, 133)).chunk(y=50, x=70)
