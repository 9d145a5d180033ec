"""`xcontrast demo`: the whole way, on simulated data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from xcontrast.cli.app import app, aside, tell
from xcontrast.cli.options import Json

__all__ = ["demo"]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; must be empty or not exist.")],
    quick: Annotated[bool, typer.Option(help="Smaller and faster, for a first look.")] = False,
    seed: Annotated[int, typer.Option(help="Of simulation, training and labels.")] = 0,
    as_json: Json = False,
) -> None:
    """Go the whole way on simulated data: archive to report, no network needed."""
    # Seconds of imports: only now, so that --help is quick.
    from xcontrast.demo import FULL, QUICK, simulate_and_map
    from xcontrast.story import tell_demo

    with aside(as_json=as_json), warnings.catch_warnings():
        # A person at a terminal can do nothing about other libraries' deprecations.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        # Rasterio's, about blocks that are warped in memory.
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")
        made = simulate_and_map(out, scale=QUICK if quick else FULL, seed=seed)
        print("[9/9] tell it in a report ...", flush=True)
        report = tell_demo(made)
    scores = made.scores.mean().round(3)
    said = f"flood IoU on held-out ground, simulated; see {report}"
    facts = {"simulated": True, "report": report, "flood_iou": scores.to_dict()}
    tell(facts, f"{scores.to_string(header=False)}\n{said}", as_json=as_json)
