"""What bfloat16 and one-byte packing change: features by level, and a flood map; one table.

    xcontrast demo --out demo
    python tests/benchmarks/precision.py demo

The model and the archive are the demo's. A head is fitted on a few labels in the west on float32
features, and scored in the east on features of each precision.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

import xcontrast as xc
from xcontrast.legends import NO_LABEL

STRIDE = 4
N_LABELS = 400


def take_passes(cube: xr.Dataset, truth: xr.Dataset) -> xr.DataArray:
    """Take the pass at the peak and three before it, of one orbit."""
    s1 = cube.s1.sel(s1_time=cube.s1_relative_orbit == truth.attrs["relative_orbit"])
    days = s1.s1_time.values.astype("datetime64[D]")
    last = int((days <= np.datetime64(truth.attrs["peak"])).sum())
    return s1.isel(s1_time=slice(last - 4, last)).compute()


def draw_labels(truth: xr.DataArray, seed: int) -> xr.DataArray:
    """Label single pixels in the west, half of them flooded."""
    rng = np.random.default_rng(seed)
    values = np.full(truth.shape, NO_LABEL, np.uint8)
    west = np.zeros(truth.shape, bool)
    west[:, : int(0.42 * truth.shape[1])] = True
    for code in (0, 1):
        own = np.flatnonzero((truth.values == code) & west)
        values.flat[rng.choice(own, N_LABELS // 2, replace=False)] = code
    return truth.copy(data=values)


def compare_features(exact: xr.DataArray, rough: xr.DataArray, model: xc.Model) -> list[str]:
    """Give lines of a table: how far features moved, by level."""
    lines, first = [], 0
    for level in model.card.geometry():
        part = {"feature": slice(first, first + level.channels)}
        first += level.channels
        one, other = exact.isel(part), rough.isel(part)
        # Each feature by its own spread; then over all of them.
        spread = one.std([d for d in one.dims if d != "feature"])
        moved = (other - one) / spread.where(spread > 0)
        lines.append(
            f"level of {level.stride} px | {float((moved**2).mean() ** 0.5):.2%} | "
            f"{float(abs(moved).max()):.1%}"
        )
    return lines


def main() -> None:
    """Read the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    folder = parser.parse_args().demo
    warnings.simplefilter("ignore")
    truth = xc.read_truth(folder / "archive")
    model = xc.load_model(folder / "model")
    catalog = folder / "archive" / "catalog.json"
    cube = xc.open_cube(geobox=truth.odc.geobox, datetime="2023", source=catalog)
    passes = take_passes(cube, truth)
    kinds = {
        name: passes.contrast.embed(model, stride=STRIDE, precision=precision).compute()
        for name, precision in {"float32": "32", "bfloat16": "bf16"}.items()
    }
    kinds["float32, packed"] = kinds["float32"].contrast.pack().contrast.unpack()
    print("| features | level | moved, rms of their spread | at most |\n|---|---|---|---|")
    for name in list(kinds)[1:]:
        for line in compare_features(kinds["float32"], kinds[name], model):
            print(f"| {name} | {line} |")
    east = {"x": slice(int(0.58 * truth.sizes["x"]), None)}
    print("\n| labels drawn | features | flood IoU in the east | pixels of another label |")
    print("|---|---|---|---|")
    changes = {name: xc.before_after(emb, event=truth.attrs["peak"]) for name, emb in kinds.items()}
    for seed in range(3):
        head = changes["float32"].contrast.fit(draw_labels(truth.flood, seed), legend=xc.FLOOD)
        maps = {
            name: change.contrast.predict(head, like=truth.odc.geobox).label.compute()
            for name, change in changes.items()
        }
        for name, label in maps.items():
            own, reference = label.isel(east), maps["float32"].isel(east)
            iou = xc.score(own, truth.flood.isel(east), legend=xc.FLOOD).iou.sel(category="flood")
            other = float((own != reference).mean())
            print(f"| {seed} | {name} | {float(iou):.4f} | {other:.3%} |", flush=True)


if __name__ == "__main__":
    main()
