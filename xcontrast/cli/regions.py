"""`xcontrast embed` and `xcontrast map`: a region into a store, tile by tile."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xcontrast.cli.app import app, tell
from xcontrast.cli.options import (
    Box,
    HeadFolder,
    Json,
    Orbit,
    Period,
    Scheduler,
    SourceOf,
    connect,
    read_box,
)
from xcontrast.cli.records import load_any_head

if TYPE_CHECKING:
    from xcontrast.mapping.plan import MapPlan

__all__ = ["embed", "make_map"]

ModelFolder = Annotated[str, typer.Option(help="Folder of the model, or its id on the hub.")]
Store = Annotated[Path, typer.Option(help="Zarr store, new or begun with the same plan.")]
SensorOf = Annotated[str | None, typer.Option(help="s1 or s2, where the model has both.")]
Stride = Annotated[int | None, typer.Option(help="Pixels a cell; by default 4.")]
Gaps = Annotated[
    bool, typer.Option(help="Count tiles as done although files of them could not be read.")
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what it takes, and stop.")]


@app.command()
def embed(
    bbox: Box,
    datetime: Period,
    model: ModelFolder,
    store: Store,
    source: SourceOf = None,
    relative_orbit: Orbit = None,
    sensor: SensorOf = None,
    space: Annotated[
        str,
        typer.Option(
            help="encoder, joint, invariant, season or artificial: a model has encoder and those "
            "of its method."
        ),
    ] = "encoder",
    stride: Stride = None,
    packed: Annotated[bool, typer.Option(help="Write one byte a feature.")] = False,
    scheduler: Scheduler = None,
    accept_gaps: Gaps = False,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Embed a region into a store, tile by tile; run again, it goes on."""
    import xcontrast as xc

    asked: Any = sensor
    plan = xc.plan_map(
        bbox=read_box(bbox),
        datetime=datetime,
        model=xc.load_model(model),
        store=store,
        sensor=asked,
        space=space,
        stride=stride,
        packed=packed,
        source=source,
        options=xc.CubeOptions(relative_orbit=relative_orbit),
    )
    _carry_out(plan, scheduler, accept_gaps=accept_gaps, dry_run=dry_run, as_json=as_json)


@app.command("map")
def make_map(
    bbox: Box,
    datetime: Period,
    head: HeadFolder,
    store: Store,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub id; a segmenter needs no model.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Date of the event, for a head on before and after.")
    ] = None,
    source: SourceOf = None,
    relative_orbit: Orbit = None,
    stride: Stride = None,
    scheduler: Scheduler = None,
    accept_gaps: Gaps = False,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Map a region into a store, tile by tile; run again, it goes on."""
    import xcontrast as xc

    plan = xc.plan_map(
        bbox=read_box(bbox),
        datetime=datetime,
        model=None if model is None else xc.load_model(model),
        head=load_any_head(head),
        store=store,
        event=event,
        stride=stride,
        source=source,
        options=xc.CubeOptions(relative_orbit=relative_orbit),
    )
    _carry_out(plan, scheduler, accept_gaps=accept_gaps, dry_run=dry_run, as_json=as_json)


def _carry_out(
    plan: MapPlan, scheduler: str | None, *, accept_gaps: bool, dry_run: bool, as_json: bool
) -> None:
    """Tell a plan, run it unless it is only to be told, and tell what came of it."""
    planned = {"store": plan.store.path, **plan.facts}
    if dry_run or not as_json:
        tell(planned, plan, as_json=as_json)
    if dry_run:
        return
    report = plan.run(connect(scheduler), accept_gaps=accept_gaps)
    tell({**planned, **asdict(report)}, report, as_json=as_json)
    if not report.complete:
        raise typer.Exit(1)
