"""Cards in Markdown: what the facts of a model say, and nothing that they do not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xcontrast.sensors import SENSORS

if TYPE_CHECKING:
    from xcontrast.model.card import Card, SensorCard
    from xcontrast.model.folder import Model

__all__ = ["card_markdown", "describe_sensors", "list_facts", "open_call", "render", "show_options"]

LIBRARY = "xcontrast"
TITLES = {sensor.name: sensor.title for sensor in SENSORS}
DEFAULT_BANDS = {sensor.name: sensor.bands for sensor in SENSORS}
Section = tuple[str, Sequence[str]]


def card_markdown(model: Model, *, source: str | None = None, license: str | None = None) -> str:
    """Describe the model in Markdown, from the facts of its card alone.

    Parameters
    ----------
    model : Model
        What is described.
    source : str, optional
        Where others load it from, for the lines of code: a hub id or a path. By default the
        model's own folder.
    license : str, optional
        A licence's identifier on the hub, such as ``"cc-by-4.0"``. It is the author's to choose:
        without one the card says that none was given.

    Returns
    -------
    str
        A hub's front matter (YAML), then what the model takes, what it was trained on, what was
        measured, what was not, and how it is used.
    """
    card, told = model.card, model.card.training
    names = " and ".join(TITLES[name] for name in card.sensors)
    sections: list[Section] = [
        ("Takes", describe_sensors(card.sensors)),
        ("Gives", _describe_features(card)),
        ("Trained on", _describe_data(card)),
        ("Scores", _describe_scores(told)),
        ("Limits", _describe_limits(card)),
        ("Use", _show_use(card, source or str(model.path))),
        ("Versions", list_facts({"xcontrast": card.xcontrast, **told.get("versions", {})})),
    ]
    options = told.get("options")
    if options:
        sections.insert(3, ("Options", show_options(options)))
    lead = f"An encoder for {names} images" if len(card.sensors) == 1 else (
        f"An encoder each for {names} images"
    )  # fmt: skip
    return render(
        f"xcontrast model {model.digest}",
        [f"{lead}: `{card.encoder}`, method `{card.method}`."],
        sections,
        tags=[*_tag(card.sensors), "self-supervised", "contrastive", "feature-extraction"],
        license=license,
    )


def render(
    title: str,
    lead: Sequence[str],
    sections: Iterable[Section],
    *,
    tags: Sequence[str],
    license: str | None,
) -> str:
    """Put a card together.

    Parameters
    ----------
    title : str
        Of the page.
    lead : sequence of str
        Lines under it.
    sections : iterable of (str, sequence of str)
        Headings with their lines; those without lines are left out.
    tags : sequence of str
        For the hub.
    license : str or None
        An identifier of the hub's.

    Returns
    -------
    str

    Examples
    --------
    >>> text = render("Ice", ["A map."], [("Limits", ["Winter."])], tags=["ice"], license=None)
    >>> print(text)
    ---
    library_name: xcontrast
    tags:
    - earth-observation
    - ice
    ---
    <BLANKLINE>
    # Ice
    <BLANKLINE>
    A map.
    <BLANKLINE>
    ## Limits
    <BLANKLINE>
    Winter.
    <BLANKLINE>
    ## Licence
    <BLANKLINE>
    The author has not stated one.
    <BLANKLINE>
    """
    front = [f"library_name: {LIBRARY}"]
    front += [f"license: {license}"] if license else []
    front += ["tags:", *(f"- {tag}" for tag in ("earth-observation", *tags))]
    licence = f"`{license}`" if license else "The author has not stated one."
    blocks = [["---", *front, "---"], [f"# {title}"], list(lead)]
    for heading, lines in (*sections, ("Licence", [licence])):
        if lines:
            blocks += [[f"## {heading}"], list(lines)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def list_facts(facts: Mapping[str, Any]) -> list[str]:
    """Give facts as a list; what is None is left out.

    Examples
    --------
    >>> list_facts({"batch_size": 64, "queue": None, "rate": 0.001})
    ['- batch size: 64', '- rate: 0.001']
    """
    return [
        f"- {name.replace('_', ' ')}: {_say(value)}"
        for name, value in facts.items()
        if value is not None and value != ""
    ]


def show_options(options: Mapping[str, Any]) -> list[str]:
    """Give options by the names that they have in Python, as JSON; those not set are left out."""
    kept = {name: value for name, value in options.items() if value is not None}
    return ["```json", json.dumps(kept, indent=1), "```"]


def describe_sensors(sensors: Mapping[str, SensorCard]) -> list[str]:
    """Give what each sensor's values are, in a table."""
    rows = ["| sensor | bands, in this order | units | trained at |", "|---|---|---|---|"]
    for name, own in sensors.items():
        units = "surface reflectance, 1 = 100 %" if own.units == "1" else own.units
        rows.append(f"| {TITLES[name]} | {', '.join(own.bands)} | {units} | {own.gsd:g} m |")
    return [*rows, "", "Invalid pixels are NaN. Values are scaled by the model itself."]


def open_call(sensors: Mapping[str, SensorCard], *, dates: int = 1) -> str:
    """Give the line that opens a cube with the bands of a card.

    Two dates are of one orbit, and end soon after the event between them.

    Examples
    --------
    >>> open_call({})
    'cube = xc.open_cube(bbox=(11.0, 44.2, 11.4, 44.5), datetime="2023-04-01/2023-05-22")'
    """
    told = ["bbox=(11.0, 44.2, 11.4, 44.5)", 'datetime="2023-04-01/2023-05-22"']
    if dates > 1:
        told.append("options=xc.CubeOptions(relative_orbit=95)")
    if len(sensors) == 1:
        told.append(f'sensors=("{next(iter(sensors))}",)')
    if any(not set(own.bands) <= set(DEFAULT_BANDS[name]) for name, own in sensors.items()):
        bands = ", ".join(f'"{name}": {own.bands!r}' for name, own in sensors.items())
        told.append(f"bands={{{bands}}}".replace("'", '"'))
    return f"cube = xc.open_cube({', '.join(told)})"


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k.replace('_', ' ')} {_say(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_say(own) for own in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _tag(sensors: Iterable[str]) -> list[str]:
    return [TITLES[name].lower() for name in sensors]


def _describe_features(card: Card) -> list[str]:
    levels = ", ".join(f"{own['channels']} at {own['stride']} px" for own in card.levels)
    lines = [f"- {card.n_features} features a cell: {levels}, brought to one grid."]
    if card.projected and card.projector is not None:
        spaces = ", ".join(f"`{space}`" for space in card.projected)
        lines.append(f"- projected spaces of {card.projector.n_projected} dimensions: {spaces}.")
    seen = "the whole image" if card.halo is None else f"no farther than {card.halo} px"
    return [*lines, f"- a cell sees {seen}."]


def _describe_data(card: Card) -> list[str]:
    told = card.training
    imported = told.get("imported")
    if imported:
        return [f"Weights of others: the file `{imported['file']}`, layout `{imported['layout']}`."]
    dates = {
        f"dates of {TITLES[name]}": " to ".join(told.get("dates", {}).get(f"{name}_time", ()))
        for name in card.sensors
    }
    bbox = told.get("bbox")
    area = None if bbox is None else "west {}, south {}, east {}, north {} degrees".format(*bbox)
    kept = ("steps", "batch_size", "n_devices", "n_pairs", "n_train_chips", "n_held_out_chips",
            "chip_size", "seconds", "device", "precision")  # fmt: skip
    facts = {name.removeprefix("n_"): told.get(name) for name in kept}
    return list_facts({"area": area, **dates, **facts})


def _describe_scores(told: Mapping[str, Any]) -> list[str]:
    held = {k: v for k, v in (told.get("held_out") or {}).items() if _is_number(v)}
    if not held:
        return []
    lead = "Retrieval on ground held out; chance is what guessing gives:"
    return [lead, "", "| measure | value |", "|---|---|"] + [
        f"| {name.replace('_', ' ')} | {_say(float(value))} |" for name, value in held.items()
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _describe_limits(card: Card) -> list[str]:
    told, lines = card.training, []
    if not told.get("steps") and "imported" not in told:
        lines.append("- Nothing was trained: its weights are those that a network begins with.")
    if told.get("interrupted"):
        lines.append("- Training was interrupted before its last step.")
    if told.get("dates") or told.get("bbox"):
        lines.append("- Only the area and dates above were seen; others were not measured.")
    if not told.get("held_out"):
        lines.append("- Nothing was measured on ground held out.")
    if len(card.sensors) > 1:
        shared = " In `joint` they are." if "joint" in card.projected else ""
        lines.append(f"- Features of one sensor are not comparable with the other's.{shared}")
    return lines


def _show_use(card: Card, source: str) -> list[str]:
    return [
        "```python",
        "import xcontrast as xc",
        "",
        f'model = xc.load_model("{source}")',
        open_call(card.sensors),
        "emb = cube.contrast.embed(model)  # lazy, on the cube's grid",
        "```",
    ]
