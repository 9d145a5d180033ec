"""Encoders as the protocols take them: random, with another scaling, or to train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.embedding.embed import embed
from xcontrast.errors import DataError, problem
from xcontrast.folders import cache_root
from xcontrast.model import Card, Model, SensorCard, build_encoder, write_model
from xcontrast.version import __version__

if TYPE_CHECKING:
    from xcontrast.nn.encoders import Encoder
    from xcontrast.nn.scaling import Scaling

__all__ = ["deepest_features", "load_encoder", "make_random", "rescale"]


def make_random(
    sensors: Mapping[str, SensorCard],
    *,
    encoder: str = "resnet18",
    stem: Literal["own", "3x3"] = "own",
    out_stride: int = 32,
    seed: int = 42,
) -> Model:
    """Make a model that was never trained: the first row of the papers' tables.

    Parameters
    ----------
    sensors : mapping of str to SensorCard
        Bands and scaling of ``"s1"``, ``"s2"`` or both; a random encoder has none of its own.
    encoder : str, default "resnet18"
        timm name.
    stem : {"own", "3x3"}, default "own"
        First layers, see :class:`xcontrast.nn.encoders.Encoder`.
    out_stride : int, default 32
        Deepest level, pixels a cell.
    seed : int, default 42
        Of the weights.

    Returns
    -------
    Model
        In the user's cache.
    """
    import torch
    from torch import nn

    from xcontrast.nn.encoders import Encoder
    from xcontrast.nn.levels import measure_levels

    networks = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, own in sensors.items():
            networks[name] = Encoder(encoder, len(own.bands), out_stride=out_stride, stem=stem)
    for module in (m for network in networks.values() for m in network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            # timm begins residual branches at zero, the networks of the papers did not.
            nn.init.ones_(module.weight)
    card = Card(
        method="random",
        encoder=encoder,
        out_stride=out_stride,
        stem=stem,
        levels=tuple(asdict(k) for k in measure_levels(next(iter(networks.values())))),
        sensors=dict(sensors),
        training={"random": {"seed": seed}},
        xcontrast=__version__,
    )
    state = {
        f"{name}.encoder.{k}": v
        for name, network in networks.items()
        for k, v in network.state_dict().items()
    }
    return write_model(Path(mkdtemp(dir=cache_root())), card, state)


def rescale(model: Model, sensor: str, published: SensorCard) -> Model:
    """Give a model the input of a paper's protocol in place of its own scaling.

    Parameters
    ----------
    model : Model
        Its folder is left as it is.
    sensor : str
        Whose scaling.
    published : SensorCard
        The protocol's, for bands in any order.

    Returns
    -------
    Model
        A copy in the user's cache.

    Raises
    ------
    DataError
        If the model takes a band that the protocol does not scale.
    """
    from safetensors.torch import load_file

    bands = model.card.sensors[sensor].bands
    unknown = [band for band in bands if band not in published.bands]
    if unknown:
        raise DataError(
            problem(
                expected=f"a model of the published input, {', '.join(published.bands)}",
                received=f"one of {', '.join(bands)}",
                do="leave paper_compat out, or give a model of these bands alone",
            )
        )
    order = [published.bands.index(band) for band in bands]
    picked: dict[str, Any] = {
        name: tuple(getattr(published, name)[k] for k in order)
        for name in ("mean", "std", "low", "high")
        if getattr(published, name)
    }
    own = replace(published, bands=bands, **picked)
    card = replace(model.card, sensors={**model.card.sensors, sensor: own})
    weights = load_file(model.path / "weights.safetensors")
    return write_model(Path(mkdtemp(dir=cache_root())), card, weights)


def load_encoder(model: Model, sensor: str, device: str) -> tuple[Encoder, Scaling]:
    """Load an encoder with batch norms of its own, to train it or to let them adapt.

    Parameters
    ----------
    model : Model
        With an encoder for the sensor.
    sensor : str
        Which.
    device : str
        A torch device.

    Returns
    -------
    Encoder, Scaling
    """
    from safetensors.torch import load_file

    prefix = f"{sensor}.encoder."
    state = load_file(model.path / "weights.safetensors")
    encoder = build_encoder(model.card, sensor)
    encoder.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    return encoder.to(device), model.card.sensors[sensor].scaling().to(device)


def deepest_features(
    images: xr.DataArray, model: Model, *, device: str = "auto"
) -> npt.NDArray[np.float32]:
    """Give one vector an image: the deepest level of the frozen encoder, averaged.

    Parameters
    ----------
    images : DataArray (location, band, y, x), float32
        Of one sensor; dask-backed images are read as they are needed.
    model : Model
        Batch norms use the statistics of its pretraining.
    device : str, default "auto"
        Where it is computed.

    Returns
    -------
    ndarray (location, feature), float32

    References
    ----------
    Manas et al. (2021), Seasonal Contrast, section 4: the encoder's output without its heads.
    """
    pooled = embed(images, model, pool=True, precision="32", device=device, min_valid=0)
    width = int(model.card.levels[-1]["channels"])
    features: npt.NDArray[np.float32] = pooled.isel(feature=slice(-width, None)).values
    return features
