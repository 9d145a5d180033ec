"""How strongly a linear head is regularised, and how that is chosen: a study on development data.

Heads are fitted on a tenth or so of the tiles, draw by draw, with each strength, and scored on
tiles of other places; beside it what held-out places of the labelled tiles say of that strength,
as the probabilities come and with a temperature. Floods: development scenes of OMBRIA alone (see
docs/ablation.md). Land cover: the training tiles of the first fold of `worldcover.py`. Rows are
appended draw by draw.

    python tests/benchmarks/strength.py run --models encoders
    python tests/benchmarks/strength.py show
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import xcontrast as xc
from xcontrast.heads.classifiers.calibration import LEAST, fit_temperature
from xcontrast.heads.classifiers.places import hold_out_places

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import board, floods, ombria, worldcover
from imagery import open_ombria, split_scenes

ROWS = Path(__file__).with_name("strength.csv")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
N_CELLS = 150
"""Of a tile."""


@dataclass(frozen=True)
class Tiles:
    """Cells of tiles: features ``(tile, cell, F)``, categories ``(tile, cell)``, 255 unlabelled."""

    features: np.ndarray
    codes: np.ndarray

    def take(self, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the features, categories and tiles of labelled, valid cells."""
        x, y = self.features[tiles].reshape(-1, self.features.shape[-1]), self.codes[tiles].ravel()
        tile = np.repeat(tiles, self.codes.shape[1])
        valid = np.isfinite(x).all(1) & (y != 255)
        return x[valid], y[valid].astype(np.intp), tile[valid]


def read_floods(seed: int, folder: Path) -> tuple[Tiles, Tiles]:
    """Embed cells of a development split: 160 tiles to draw labels from, and other scenes."""
    cube, truth = open_ombria(floods.DATA)
    scene = cube.scene.values
    rest = np.flatnonzero(~split_scenes(scene, share=0.3, seed=0))  # No final scene.
    held = split_scenes(scene[rest], share=0.25, seed=seed + 1)
    path = folder / f"strength-floods-{seed}"
    if not path.is_dir():
        options = replace(ombria.BASE, seed=seed)
        ombria.pretrain(cube.isel(location=rest[~held]), "multimodal", options, 600).save(path)
    model = xc.load_model(path)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(rest[~held])[:160])
    read = []
    for tiles in (some, rest[held]):
        features, codes = [], []
        for part in np.array_split(tiles, -(-len(tiles) // 8)):
            change = xc.before_after(xc.embed(cube[["s1", "s2"]].isel(location=part), model))
            both = [change[s].transpose("location", "y", "x", "feature").values for s in change]
            x, y = np.concatenate(both, -1), truth.values[part][:, 2::4, 2::4]
            cells = rng.permutation(y[0].size)[:N_CELLS]
            features.append(x.reshape(len(part), -1, x.shape[-1])[:, cells])
            codes.append(y.reshape(len(part), -1)[:, cells])
        read.append(Tiles(np.concatenate(features), np.concatenate(codes)))
    return read[0], read[1]


def read_cover(method: str, folder: Path) -> tuple[Tiles, Tiles]:
    """Embed cells of the training tiles of a fold: 60 to draw labels from, and the others."""
    cube, truth = worldcover.open_tiles()
    fold = worldcover.Fold(cube, truth, 0)
    model = worldcover.encoder(fold, method, folder)
    rng = np.random.default_rng(0)
    tiles = rng.permutation(fold.train)
    embedding = xc.embed(cube.s2.isel(location=tiles), model)
    x = embedding.transpose("location", "y", "x", "feature").values
    y = truth.transpose("location", "y", "x").values[tiles][:, 2::4, 2::4]
    y = np.where(np.isin(y, xc.WORLDCOVER.codes), y, 255)
    cells = rng.permutation(y[0].size)[:N_CELLS]
    x, y = x.reshape(len(x), -1, x.shape[-1])[:, cells], y.reshape(len(y), -1)[:, cells]
    return Tiles(x[:60], y[:60]), Tiles(x[60:], y[60:])


def ask_places(x: np.ndarray, y: np.ndarray, place: np.ndarray, strength: float) -> list[float]:
    """Give the log loss of held-out places, as probabilities come and with a temperature."""
    logs, truth = [], []
    for train, held in hold_out_places(y, place, 0):
        model = LogisticRegression(C=strength, max_iter=200).fit(x[train], y[train])
        probability = np.zeros((len(held), y.max() + 1))
        probability[:, model.classes_] = model.predict_proba(x[held])
        logs.append(np.log(probability.clip(LEAST)))
        truth.append(y[held])
    log, told = np.concatenate(logs), np.concatenate(truth)
    raw = -float(log[np.arange(len(told)), told].mean())
    return [raw, fit_temperature(log, told)[1]]


def score_labels(found: np.ndarray, truth: np.ndarray) -> float:
    """Give the IoU of the flood, or the mean of all categories."""
    iou = [
        ((found == code) & (truth == code)).sum() / ((found == code) | (truth == code)).sum()
        for code in np.unique(truth)
    ]
    return float(iou[1] if len(iou) == 2 else np.mean(iou))


def measure(few: Tiles, other: Tiles, tiles: np.ndarray) -> Iterator[dict[str, float]]:
    """Fit with each strength on some tiles, and score on all of the others: one row a strength."""
    x, y, place = few.take(tiles)
    mean, std = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / std
    unseen, truth, _ = other.take(np.arange(len(other.codes)))
    unseen = (unseen - mean) / std
    for strength in STRENGTHS:
        raw, tempered = ask_places(x, y, place, strength)
        model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
        found = model.predict(unseen)
        yield {
            "strength": strength,
            "raw": raw,
            "tempered": tempered,
            "iou": score_labels(found, truth),
        }


def boards(folder: Path) -> dict[str, tuple[Callable[[], tuple[Tiles, Tiles]], int]]:
    """Give what is judged on: how its tiles are read, and how many of them are labelled."""
    return {
        "floods, split 0": (lambda: read_floods(0, folder), 40),
        "floods, split 1": (lambda: read_floods(1, folder), 40),
        "land cover, SimCLR": (lambda: read_cover("simclr", folder), 13),
        "land cover, random": (lambda: read_cover("random", folder), 13),
    }


def make_draws(
    path: Path,
    measure: Callable[[Tiles, Tiles, np.ndarray], Iterator[dict[str, float]]],
    draws: list[int],
    folder: Path,
) -> None:
    """Measure the draws of each board whose rows are not there, and append them."""
    for name, (read, n) in boards(folder).items():
        missing = [d for d in draws if not board.is_there(path, {"board": name, "draw": d})]
        if not missing:
            continue
        few, other = read()
        for draw in missing:
            began = time.perf_counter()
            tiles = np.random.default_rng(draw).permutation(len(few.codes))[:n]
            rows = pd.DataFrame(list(measure(few, other, tiles))).round(4)
            board.append(path, rows, {"board": name, "draw": draw}, time.perf_counter() - began)
            print(name, draw, rows.to_dict("records"), flush=True)


def run(draws: list[int], folder: Path) -> None:
    """Make the runs that are not there."""
    make_draws(ROWS, measure, draws, folder)


def table() -> str:
    """Give the table: means over draws by strength, and of what each way to choose would choose."""
    rows = pd.read_csv(ROWS)
    weak = rows[rows.strength > STRENGTHS[0]]
    lines = []
    for name, own in rows.groupby("board", sort=False):
        cells = [str(name), str(own.draw.nunique())]
        cells += [f"{own[own.strength == s].iou.mean():.3f}" for s in STRENGTHS]
        for part, by in ((own, "raw"), (own, "tempered"), (weak[weak.board == name], "tempered")):
            chosen = part.loc[part.groupby("draw")[by].idxmin()]
            cells.append(f"{chosen.iou.mean():.3f}")
        lines.append(cells)
    columns = ["", "draws", *(f"{s:g}" for s in STRENGTHS)]
    columns += ["least loss", "least loss with a temperature", "the same, of .001 and above"]
    return board.as_table(columns, lines)


if __name__ == "__main__":
    board.main(__doc__, run, table, over="draws", n=5, models=True)
