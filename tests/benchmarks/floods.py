"""The flood scoreboard: OMBRIA by scene, few labels and all, frozen and fine-tuned, and baselines.

Five folds of whole scenes; in each, everything is learnt from the other four: encoders from all
of their unlabelled pairs, heads and segmenters from a tenth of their tiles (or all). Every method
maps the same tiles. Rows are appended run by run, one a scene, and what is there is not made
again, so that this can be stopped and called again; encoders are kept in a folder meanwhile.

    python tests/benchmarks/floods.py run --folds 0 1 2 3 4 --models encoders
    python tests/benchmarks/floods.py show

Scenes are development scenes, on which settings were chosen (see docs/ablation.md), and final
ones, which no choice has seen; both are told apart in the table.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.model_selection import GroupKFold

import xcontrast as xc
from xcontrast.heads.decision import choose_codes, weigh_categories

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board
from imagery import open_ombria, split_scenes

ROWS = Path(__file__).with_name("floods.csv")
DATA = Path(os.environ.get("XCONTRAST_DATA", Path(__file__).parents[3] / "shared" / "data"))
OPTIONS = xc.PretrainOptions(crop_size=64, progress=False, eval_every=100_000)
LONGER = "multimodal, 2400 steps"
STEPS = {"random": 0, LONGER: 2400}
"""Of pretraining, where they are not the `USUAL`."""
USUAL = 600
N_FOLDS = 5
SENSORS = {"S1": ("s1",), "S2": ("s2",), "both": ("s1", "s2")}
TORCHGEO = "torchgeo-simclr"
ENCODERS = ("multimodal", LONGER, "simclr", "moco", "moco_tp", TORCHGEO, "random")
"""moco_tp: the two dates of a place are the positive pair, as in Seasonal Contrast's second
baseline; its three spaces want three dates, and OMBRIA has two."""
SEGMENTERS = (
    ("multimodal", "decoder on frozen", "both"),
    ("multimodal", "fine-tuned", "both"),
    ("random", "decoder on frozen", "both"),
    # What begins from random weights is the U-Net from scratch.
    ("random", "fine-tuned", "both"),
    ("simclr", "decoder on frozen", "both"),
    (LONGER, "decoder on frozen", "both"),
    (LONGER, "fine-tuned", "both"),
    ("multimodal", "decoder on frozen", "S1"),
    ("multimodal", "decoder on frozen", "S2"),
)
WEIGHTED = ", weighted"
PLAIN = "pixels and differences, boosted"
PIXELS = f"{PLAIN}{WEIGHTED}"
"""What others are compared with."""
FIELDS = ["method", "way", "inputs", "labels"]
PARTS = ("few labels", "one sensor", "all labels", "across sensors")


class Fold:
    """What a fold trains and tests on."""

    def __init__(self, cube: xr.Dataset, truth: xr.DataArray, number: int) -> None:
        scene = cube.scene.values
        folds = GroupKFold(N_FOLDS, shuffle=True, random_state=0)
        train, test = list(folds.split(scene, groups=scene))[number]
        few = np.sort(np.random.default_rng(number).permutation(train)[: len(train) // 10])
        self.cube, self.truth, self.number = cube, truth, number
        self.train, self.test = train, test
        self.labelled = {"10 %": few, "100 %": train}

    def parts(self, tiles: np.ndarray, size: int = 16) -> Iterator[np.ndarray]:
        """Give tiles a few at a time."""
        yield from np.array_split(tiles, -(-len(tiles) // size))

    def count(self, tiles: np.ndarray, found: np.ndarray) -> pd.DataFrame:
        """Count pixels of the flood: hit, false and missed, one row a scene."""
        scene = self.cube.scene.values[tiles]
        counts = board.count_pixels(found.astype(int), self.truth.values[tiles], scene, (0, 1))
        return counts[counts.code == 1]


def is_there(key: tuple[str, str, str, str], fold: int) -> bool:
    """Say whether a run's rows have been written."""
    return board.is_there(ROWS, {**dict(zip(FIELDS, key, strict=True)), "fold": fold})


def write(
    tiles: list[pd.DataFrame], key: tuple[str, str, str, str], fold: int, seconds: float
) -> None:
    """Append a run's rows, one a scene."""
    rows = pd.concat(tiles).groupby(["group", "code"], as_index=False).sum()
    rows["final"] = rows.group.isin(final_scenes())
    board.append(ROWS, rows, {**dict(zip(FIELDS, key, strict=True)), "fold": fold}, seconds)
    print(f"{fold} {' | '.join(key)}: IoU {board.mean_iou(rows):.3f}, {seconds:.0f} s", flush=True)


@functools.cache
def final_scenes() -> frozenset[str]:
    """Give the scenes on which nothing was ever chosen."""
    scene = pd.read_csv(DATA / "ombria" / "index.csv").scene.to_numpy().astype(str)
    return frozenset(scene[split_scenes(scene, share=0.3, seed=0)])


def encoder(fold: Fold, method: str, folder: Path) -> xc.Model:
    """Pretrain on the unlabelled pairs of the training scenes, or read what was pretrained."""
    steps = STEPS.get(method, USUAL)
    name = "multimodal" if method in STEPS else method
    path = folder / f"{name}-{steps}-{fold.number}"
    if path.is_dir():
        return xc.load_model(path)
    like = encoder(fold, "random", folder) if method == TORCHGEO else None
    began = time.perf_counter()
    kind = "both" if method == "moco_tp" else "cross-sensor"
    chips = xc.chips(xc.pairs(fold.cube.isel(location=fold.train), kind=kind), size=96)
    options = replace(OPTIONS, seed=fold.number)
    if like is not None:
        from benchmarks.torchgeo_simclr import pretrain

        model = pretrain(chips, like, path, steps=steps, seed=fold.number)
    else:
        model = xc.pretrain(chips, method=name, max_steps=steps, batch_size=64, options=options)
        model = model.save(path)
    print(f"{fold.number} {method}: pretrained in {time.perf_counter() - began:.0f} s", flush=True)
    return model


def run_frozen(fold: Fold, method: str, folder: Path, labels: str) -> None:
    """Fit a linear head on each input of frozen embeddings, and map with all of them at once."""
    keys = {inputs: (method, "frozen", inputs, labels) for inputs in SENSORS}
    keys = {inputs: key for inputs, key in keys.items() if not is_there(key, fold.number)}
    if not keys:
        return
    model = encoder(fold, method, folder)
    began = time.perf_counter()

    def change(tiles: np.ndarray) -> xr.Dataset:
        return xc.before_after(xc.embed(fold.cube[["s1", "s2"]].isel(location=tiles), model))

    tiles = fold.labelled[labels]
    fitted_on = change(tiles)
    truth = fold.truth.isel(location=tiles)
    heads = {
        inputs: xc.fit(fitted_on[list(SENSORS[inputs])], truth, legend=xc.FLOOD, seed=fold.number)
        for inputs in keys
    }
    counted: dict[str, list[pd.DataFrame]] = {inputs: [] for inputs in keys}
    for tiles in fold.parts(fold.test):
        embedded = change(tiles).compute()
        like = fold.truth.isel(location=tiles)
        for inputs, head in heads.items():
            mapped = xc.predict(embedded[list(SENSORS[inputs])], head, like=like).label
            found = mapped.transpose("location", "y", "x").values == 1
            counted[inputs].append(fold.count(tiles, found))
    seconds = time.perf_counter() - began
    for inputs, key in keys.items():
        write(counted[inputs], key, fold.number, seconds / len(keys))


TRAINED: dict[str, Literal["none", "all"]] = {"decoder on frozen": "none", "fine-tuned": "all"}


def train_segmenter(
    fold: Fold, method: str, way: str, inputs: str, labels: str, folder: Path
) -> xc.Segmenter:
    """Train a U-Net decoder on frozen encoders, or both, with the defaults of `finetune`."""
    model = encoder(fold, method, folder)
    names, tiles = list(SENSORS[inputs]), fold.labelled[labels]
    # Random weights have as far to go as the decoder's, and learn at its rate.
    rate = 1.0 if method == "random" else xc.FinetuneOptions().encoder_rate
    return xc.finetune(
        fold.cube[names].isel(location=tiles),
        fold.truth.isel(location=tiles),
        model,
        legend=xc.FLOOD,
        options=xc.FinetuneOptions(
            trained=TRAINED[way],
            encoder_rate=rate,
            groups="scene",
            seed=fold.number,
            progress=False,
        ),
    )


def run_tuned(fold: Fold, method: str, way: str, inputs: str, labels: str, folder: Path) -> None:
    """Train a segmenter, and map with it."""
    key = (method, way, inputs, labels)
    if is_there(key, fold.number):
        return
    encoder(fold, method, folder)  # Whose time is not the segmenter's.
    began = time.perf_counter()
    segmenter = train_segmenter(fold, method, way, inputs, labels, folder)
    counted = []
    for part in fold.parts(fold.test):
        cube = fold.cube[list(SENSORS[inputs])].isel(location=part)
        mapped = xc.predict(cube, segmenter).label
        found = mapped.transpose("location", "y", "x").values == 1
        counted.append(fold.count(part, found))
    write(counted, key, fold.number, time.perf_counter() - began)


def run_transfer(fold: Fold, method: str, folder: Path) -> None:
    """Fit on one sensor in the space that both share, and map from the other, as under cloud."""
    ways = {"S1": ("s1", "s1"), "S2": ("s2", "s2"), "S2 to S1": ("s2", "s1")}
    keys = {name: (f"{method}, joint space", "frozen", name, "10 %") for name in ways}
    keys = {name: key for name, key in keys.items() if not is_there(key, fold.number)}
    if not keys:
        return
    model = encoder(fold, method, folder)
    began = time.perf_counter()

    def change(tiles: np.ndarray) -> xr.Dataset:
        part = fold.cube[["s1", "s2"]].isel(location=tiles)
        return xc.before_after(xc.embed(part, model, space="joint"))

    tiles = fold.labelled["10 %"]
    fitted_on, truth = change(tiles), fold.truth.isel(location=tiles)
    heads = {
        sensor: xc.fit(fitted_on[sensor], truth, legend=xc.FLOOD, seed=fold.number)
        for sensor in ("s1", "s2")
    }
    counted: dict[str, list[pd.DataFrame]] = {name: [] for name in keys}
    for tiles in fold.parts(fold.test):
        embedded = change(tiles).compute()
        like = fold.truth.isel(location=tiles)
        for name in keys:
            fitted, mapped_from = ways[name]
            mapped = xc.predict(embedded[mapped_from], heads[fitted], like=like).label
            found = mapped.transpose("location", "y", "x").values == 1
            counted[name].append(fold.count(tiles, found))
    seconds = time.perf_counter() - began
    for name, key in keys.items():
        write(counted[name], key, fold.number, seconds / len(keys))


def layers(fold: Fold, tiles: np.ndarray, inputs: str, *, differences: bool) -> np.ndarray:
    """Give the values of both dates of each pixel, and their differences: (n, y, x, layers)."""
    parts = []
    for name in SENSORS[inputs]:
        values = fold.cube[name].isel(location=tiles).values  # (n, date, band, y, x)
        before, after = values[:, 0], values[:, 1]
        parts += [before, after, after - before] if differences else [before, after]
    return np.moveaxis(np.concatenate(parts, axis=1), 1, -1)


def boost_pixels(
    fold: Fold, inputs: str, labels: str, *, differences: bool
) -> tuple[Any, np.ndarray]:
    """Boost single pixels: scikit-learn's defaults, 200,000 labelled pixels at most.

    Gives the model and how many pixels of each category it has seen.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    tiles = fold.labelled[labels]
    rng = np.random.default_rng(fold.number)
    each = 200_000 // len(tiles)
    drawn, codes = [], []
    for part in fold.parts(tiles, 64):
        values = layers(fold, part, inputs, differences=differences)
        own = values.reshape(len(part), -1, values.shape[-1])
        truth = fold.truth.values[part].reshape(len(part), -1)
        for k in range(len(part)):
            chosen = rng.permutation(truth.shape[1])[:each]
            drawn.append(own[k, chosen])
            codes.append(truth[k, chosen])
    known = np.concatenate(codes)
    model = HistGradientBoostingClassifier(random_state=fold.number)
    return model.fit(np.concatenate(drawn), known), np.bincount(known)


def run_pixels(fold: Fold, inputs: str, labels: str, *, differences: bool) -> None:
    """Map single pixels by boosting."""
    name = PLAIN if differences else "pixels, boosted"
    # Labels chosen as heads choose them, and the most probable.
    keys = {0.5: (f"{name}{WEIGHTED}", "-", inputs, labels), 0.0: (name, "-", inputs, labels)}
    keys = {balance: key for balance, key in keys.items() if not is_there(key, fold.number)}
    if not keys:
        return
    began = time.perf_counter()
    model, counts = boost_pixels(fold, inputs, labels, differences=differences)
    counted: dict[float, list[pd.DataFrame]] = {balance: [] for balance in keys}
    for part in fold.parts(fold.test):
        values = layers(fold, part, inputs, differences=differences)
        probability = model.predict_proba(values.reshape(-1, values.shape[-1]))
        probability = probability.reshape(*values.shape[:-1], 2)
        for balance in keys:
            weights = weigh_categories(counts, balance)
            found = choose_codes(probability, codes=(0, 1), weights=weights) == 1
            counted[balance].append(fold.count(part, found))
    seconds = time.perf_counter() - began
    for balance, key in keys.items():
        write(counted[balance], key, fold.number, seconds / len(keys))


def run_otsu(fold: Fold) -> None:
    """Cut the change of the radar of each tile by Otsu's threshold: darker is flood; no labels.

    Otsu (1979). The radar of OMBRIA is stretched, so that differences stand for log ratios.
    """
    key = ("Otsu on the change", "-", "S1", "none")
    if is_there(key, fold.number):
        return
    began = time.perf_counter()
    values = fold.cube["s1"].isel(location=fold.test, s1_band=0).values
    change = values[:, 1] - values[:, 0]
    found = np.stack([tile < find_threshold(tile) for tile in change])
    write([fold.count(fold.test, found)], key, fold.number, time.perf_counter() - began)


def find_threshold(values: np.ndarray) -> float:
    """Find the threshold that parts values with the largest variance between the parts."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    low = (counts * centres).cumsum() / below.clip(1)
    high = ((counts * centres)[::-1].cumsum() / above[::-1].clip(1))[::-1]
    between = below[:-1] * above[1:] * (low[:-1] - high[1:]) ** 2
    return float(centres[int(between.argmax())])


def run(folds: list[int], folder: Path) -> None:
    """Make the runs that are not there, those that decide first."""
    cube, truth = open_ombria(DATA)
    every = [Fold(cube, truth, number) for number in folds]
    for fold in every:
        run_otsu(fold)
        for inputs in SENSORS:
            run_pixels(fold, inputs, "10 %", differences=False)
            run_pixels(fold, inputs, "10 %", differences=True)
    for fold in every:
        for method in ("multimodal", "random"):
            run_frozen(fold, method, folder, "10 %")
        for method in ("multimodal", LONGER):
            run_transfer(fold, method, folder)
    for method, way, inputs in SEGMENTERS:
        for fold in every:
            run_tuned(fold, method, way, inputs, "10 %", folder)
    for method in ENCODERS:
        if method == TORCHGEO and find_spec("torchgeo") is None:
            print("torchgeo is missing: its rows are left out; pip install torchgeo")
            continue
        for fold in every:
            run_frozen(fold, method, folder, "10 %")
    for fold in every:
        for inputs in SENSORS:
            run_pixels(fold, inputs, "100 %", differences=True)
        for method in (LONGER, "multimodal", "random"):
            run_frozen(fold, method, folder, "100 %")
        for method in (LONGER, "multimodal", "random"):
            run_tuned(fold, method, "fine-tuned", "both", "100 %", folder)


def by_scene(rows: pd.DataFrame) -> pd.Series:
    """Give the IoU of each scene that has water or was said to have."""
    sums = rows.groupby("group")[board.COUNTS].sum()
    return (sums.hit / sums.sum(axis=1)).dropna()


def table(part: str) -> str:
    """Give a table: means over folds, intervals over scenes, each beside boosted pixels."""
    rows = pd.read_csv(ROWS, dtype={"group": str})
    n_folds = rows.groupby(FIELDS, sort=False).fold.nunique()
    # Folds differ by more than methods do: means over other folds are another table's.
    every = n_folds[n_folds == N_FOLDS].reset_index()[FIELDS]
    across = every.method.str.contains("joint")
    few = every.labels.isin(["10 %", "none"])
    both = every.inputs.eq("both") | every.labels.eq("none")
    chosen = {
        "few labels": few & both,
        "one sensor": few & ~both & ~across,
        "all labels": ~few,
        "across sensors": across,
    }[part]
    columns = ["method", "IoU, mean of folds", "of all tiles, 95 %", "less pixels, 95 %"]
    columns += ["mean of scenes", "above pixels in", "final scenes"]
    lines = []
    for key in every[chosen].itertuples(index=False, name=None):
        own = rows[(rows[FIELDS] == list(key)).all(axis=1)]
        each = [board.mean_iou(part) for _, part in own.groupby("fold")]
        low, high = board.interval(own)
        less, above = _compare(own, rows, key)
        last = own[own.final]
        lines.append(
            [
                name_row(key),
                board.spread(each),
                f"{board.mean_iou(own):.3f} ({low:.3f} to {high:.3f})",
                less,
                f"{by_scene(own).mean():.3f}",
                above,
                f"{board.mean_iou(last):.3f}" if len(last) else "",
            ]
        )
    return board.as_table(columns, lines)


def partial_table() -> str:
    """Give what was run on some folds, beside others on the same folds."""
    rows = pd.read_csv(ROWS, dtype={"group": str})
    others = (PIXELS, "random", "simclr", "multimodal")
    lines = []
    for key, own in rows.groupby(FIELDS, sort=False):
        folds = sorted(set(own.fold))
        if len(folds) == N_FOLDS:
            continue
        same = rows[rows.fold.isin(folds) & (rows.inputs == key[2]) & (rows.labels == key[3])]
        cells = [name_row(key), key[3], ", ".join(map(str, folds)), _mean_of_folds(own)]
        for other in others:
            way = "-" if other == PIXELS else key[1]
            found = same[(same.method == other) & (same.way == way)]
            there = other != key[0] and found.fold.nunique() == len(folds)
            cells.append(_mean_of_folds(found) if there else "")
        lines.append(cells)
    columns = ["method", "labels", "folds", "IoU", "boosted pixels", *others[1:]]
    return board.as_table(columns, lines)


def _mean_of_folds(rows: pd.DataFrame) -> str:
    return f"{np.mean([board.mean_iou(part) for _, part in rows.groupby('fold')]):.3f}"


def name_row(key: tuple[str, ...]) -> str:
    """Name a row: what was done, and on which sensor if not on both."""
    parts = ["U-Net from scratch"] if key[:2] == ("random", "fine-tuned") else [*key[:2]]
    parts += [] if key[2] == "both" else [key[2]]
    return ", ".join(part for part in parts if part != "-")


def _compare(own: pd.DataFrame, rows: pd.DataFrame, key: tuple[str, ...]) -> tuple[str, str]:
    """Compare with boosted pixels and differences of the same inputs, labels and folds."""
    inputs = key[2].removeprefix("S2 to ")
    base = rows[(rows.method == PIXELS) & (rows.inputs == inputs) & (rows.labels == key[3])]
    base = base[base.fold.isin(own.fold)]
    if key[0] == PIXELS or set(base.fold) != set(own.fold):
        return "", ""
    low, high = board.interval(own, base)
    less = f"{board.mean_iou(own) - board.mean_iou(base):+.3f} ({low:+.3f} to {high:+.3f})"
    a, b = by_scene(own).align(by_scene(base), join="inner")
    return less, f"{int((a > b).sum())} of {len(a)}"


def every_table() -> str:
    """Give all tables, each under its name."""
    tables = {part: table(part) for part in PARTS} | {"some folds": partial_table()}
    return "\n\n".join(f"{part}\n\n{told}" for part, told in tables.items())


if __name__ == "__main__":
    board.main(__doc__, run, every_table, over="folds", n=5, models=True)
