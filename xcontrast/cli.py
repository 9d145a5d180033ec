"""The command line: the same words as the functions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from xcontrast.errors import DataError, ModelError, SourceError, TrainingError, problem
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


Box = Annotated[str, typer.Option(help="West,south,east,north in degrees.")]
Period = Annotated[str, typer.Option(help="Such as 2023-04/2023-06.")]
ModelFolder = Annotated[Path, typer.Option(help="Folder of the model.")]
Store = Annotated[Path, typer.Option(help="Zarr store, new or begun with the same plan.")]
SourceOf = Annotated[
    str | None, typer.Option(help="STAC API or catalog; by default the Planetary Computer.")
]
SensorOf = Annotated[str | None, typer.Option(help="s1 or s2, where the model has both.")]
Stride = Annotated[int | None, typer.Option(help="Pixels a cell; by default 4.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Of a dask cluster, such as tcp://host:8786; else this machine.")
]
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
    sensor: SensorOf = None,
    space: Annotated[str, typer.Option(help="As for xc.embed.")] = "encoder",
    stride: Stride = None,
    packed: Annotated[bool, typer.Option(help="Write one byte a feature.")] = False,
    scheduler: Scheduler = None,
    accept_gaps: Gaps = False,
    dry_run: Dry = False,
) -> None:
    """Embed a region into a store, tile by tile; run again, it goes on."""
    told = {
        "sensor": sensor, "space": space, "stride": stride, "packed": packed, "source": source
    }  # fmt: skip
    _run_plan(bbox, datetime, model, store, None, scheduler, accept_gaps, dry_run, told)


@app.command("map")
def make_map(
    bbox: Box,
    datetime: Period,
    head: Annotated[Path, typer.Option(help="Folder of the head, or of a segmenter.")],
    store: Store,
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model; a segmenter needs none.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Date of the event, for a head on before and after.")
    ] = None,
    source: SourceOf = None,
    stride: Stride = None,
    scheduler: Scheduler = None,
    accept_gaps: Gaps = False,
    dry_run: Dry = False,
) -> None:
    """Map a region into a store, tile by tile; run again, it goes on."""
    told = {"event": event, "stride": stride, "source": source}
    _run_plan(bbox, datetime, model, store, head, scheduler, accept_gaps, dry_run, told)


def _run_plan(
    bbox: str,
    datetime: str,
    model: Path | None,
    store: Path,
    head: Path | None,
    scheduler: str | None,
    accept_gaps: bool,
    dry_run: bool,
    told: dict[str, Any],
) -> None:
    import xcontrast as xc

    west, south, east, north = _read_box(bbox)
    plan = xc.plan_map(
        bbox=(west, south, east, north),
        datetime=datetime,
        model=None if model is None else xc.load_model(model),
        head=None if head is None else _load_head(head),
        store=store,
        **told,
    )
    print(plan)
    if dry_run:
        return
    client = None
    if scheduler is not None:
        from distributed import Client

        client = Client(scheduler)
    report = plan.run(client, accept_gaps=accept_gaps)
    print(report)
    if not report.complete:
        raise typer.Exit(1)


def _load_head(folder: Path) -> Any:
    import xcontrast as xc
    from xcontrast.folders import form_of
    from xcontrast.heads.segmenting.segmenter import FORMAT

    return xc.load_segmenter(folder) if form_of(folder) == FORMAT else xc.load_head(folder)


def _read_box(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise DataError(
            problem(
                expected="a box as west,south,east,north in degrees",
                received=repr(text),
                do="write it as --bbox=11.0,44.2,11.4,44.5",
            )
        )
    return numbers


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
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
