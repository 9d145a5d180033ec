"""Seams on noise: embedded in blocks, in one piece, and naively; one table, one run.

    python tests/benchmarks/seams.py
    python tests/benchmarks/seams.py --encoders resnet18 resnet50 --side 1024

Noise is the hardest ground: nothing of it is alike on both sides of a border. Naive: every block
embedded by itself, without what lies around it. Weights are random, precision is float32. The
difference to one piece is the largest of any cell, in parts of the features' deviation. The score
of an encoder that runs on windows is the greatest at the borders of blocks and of windows. One
piece has a score too, at the same lines: cells of the deepest level begin there.
"""

from __future__ import annotations

import argparse
import warnings
from unittest import mock

import numpy as np
import xarray as xr

import xcontrast as xc
from xcontrast.embedding import embed as module_of_embed
from xcontrast.embedding.blending import OVERLAP, STEP, halo_of_windows

HALO = halo_of_windows(STEP, OVERLAP)
LOCAL = ("resnet18", "resnet50", "convnext_tiny", "regnety_002.tv_in1k")
GLOBAL = ("efficientnet_b0", "mobilenetv3_small_100", "convnextv2_atto")
STRIDE = 8
WINDOW_EDGES = (STEP - HALO, HALO)
"""Pixels at which windows begin and end, and every step from there: half a step off the blocks."""


def make_noise(side: int) -> xr.DataArray:
    """Make an image of noise, of 4 bands."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 0.05, (1, 4, side, side)).astype("float32")
    bands = {"s2_band": ["B02", "B03", "B04", "B08"]}
    return xc.as_cube(s2=xr.DataArray(values, bands, ("s2_time", "s2_band", "y", "x"))).s2


def untrained(encoder: str) -> xc.Model:
    """Make a model with random weights."""
    rng = np.random.default_rng(1)
    when = np.array(["2023-05-01"], "M8[ns]")
    means = {"s1": (["vv"], -12, 3), "s2": (["B02", "B03", "B04", "B08"], 0.2, 0.05)}
    parts = {
        name: xr.DataArray(
            rng.normal(mean, std, (1, len(bands), 128, 128)).astype("float32"),
            {f"{name}_band": bands, f"{name}_time": when},
            (f"{name}_time", f"{name}_band", "y", "x"),
        )
        for name, (bands, mean, std) in means.items()
    }
    options = xc.PretrainOptions(progress=False, chip_size=64, crop_size=48)
    cube = xc.as_cube(**parts)
    return xc.pretrain(cube, encoder=encoder, max_steps=0, batch_size=2, options=options)


def in_blocks(noise: xr.DataArray, model: xc.Model, block: int) -> xr.DataArray:
    """Embed through dask in blocks of a given side."""
    with mock.patch.object(module_of_embed, "_choose_block", return_value=block):
        lazy = noise.contrast.embed(model, stride=STRIDE, precision="32")
    return lazy.compute().chunk(y=block // STRIDE, x=block // STRIDE)


def naively(noise: xr.DataArray, model: xc.Model, block: int) -> xr.DataArray:
    """Embed each block by itself."""
    side = noise.sizes["y"]
    lines = [
        xr.concat(
            [
                noise.isel(y=slice(a, a + block), x=slice(b, b + block))
                .contrast.embed(model, stride=STRIDE, precision="32")
                .compute()
                for b in range(0, side, block)
            ],
            "x",
        )
        for a in range(0, side, block)
    ]
    return xr.concat(lines, "y").chunk(y=block // STRIDE, x=block // STRIDE)


def score_at(embedding: xr.DataArray, edge: int) -> float:
    """Give the seam score of borders at a pixel and every step from there."""
    first = (edge - STEP) // STRIDE % (STEP // STRIDE)
    cut = embedding.isel(y=slice(first, None), x=slice(first, None)).compute()
    return float(cut.contrast.seam_score(every=STEP // STRIDE))


def measure(encoder: str, side: int, block: int) -> str:
    """Give a line of the table."""
    model, noise = untrained(encoder), make_noise(side)
    whole, tiled = (in_blocks(noise, model, size) for size in (side, block))
    worst = float(abs(tiled - whole).max() / whole.std())
    kind = "own field" if model.card.halo is not None else "windows"
    halo = HALO if model.card.halo is None else model.card.halo
    naive = naively(noise, model, block).contrast.seam_score()
    score, own = tiled.contrast.seam_score(), whole.contrast.seam_score(every=block // STRIDE)
    if model.card.halo is None:
        score = max(score, *(score_at(tiled, edge) for edge in WINDOW_EDGES))
    return (
        f"| {encoder} | {kind} | {halo} | {worst:.1e} | {score:.3f} | {own:.3f} | {naive:.2f} | "
        f"{float(np.isfinite(tiled).mean()):.0%} |"
    )


def main() -> None:
    """Read the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=[*LOCAL, *GLOBAL])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--block", type=int, default=256)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"noise of {args.side} px, blocks of {args.block} px, cells of {STRIDE} px\n")
    print("| encoder | made by | halo, px | less one piece | seam | one piece | naive | covered |")
    print("|---|---|---|---|---|---|---|---|")
    for encoder in args.encoders:
        print(measure(encoder, args.side, args.block), flush=True)


if __name__ == "__main__":
    main()
