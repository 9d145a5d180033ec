"""`xcontrast fit` and `xcontrast predict`: from embeddings and labels to a head, and to a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.cli.app import app, tell
from xcontrast.cli.options import HeadFolder, Json, LegendOf, open_store, read_labels, read_legend
from xcontrast.cli.records import load_any_head
from xcontrast.errors import DataError, problem

__all__ = ["fit", "predict"]

Event = Annotated[str | None, typer.Option(help="Date between before and after, for a change.")]


@app.command()
def fit(
    embedding: Annotated[Path, typer.Argument(help="Store that embed wrote.")],
    labels: Annotated[Path, typer.Option(help="GeoTIFF, store or vectors of labels.")],
    legend: LegendOf,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    event: Event = None,
    sensor: Annotated[str | None, typer.Option(help="Take this one alone: s1 or s2.")] = None,
    column: Annotated[str | None, typer.Option(help="Of vectors: with codes or names.")] = None,
    kind: Annotated[str, typer.Option(help="linear, knn, forest, boosting or prototypes.")] = (
        "linear"
    ),
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a head on embeddings with labels; only labelled cells are computed.

    For instance: xcontrast fit po.zarr --labels=clicks.gpkg --column=category --legend=flood
    --event=2023-05-16 --out=heads/flood
    """
    import xcontrast as xc

    asked: Any = kind
    head = xc.fit(
        _open_features(embedding, sensor, event),
        read_labels(labels),
        legend=read_legend(legend),
        column=column,
        kind=asked,
        seed=seed,
    ).save(out)
    facts = {"head": out, "digest": head.digest, "kind": kind, "temperature": head.temperature}
    tell({**facts, **head.facts}, head, as_json=as_json)


@app.command()
def predict(
    store: Annotated[
        Path, typer.Argument(help="Store that embed wrote, or of a cube, for a segmenter.")
    ],
    head: HeadFolder,
    out: Annotated[Path, typer.Option(help="A store (.zarr), or a GeoTIFF of labels (.tif).")],
    event: Event = None,
    sensor: Annotated[str | None, typer.Option(help="Take this one alone: s1 or s2.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there, once the new one is whole.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Map what is embedded, or with a segmenter a cube, block by block."""
    import xcontrast as xc

    if out.suffix not in (".zarr", ".tif", ".tiff"):
        raise DataError(
            problem(
                expected="an output ending in .zarr or .tif",
                received=str(out),
                do="name it so: a store holds labels, probabilities and entropy, a GeoTIFF labels",
            )
        )
    loaded = load_any_head(head)
    if isinstance(loaded, xc.Segmenter):
        mapped = xc.predict(open_store(store), loaded, event=event)
    else:
        mapped = xc.predict(_open_features(store, sensor, event), loaded)
    if out.suffix == ".zarr":
        xc.write_zarr(mapped, out, overwrite=overwrite)
    else:
        xc.to_cog(mapped.label, out, overwrite=overwrite)
    facts = {"out": out, "head": loaded.digest, "sizes": dict(mapped.sizes)}
    tell(facts, f"{', '.join(loaded.legend.names)} mapped to {out}", as_json=as_json)


def _open_features(path: Path, sensor: str | None, event: str | None) -> Any:
    """Open an embedding, unpacked, of one sensor if one is asked for, before and after if so."""
    import xcontrast as xc

    stored = open_store(path)
    if "packed" in stored:
        stored = xc.unpack(stored)
    elif sensor is not None:
        if sensor not in stored:
            raise DataError(
                problem(
                    expected=f"an embedding of {sensor}",
                    received=f"one of {', '.join(map(str, stored.data_vars))}",
                    do="leave --sensor out, or embed that sensor",
                )
            )
        stored = stored[sensor]
    return stored if event is None else xc.before_after(stored, event=event)
