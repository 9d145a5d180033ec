"""What pretraining is worth on real floods: OMBRIA, split by scene, a tenth of the tiles labelled.

A frozen encoder of Sentinel-1, before and after, with a linear head; equal steps and encoder.
30 % of the tiles, whole scenes, are final: they are mapped in the headline alone, and the ablation
splits what is left. Rows are appended run by run, one a scene, and runs that are there are not
made again, so that this can be stopped and called again.

    python tests/benchmarks/ombria.py ablation --seeds 0 1 2 --steps 200
    python tests/benchmarks/ombria.py headline --seeds 0 1 2 3 4 --steps 600
    python tests/benchmarks/ombria.py show
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xcontrast as xc

sys.path.insert(0, str(Path(__file__).parents[1]))

from imagery import open_ombria, split_scenes

ROWS = Path(__file__).with_name("ombria.csv")
DATA = Path(os.environ.get("XCONTRAST_DATA", Path(__file__).parents[3] / "shared" / "data"))
BASE = xc.PretrainOptions(crop_size=64, progress=False, eval_every=100_000)
PLAIN = replace(BASE, dense_weight=0.0)
"""Without the dense term, which became the default by this ablation; its other rows are changes
of this one."""
TIMES = 1000
"""Resamples of the bootstrap."""

HEADLINE: dict[str, tuple[str, xc.PretrainOptions]] = {
    "smoothed values": ("values", BASE),
    "random-init": ("none", BASE),
    "simclr": ("simclr", BASE),
    "multimodal": ("multimodal", BASE),
    "multimodal, no dense term": ("multimodal", PLAIN),
}
ABLATION: dict[str, tuple[str, xc.PretrainOptions]] = {
    "smoothed values": ("values", BASE),
    "random-init": ("none", BASE),
    "simclr, radar-tuned": ("simclr", BASE),
    "simclr, plain": ("simclr", replace(BASE, s1_augmentation=xc.Augmentation())),
    "multimodal": ("multimodal", BASE),
    "multimodal, no dense term": ("multimodal", PLAIN),
    "cross-sensor negatives only": ("multimodal", replace(PLAIN, negatives="cross")),
    "negatives not masked": ("multimodal", replace(PLAIN, min_distance=None)),
    "VICReg": ("multimodal", replace(PLAIN, negatives="none")),
    "seasonal term": ("multimodal", replace(PLAIN, seasonal_weight=0.5)),
    "dense and seasonal": ("multimodal", replace(BASE, seasonal_weight=0.5)),
    "temperature .2": ("multimodal", replace(PLAIN, temperature=0.2)),
    "crops from .08": ("multimodal", replace(PLAIN, crop_scale=(0.08, 1.0))),
    "deepest level alone": ("multimodal", replace(PLAIN, pooled="last")),
    "moco": ("moco", BASE),
    "in float32": ("multimodal", replace(PLAIN, precision="32")),
}


def pretrain(cube: xr.Dataset, method: str, options: xc.PretrainOptions, steps: int) -> xc.Model:
    """Train on the unlabelled pairs of the training scenes alone."""
    paired = xc.pairs(cube, kind="both" if options.seasonal_weight else "cross-sensor")
    if method not in ("multimodal", "none"):
        paired = paired[["s1"]]  # What is judged: the encoder of Sentinel-1.
    chips = xc.chips(paired, size=96)
    if method == "none":
        return xc.pretrain(chips, max_steps=0, batch_size=64, options=options)
    return xc.pretrain(chips, method=method, max_steps=steps, batch_size=64, options=options)


def smooth(s1: xr.DataArray) -> xr.DataArray:
    """Give what needs no network: the values, smoothed over four widths, in the same cells."""
    from scipy.ndimage import gaussian_filter

    values = s1.isel(s1_band=0).astype("float32")
    widths = [
        values.copy(data=gaussian_filter(values.values, (0, 0, sigma, sigma)))
        for sigma in (0.5, 2.0, 4.0, 8.0)
    ]
    stacked = xr.concat([w.drop_vars("s1_band") for w in widths], "feature")
    cells = stacked.coarsen(y=4, x=4).mean()
    return cells.transpose("location", "date", "feature", "y", "x")


def count_flood(
    cube: xr.Dataset, truth: xr.DataArray, model: xc.Model | None, fit: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    """Count pixels hit, false and missed, by scene."""

    def change(tiles: np.ndarray) -> xr.DataArray:
        s1 = cube["s1"].isel(location=tiles)
        return xc.before_after(smooth(s1) if model is None else xc.embed(s1, model))

    head = xc.fit(change(fit), truth.isel(location=fit), legend=xc.FLOOD)
    rows = []
    for tiles in np.array_split(test, -(-len(test) // 16)):
        real = truth.isel(location=tiles)
        mapped = xc.predict(change(tiles), head, like=real).label
        found = mapped.transpose("location", "y", "x").values == 1
        wet = real.values == 1
        for k, tile in enumerate(tiles):
            rows.append(
                {
                    "scene": str(cube.scene.values[tile]),
                    "hit": int((found[k] & wet[k]).sum()),
                    "false": int((found[k] & ~wet[k]).sum()),
                    "missed": int((~found[k] & wet[k]).sum()),
                }
            )
    return pd.DataFrame(rows).groupby("scene", as_index=False).sum()


def run(study: str, variants: list[str], seeds: list[int], steps: int) -> None:
    """Make the runs that are not there."""
    table = HEADLINE if study == "headline" else ABLATION
    cube, truth = open_ombria(DATA)
    scene = cube.scene.values
    final = split_scenes(scene, share=0.3, seed=0)
    for seed in seeds:
        if study == "headline":
            test, train = np.flatnonzero(final), np.flatnonzero(~final)
        else:
            rest = np.flatnonzero(~final)
            held = split_scenes(scene[rest], share=0.25, seed=seed + 1)
            test, train = rest[held], rest[~held]
        rng = np.random.default_rng(seed)
        fit = np.sort(rng.permutation(train)[: len(train) // 10])
        for name in variants or list(table):
            if is_there(study, name, seed, steps):
                continue
            method, options = table[name]
            begin = time.perf_counter()
            own = replace(options, seed=seed)
            model = None
            if method != "values":
                model = pretrain(cube.isel(location=train), method, own, steps)
            between = time.perf_counter()
            rows = count_flood(cube, truth, model, fit, test)
            held_out = model.card.training["held_out"] if model else {"recall_at_1": np.nan}
            facts = {
                "study": study, "variant": name, "seed": seed, "steps": steps,
                "recall": round(held_out["recall_at_1"], 4),
                "seconds": round(between - begin, 1),
            }  # fmt: skip
            rows = rows.assign(**facts)[[*facts, "scene", "hit", "false", "missed"]]
            rows.to_csv(ROWS, mode="a", header=not ROWS.exists(), index=False)
            print(
                f"{study} {name} {seed}: IoU {iou(rows):.3f}, recall {facts['recall']:.3f}, "
                f"{between - begin:.0f} + {time.perf_counter() - between:.0f} s",
                flush=True,
            )


def is_there(study: str, name: str, seed: int, steps: int) -> bool:
    """Say whether a run's rows have been written."""
    if not ROWS.exists():
        return False
    rows = pd.read_csv(ROWS)
    same = (rows.study == study) & (rows.variant == name)
    return bool((same & (rows.seed == seed) & (rows.steps == steps)).any())


def iou(rows: pd.DataFrame) -> float:
    """Give the IoU of the flood over all pixels."""
    hit = rows.hit.sum()
    return float(hit / (hit + rows["false"].sum() + rows.missed.sum()))


def bootstrap(rows: pd.DataFrame, other: pd.DataFrame | None = None) -> tuple[float, float]:
    """Give the 95 % interval over scenes, of the IoU or of its difference from another's."""
    rng = np.random.default_rng(0)
    keys = ["hit", "false", "missed"]
    counts = [own.groupby("scene")[keys].sum() for own in (rows, other) if own is not None]
    names = counts[0].index
    drawn = rng.integers(len(names), size=(TIMES, len(names)))
    scores = []
    for own in counts:
        hit, false, missed = own.loc[names].to_numpy()[drawn].sum(1).T
        scores.append(hit / (hit + false + missed))
    values = scores[0] if other is None else scores[0] - scores[1]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


BASES = {
    "headline": ("random-init", "simclr"),
    "ablation": ("random-init", "multimodal, no dense term"),
}
"""What each row is compared with, over the seeds that both have."""


def show() -> None:
    """Print a table of each study: mean over seeds, spread, intervals over scenes."""
    every = pd.read_csv(ROWS)
    for (study, steps), rows in every.groupby(["study", "steps"]):
        columns = ["variant", "seeds", "IoU, mean (min to max)", "95 % over scenes"]
        columns += [f"less {base}, 95 %" for base in BASES[study]] + ["recall"]
        print(f"\n{study}, {steps} steps\n")
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for name in rows.variant.unique():
            own = rows[rows.variant == name]
            each = np.array([iou(part) for _, part in own.groupby("seed")])
            low, high = bootstrap(own)
            cells = [
                name,
                str(len(each)),
                f"{each.mean():.3f} ({each.min():.3f} to {each.max():.3f})",
            ]
            cells.append(f"{low:.3f} to {high:.3f}")
            cells += [gain(own, rows[rows.variant == base]) for base in BASES[study]]
            recall = own.groupby("seed").recall.first().mean()
            cells.append("" if np.isnan(recall) else f"{recall:.3f}")
            print(f"| {' | '.join(cells)} |")
        if study == "headline":
            show_scenes(rows, "simclr")


def by_scene(rows: pd.DataFrame) -> pd.Series:
    """Give the IoU of each scene, over all seeds."""
    sums = rows.groupby("scene")[["hit", "false", "missed"]].sum()
    return sums.hit / sums.sum(1)


def show_scenes(rows: pd.DataFrame, base: str) -> None:
    """Print the same by scene, each of one weight, whatever water it holds."""
    print(f"\n| variant | mean of scenes | less {base}, 95 % | scenes above {base} |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    other = by_scene(rows[rows.variant == base])
    for name in rows.variant.unique():
        own = by_scene(rows[rows.variant == name])
        more = (own - other).to_numpy()
        drawn = more[rng.integers(len(more), size=(TIMES, len(more)))].mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        gained = f"{more.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        cells = [name, f"{own.mean():.3f}"]
        cells += ["", ""] if name == base else [gained, f"{(more > 0).sum()} of {len(more)}"]
        print(f"| {' | '.join(cells)} |")


def gain(own: pd.DataFrame, base: pd.DataFrame) -> str:
    """Say by how much a variant is better than another on the seeds of both."""
    shared = set(own.seed) & set(base.seed)
    if not shared or own.variant.iloc[0] == base.variant.iloc[0]:
        return ""
    own, base = (part[part.seed.isin(shared)] for part in (own, base))
    low, high = bootstrap(own, base)
    return f"{iou(own) - iou(base):+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    """Read the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=["headline", "ablation", "show"])
    parser.add_argument("--variants", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.study != "show":
        run(args.study, args.variants, args.seeds, args.steps)
    show()


if __name__ == "__main__":
    main()
