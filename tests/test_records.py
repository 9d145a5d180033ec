from __future__ import annotations

import pytest

import xcontrast as xc
from xcontrast.errors import DataError


@pytest.mark.parametrize(
    "change",
    [
        {"codes": (0, 0)},
        {"codes": (0, 255)},
        {"names": ("a",)},
        {"codes": (0,), "names": ("a",), "colors": ("r",)},
    ],
)
def test_legends_that_cannot_be(change: dict) -> None:
    good = {"title": "t", "codes": (0, 1), "names": ("a", "b"), "colors": ("#000", "#fff")}
    with pytest.raises(DataError, match=r"two or more different codes.*255 is kept"):
        xc.Legend(**(good | change))


def test_flags_are_plain_and_follow_cf() -> None:
    attrs = xc.WORLDCOVER.attrs
    assert attrs["flag_values"] == list(xc.WORLDCOVER.codes)
    assert len(attrs["flag_meanings"].split()) == len(attrs["flag_colors"].split()) == 11
    assert attrs["nodata"] == 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resampling": "lanczos9"}, "resampling='lanczos9'"),
        ({"invalid_scl": (12,)}, r"invalid_scl=\(12,\)"),
        ({"sign": "later"}, "sign='later'"),
        ({"orbit_state": "up"}, "orbit_state='up'"),
    ],
)
def test_cube_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        xc.CubeOptions(**options)
