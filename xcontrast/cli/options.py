"""Options that several commands share, and how what is given by them is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xcontrast.errors import DataError, SourceError, problem

if TYPE_CHECKING:
    import xarray as xr

    from xcontrast.legends import Legend

__all__ = [
    "Area",
    "Box",
    "HeadFolder",
    "Json",
    "LegendOf",
    "Orbit",
    "Period",
    "Scheduler",
    "SourceOf",
    "connect",
    "open_cube_or_store",
    "open_store",
    "read_box",
    "read_labels",
    "read_legend",
]

Box = Annotated[str, typer.Option(help="West,south,east,north in degrees.")]
Period = Annotated[str, typer.Option(help="Such as 2023-04/2023-06.")]
Area = Annotated[
    str | None, typer.Option("--bbox", help="West,south,east,north in degrees, without a store.")
]
SourceOf = Annotated[
    str | None, typer.Option(help="STAC API or catalog; by default the Planetary Computer.")
]
Orbit = Annotated[
    int | None, typer.Option(help="Of Sentinel-1 passes; a change is only seen within one.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Of a dask cluster, such as tcp://host:8786; else this machine.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
HeadFolder = Annotated[
    str, typer.Option(help="Folder of the head or of a segmenter, or its id on the hub.")
]
LegendOf = Annotated[
    str,
    typer.Option(
        help="flood, worldcover, dynamic-world, or a JSON file with title, codes, names and colors."
    ),
]


def read_box(text: str) -> tuple[float, float, float, float]:
    """Read a box.

    Raises
    ------
    DataError
        If it is not four numbers.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise DataError(
            problem(
                expected="a box as west,south,east,north in degrees",
                received=repr(text),
                do="write it as --bbox=11.0,44.2,11.4,44.5",
            )
        ) from None
    return west, south, east, north


def read_legend(text: str) -> Legend:
    """Find a legend by name, or read one.

    Raises
    ------
    DataError
        If there is no such legend or file, or the file is not whole.
    """
    from xcontrast.legends import DYNAMIC_WORLD, FLOOD, WORLDCOVER, Legend
    from xcontrast.records import read_record

    known = {"flood": FLOOD, "worldcover": WORLDCOVER, "dynamic-world": DYNAMIC_WORLD}
    if text in known:
        return known[text]
    try:
        return read_record(Legend, json.loads(Path(text).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            problem(
                expected=f"a legend: {', '.join(known)}, or a JSON file",
                received=f"{text!r} ({error})",
                do='write {"title": ..., "codes": [...], "names": [...], "colors": [...]}',
            )
        ) from None


def read_labels(path: Path) -> Any:
    """Read labels: a raster, an array in a store, or points and polygons.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    import xarray as xr

    try:
        if path.suffix == ".zarr":
            return xr.open_zarr(path)["label"]
        if path.suffix in (".tif", ".tiff"):
            import rioxarray

            return rioxarray.open_rasterio(path).squeeze("band", drop=True)
        import geopandas as gpd

        return gpd.read_file(path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise DataError(
            problem(
                expected="labels as a GeoTIFF, a store with a variable label, or vectors "
                "(GeoPackage, GeoJSON, shapefile)",
                received=f"{path} ({type(error).__name__}: {error})",
                do="check the path, and that it opens elsewhere",
            )
        ) from error


def open_store(path: Path) -> Any:
    """Open what xcontrast wrote: chips, a collection, a cube, an embedding or a map.

    Raises
    ------
    SourceError
        If it is no Zarr store.
    """
    import xarray as xr
    import zarr

    from xcontrast.cubes.collecting.collection import PLAN, open_collection
    from xcontrast.sampling.saving import TITLE, load_chips

    try:
        attrs = dict(zarr.open_group(str(path), mode="r").attrs)
    except (OSError, ValueError) as error:
        raise SourceError(
            problem(
                expected="a Zarr store that xcontrast wrote",
                received=f"{path} ({type(error).__name__}: {error})",
                do="check the path",
            )
        ) from error
    if TITLE in attrs:
        return load_chips(path)
    # A map in tiles has a plan too, of another kind.
    if "plan" in json.loads(str(attrs.get(PLAN, "{}"))):
        return open_collection(path)
    stored: xr.Dataset = xr.open_zarr(path)
    return stored


def open_cube_or_store(
    store: Path | None,
    bbox: str | None,
    datetime: str | None,
    source: str | None,
    relative_orbit: int | None = None,
) -> Any:
    """Open a store, or a cube of an area and period, of one orbit if one is asked for.

    Raises
    ------
    DataError
        If neither or both are given, or an orbit with a store.
    """
    import xcontrast as xc

    if (store is None) == (bbox is None or datetime is None):
        raise DataError(
            problem(
                expected="a store, or --bbox and --datetime",
                received="both" if store is not None else "neither",
                do="give the store that collect or embed wrote, or the area and period to open",
            )
        )
    if store is not None and relative_orbit is not None:
        raise DataError(
            problem(
                expected="--relative-orbit with --bbox and --datetime",
                received=f"the store {store}, whose passes were chosen when it was written",
                do="leave it out, or write the store with it",
            )
        )
    if store is not None:
        return open_store(store)
    options = xc.CubeOptions(relative_orbit=relative_orbit)
    where = read_box(str(bbox))
    return xc.open_cube(bbox=where, datetime=str(datetime), source=source, options=options)


def connect(scheduler: str | None) -> Any:
    """Give a client of a cluster, or None for this machine."""
    if scheduler is None:
        return None
    from distributed import Client

    return Client(scheduler)
