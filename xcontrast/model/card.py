"""Everything about a model but its weights, as records with a JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from xcontrast.records import read_record

if TYPE_CHECKING:
    from xcontrast.nn.levels import Level
    from xcontrast.nn.scaling import Scaling

__all__ = ["WINDOW", "Card", "ProjectorCard", "SensorCard"]

WINDOW = 384
"""Pixels a side of what a network that sees the whole image is given at once."""


@dataclass(frozen=True, kw_only=True)
class SensorCard:
    """What an encoder expects of its sensor, and how it scales it."""

    bands: tuple[str, ...]
    """Canonical names, in channel order."""
    units: str
    gsd: float
    """Metres a pixel that the encoder was trained on."""
    mean: tuple[float, ...]
    """One a band: of `units`, or of what the curve gives where there is one."""
    std: tuple[float, ...]
    curve: Literal["none", "clip", "sigmoid"] = "none"
    """What is done before the mean is taken off, see :class:`xcontrast.nn.scaling.Scaling`."""
    low: tuple[float, ...] = ()
    """One a band in `units`, where the curve needs it."""
    high: tuple[float, ...] = ()

    def scaling(self) -> Scaling:
        """Give the scaling as a module."""
        from xcontrast.nn.scaling import Scaling

        return Scaling(self.mean, self.std, curve=self.curve, low=self.low, high=self.high)


@dataclass(frozen=True, kw_only=True)
class ProjectorCard:
    """The shape of every projector of a model; each space has one a sensor."""

    n_features: int
    """What it takes: so many of the encoder's features, the deepest ones."""
    n_hidden: int
    n_projected: int
    batch_norm: bool = True


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything about a model but its weights."""

    method: str
    encoder: str
    """timm name."""
    out_stride: int
    levels: tuple[dict[str, Any], ...]
    """Geometry of the feature levels: channels, stride, offset, radius."""
    sensors: dict[str, SensorCard]
    stem: Literal["own", "3x3"] = "own"
    """First layers: the network's own, or two convolutions of 3 x 3."""
    projected: tuple[str, ...] = ()
    """Spaces that the encoder's features are projected into."""
    projector: ProjectorCard | None = None
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
        return ("encoder", *self.projected)

    def geometry(self) -> tuple[Level, ...]:
        """Give the levels as records."""
        from xcontrast.nn.levels import Level

        return tuple(Level(**level) for level in self.levels)

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> Card:
        """Read the JSON form."""
        projector = card["projector"]
        known = {
            **card,
            "sensors": {
                name: read_record(SensorCard, own) for name, own in card["sensors"].items()
            },
            "projector": None if projector is None else read_record(ProjectorCard, projector),
        }
        return read_record(cls, known)
