"""Models as STAC items, by the Machine Learning Model extension (MLM).

pystac's own classes for the extension write ``value_scaling`` as one object, where the extension
wants a list: the fields are plain here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcontrast.folders import CARD, WEIGHTS, require_folder
from xcontrast.sensors import SENSORS

if TYPE_CHECKING:
    from pystac import Item

    from xcontrast.model.card import SensorCard
    from xcontrast.model.folder import Model

__all__ = ["build_item", "describe_input", "stac_item"]

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
SHA256 = "1220"
"""What a multihash of SHA-256 begins with."""
NO_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
"""Names of weights that were counted, not trained."""
TITLES = {sensor.name: sensor.title for sensor in SENSORS}


def stac_item(
    model: Model,
    *,
    id: str | None = None,
    href: str | None = None,
    bbox: Sequence[float] | None = None,
) -> Item:
    """Describe the model as a STAC item, by the Machine Learning Model extension.

    Its place and period are those that it was trained on. Where the card does not tell the area,
    the item has no geometry; where it does not tell dates, as of imported weights, the item bears
    the time at which the weights were written.

    Parameters
    ----------
    model : Model
        What is described.
    id : str, optional
        Of the item; by default ``xcontrast-`` and the digest.
    href : str, optional
        Where the folder lies for those who read the item: an address or a path. By default where
        it lies here.
    bbox : sequence of float, optional
        West, south, east, north in degrees, instead of the card's.

    Returns
    -------
    pystac.Item
        With ``mlm:`` fields and the assets ``model`` (weights) and ``card``.

    References
    ----------
    Charette-Migneault et al. (2024), Machine Learning Model specification for cataloging
    spatio-temporal models; the extension's version 1.4.
    """
    card, told = model.card, model.card.training
    options = told.get("options") or {}
    features = {
        "shape": [-1, card.n_features, -1, -1],
        "dim_order": ["batch", "feature", "height", "width"],
        "data_type": "float32",
    }
    properties = {
        "mlm:architecture": card.encoder,
        "mlm:tasks": ["similarity-search"],
        **_describe_origin(told),
        "mlm:input": [
            describe_input(name, own, ["batch"], [-1]) for name, own in card.sensors.items()
        ],
        "mlm:output": [
            {
                "name": f"{name} embedding",
                "description": f"Features of {TITLES[name]}, of all levels, for each cell.",
                "tasks": ["similarity-search"],
                "result": features,
                "post_processing_function": None,
            }
            for name in card.sensors
        ],
        "mlm:hyperparameters": _keep_known(
            {"method": card.method, "out_stride": card.out_stride, "stem": card.stem}
            | {key: told.get(key) for key in ("steps", "batch_size", "chip_size")} | options
        ),
    }  # fmt: skip
    known = told.get("bbox") if bbox is None else bbox
    return build_item(
        model.path,
        model.digest,
        card.sensors,
        properties,
        id=id,
        href=href,
        bbox=known,
        dates=[day for days in told.get("dates", {}).values() for day in days],
    )


def build_item(
    folder: Path,
    digest: str,
    sensors: Mapping[str, SensorCard],
    properties: Mapping[str, Any],
    *,
    id: str | None,
    href: str | None,
    bbox: Sequence[float] | None,
    dates: Iterable[str] = (),
) -> Item:
    """Put an item together from what all folders have and what is said of this one.

    Parameters
    ----------
    folder : Path
        With weights and card.
    digest : str
        Names them.
    sensors : mapping of str to SensorCard
        What it takes.
    properties : mapping
        ``mlm:`` fields of its own.
    id, href, bbox
        As of :func:`stac_item`.
    dates : iterable of str
        Days that it was trained on, ISO.

    Returns
    -------
    pystac.Item
    """
    from pystac import Item

    require_folder(folder)
    days = sorted(dates)
    moment, period = None, {}
    if days:
        period = {
            "start_datetime": f"{days[0]}T00:00:00Z",
            "end_datetime": f"{days[-1]}T23:59:59Z",
        }
    else:
        moment = datetime.fromtimestamp((folder / WEIGHTS).stat().st_mtime, UTC)
    item = Item(
        id=id or f"xcontrast-{digest}",
        geometry=None if bbox is None else _outline(bbox),
        bbox=None if bbox is None else list(bbox),
        datetime=moment,
        properties={
            **period,
            "bands": _list_bands(sensors),
            "mlm:name": f"xcontrast {digest}",
            "mlm:framework": "PyTorch",
            "mlm:total_parameters": _count_parameters(folder / WEIGHTS),
            "mlm:accelerator": None,
            "mlm:accelerator_constrained": False,
            **properties,
        },
        stac_extensions=[MLM, FILE],
    )
    _add_assets(item, folder, sensors, str(folder.resolve()) if href is None else href.rstrip("/"))
    return item


def describe_input(
    name: str, card: SensorCard, leading: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Describe what one sensor's encoder takes, as an input of the extension.

    Parameters
    ----------
    name : str
        Of the sensor.
    card : SensorCard
        Bands, units and scaling.
    leading : sequence of str
        Dims before bands, height and width.
    shape : sequence of int
        Their lengths.

    Returns
    -------
    dict
    """
    units = "surface reflectance, 1 = 100 %" if card.units == "1" else card.units
    return {
        "name": name,
        "description": f"{TITLES[name]} in {units}, at {card.gsd:g} m, NaN where invalid; "
        "scaled values are 0 where a band is.",
        "bands": list(card.bands),
        "input": {
            "shape": [*shape, len(card.bands), -1, -1],
            "dim_order": [*leading, "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": _describe_scaling(card),
        "resize_type": None,
        "pre_processing_function": None,
    }


def _describe_scaling(card: SensorCard) -> list[dict[str, Any]]:
    """Give a value scaling for each band: z-scores, or the curve as an expression of numpy."""
    scores = list(zip(card.mean, card.std, strict=True))
    if card.curve == "none":
        return [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in scores]
    curves = []
    for low, high in zip(card.low, card.high, strict=True):
        if card.curve == "clip":
            curves.append(f"clip((A - {low!r}) / ({high!r} - {low!r}), 0, 1)")
        else:
            share = f"(log1p(50 * maximum(A, 0)) - {low!r}) / ({high!r} - {low!r})"
            curves.append(f"1 / (1 + exp(1 - 5 * {share}))")
    return [
        {
            "type": "processing",
            "format": "gdal-calc",
            "expression": f"({curve} - {mean!r}) / {std!r}",
        }
        for curve, (mean, std) in zip(curves, scores, strict=True)
    ]


def _describe_origin(told: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether weights were learnt, and from what they began."""
    imported, begun = told.get("imported"), (told.get("options") or {}).get("weights")
    version = (told.get("versions") or {}).get("torch")
    fields: dict[str, Any] = {} if version is None else {"mlm:framework_version": version}
    if imported:
        source = f"{imported['layout']}, {imported['file']}"
        return {**fields, "mlm:pretrained": True, "mlm:pretrained_source": source}
    if begun:
        source = "ImageNet" if begun == "imagenet" else str(begun)
        return {**fields, "mlm:pretrained": True, "mlm:pretrained_source": source}
    if told.get("steps"):
        return {**fields, "mlm:pretrained": True}
    return {**fields, "mlm:pretrained": False, "mlm:pretrained_source": None}


def _keep_known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _list_bands(sensors: Mapping[str, SensorCard]) -> list[dict[str, Any]]:
    return [
        {"name": band, "description": TITLES[name], "gsd": own.gsd, "unit": own.units,
         "data_type": "float32", "nodata": "nan"}
        for name, own in sensors.items() for band in own.bands
    ]  # fmt: skip


def _count_parameters(weights: Path) -> int:
    from safetensors import safe_open

    with safe_open(weights, "numpy") as file:
        return sum(
            math.prod(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118, it is no mapping
            if not name.endswith(NO_PARAMETERS)
        )


def _add_assets(item: Item, folder: Path, sensors: Mapping[str, SensorCard], href: str) -> None:
    from pystac import Asset

    checksum = json.loads((folder / CARD).read_text())["weights_sha256"]
    weights = {
        "mlm:artifact_type": "safetensors",
        "file:size": (folder / WEIGHTS).stat().st_size,
        "file:checksum": SHA256 + checksum,
        # STAC 1.1 allows bands in an item's properties only where an asset names them too.
        "bands": [{"name": band} for own in sensors.values() for band in own.bands],
    }
    item.add_asset(
        "model",
        Asset(f"{href}/{WEIGHTS}", title="Weights", media_type="application/octet-stream",
              roles=["mlm:model", "mlm:weights", "data"], extra_fields=weights),
    )  # fmt: skip
    item.add_asset(
        "card",
        Asset(f"{href}/{CARD}", title="Card", media_type="application/json", roles=["metadata"]),
    )


def _outline(bbox: Sequence[float]) -> dict[str, Any]:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
