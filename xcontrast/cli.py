"""The command line: the same words as the functions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from xcontrast.errors import DataError, ModelError, SourceError, TrainingError
from xcontrast.version import __version__

__all__ = ["main"]

app = typer.Typer(
    name="xcontrast",
    help="From Sentinel-1/2 cubes to contrastive encoders, embeddings and maps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; must be empty or not exist.")],
    quick: Annotated[bool, typer.Option(help="Smaller and faster, for a first look.")] = False,
    seed: Annotated[int, typer.Option(help="Of simulation, training and labels.")] = 0,
) -> None:
    """Go the whole way on simulated data: archive to report, no network needed."""
    # Seconds of imports: only now, so that --help is quick.
    from xcontrast.demo import FULL, QUICK, simulate_and_map
    from xcontrast.story import tell_demo

    with warnings.catch_warnings():
        # A person at a terminal can do nothing about other libraries' deprecations.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        # Rasterio's, about blocks that are warped in memory.
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")
        made = simulate_and_map(out, scale=QUICK if quick else FULL, seed=seed)
        print("[9/9] tell it in a report ...", flush=True)
        report = tell_demo(made)
    print(made.scores.mean().round(3).to_string(header=False))
    print(f"flood IoU on held-out ground, simulated; see {report}")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command line; errors of the person's making are told without a traceback."""
    try:
        app()
    except (DataError, ModelError, SourceError, TrainingError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
