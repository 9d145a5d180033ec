"""From a name and a folder to our row beside the published ones."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

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
    """What a model reached under a published protocol, and what the papers report."""

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
    """
    options = options or ReproduceOptions()
    rows = published(name)
    folder = Path(data)
    if model == "random":
        model = _make_random(name, options.seed)
    assert isinstance(model, Model)
    _check_sensor(name, model)
    if name == "eurosat":
        ours = eurosat.run_eurosat(eurosat.open_eurosat(folder), model, options=options)
        departures = eurosat.depart(options)
    elif name == "bigearthnet":
        patches = bigearthnet.open_bigearthnet(folder)
        ours = bigearthnet.run_bigearthnet(patches, model, options=options)
        departures = bigearthnet.depart(options)
    elif name == "sen1floods11":
        chips = sen1floods11.open_sen1floods11(folder)
        ours = sen1floods11.run_sen1floods11(chips, model, options=options)
        departures = sen1floods11.depart(options)
    elif name == "dynamic-world":
        tiles = dynamic_world.open_dynamic_world(folder, seed=options.seed)
        ours = dynamic_world.run_dynamic_world(tiles, model, options=options)
        departures = dynamic_world.depart(options)
    else:
        cities = oscd.open_oscd(folder, bands=model.card.sensors["s2"].bands)
        ours = oscd.run_oscd(cities, model, options=options)
        departures = oscd.depart(options)
    if options.max_steps is not None:
        departures.insert(0, f"training ended after {options.max_steps} steps: not to be compared")
    return Reproduction(name, ours, rows, tuple(departures))


def _check_sensor(name: Name, model: Model) -> None:
    wanted = {"sen1floods11": ("s1",), "dynamic-world": ("s1", "s2")}.get(name, ("s2",))
    if not set(wanted) & set(model.sensors):
        raise ModelError(
            problem(
                expected=f"a model with an encoder for {' or '.join(wanted)}, as {name} has",
                received=f"one for {', '.join(model.sensors)}",
                do="give another model, or 'random'",
            )
        )


def _make_random(name: Name, seed: int) -> Model:
    inputs = {"eurosat": eurosat.INPUT, "bigearthnet": bigearthnet.INPUT, "oscd": oscd.INPUT}
    if name in inputs:
        return make_random("s2", inputs[name], seed=seed)
    if name == "sen1floods11":
        return _random_dual(S1, ("vv", "vh"), seed)
    return _random_dual(S2, ("B04", "B03", "B02"), seed)


def _random_dual(sensor: Sensor, bands: tuple[str, ...], seed: int) -> Model:
    """Make the dual-encoder paper's network: ResNet-50 with two small convolutions in front."""
    scaling = publish_scaling("multimodal", sensor, bands, sensor.units)
    card = SensorCard(bands=bands, units=sensor.units, gsd=sensor.gsd, **scaling)
    return make_random(sensor.name, card, encoder="resnet50", stem="3x3", seed=seed)
