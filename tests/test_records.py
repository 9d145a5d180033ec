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


@pytest.mark.parametrize("legend", [xc.FLOOD, xc.WORLDCOVER, xc.DYNAMIC_WORLD])
def test_a_legend_is_read_back_from_its_attrs(legend: xc.Legend) -> None:
    again = xc.Legend.from_attrs(legend.attrs)
    assert (again.codes, again.colors, again.title) == (legend.codes, legend.colors, legend.title)
    assert [name.replace("_", " ") for name in again.names] == list(legend.names)


def test_flags_without_colours_get_greys_and_none_are_refused() -> None:
    plain = xc.Legend.from_attrs({"flag_values": [1, 4], "flag_meanings": "a b"})
    assert plain.colors == ("#282828", "#dcdcdc")
    with pytest.raises(DataError, match=r"flag_values and flag_meanings.*xc.Legend\("):
        xc.Legend.from_attrs({"units": "1"})
    with pytest.raises(DataError, match="two or more different codes"):
        xc.Legend.from_attrs({"flag_values": [1, 4], "flag_meanings": "a b c"})
