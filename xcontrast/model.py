"""A trained model as a folder: weights, a readable card, a digest; loaded once a process.

``weights.safetensors`` holds numbers only, ``card.json`` everything that is needed to use them
right: bands in order, units, normaliser, geometry. Nothing is pickled.
"""

from __future__ import annotations

import html
import os
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from xcontrast.errors import ModelError, problem
from xcontrast.folders import claim_folder, copy_folder, publish_folder, read_folder, stage_folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from xcontrast.nn.encoders import Encoder, Level, Projector

__all__ = ["Card", "Model", "Network", "SensorCard", "load_model", "load_network", "write_model"]

FORMAT = "xcontrast-model"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SensorCard:
    """What an encoder expects of its sensor."""

    bands: tuple[str, ...]
    """Canonical names, in channel order."""
    units: str
    gsd: float
    """Metres a pixel that the encoder was trained on."""
    mean: tuple[float, ...]
    """One a band, in `units`."""
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> SensorCard:
        """Read the JSON form, where tuples are lists."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in card.items()
        }
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything about a model but its weights."""

    method: str
    encoder: str
    """timm name."""
    out_stride: int
    levels: tuple[dict[str, Any], ...]
    """Geometry of the feature levels: channels, stride, offset, radius."""
    n_hidden: int
    n_projected: int
    sensors: dict[str, SensorCard]
    training: dict[str, Any] = field(default_factory=dict)
    """Facts: data, dates, options, steps, versions, held-out retrieval."""
    xcontrast: str = ""
    """Version that wrote the model."""

    @property
    def n_features(self) -> int:
        """Length of the ``feature`` dim in the encoder space."""
        return sum(int(level["channels"]) for level in self.levels)

    @property
    def halo(self) -> int | None:
        """Pixels that must be read around a block; None when the encoder sees the whole image."""
        from xcontrast.nn.dense import halo_of

        return halo_of(self.geometry())

    @property
    def spaces(self) -> tuple[str, ...]:
        """Named spaces that the model can embed into."""
        return ("encoder", "joint") if len(self.sensors) > 1 else ("encoder",)

    def geometry(self) -> tuple[Level, ...]:
        """Give the levels as records."""
        from xcontrast.nn.encoders import Level

        return tuple(Level(**level) for level in self.levels)

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> Card:
        """Read the JSON form."""
        known = {k: card[k] for k in cls.__dataclass_fields__ if k in card}
        sensors = {name: SensorCard.from_json(own) for name, own in card["sensors"].items()}
        return cls(**{**known, "sensors": sensors, "levels": tuple(card["levels"])})


@dataclass(frozen=True)
class Model:
    """A model folder that has been checked; small, and safe to send to a worker."""

    path: Path
    card: Card
    digest: str
    """Names weights and card together; two models with one digest embed alike."""

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors that the model has an encoder for."""
        return tuple(self.card.sensors)

    @property
    def history(self) -> pd.DataFrame:
        """What was logged while training, one row a logged step; empty if nothing was."""
        log = self.path / "history.csv"
        return pd.read_csv(log) if log.exists() else pd.DataFrame()

    def save(self, path: str | os.PathLike[str]) -> Model:
        """Copy the model folder to a new place.

        Parameters
        ----------
        path : path
            A folder that does not exist or is empty.

        Returns
        -------
        Model
            The copy.

        Raises
        ------
        ModelError
            If the folder holds something.
        """
        target = claim_folder(path)
        copy_folder(self.path, target)
        return load_model(target)

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name:<10} {value}" for name, value in self._facts())
        return f"<xcontrast.Model {self.digest}>\n{rows}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        return f"<div><b>xcontrast.Model</b> <code>{self.digest}</code><table>{rows}</table></div>"

    def _facts(self) -> list[tuple[str, str]]:
        card = self.card
        strides = ", ".join(str(level["stride"]) for level in card.levels)
        facts = [
            ("method", f"{card.method}, {card.training.get('steps', 0)} steps"),
            ("encoder", f"{card.encoder}, levels at {strides} px, {card.n_features} features"),
        ]
        facts += [
            (name, f"{', '.join(s.bands)} ({'reflectance' if s.units == '1' else s.units})")
            for name, s in card.sensors.items()
        ]
        held = card.training.get("held_out")
        if held:
            facts.append(
                (
                    "held out",
                    f"recall@1 {held['recall_at_1']:.2f}, chance {held['chance_recall_at_1']:.3f}, "
                    f"{held['n_val']:.0f} places",
                )
            )
        return [*facts, ("folder", str(self.path))]


class Network:
    """The encoder and projector of one sensor on a device, in eval mode, with the normaliser."""

    def __init__(
        self, encoder: Encoder, projector: Projector, levels: tuple[Level, ...], card: SensorCard
    ) -> None:
        import torch

        self.encoder = encoder.eval()
        self.projector = projector.eval()
        self.levels = levels
        self.deepest = max(level.stride for level in levels)
        first = next(encoder.parameters())
        view = (1, -1, 1, 1)
        self.mean = torch.tensor(card.mean, dtype=torch.float32, device=first.device).view(view)
        self.std = torch.tensor(card.std, dtype=torch.float32, device=first.device).view(view)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def normalise(self, values: Tensor, valid: Tensor) -> Tensor:
        """Give (B, C, H, W) values of unit scale; 0, the global mean, where not valid."""
        return (values - self.mean) / self.std * valid


def write_model(
    path: Path,
    card: Card,
    state: dict[str, Tensor],
    *,
    history: pd.DataFrame | None = None,
) -> Model:
    """Write a model folder in one step: it is whole or not there.

    Parameters
    ----------
    path : Path
        A free folder, see :func:`claim_folder`.
    card : Card
        What goes into ``card.json``.
    state : dict of str to Tensor
        Weights by ``{sensor}.encoder.…`` and ``{sensor}.projector.…``.
    history : DataFrame, optional
        What was logged, written as ``history.csv``.

    Returns
    -------
    Model
    """
    partial = stage_folder(path)
    if history is not None and len(history):
        history.to_csv(partial / "history.csv", index=False)
    arrays = {k: v.detach().cpu().numpy() for k, v in state.items()}
    facts = card.to_json()
    publish_folder(partial, path, form=FORMAT, version=VERSION, facts=facts, arrays=arrays)
    return load_model(path)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Open a model folder and check that it is whole; the weights stay on disk.

    Parameters
    ----------
    path : path
        A folder written by :func:`pretrain` or :meth:`Model.save`.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If it is not a model folder, is of a newer format, or was damaged or changed.
    """
    folder = Path(path)
    facts = read_folder(folder, form=FORMAT, version=VERSION)
    try:
        card = Card.from_json(facts)
    except (KeyError, TypeError) as error:
        raise ModelError(
            problem(
                expected="a complete card.json",
                received=f"{folder / 'card.json'}, where {error} is missing or unknown",
                do="copy the model again from where it was made",
            )
        ) from error
    return Model(folder, card, facts["digest"])


_networks: dict[tuple[str, str, str], Network] = {}
_lock = threading.Lock()


def load_network(path: str, digest: str, sensor: str, device: str) -> Network:
    """Give the network of one sensor, loaded once a process and device.

    Parameters
    ----------
    path : str
        The model folder.
    digest : str
        Must be the folder's own.
    sensor : str
        ``"s1"`` or ``"s2"``.
    device : str
        A torch device, or ``"auto"``: a GPU if this process sees one.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        If the folder is missing here or holds another model.
    """
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    key = (digest, sensor, device)
    with _lock:
        if key not in _networks:
            _networks[key] = _read_network(path, digest, sensor, device)
        return _networks[key]


def _read_network(path: str, digest: str, sensor: str, device: str) -> Network:
    import torch
    from safetensors.torch import load_file

    from xcontrast.nn.encoders import Encoder, Projector

    model = load_model(path)
    if model.digest != digest:
        raise ModelError(
            problem(
                expected=f"model {digest} in {path}",
                received=f"model {model.digest}",
                do="embed again with the model that is there now",
            )
        )
    card, own = model.card, model.card.sensors[sensor]
    encoder = Encoder(card.encoder, len(own.bands), out_stride=card.out_stride)
    projector = Projector(card.n_features, n_hidden=card.n_hidden, n_projected=card.n_projected)
    state = load_file(model.path / "weights.safetensors")
    for part, module in (("encoder", encoder), ("projector", projector)):
        prefix = f"{sensor}.{part}."
        own_state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        module.load_state_dict(own_state)
    encoder = encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Network(encoder, projector.to(device), card.geometry(), own)
