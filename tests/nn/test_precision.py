from __future__ import annotations

import pytest
import torch
import xarray as xr

import xcontrast as xc
from xcontrast.errors import DataError
from xcontrast.heads.segmenting.networks import load_segmentation
from xcontrast.nn.precision import choose_device

MISSING = "cuda:31" if torch.cuda.is_available() else "cuda"


def test_a_device_that_computes_is_taken() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", [MISSING, "gpuu", "", "meta"])
def test_a_device_that_does_not_is_refused(
    device: str, untrained: xc.Model, cube: xr.Dataset
) -> None:
    said = rf"Expected a device that computes here.*received '{device}'.*Do this: use device='auto"
    with pytest.raises(DataError, match=said):
        choose_device(device)
    with pytest.raises(DataError, match=said):
        xc.embed(cube.s2.isel(s2_time=0), untrained, device=device).compute()
    with pytest.raises(DataError, match=said):
        load_segmentation("nowhere", "digest", device, "32")
