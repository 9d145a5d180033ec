"""`xcontrast reproduce`: the papers' own tables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.cli.app import app
from xcontrast.cli.options import Json

__all__ = ["reproduce"]


@app.command()
def reproduce(
    name: Annotated[
        str, typer.Argument(help="sen1floods11, dynamic-world, eurosat, bigearthnet or oscd.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set, unpacked.")],
    model: Annotated[
        str, typer.Option(help="Folder of a model, file of published weights, or 'random'.")
    ],
    layout: Annotated[str, typer.Option(help="Of a file of weights, as for import_weights.")] = (
        "seco"
    ),
    encoder: Annotated[str, typer.Option(help="Of a file of weights.")] = "resnet18",
    paper_compat: Annotated[
        bool, typer.Option("--paper-compat", help="Also do what only the published code does.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of heads, orders and subsets.")] = 42,
    device: Annotated[str, typer.Option(help="As torch names it.")] = "auto",
    repeats: Annotated[int, typer.Option(help="Runs where the paper has one.")] = 1,
    batch_size: Annotated[int | None, typer.Option(help="In place of the paper's.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two steps of two images: a trial.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a published protocol on the official files; print our rows beside the papers'."""
    import xcontrast as xc
    from xcontrast.protocols.options import ReproduceOptions
    from xcontrast.protocols.reproducing import reproduce as run

    options = ReproduceOptions(
        seed=seed,
        repeats=repeats,
        max_steps=2 if quick else None,
        batch_size=batch_size or (2 if quick else None),
        paper_compat=paper_compat,
        device=device,
    )
    if model == "random":
        judged: Any = "random"
    elif Path(model).is_file():
        sensor: Any = "s1" if name == "sen1floods11" else "s2"
        form: Any = layout
        judged = xc.import_weights(model, layout=form, encoder=encoder, sensor=sensor)
    else:
        judged = xc.load_model(model)
    with warnings.catch_warnings():
        # Rasterio's, about files that lie on no map.
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")
        wanted: Any = name
        found = run(wanted, data, judged, options=options)
    print(found.to_json() if as_json else found)
