"""Published weights as a model: right names, right bands, right scaling."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Literal

from xcontrast.errors import ModelError, problem
from xcontrast.folders import cache_root, claim_folder
from xcontrast.model.card import Card, SensorCard
from xcontrast.model.filling import fill_encoder, find_stem
from xcontrast.model.folder import Model, write_model
from xcontrast.model.layouts import Input, find_input, rename
from xcontrast.model.unpickling import read_weights
from xcontrast.sensors import SENSORS
from xcontrast.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["import_weights"]

L1C_ONLY = "B10"
LAYOUTS = ("seco", "torchgeo", "ssl4eo", "timm")


def import_weights(
    path: str | os.PathLike[str],
    *,
    layout: Literal["seco", "torchgeo", "ssl4eo", "timm"],
    encoder: str = "resnet50",
    sensor: Literal["s1", "s2"] = "s2",
    bands: Sequence[str] | None = None,
    out_stride: int = 32,
    out: str | os.PathLike[str] | None = None,
) -> Model:
    """Make a model of published weights.

    A pickled file is read without running anything in it: what is not a tensor becomes an inert
    stand-in.

    Parameters
    ----------
    path : path
        A local file: ``.safetensors``, or as ``torch.save`` writes it.
    layout : {"seco", "torchgeo", "ssl4eo", "timm"}
        Whose. seco: a Lightning checkpoint with ``encoder_q.0 ... 7``, or torchvision's names;
        red, green, blue, scaled as the paper's code does it. torchgeo: timm's names; red, green,
        blue (Seasonal Contrast's), 13 bands, or VV and VH (both SSL4EO-S12's). ssl4eo: full
        checkpoints or backbones of SSL4EO-S12. timm: ImageNet's, for red, green, blue; the scale
        is reflectance by ImageNet's mean and deviation.
    encoder : str, default "resnet50"
        timm name of the network.
    sensor : {"s1", "s2"}, default "s2"
        What it is for.
    bands : sequence of str, optional
        Keep only these of the bands; by default all that the Level-2A product has, which lacks
        B10. Filters of bands that are left out are dropped, as if those were 0.
    out_stride : int, default 32
        Deepest level used, pixels a cell.
    out : path, optional
        Folder of the model; by default one in the user's cache.

    Returns
    -------
    Model
        Without projected spaces.

    Raises
    ------
    ModelError
        If the file cannot be read, is of another layout or network, has channels whose bands are
        not known, or `out` holds something.

    References
    ----------
    Manas et al. (2021), Seasonal Contrast; Wang et al. (2023), SSL4EO-S12; Stewart et al. (2022),
    torchgeo.

    Examples
    --------
    >>> import timm, torch
    >>> network = timm.create_model("resnet18", in_chans=3, num_classes=0)
    >>> torch.save(network.state_dict(), folder / "resnet18.pth")
    >>> mine = xc.import_weights(
    ...     folder / "resnet18.pth", layout="timm", encoder="resnet18", out=folder / "mine"
    ... )
    >>> mine.card.sensors["s2"].bands
    ('B04', 'B03', 'B02')
    """
    import torch

    from xcontrast.nn.encoders import Encoder
    from xcontrast.nn.levels import measure_levels

    if layout not in LAYOUTS:
        raise ModelError(
            problem(
                expected=f"a layout of {', '.join(LAYOUTS)}",
                received=repr(layout),
                do="choose the one of whoever published the weights",
            )
        )
    target = None if out is None else claim_folder(out)
    state = rename(read_weights(Path(path)), layout)
    with torch.random.fork_rng():
        # Where the bands go in is known from the network, and only then how many there are.
        stem = find_stem(Encoder(encoder, 3, out_stride=out_stride), state)
        known = find_input(sensor, state[stem].shape[1], layout)
        kept = _choose_bands(known, sensor, bands)
        state[stem] = state[stem][:, kept]
        network = Encoder(encoder, len(kept), out_stride=out_stride)
    fill_encoder(network, state)
    card = Card(
        method=f"imported ({layout})",
        encoder=encoder,
        out_stride=out_stride,
        levels=tuple(asdict(level) for level in measure_levels(network)),
        sensors={sensor: _describe(known, kept, sensor)},
        training={"imported": {"file": Path(path).name, "layout": layout}},
        xcontrast=__version__,
    )
    weights: dict[str, Tensor] = {
        f"{sensor}.encoder.{k}": v for k, v in network.state_dict().items()
    }
    return write_model(target or Path(mkdtemp(dir=cache_root())), card, weights)


def _choose_bands(known: Input, sensor: str, bands: Sequence[str] | None) -> list[int]:
    own = next(s for s in SENSORS if s.name == sensor)
    if bands is None:
        return [k for k, band in enumerate(known.bands) if band != L1C_ONLY]
    wanted = own.canonical_bands(list(bands))
    missing = [band for band in wanted if band not in known.bands]
    if missing:
        raise ModelError(
            problem(
                expected=f"bands of the weights: {', '.join(known.bands)}",
                received=", ".join(missing),
                do="leave those out",
            )
        )
    return [known.bands.index(band) for band in wanted]


def _describe(known: Input, kept: list[int], sensor: str) -> SensorCard:
    own = next(s for s in SENSORS if s.name == sensor)

    def pick(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(numbers[k] for k in kept) if numbers else ()

    return SensorCard(
        bands=tuple(known.bands[k] for k in kept),
        units=own.units,
        gsd=own.gsd,
        mean=pick(known.mean),
        std=pick(known.std),
        curve=known.curve,
        low=pick(known.low),
        high=pick(known.high),
    )
