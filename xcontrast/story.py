"""The demo as a report: what was loaded, learnt, mapped, and how good it is beside baselines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from xcontrast.demo import EAST, METHODS, PATCH, STRIDE, WEST, Demo
from xcontrast.legends import NO_LABEL
from xcontrast.plotting import (
    HITS,
    plot_hits,
    plot_lags,
    plot_map,
    plot_pairs,
    plot_pca,
    plot_timeline,
    plot_training,
)
from xcontrast.report import Picture, Section, Table, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["tell_demo"]

OWN_AREA = """The same steps on a place of your own.

    import xcontrast as xc

    cube = xc.open_cube(
        bbox=(11.0, 44.2, 11.4, 44.5),
        datetime="2023-04-01/2023-05-22",
        options=xc.CubeOptions(relative_orbit=95),
    )
    model = cube.contrast.pretrain(out="runs/po")
    emb = cube.s1.contrast.embed(model)
    change = xc.before_after(emb, event="2023-05-16")
    head = change.contrast.fit(labels, legend=xc.FLOOD, column="class")
    flood = change.contrast.predict(head, like=cube)
    xc.to_cog(flood.label, "flood.tif")

`labels` is a GeoDataFrame of points or polygons, or a DataArray of codes on any grid. As on this
page the passes are of one relative orbit, and end soon after the event, as all from it on are
averaged. Which orbits there are `cube.contrast` tells. Hold out an area, and score it with
`xc.score` beside a baseline, before you trust a map."""


def tell_demo(demo: Demo) -> Path:
    """Write ``report.html`` of a demo.

    Parameters
    ----------
    demo : Demo
        From ``simulate_and_map``.

    Returns
    -------
    Path
    """
    import matplotlib as mpl

    # A file is written: no window, whatever backend the person's session has.
    with mpl.rc_context({"backend": "agg"}):
        sections = [
            _loaded(demo),
            _paired(demo),
            _learnt(demo),
            _embedded(demo),
            _mapped(demo),
            _scored(demo),
            _timed(demo),
            Section(title="On your own area", text=OWN_AREA),
        ]
        return write_report(
            demo.out / "report.html",
            title="From two sensors to a flood map, without leaving xarray",
            lead=_verdict(demo),
            facts=_facts(demo),
            sections=sections,
            simulated=True,
        )


def _verdict(demo: Demo) -> str:
    """Say what the scores say, whichever way they fall."""
    mean = demo.scores.mean()
    ours, rest = mean[METHODS[0]], mean[list(METHODS[1:])]
    better = [name for name in rest.index if ours > rest[name]]
    worse = [name for name in rest.index if ours <= rest[name]]
    draws = len(demo.scores)
    times = f"mean of {draws} draws of the labels" if draws > 1 else "one draw of the labels"
    text = (
        f"Two encoders were pretrained on unlabelled Sentinel-1/2 pairs and kept frozen. A linear "
        f"head on {demo.scale.n_patches} labelled squares of {10 * PATCH} m then maps the flood on "
        f"held-out ground with an IoU of {ours:.2f} ({times})."
    )
    if better:
        listed = ", ".join(f"{name} {rest[name]:.2f}" for name in better)
        text += f" With the same labels it is above: {listed}."
    if worse:
        listed = ", ".join(f"{name} {rest[name]:.2f}" for name in worse)
        text += f" It is not above: {listed}."
    return text + (
        "\n\nOne simulated place says how the parts work together, not how well any of them does "
        "on the real Earth."
    )


def _facts(demo: Demo) -> dict[str, str]:
    facts = demo.truth.attrs
    side = demo.scale.size * 10 / 1000
    return {
        "Place": f"{side:.1f} x {side:.1f} km at 10 m, EPSG:32632, simulated with seed {demo.seed}",
        "Images": f"{facts['n_s1']} Sentinel-1, {facts['n_s2']} Sentinel-2, one year",
        "Flood": f"peak {facts['peak']}, {facts['level_m']} m above the river, "
        f"{100 * float(facts['flooded_share']):.0f} % of the scene",
        "Model": f"`{demo.model.digest}`, {demo.model.card.encoder}, "
        f"{demo.model.card.training['steps']} steps",
        "Files": "`archive/` `chips.zarr` `model/` `head/` `flood.zarr` `flood.tif` `scores.csv`",
    }


def _loaded(demo: Demo) -> Section:
    text = (
        "A static STAC catalog of cloud-optimised GeoTIFFs was searched and opened through "
        "odc-stac on one grid, lazily: nothing was read to draw this time line.\n\n"
        "- Sentinel-2 from processing baseline 04.00 on carries an offset of -1000; it is applied "
        "by each item's baseline, not by date.\n"
        "- Clouds and shadows of the scene classification are NaN.\n"
        "- Each Sentinel-1 orbit is a time step of its own, in dB."
    )
    figure = Picture(
        image=plot_timeline(demo.cube),
        caption="All acquisitions. The flood falls in a cloudy week, as floods do: only radar "
        "sees it.",
        alt="Time line of Sentinel-1 and Sentinel-2 dates over 2023 with cloud cover",
    )
    return Section(title="What was loaded", text=text, figures=[figure])


def _paired(demo: Demo) -> Section:
    told = json.loads(demo.pairs.attrs["pairing"])
    days = pd.Timedelta(told["tolerance"]) / pd.Timedelta("1D")
    n_chips, size = len(demo.chips), demo.chips.size
    text = (
        f"Each Sentinel-2 date was matched with the Sentinel-1 pass nearest in time, within "
        f"{days:g} days: {told['matched']} pairs, {told['rejected_by_time']} dates without a "
        f"partner. Windows of {size} px that are at least 90 % valid in both sensors became "
        f"{n_chips} chips from {len(np.unique(demo.chips.pair))} of the pairs; the others are "
        "too cloudy."
    )
    clear = [int(i) for i in np.unique(demo.chips.pair)]
    figures = [
        Picture(
            image=plot_lags(demo.pairs),
            caption="Time from the Sentinel-2 to the Sentinel-1 image of a pair.",
            alt="Histogram of pairs by signed lag in days",
        ),
        Picture(
            image=plot_pairs(demo.pairs.isel(pair=clear), n=4),
            caption="Positive pairs: the same ground, two sensors. Radar is speckled and sees "
            "structure and water; optics sees colour, and clouds (grey where masked).",
            alt="Four pairs of radar and optical images side by side",
        ),
    ]
    return Section(title="Positive pairs", text=text, figures=figures)


def _learnt(demo: Demo) -> Section:
    facts = demo.model.card.training
    held = facts["held_out"]
    text = (
        f"A {demo.model.card.encoder} for each sensor, unshared, was trained for {facts['steps']} "
        f"steps of {facts['batch_size']} pairs (symmetric NT-Xent, independent crops, temperature "
        f"{facts['options']['temperature']}) on {facts['device']} in {facts['precision']}. "
        f"{facts['n_held_out_chips']} chips on ground apart were held out. There, the other "
        f"sensor's image of a place is found first among {held['n_val']:.0f} in "
        f"{100 * held['recall_at_1']:.0f} % of cases; chance is "
        f"{100 * held['chance_recall_at_1']:.0f} %."
    )
    figure = Picture(
        image=plot_training(demo.model.history),
        caption="Loss (left) and retrieval across sensors on held-out ground (right). With few "
        "places the retrieval moves in large steps.",
        alt="Training loss falling and held-out recall rising above chance",
    )
    return Section(title="What was learnt, without labels", text=text, figures=[figure])


def _embedded(demo: Demo) -> Section:
    n = demo.change.sizes["feature"] // 3
    text = (
        f"Four passes of one orbit were embedded densely at {10 * STRIDE} m: {n} features a cell "
        "from all levels of the network down to stride 16, read with a halo as wide as the "
        "receptive field, so without seams. The three passes before the flood are averaged; "
        "before, after and their difference are what heads are fitted on."
    )
    after = demo.change.isel(feature=slice(n, 2 * n))
    change = demo.change.isel(feature=slice(2 * n, None))
    figures = [
        Picture(
            image=plot_pca(after),
            caption="Embedding of the pass at the peak, its first three principal components as "
            "red, green and blue. The colours mean nothing but likeness.",
            alt="False-colour map of the embedding at the flood peak",
        ),
        Picture(
            image=plot_pca(change),
            caption="The difference to the passes before. What changed stands out: the flood.",
            alt="False-colour map of the change of the embedding",
        ),
    ]
    return Section(title="Embeddings", text=text, figures=figures)


def _mapped(demo: Demo) -> Section:
    n = int((demo.labels.values != NO_LABEL).sum())
    text = (
        f"{demo.scale.n_patches} squares of {10 * PATCH} m, {n / demo.labels.size:.2%} of the "
        f"scene, are labelled, all west of {WEST:.0%} of the width. Every method gets exactly "
        f"these. Scores count only what lies east of {EAST:.0%}; the strip between is wider than "
        "most of what a cell sees. Truth is every place under water that was dry before, seen by "
        "radar or not: under trees it looks brighter, in villages hardly different."
    )
    return Section(
        title="Flood map from a few labels",
        text=text,
        figures=[
            Picture(
                image=_label_panels(demo),
                caption="Labels given, truth, and the map of the pretrained encoder.",
                alt="Labelled squares, true flood and mapped flood side by side",
            ),
            Picture(
                image=_hit_panels(demo),
                caption="The held-out east: hits, misses and false alarms of each method.",
                alt="Maps of hits, misses and false alarms of the four methods",
            ),
        ],
    )


def _label_panels(demo: Demo) -> Figure:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained")
    for ax, layer, name in zip(
        axes,
        (demo.labels, demo.truth.flood, demo.maps[METHODS[0]]),
        ("labels", "truth (simulated)", METHODS[0]),
        strict=True,
    ):
        plot_map(layer, ax=ax)
        ax.set_title(name, loc="left", fontsize=10)
    return figure


def _hit_panels(demo: Demo) -> Figure:
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    east = slice(int(EAST * demo.truth.sizes["x"]), None)
    truth = demo.truth.flood.isel(x=east)
    figure, axes = plt.subplots(1, 4, figsize=(10.5, 6.4))
    for ax, name in zip(axes, METHODS, strict=True):
        plot_hits(demo.maps[name].isel(x=east), truth, ax=ax)
        ax.set_title(f"{name}\n{ax.get_title(loc='left')}", loc="left", fontsize=9)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        ax.get_legend().remove()
    patches = [Patch(facecolor=c, edgecolor="0.4", lw=0.5, label=n) for n, c in HITS.items()]
    figure.legend(handles=patches, loc="lower left", ncols=4, frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.92, bottom=0.06, wspace=0.06)
    return figure


def _scored(demo: Demo) -> Section:
    scores = demo.scores
    frame = pd.DataFrame(
        {
            "method": list(METHODS),
            "flood IoU, mean": [scores[m].mean() for m in METHODS],
            "lowest": [scores[m].min() for m in METHODS],
            "highest": [scores[m].max() for m in METHODS],
        }
    )
    text = (
        "Intersection over union of the flood on held-out ground, over draws of the labels.\n\n"
        "- `pretrained encoder`: frozen, with a linear head.\n"
        "- `random-init encoder`: the same network, normaliser and head, never trained.\n"
        "- `per-pixel boosting`: gradient boosting on VV and VH before, at the peak, and their "
        "difference.\n"
        "- `boosting, 5x5 stats`: the same, with the mean and standard deviation of a 5 x 5 "
        "window of each layer: what a careful person does against speckle."
    )
    table = Table(
        frame=frame,
        caption=f"Draws of the labels: {len(scores)}. One simulated place, one training.",
        formats=dict.fromkeys(frame.columns[1:], ".3f"),
    )
    return Section(title="How good it is", text=text, tables=[table])


def _timed(demo: Demo) -> Section:
    frame = pd.DataFrame({"step": list(demo.seconds), "seconds": list(demo.seconds.values())})
    total = sum(demo.seconds.values())
    table = Table(frame=frame, formats={"seconds": ".1f"}, caption=f"{total:.0f} s together.")
    text = f"On {os.cpu_count()} CPU cores; training on {demo.model.card.training['device']}."
    return Section(title="How long it took", text=text, tables=[table])
