"""What is refused before anything is read, in three parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError


@pytest.fixture(scope="module")
def mapped() -> xr.Dataset:
    label = xr.DataArray(np.array([[0, 1]], "uint8"), dims=("y", "x"))
    share = xr.DataArray(np.full((2, 1, 2), 0.5, "float32"), dims=("category", "y", "x"))
    return xr.Dataset({"label": label, "probability": share})


@pytest.mark.parametrize(
    "name", ["fit", "finetune", "score", "calibration", "evaluate", "probe", "click"]
)
def test_the_name_of_a_legend_is_no_legend(
    name: str, mapped: xr.Dataset, untrained: xc.Model, tmp_path: Path
) -> None:
    emb = xr.DataArray(np.zeros((3, 1, 2), "float32"), dims=("feature", "y", "x"))
    cube = planted_cube(64)
    codes = cube.s1.isel(s1_time=0, s1_band=0, drop=True).notnull().astype("uint8")
    calls: dict[str, Callable[[Any], object]] = {
        "fit": lambda legend: xc.fit(emb, mapped.label, legend=legend),
        "finetune": lambda legend: xc.finetune(
            cube.isel(s1_time=[0], s2_time=[0]), codes, untrained, legend=legend
        ),
        "score": lambda legend: xc.score(mapped.label, mapped.label, legend=legend),
        "calibration": lambda legend: xc.calibration(
            mapped.probability, mapped.label, legend=legend
        ),
        "evaluate": lambda legend: xc.evaluate(
            mapped, mapped.label, legend=legend, out=tmp_path / "page.html"
        ),
        "probe": lambda legend: xc.probe(emb, mapped.label, legend=legend),
        "click": lambda legend: xc.click(cube.s2, legend=legend),
    }
    with pytest.raises(DataError, match=r"Expected a Legend; received 'flood'.*legend=xc\.FLOOD"):
        calls[name]("flood")


def _no_places() -> xr.Dataset:
    one = planted_cube(32).isel(s1_time=0, s2_time=0, drop=True)
    return one.expand_dims(location=2, date=3).isel(location=slice(0, 0))


@pytest.mark.parametrize(
    "call",
    [
        lambda c, _: xc.pairs(c),
        lambda c, _: xc.pairs(c, kind="seasonal"),
        lambda c, _: xc.pretrain(c),
        lambda c, _: xc.pretrain(c, method="seco"),
        lambda c, _: xc.pretrain(c[["s2"]], method="simclr"),
        lambda c, model: xc.embed(c, model, pool=True),
    ],
)
def test_a_collection_whose_places_were_all_given_up_has_no_places(
    call: Callable[[xr.Dataset, xc.Model], object], untrained: xc.Model
) -> None:
    with pytest.raises(DataError, match=r"a collection with places; received no places.*collect"):
        call(_no_places(), untrained)


def test_no_image_cannot_be_pooled(untrained: xc.Model) -> None:
    nothing = planted_cube(32).s1.isel(s1_time=slice(0, 0))
    with pytest.raises(DataError, match=r"at least one date and pixel; received 0 along s1_time"):
        xc.embed(nothing, untrained, pool=True)
