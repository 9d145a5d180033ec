"""Which cells belong to which pixels, and which of one array to which of another."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xcontrast.errors import DataError
from xcontrast.grids import are_close, find_factors, geobox_of, order_alike, zoom_out


def pixels(height: int, width: int, **coords: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.zeros((height, width)), coords, ("y", "x"))


def cells_of(fine: xr.DataArray, stride: int, *, told: bool = False) -> xr.DataArray:
    shape = tuple(-(-n // stride) for n in fine.shape)
    attrs = {"stride": stride} if told else {}
    return xr.DataArray(np.zeros(shape), dims=("y", "x"), attrs=attrs)


sides = st.integers(1, 300)


@given(sides, sides, st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_the_stride_that_cells_were_made_with_is_found(h: int, w: int, stride: int) -> None:
    fine = pixels(h, w)
    assert find_factors(fine, cells_of(fine, stride, told=True)) in ([stride], [max(h, w)])
    # Without it the right one is among those that fit, unless one leaves no partial cell.
    found = find_factors(fine, cells_of(fine, stride))
    shape = cells_of(fine, stride).shape
    assert found
    for n in found:
        assert tuple(-(-length // n) for length in (h, w)) == shape
    even = len(found) == 1 and all(found[0] * m == n for m, n in zip(shape, (h, w), strict=True))
    assert stride in found or even or shape == (1, 1)


def test_coords_tell_factors_apart_that_all_fit() -> None:
    fine = pixels(264, 264, y=5e6 - 10.0 * np.arange(264), x=10.0 * np.arange(264))
    cells = cells_of(fine, 32)
    assert find_factors(fine.drop_vars(["y", "x"]), cells) == [30, 31, 32]
    assert find_factors(fine, cells.assign_coords(zoom_out(fine, 32))) == [32]
    elsewhere = cells.assign_coords(zoom_out(fine, 32)).assign_attrs(stride=32)
    assert find_factors(fine, elsewhere.assign_coords(x=elsewhere.x + 1e5)) == []
    assert find_factors(fine, cells_of(pixels(100, 264), 32)) == []


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_leading_dims_are_ordered_by_what_their_coords_say(order: list[str], have: set) -> None:
    own = sorted(have)
    values = xr.DataArray([ord(c) for c in own], {"location": own}, ("location",))
    like = xr.DataArray(np.zeros(6), {"location": order}, ("location",))
    if not have & set(order):
        with pytest.raises(DataError, match=r"labels for the 6 of 'location'.*received others"):
            order_alike(values, like, what="labels")
        return
    got = order_alike(values, like, what="labels")
    for name, value in zip(order, got.values, strict=True):
        assert value == ord(name) if name in have else np.isnan(value)


def test_what_has_no_coords_is_taken_in_order() -> None:
    values = xr.DataArray([1, 2], dims="location")
    like = xr.DataArray(np.zeros(2), {"location": ["b", "a"]}, ("location",))
    assert order_alike(values, like, what="labels") is values
    with pytest.raises(DataError, match=r"the 2 of 'location'.*received 3 without coords"):
        order_alike(xr.DataArray([1, 2, 3], dims="location"), like, what="labels")
    twice = values.assign_coords(location=["a", "a"])
    with pytest.raises(DataError, match=r"name each once.*values that stand for several"):
        order_alike(twice, like, what="labels")


def test_a_crs_is_found_under_any_name() -> None:
    import rioxarray  # noqa: F401

    plain = pixels(4, 5, y=5e6 - 10.0 * np.arange(4), x=10.0 * np.arange(5))
    assert geobox_of(plain) is None
    for name in ("spatial_ref", "crs"):
        named = plain.rio.write_crs(32632, grid_mapping_name=name)
        box = geobox_of(named)
        assert box is not None
        assert box.crs.epsg == 32632
        # What says that it has one, and has lost it, has none; and nothing is warned of.
        assert geobox_of(named.drop_vars(name)) is None


def test_axes_are_close_within_a_tenth_of_a_cell() -> None:
    axis = xr.DataArray(10.0 * np.arange(5), dims="y")
    assert are_close(axis, axis + 0.9)
    assert not are_close(axis, axis + 1.1)
    assert not are_close(axis, axis[::-1])
    assert not are_close(axis, axis[:4])
