"""Pictures of every stage: cube, pairs, pretraining, embedding, map, scores.

`plot` finds the picture that fits its object. Nothing is shown or saved here: each function draws
on matplotlib axes, its own or given ones, and returns them. matplotlib is imported when drawing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pandas as pd
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.plotting.charts import plot_lags, plot_timeline
from xcontrast.plotting.maps import HITS, plot_hits, plot_map
from xcontrast.plotting.places import plot_places
from xcontrast.plotting.rates import plot_rate
from xcontrast.plotting.scenes import plot_pairs, plot_pca
from xcontrast.plotting.scores import plot_confusion, plot_fractions, plot_reliability
from xcontrast.plotting.training import plot_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "HITS",
    "plot",
    "plot_confusion",
    "plot_fractions",
    "plot_hits",
    "plot_lags",
    "plot_map",
    "plot_pairs",
    "plot_pca",
    "plot_places",
    "plot_rate",
    "plot_reliability",
    "plot_timeline",
    "plot_training",
]

Kind: TypeAlias = Literal[
    "timeline", "rate", "places", "pairs", "lags", "pca", "map", "training", "fractions",
    "confusion", "reliability",
]  # fmt: skip

# What each kind of object can be drawn as; the first is the default.
_KINDS: dict[str, tuple[Kind, ...]] = {
    "pairs": ("pairs", "lags"),
    "cube": ("timeline", "rate"),
    "collection": ("places",),
    "embedding": ("pca",),
    "map": ("map",),
    "history": ("training",),
    "probe": ("fractions",),
    "scores": ("confusion",),
    "calibration": ("reliability",),
}
_DRAW: dict[Kind, Callable[..., Axes | Figure]] = {
    "timeline": plot_timeline,
    "rate": plot_rate,
    "places": plot_places,
    "pairs": plot_pairs,
    "lags": plot_lags,
    "pca": plot_pca,
    "map": plot_map,
    "training": plot_training,
    "fractions": plot_fractions,
    "confusion": plot_confusion,
    "reliability": plot_reliability,
}


def plot(
    obj: xr.Dataset | xr.DataArray | pd.DataFrame, /, *, kind: Kind | None = None, **options: Any
) -> Axes | Figure:
    """Draw a cube, a collection, pairs, an embedding, a map, its scores or a training history.

    Parameters
    ----------
    obj : Dataset, DataArray or DataFrame
        A cube, a collection, pairs, an embedding (of one sensor, or a Dataset with one sensor), a
        map (or its ``label``), the history of a pretraining, or what `probe`, `score` or
        `calibration` gave.
    kind : str, optional
        By default what fits: a cube as a time line ("timeline"; or "rate"), a collection by some
        places ("places"), pairs side by side ("pairs"; or "lags"), an embedding by its principal
        components ("pca"), a map in its legend ("map"), a history as curves ("training"), a probe
        by share of labels ("fractions"), scores as a matrix ("confusion"), a calibration as a
        diagram ("reliability").
    **options : Any
        Of the function that draws it, ``plot_`` and the kind.

    Returns
    -------
    Axes or Figure
        What was drawn; `plt.show` is left to the caller.

    Raises
    ------
    DataError
        If the object is none of these, or cannot be drawn as `kind`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> days = np.array(["2023-05-01", "2023-05-03"], "datetime64[ns]")
    >>> lag = np.array([2, -1], "timedelta64[D]").astype("timedelta64[ns]")
    >>> found = xr.Dataset(coords={"s1_time": ("pair", days), "lag": ("pair", lag)})
    >>> plot(found, kind="lags").get_title(loc="left")
    '2 pairs, median |lag| 1.5 d'
    """
    what = _what(obj)
    kinds = _KINDS.get(what, ())
    if not kinds or (kind is not None and kind not in kinds):
        raise DataError(
            problem(
                expected="a cube, a collection, pairs, an embedding, a map, scores or a history"
                if not kinds
                else f"for {what}, kind {' or '.join(map(repr, kinds))}",
                received=_facts(obj) if not kinds else repr(kind),
                do="pass what xc.open_cube, pairs, embed or predict gave"
                if not kinds
                else "leave kind out, or plot the object that this kind shows",
            )
        )
    chosen = kind or kinds[0]
    return _DRAW[chosen](_drawn(obj, what), **options)


def _what(obj: object) -> str:
    """Tell a stage by its dims and attributes, as each stage is defined."""
    if isinstance(obj, pd.DataFrame):
        return "history" if {"step", "loss"} <= set(obj) else ""
    if isinstance(obj, xr.Dataset):
        if "pair" in obj.dims:
            return "pairs"
        if "confusion" in obj:
            return "probe" if "variant" in obj.dims else "scores"
        if "ece" in obj:
            return "calibration"
        if "label" in obj:
            return "map"
        if len(_embedded(obj)) == 1:
            return "embedding"
        if {"location", "date"} <= set(obj.dims):
            return "collection"
        times = {"s1_time", "s2_time"} & set(obj.dims)
        return "cube" if times and not _embedded(obj) else ""
    if isinstance(obj, xr.DataArray):
        if "feature" in obj.dims:
            return "embedding"
        return "map" if "flag_values" in obj.attrs else ""
    return ""


def _embedded(obj: xr.Dataset) -> list[str]:
    return [str(name) for name, da in obj.data_vars.items() if "feature" in da.dims]


def _drawn(obj: Any, what: str) -> Any:
    if isinstance(obj, xr.Dataset) and what == "map":
        return obj["label"]
    if isinstance(obj, xr.Dataset) and what == "embedding":
        return obj[_embedded(obj)[0]]
    return obj


def _facts(obj: object) -> str:
    if isinstance(obj, xr.Dataset):
        both = ", choose one sensor of the embedding" if len(_embedded(obj)) > 1 else ""
        return f"a Dataset with {sorted(map(str, obj))} and dims {sorted(map(str, obj.dims))}{both}"
    if isinstance(obj, xr.DataArray):
        return f"a DataArray with dims {tuple(obj.dims)} and attributes {sorted(obj.attrs)}"
    if isinstance(obj, pd.DataFrame):
        return f"a DataFrame with columns {list(obj)}"
    return f"a {type(obj).__name__}"
