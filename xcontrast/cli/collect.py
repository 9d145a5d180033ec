"""`xcontrast collect`: images of many places and seasons, into one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.cli.app import app, aside, tell
from xcontrast.cli.options import Json, Period, Scheduler, SourceOf, connect, read_box
from xcontrast.errors import DataError, problem

__all__ = ["collect"]


@app.command()
def collect(
    store: Annotated[Path, typer.Option(help="Zarr store, new or begun with the same call.")],
    datetime: Period,
    locations: Annotated[
        Path | None, typer.Option(help="File of points (GeoPackage, GeoJSON); else they are drawn.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Places to draw.")] = None,
    kind: Annotated[str, typer.Option(help="Drawn around cities, on land, or on a grid.")] = (
        "cities"
    ),
    region: Annotated[
        str | None, typer.Option(help="West,south,east,north that they are drawn in.")
    ] = None,
    min_distance: Annotated[float | None, typer.Option(help="Between two places, metres.")] = None,
    sensors: Annotated[str, typer.Option(help="s1, s2 or s1,s2.")] = "s2",
    dates: Annotated[int, typer.Option(help="Of each place.")] = 5,
    gap: Annotated[str, typer.Option(help="Between two dates.")] = "84D",
    window: Annotated[str, typer.Option(help="That a date may lie in.")] = "15D",
    tolerance: Annotated[str, typer.Option(help="Between the sensors.")] = "3D",
    max_cloud: Annotated[float, typer.Option(help="Of a scene, per cent.")] = 10,
    size: Annotated[int, typer.Option(help="Side of a patch, pixels.")] = 264,
    seed: Annotated[int, typer.Option(help="Of places and dates.")] = 0,
    source: SourceOf = None,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Gather patches of many places and dates; run again, it goes on.

    For instance, a thousand places of Europe, four seasons of both sensors:
    xcontrast collect --store=eu.zarr --datetime=2022/2023 --n=1000 --kind=land
    --region=-10,36,30,60 --sensors=s1,s2 --dates=4
    """
    import xcontrast as xc

    places = _read_locations(
        locations, n, seed, kind=kind, region=region, min_distance=min_distance
    )
    with aside(as_json=as_json):
        gathered = xc.collect(
            places,
            store=store,
            datetime=datetime,
            sensors=tuple(sensors.split(",")),
            dates=dates,
            gap=gap,
            window=window,
            tolerance=tolerance,
            max_cloud=max_cloud,
            size=size,
            seed=seed,
            source=source,
            client=connect(scheduler),
        )
    facts = {"store": store, "sizes": dict(gathered.sizes), "sensors": sensors.split(",")}
    tell(facts, gathered.contrast, as_json=as_json)


def _read_locations(
    path: Path | None,
    n: int | None,
    seed: int,
    *,
    kind: Any,
    region: str | None,
    min_distance: float | None,
) -> Any:
    import xcontrast as xc

    if (path is None) == (n is None):
        raise DataError(
            problem(
                expected="a file of places, or how many to draw",
                received="both" if n is not None else "neither",
                do="give --locations=FILE or --n=1000",
            )
        )
    if path is None and n is not None:
        box = None if region is None else read_box(region)
        return xc.sample_locations(n, kind=kind, region=box, min_distance=min_distance, seed=seed)
    import geopandas as gpd

    try:
        return gpd.read_file(path)
    except (OSError, RuntimeError) as error:
        raise DataError(
            problem(
                expected="a file of points, such as a GeoPackage or GeoJSON",
                received=f"{path} ({error})",
                do="check the path",
            )
        ) from error
