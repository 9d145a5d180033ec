from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.backend_bases import KeyEvent, MouseEvent
from scenes import planted_cube

import xcontrast as xc
from xcontrast.errors import DataError


def press(clicks: xc.Clicks, x: float, y: float, button: int = 1) -> None:
    """Send the canvas a real event at a place of the map."""
    canvas = clicks.ax.figure.canvas
    at = clicks.ax.transData.transform((x, y))
    canvas.callbacks.process(
        "button_press_event", MouseEvent("button_press_event", canvas, *at, button=button)
    )


def take(clicks: xc.Clicks, key: str) -> None:
    canvas = clicks.ax.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_clicks_become_labels_at_their_place_and_time(cube: xr.Dataset, sensor: str) -> None:
    image = cube[sensor]
    time = image[f"{sensor}_time"].values[1]
    clicks = image.contrast.click(legend=xc.FLOOD, time=time)
    clicks.ax.figure.canvas.draw()
    x, y = (image[d].values.astype(float) for d in ("x", "y"))
    press(clicks, x[5], y[7])
    take(clicks, "2")
    press(clicks, x[20], y[9])
    press(clicks, x[30], y[30])
    take(clicks, "7")  # No such category: the one in hand stays.
    assert "next is flood" in clicks.ax.get_title(loc="left")
    press(clicks, x[30], y[30], button=3)
    press(clicks, x[50], y[50], button=3)  # Nothing near.
    press(clicks, x[0] - 1e5, y[0])  # Beside the picture.
    assert len(clicks) == 2
    assert repr(clicks) == "<xcontrast.Clicks dry 1, flood 1>"
    labels = clicks.labels
    assert labels.category.tolist() == ["dry", "flood"]
    np.testing.assert_allclose(labels.geometry.x, x[[5, 20]], atol=1)
    np.testing.assert_allclose(labels.geometry.y, y[[7, 9]], atol=1)
    assert (labels.time == time).all()
    assert labels.crs == cube.rio.crs.to_wkt()
    plt.close("all")


def test_clicks_are_what_a_head_is_fitted_on(untrained: xc.Model) -> None:
    cube = planted_cube(96)
    clicks = cube.s2.contrast.click(legend=xc.FLOOD)
    clicks.ax.figure.canvas.draw()
    for k, at in enumerate((10, 30, 60, 80)):
        take(clicks, str(1 + k % 2))
        press(clicks, float(cube.x[at]), float(cube.y[at]))
    embedding = cube.s2.contrast.embed(untrained, at=clicks.labels)
    head = embedding.contrast.fit(
        clicks.labels, legend=xc.FLOOD, column="category", kind="prototypes"
    )
    assert head.facts["n_cells"] == {"dry": 2, "flood": 2}
    plt.close("all")


def test_points_are_labelled_without_a_mouse(cube: xr.Dataset) -> None:
    clicked = cube.s2.contrast.click(legend=xc.FLOOD)
    clicked.ax.figure.canvas.draw()
    added = cube.s2.contrast.click(legend=xc.FLOOD)
    places = [(float(cube.x[at]), float(cube.y[at + 2])) for at in (5, 20)]
    for key, category, place in zip("21", ("flood", "dry"), places, strict=True):
        take(clicked, key)
        press(clicked, *place)
        added.add(category, [place])
    assert added.labels.category.tolist() == clicked.labels.category.tolist()
    assert (added.labels.time == clicked.labels.time).all()
    assert added.labels.distance(clicked.labels).max() < 1
    with pytest.raises(DataError, match=r"category of the legend: dry, flood.*received 'wet'"):
        added.add("wet", places)
    with pytest.raises(DataError, match=r"points with x in .*1 others.*x before y"):
        added.add("dry", [places[0], places[1][::-1]])
    assert len(added) == 2
    plt.close("all")


def test_two_pictures_lie_side_by_side_each_with_its_own_time(cube: xr.Dataset) -> None:
    pair = cube.contrast.pairs(tolerance="9D").isel(pair=0)
    figure, axes = plt.subplots(1, 2, figsize=(11, 6), layout="constrained")
    for ax, sensor in zip(axes, ("s1", "s2"), strict=True):
        clicks = pair[sensor].contrast.click(legend=xc.FLOOD, ax=ax)
        assert str(pair[f"{sensor}_time"].values)[:10] in ax.get_xlabel()
        assert len(clicks) == 0
    figure.canvas.draw()
    assert all(ax.get_position().width > 0.3 for ax in axes)
    plt.close("all")


def test_the_toolbar_keeps_its_clicks(cube: xr.Dataset) -> None:
    clicks = cube.s2.contrast.click(legend=xc.FLOOD)
    canvas = clicks.ax.figure.canvas
    canvas.draw()
    canvas.toolbar = type("Toolbar", (), {"mode": "zoom rect"})()
    press(clicks, float(cube.x[5]), float(cube.y[5]))
    assert len(clicks) == 0
    assert len(clicks.labels) == 0
    plt.close("all")


def test_only_a_georeferenced_image_can_be_clicked(cube: xr.Dataset) -> None:
    with pytest.raises(DataError, match=r"georeferenced image of one sensor.*write_crs"):
        cube.s2.drop_vars("spatial_ref").contrast.click(legend=xc.FLOOD)
    with pytest.raises(DataError, match="georeferenced image of one sensor"):
        xc.click(cube.s2.isel(s2_band=0), legend=xc.FLOOD)
