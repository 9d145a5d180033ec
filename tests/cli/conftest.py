from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import xcontrast as xc


@pytest.fixture(scope="package")
def area(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, xr.Dataset]:
    """A small archive, its box, and its truth."""
    folder = tmp_path_factory.mktemp("area") / "archive"
    catalog = xc.simulate_archive(folder, size=160, cycle=48, cloud=0.1, progress=False)
    truth = xc.read_truth(folder)
    west, south, east, north = truth.odc.geobox.footprint("EPSG:4326").boundingbox
    return catalog, f"{west + 0.001},{south + 0.001},{east - 0.001},{north - 0.001}", truth


@pytest.fixture(scope="package")
def model(area: tuple[Path, str, xr.Dataset], tmp_path_factory: pytest.TempPathFactory) -> xc.Model:
    catalog, _, truth = area
    cube = xc.open_cube(geobox=truth.odc.geobox, datetime="2023", source=catalog)
    options = xc.PretrainOptions(chip_size=32, progress=False)
    out = tmp_path_factory.mktemp("model") / "m"
    return xc.pretrain(cube, max_steps=0, out=out, options=options)
