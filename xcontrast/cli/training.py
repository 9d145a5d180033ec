"""`xcontrast pretrain` and `xcontrast finetune`: from images to a model, and on to a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.cli.app import app, tell
from xcontrast.cli.options import (
    Area,
    Json,
    LegendOf,
    Orbit,
    SourceOf,
    open_cube_or_store,
    read_labels,
    read_legend,
)

__all__ = ["finetune", "pretrain"]

When = Annotated[str | None, typer.Option(help="Such as 2023-04/2023-06, with --bbox.")]
Out = Annotated[Path, typer.Option(help="Folder to write; begun, it goes on.")]
Steps = Annotated[int | None, typer.Option(help="Of training; by default what suits the data.")]
Batch = Annotated[int | None, typer.Option(help="Chips a step.")]
Device = Annotated[str, typer.Option(help="As torch names it; auto takes a GPU if there is one.")]
Seed = Annotated[int, typer.Option(help="Of weights, order and views.")]


@app.command()
def pretrain(
    out: Out,
    data: Annotated[
        Path | None, typer.Argument(help="Store of a collection, a cube, pairs or chips.")
    ] = None,
    bbox: Area = None,
    datetime: When = None,
    source: SourceOf = None,
    method: Annotated[str, typer.Option(help="multimodal, seco, simclr, moco or moco_tp.")] = (
        "multimodal"
    ),
    encoder: Annotated[str | None, typer.Option(help="timm's name, such as resnet50.")] = None,
    max_steps: Steps = None,
    batch_size: Batch = None,
    preset: Annotated[str | None, typer.Option(help="paper: the published settings.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="To begin from: imagenet, a model's folder, or a file in timm's names."),
    ] = None,
    chip_size: Annotated[int | None, typer.Option(help="Side of a chip, pixels.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train encoders without labels; killed and run again, it goes on.

    Of a store:  xcontrast pretrain eu.zarr --out=runs/eu
    Of an area:  xcontrast pretrain --bbox=11.0,44.2,11.4,44.5 --datetime=2023-04/2023-06
    --out=runs/po
    """
    import xcontrast as xc

    changed: dict[str, Any] = {"weights": weights, "chip_size": chip_size}
    changed = {name: value for name, value in changed.items() if value is not None}
    asked: Any = method
    published: Any = preset
    options = None
    if preset is None:
        options = xc.PretrainOptions(seed=seed, device=device, **changed)
    model = xc.pretrain(
        open_cube_or_store(data, bbox, datetime, source),
        method=asked,
        encoder=encoder,
        max_steps=max_steps,
        batch_size=batch_size,
        out=out,
        preset=published,
        options=options,
    )
    facts = {"model": model.path, "digest": model.digest, **model.card.to_json()}
    tell(facts, model, as_json=as_json)


@app.command()
def finetune(
    labels: Annotated[Path, typer.Option(help="GeoTIFF, store or vectors of labels.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of the model to begin from.")],
    legend: LegendOf,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    data: Annotated[
        Path | None, typer.Argument(help="Store of a cube or a collection, of pixels.")
    ] = None,
    bbox: Area = None,
    datetime: When = None,
    source: SourceOf = None,
    relative_orbit: Orbit = None,
    column: Annotated[str | None, typer.Option(help="Of vectors: with codes or names.")] = None,
    event: Annotated[str | None, typer.Option(help="Date between before and after.")] = None,
    decoder: Annotated[str | None, typer.Option(help="unet or deeplabv3plus.")] = None,
    max_steps: Steps = None,
    batch_size: Batch = None,
    preset: Annotated[str | None, typer.Option(help="dual-encoder or oscd.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a decoder on a model's encoders, to name every pixel."""
    import xcontrast as xc

    kind: Any = decoder
    published: Any = preset
    segmenter = xc.finetune(
        open_cube_or_store(data, bbox, datetime, source, relative_orbit),
        read_labels(labels),
        xc.load_model(model),
        legend=read_legend(legend),
        decoder=kind,
        column=column,
        event=event,
        max_steps=max_steps,
        batch_size=batch_size,
        out=out,
        preset=published,
        options=xc.FinetuneOptions(seed=seed, device=device) if preset is None else None,
    )
    facts = {"segmenter": segmenter.path, "digest": segmenter.digest, **segmenter.card.to_json()}
    tell(facts, segmenter, as_json=as_json)
