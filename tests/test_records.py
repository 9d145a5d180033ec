from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": (0.0, 1.0)}, r"whole numbers.*received codes \(0\.0, 1\.0\)"),
        ({"codes": (0.5, 1.5)}, r"whole numbers.*received codes \(0\.5"),
        ({"codes": (False, True)}, r"whole numbers.*received codes \(False, True\)"),
        ({"codes": ("0", "1")}, r"whole numbers.*received codes \('0', '1'\)"),
        ({"names": ("a", "a")}, r"names that differ.*received names \('a', 'a'\)"),
        ({"colors": ("rgb(0, 0, 0)", "#fff")}, r"colours without blanks.*rgb\(0.*#rrggbb"),
        ({"colors": ("", "#fff")}, r"colours without blanks"),
    ],
)
def test_legends_that_could_not_be_told_or_kept(change: dict, message: str) -> None:
    good = {"title": "t", "codes": (0, 1), "names": ("a", "b"), "colors": ("#000", "#fff")}
    with pytest.raises(DataError, match=message):
        xc.Legend(**(good | change))


def test_a_legend_is_the_same_however_its_fields_come() -> None:
    plain = xc.Legend(title="t", codes=(0, 1), names=("a", "b"), colors=("#000", "#fff"))
    lists = xc.Legend(title="t", codes=[0, 1], names=["a", "b"], colors=["#000", "#fff"])
    found = np.array([1, 0, 1], "uint8")
    arrays = xc.Legend(
        title=np.str_("t"),
        codes=np.unique(found),
        names=np.array(["a", "b"]),
        colors=np.array(["#000", "#fff"], object),
    )
    for other in (lists, arrays, replace(plain, codes=tuple(np.unique(found)))):
        assert other == plain
        assert hash(other) == hash(plain)
        # Digests are made of it.
        assert repr(other) == repr(plain)
        assert json.loads(json.dumps(asdict(other))) == json.loads(json.dumps(asdict(plain)))


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
