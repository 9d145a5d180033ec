"""From a name and a folder to our row beside the published ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import xarray as xr

from xcontrast.errors import ModelError, problem
from xcontrast.model import Model, SensorCard
from xcontrast.protocols import bigearthnet, dynamic_world, eurosat, oscd, sen1floods11
from xcontrast.protocols.encoders import make_random
from xcontrast.protocols.options import ReproduceOptions
from xcontrast.protocols.tables import METRICS, Name, published
from xcontrast.sensors import S1, S2, Sensor
from xcontrast.training.presets import publish_scaling

__all__ = ["Reproduction", "reproduce"]


@dataclass(frozen=True)
class Reproduction:
    """What a model reached under a published protocol, and what the papers report.

    Examples
    --------
    >>> from xcontrast.protocols.tables import published
    >>> table = published("oscd")
    >>> told = Reproduction("oscd", table.head(1), table, ("ours is a row of the paper's",))
    >>> str(told).splitlines()[0]
    'oscd: precision, recall and F1 of change, %'
    >>> "departures" in told.to_json()
    True
    """

    name: str
    ours: pd.DataFrame
    """Columns as of :func:`xcontrast.protocols.tables.published`."""
    published: pd.DataFrame
    departures: tuple[str, ...]
    """Where the run is not what the paper did."""

    def __str__(self) -> str:
        lines = [f"{self.name}: {METRICS[self.name]}"]
        for task in dict.fromkeys([*self.ours["task"], *self.published["task"]]):
            lines += ["", task]
            for table in (self.published, self.ours):
                lines += [_tell(row) for _, row in table[table["task"] == task].iterrows()]
        lines += ["", "* from memory or an unsure source: see the paper before quoting it"]
        if self.departures:
            lines += ["", "This run departs from what was published:"]
            lines += [f"- {line}" for line in self.departures]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Give both tables and the departures as JSON."""
        return json.dumps(
            {
                "name": self.name,
                "metric": METRICS[self.name],
                "ours": json.loads(self.ours.to_json(orient="records")),
                "published": json.loads(self.published.to_json(orient="records")),
                "departures": list(self.departures),
            },
            indent=2,
        )


@dataclass(frozen=True, kw_only=True)
class _Protocol:
    """What the five have in common."""

    open: Callable[[Path, Model | None, ReproduceOptions], xr.Dataset]
    run: Callable[..., pd.DataFrame]
    depart: Callable[[ReproduceOptions], list[str]]
    inputs: Mapping[str, SensorCard]
    """Sensors, and how the paper scales them."""
    encoder: str = "resnet18"
    """The paper's."""
    stem: Literal["own", "3x3"] = "own"


def _scale(sensor: Sensor, bands: tuple[str, ...]) -> SensorCard:
    """Give the dual-encoder paper's input."""
    scaling = publish_scaling("multimodal", sensor, bands, sensor.units)
    return SensorCard(bands=bands, units=sensor.units, gsd=sensor.gsd, **scaling)


def _open_oscd(folder: Path, model: Model | None, options: ReproduceOptions) -> xr.Dataset:
    del options
    bands = oscd.INPUT.bands if model is None else model.card.sensors["s2"].bands
    return oscd.open_oscd(folder, bands=bands)


def _open_dynamic_world(folder: Path, model: Model | None, options: ReproduceOptions) -> xr.Dataset:
    del model
    there: list[Literal["s1", "s2"]] = [k for k in ("s1", "s2") if (folder / k).is_dir()]
    return dynamic_world.open_dynamic_world(
        folder, sensors=there or ("s1", "s2"), seed=options.seed
    )


RADAR, OPTICAL = _scale(S1, ("vv", "vh")), _scale(S2, ("B04", "B03", "B02"))
PROTOCOLS: dict[Name, _Protocol] = {
    "sen1floods11": _Protocol(
        open=lambda folder, _model, _options: sen1floods11.open_sen1floods11(folder),
        run=sen1floods11.run_sen1floods11,
        depart=sen1floods11.depart,
        inputs={"s1": RADAR},
        encoder="resnet50",
        stem="3x3",
    ),
    "dynamic-world": _Protocol(
        open=_open_dynamic_world,
        run=dynamic_world.run_dynamic_world,
        depart=dynamic_world.depart,
        inputs={"s1": RADAR, "s2": OPTICAL},
        encoder="resnet50",
        stem="3x3",
    ),
    "eurosat": _Protocol(
        open=lambda folder, _model, _options: eurosat.open_eurosat(folder),
        run=eurosat.run_eurosat,
        depart=eurosat.depart,
        inputs={"s2": eurosat.INPUT},
    ),
    "bigearthnet": _Protocol(
        open=lambda folder, _model, _options: bigearthnet.open_bigearthnet(folder),
        run=bigearthnet.run_bigearthnet,
        depart=bigearthnet.depart,
        inputs={"s2": bigearthnet.INPUT},
    ),
    "oscd": _Protocol(
        open=_open_oscd,
        run=oscd.run_oscd,
        depart=oscd.depart,
        inputs={"s2": oscd.INPUT},
    ),
}


def _tell(row: pd.Series[Any]) -> str:
    figure = f"{row['mean']:6.2f}"
    if pd.notna(row["std"]):
        figure += f" ± {row['std']:.2f} of {row['n']}"
    mark = " " if row["checked"] else "*"
    return f"  {row['start']:<26} {figure:<20}{mark} {row['source']}"


def reproduce(
    name: Name,
    data: str | os.PathLike[str],
    model: Model | Literal["random"],
    *,
    options: ReproduceOptions | None = None,
) -> Reproduction:
    """Run a published protocol on the official files.

    Parameters
    ----------
    name : {"sen1floods11", "dynamic-world", "eurosat", "bigearthnet", "oscd"}
        Which data set.
    data : path
        Where it lies, unpacked.
    model : Model or "random"
        Whose encoder is judged; ``"random"`` has the papers' network and input, and no training.
    options : ReproduceOptions, optional
        Seed, device, and where it departs from the published code.

    Returns
    -------
    Reproduction
        Prints our rows beside the published ones.

    Raises
    ------
    SourceError
        If files of the layout are missing.
    DataError
        If the name is unknown, or the data or the model do not fit the protocol.
    ModelError
        If the model has no encoder for the sensor.

    Examples
    --------
    >>> untrained = make_random({"s2": eurosat.INPUT}, encoder="test_resnet")
    >>> options = ReproduceOptions(max_steps=1, batch_size=2)
    >>> told = reproduce("eurosat", files["eurosat"], untrained, options=options)
    >>> print(str(told).splitlines()[0])
    eurosat: accuracy, %
    """
    options = options or ReproduceOptions()
    rows = published(name)
    protocol = PROTOCOLS[name]
    given = None if model == "random" else model
    if isinstance(given, Model):
        _check_sensor(name, given)
    dataset = protocol.open(Path(data), given, options)
    judged = given or make_random(
        protocol.inputs, encoder=protocol.encoder, stem=protocol.stem, seed=options.seed
    )
    ours = protocol.run(dataset, judged, options=options)
    departures = [*_tell_changes(options), *protocol.depart(options)]
    return Reproduction(name, ours, rows, tuple(departures))


def _tell_changes(options: ReproduceOptions) -> list[str]:
    """Say what was changed of every training, whatever the protocol."""
    told = []
    if options.max_steps is not None:
        told.append(f"training ended after {options.max_steps} steps: not to be compared")
    if options.batch_size is not None:
        told.append(f"batches hold {options.batch_size} images, however many the paper's do")
    return told


def _check_sensor(name: Name, model: Model) -> None:
    wanted = tuple(PROTOCOLS[name].inputs)
    if not set(wanted) & set(model.sensors):
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {' or '.join(wanted)}, as {name} has",
                received=f"one for {', '.join(model.sensors)}",
                do="give another model, or 'random'",
            )
        )
