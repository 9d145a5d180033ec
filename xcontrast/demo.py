"""The whole way on simulated data: archive, cube, pairs, encoders, embeddings, map, scores.

Every step is the call that a person makes on real data; only the archive is simulated.
`xcontrast.story` tells it as a report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.cubes.cube import open_cube
from xcontrast.cubes.simulate import read_truth, simulate_archive
from xcontrast.embedding.composites import before_after
from xcontrast.embedding.embed import embed
from xcontrast.evaluation.baselines import fit_pixels, local_statistics, map_pixels
from xcontrast.evaluation.scores import score
from xcontrast.folders import claim_folder
from xcontrast.heads.fitting import fit
from xcontrast.heads.head import Head
from xcontrast.heads.maps import predict
from xcontrast.legends import FLOOD, NO_LABEL
from xcontrast.mapping.cog import to_cog
from xcontrast.model import Model
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.cutting import chips
from xcontrast.sampling.pairing import pairs
from xcontrast.store import write_zarr
from xcontrast.training.options import PretrainOptions
from xcontrast.training.pretrain import pretrain

__all__ = ["FULL", "QUICK", "Demo", "Scale", "simulate_and_map"]

STRIDE = 2
"""Pixels a cell of the embeddings that are mapped from."""
WEST, EAST = 0.42, 0.58
"""Labels come from west of the first share of the width, scores from east of the second."""
PATCH = 12
"""Side of a labelled square, pixels."""
METHODS = ("pretrained encoder", "random-init encoder", "per-pixel boosting", "boosting, 5x5 stats")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a demo is."""

    size: int
    """Pixels a side of the scene."""
    cycle: int
    """Days between passes of an orbit."""
    chip_size: int
    chip_stride: int
    crop_size: int
    max_steps: int
    batch_size: int
    n_patches: int
    """Labelled squares."""
    n_draws: int
    """Times that the labels are drawn anew."""


FULL = Scale(
    size=640, cycle=24, chip_size=96, chip_stride=48, crop_size=64, max_steps=400, batch_size=64,
    n_patches=16, n_draws=3,
)  # fmt: skip
QUICK = Scale(
    size=320, cycle=24, chip_size=64, chip_stride=16, crop_size=48, max_steps=45, batch_size=32,
    n_patches=12, n_draws=1,
)  # fmt: skip


@dataclass
class Demo:
    """What a demo has made, for the report and for tests."""

    out: Path
    scale: Scale
    seed: int
    truth: xr.Dataset = field(init=False)
    cube: xr.Dataset = field(init=False)
    pairs: xr.Dataset = field(init=False)
    chips: Chips = field(init=False)
    model: Model = field(init=False)
    change: xr.DataArray = field(init=False)
    labels: xr.DataArray = field(init=False)
    maps: dict[str, xr.DataArray] = field(default_factory=dict)
    """Of the first draw of labels, by method."""
    scores: pd.DataFrame = field(init=False)
    """Flood IoU on held-out ground: a row a draw, a column a method."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By step."""


def simulate_and_map(
    out: str | os.PathLike[str],
    *,
    scale: Scale = FULL,
    seed: int = 0,
    progress: bool = True,
) -> Demo:
    """Go the whole way and leave archive, model, head, Zarr and COG in a folder.

    Parameters
    ----------
    out : path
        A folder that does not exist or is empty.
    scale : Scale
        `FULL` or `QUICK`.
    seed : int, default 0
        Of the simulation, the training and the labels.
    progress : bool, default True
        Say what is being done, with bars.

    Returns
    -------
    Demo

    Raises
    ------
    ModelError
        If the folder holds something.
    """
    demo = Demo(claim_folder(out), scale, seed)
    clock = _Clock(demo.seconds, progress)
    with clock("simulate an archive of COGs and a STAC catalog"):
        catalog = simulate_archive(
            demo.out / "archive", size=scale.size, cycle=scale.cycle, seed=seed, progress=progress
        )
        demo.truth = read_truth(demo.out / "archive")
    with clock("open a lazy cube from the catalog"):
        grid = demo.truth.odc.geobox
        demo.cube = open_cube(geobox=grid, datetime="2023", source=catalog)
    with clock("pair the sensors in time, cut chips and save them"):
        demo.pairs = pairs(demo.cube, tolerance="3D")
        cut = chips(demo.pairs, size=scale.chip_size, stride=scale.chip_stride)
        demo.chips = cut.save(demo.out / "chips.zarr", seed=seed, progress=progress)
    options = PretrainOptions(seed=seed, crop_size=scale.crop_size, progress=progress)
    with clock("pretrain two encoders on the pairs, without labels"):
        demo.model = pretrain(
            demo.chips,
            max_steps=scale.max_steps,
            batch_size=scale.batch_size,
            out=demo.out / "model",
            options=options,
        )
    with clock("write the untrained encoders, the baseline"):
        random = pretrain(
            demo.chips,
            max_steps=0,
            batch_size=scale.batch_size,
            out=demo.out / "model-untrained",
            options=options,
        )
    with clock("embed the passes before and at the flood"):
        passes = _same_orbit_passes(demo)
        peak = demo.truth.attrs["peak"]
        changes = {
            name: before_after(embed(passes, model, stride=STRIDE), event=peak).persist()
            for name, model in zip(METHODS[:2], (demo.model, random), strict=True)
        }
        demo.change = changes[METHODS[0]]
    with clock("fit heads and baselines to a few labels, map, score on held-out ground"):
        pixels = before_after(
            passes.rename(s1_band="feature").drop_vars("feature"), event=peak
        ).compute()
        head = _compare(demo, changes, pixels)
    with clock("write the map as Zarr and COG"):
        head = head.save(demo.out / "head")
        flood = predict(demo.change, head, like=grid)
        write_zarr(flood, demo.out / "flood.zarr", progress=progress)
        to_cog(flood.label, demo.out / "flood.tif")
    return demo


class _Clock:
    """Say and time each step."""

    def __init__(self, seconds: dict[str, float], progress: bool) -> None:
        self._seconds, self._progress = seconds, progress

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        if self._progress:
            print(f"[{len(self._seconds) + 1}/9] {step} ...", flush=True)
        started = time.perf_counter()
        yield
        self._seconds[step] = time.perf_counter() - started
        if self._progress:
            print(f"      {self._seconds[step]:.1f} s", flush=True)


def _same_orbit_passes(demo: Demo) -> xr.DataArray:
    """Take the pass at the peak and three before it, of one orbit: one geometry."""
    s1 = demo.cube.s1
    orbit = s1.s1_relative_orbit.values == demo.truth.attrs["relative_orbit"]
    days = s1.s1_time.values.astype("datetime64[D]")
    until = np.flatnonzero(orbit & (days <= np.datetime64(demo.truth.attrs["peak"])))
    passes: xr.DataArray = s1.isel(s1_time=until[-4:])
    return passes


def _draw_labels(demo: Demo, draw: int) -> xr.DataArray:
    """Label squares in the west, half of them around a flooded pixel, the rest anywhere."""
    flood = demo.truth.flood
    rng = np.random.default_rng((demo.seed, 4, draw))
    n_rows, n_cols = flood.shape
    west = int(WEST * n_cols) - PATCH
    rows, cols = np.meshgrid(
        np.arange(PATCH, n_rows - PATCH), np.arange(PATCH, west), indexing="ij"
    )
    wet = flood.values[rows, cols] == 1
    values = np.full(flood.shape, NO_LABEL, np.uint8)
    for want in (wet, ~wet):
        chosen = rng.choice(np.flatnonzero(want), demo.scale.n_patches // 2, replace=False)
        for row, col in zip(rows.ravel()[chosen], cols.ravel()[chosen], strict=True):
            square = (
                slice(row - PATCH // 2, row + PATCH // 2),
                slice(col - PATCH // 2, col + PATCH // 2),
            )
            values[square] = flood.values[square]
    labels: xr.DataArray = flood.copy(data=values)
    return labels


def _compare(demo: Demo, changes: dict[str, xr.DataArray], pixels: xr.DataArray) -> Head:
    """Fit every method to the same labels, keep maps and scores; give the first draw's head."""
    grid = demo.truth.odc.geobox
    east = slice(int(EAST * grid.shape[1]), None)
    first: Head | None = None
    rows = []
    for draw in range(demo.scale.n_draws):
        labels = _draw_labels(demo, draw)
        maps = {}
        for name, change in changes.items():
            head = fit(change, labels, legend=FLOOD)
            first = first or head
            maps[name] = predict(change, head, like=grid).label.compute()
        for name, layers in zip(METHODS[2:], (pixels, local_statistics(pixels)), strict=True):
            boosting = fit_pixels(layers, labels, legend=FLOOD, seed=draw)
            maps[name] = map_pixels(boosting, layers, legend=FLOOD)
        truth = demo.truth.flood.isel(x=east)
        rows.append(
            {
                name: float(score(m.isel(x=east), truth, legend=FLOOD).iou.sel(category="flood"))
                for name, m in maps.items()
            }
        )
        if draw == 0:
            demo.labels, demo.maps = labels, maps
    demo.scores = pd.DataFrame(rows, columns=list(METHODS))
    demo.scores.index.name = "draw of labels"
    demo.scores.to_csv(demo.out / "scores.csv")
    if first is None:
        raise AssertionError("a scale has at least one draw of labels")
    return first
