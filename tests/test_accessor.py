from __future__ import annotations

import inspect

import pytest
import xarray as xr

import xcontrast as xc
from xcontrast.accessor import DataArrayContrast, DatasetContrast

BOTH = (
    "embed", "before_after", "change", "fit", "finetune", "predict", "probe", "evaluate", "plot",
)  # fmt: skip

ONE = (
    "similar", "cluster", "pack", "seam_score", "score", "calibration", "click", "to_cog",
)  # fmt: skip


@pytest.mark.parametrize(
    ("accessor", "names"),
    [
        (DatasetContrast, ("measure_shifts", "pairs", "chips", "pretrain", "unpack", *BOTH)),
        (DataArrayContrast, (*BOTH, *ONE)),
    ],
)
def test_methods_are_the_functions(accessor: type, names: tuple[str, ...]) -> None:
    public = {n for n in vars(accessor) if not n.startswith("_")}
    assert public == set(names)
    for name in names:
        function, method = getattr(xc, name), getattr(accessor, name)
        assert method.__doc__ == function.__doc__
        _, *rest = inspect.signature(function).parameters.values()
        _, *bound = inspect.signature(method).parameters.values()
        assert rest == bound


ODD = (
    xr.Dataset(),
    xr.DataArray(3),
    xr.DataArray([1], dims="a"),
    xr.DataArray([1], {"x": [0]}, dims="x").x,
    xr.DataArray([1], dims="feature", name=7),
    xr.DataArray([1], dims="category"),
    xr.DataArray([1], dims="s1_band"),
    xr.DataArray(1, attrs={"flag_values": [0, 1], "flag_meanings": "one"}),
    xr.Dataset({"s1": 3, "s2": ("pair", [1])}),
    xr.Dataset({"s1": ("s1_band", [1])}, attrs={"xcontrast_facts": "{"}),
    xr.Dataset({"s1": (("location", "feature"), [[1]])}),
)


@pytest.mark.parametrize("obj", ODD)
def test_the_accessor_is_on_anything_and_never_raises(obj: xr.Dataset | xr.DataArray) -> None:
    assert "xcontrast.accessor" not in repr(obj.contrast)
    assert "<table" in obj.contrast._repr_html_()


def test_what_cannot_be_described_says_why() -> None:
    text = repr(ODD[9].contrast)
    assert "s1_band 1" in text
    assert "JSONDecodeError" in text


INPUTS = {"bbox", "geobox", "cube", "model", "datetime", "source", "store", "client", "options"}
"""What a function works on and with, as against how."""


def test_options_are_keyword_only_and_few() -> None:
    functions = [f for n, f in vars(xc).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert len(functions) >= 15
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        options = [p for p in parameters if p.default is not p.empty]
        assert all(p.kind is p.KEYWORD_ONLY for p in options), function.__name__
        assert len([p for p in options if p.name not in INPUTS]) <= 8, function.__name__
