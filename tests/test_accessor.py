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


@pytest.mark.parametrize("obj", [xr.Dataset(), xr.DataArray(3), xr.DataArray([1], dims="a")])
def test_the_accessor_is_on_anything_and_never_raises(obj: xr.Dataset | xr.DataArray) -> None:
    assert obj.contrast is not None


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
