"""``ds.contrast`` and ``da.contrast``: the free functions, bound; no logic lives here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import xarray as xr

from xcontrast.cubes.registration import measure_shifts
from xcontrast.embedding.change import change
from xcontrast.embedding.clusters import cluster
from xcontrast.embedding.composites import before_after
from xcontrast.embedding.embed import embed
from xcontrast.embedding.packing import pack, unpack
from xcontrast.embedding.seams import seam_score
from xcontrast.embedding.similarity import similar
from xcontrast.evaluation.calibration import calibration
from xcontrast.evaluation.page import evaluate
from xcontrast.evaluation.probe import probe
from xcontrast.evaluation.scores import score
from xcontrast.heads.fitting import fit
from xcontrast.heads.maps import predict
from xcontrast.heads.segmenting.finetune import finetune
from xcontrast.mapping.cog import to_cog
from xcontrast.mapping.description import describe_any
from xcontrast.plotting import plot
from xcontrast.plotting.clicks import click
from xcontrast.sampling.cutting import chips
from xcontrast.sampling.pairing import pairs
from xcontrast.training.pretrain import pretrain

__all__ = ["DataArrayContrast", "DatasetContrast"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


def delegate(func: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Bind a free function whose first argument is the xarray object as an accessor method."""

    @functools.wraps(func)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return func(self._obj, *args, **kwargs)

    signature = inspect.signature(func)
    _, *rest = signature.parameters.values()
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(parameters=[this, *rest])  # type: ignore[attr-defined]
    return method


@xr.register_dataset_accessor("contrast")  # type: ignore[no-untyped-call]
class DatasetContrast:
    """Pairs, chips, pretraining, embeddings and maps of a Dataset; prints what it holds."""

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return repr(describe_any(self._obj))

    def _repr_html_(self) -> str:
        return describe_any(self._obj)._repr_html_()

    measure_shifts = delegate(measure_shifts)
    pairs = delegate(pairs)
    chips = delegate(chips)
    pretrain = delegate(pretrain)
    embed = delegate(embed)  # type: ignore[arg-type,var-annotated]  # kind in, same kind out
    before_after = delegate(before_after)  # type: ignore[arg-type,var-annotated]
    change = delegate(change)
    unpack = delegate(unpack)
    fit = delegate(fit)
    finetune = delegate(finetune)
    predict = delegate(predict)
    probe = delegate(probe)
    evaluate = delegate(evaluate)
    plot = delegate(plot)


@xr.register_dataarray_accessor("contrast")  # type: ignore[no-untyped-call]
class DataArrayContrast:
    """Embeddings, heads, maps and their scores of a DataArray; prints what it holds."""

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return repr(describe_any(self._obj))

    def _repr_html_(self) -> str:
        return describe_any(self._obj)._repr_html_()

    embed = delegate(embed)  # type: ignore[arg-type,var-annotated]  # kind in, same kind out
    before_after = delegate(before_after)  # type: ignore[arg-type,var-annotated]
    change = delegate(change)
    similar = delegate(similar)
    cluster = delegate(cluster)
    pack = delegate(pack)
    seam_score = delegate(seam_score)
    fit = delegate(fit)
    finetune = delegate(finetune)
    predict = delegate(predict)
    score = delegate(score)
    calibration = delegate(calibration)
    probe = delegate(probe)
    evaluate = delegate(evaluate)
    plot = delegate(plot)
    click = delegate(click)
    to_cog = delegate(to_cog)
