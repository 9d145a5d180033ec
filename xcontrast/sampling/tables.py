"""What was paired, as a table that a person can judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xcontrast.sensors import S1, S2, SENSORS
from xcontrast.sheets import Sheet

__all__ = ["describe_pairs"]

MOST = 8
"""Entries of a line; the rest is summed up."""


def describe_pairs(pairs: xr.Dataset) -> Sheet:
    """Describe pairs: how many, by lag, orbit and month, and what was rejected and why.

    Parameters
    ----------
    pairs : Dataset
        Of :func:`xcontrast.pairs`, or a part of them.

    Returns
    -------
    Sheet
        Prints as text, and as a table in a notebook; nothing is read.
    """
    told = json.loads(pairs.attrs.get("pairing", "{}"))
    seasonal = any("date" in pairs[s.name].dims for s in SENSORS if s.name in pairs)
    rows = [("Pairs", _count_line(pairs, seasonal))]
    if "lag" in pairs.coords and pairs.sizes["pair"]:
        rows.append(("By lag", _lag_line(pairs)))
    for name, title in (("s1_relative_orbit", "By orbit"), ("location", "By place")):
        if name in pairs.coords and pairs[name].dims == ("pair",):
            rows.append((title, _counts(pairs[name].values)))
    sensor = S2 if S2.time in pairs.coords else S1
    if sensor.time in pairs.coords and pairs.sizes["pair"]:
        months = pd.DatetimeIndex(pairs[sensor.time].values.ravel()).strftime("%Y-%m")
        rows.append(("By month", _counts(np.asarray(months))))
    rows.append(("Rejected", _rejected_line(told)))
    return Sheet("xcontrast pairs", rows, [])


def _count_line(pairs: xr.Dataset, seasonal: bool) -> str:
    n = pairs.sizes["pair"]
    images = ", ".join(
        f"{s.name} of {', '.join(map(str, pairs[s.band].values))}"
        for s in SENSORS
        if s.name in pairs and s.band in pairs.coords
    )
    size = f"{pairs.sizes.get('x', 0):,} × {pairs.sizes.get('y', 0):,} px"
    if seasonal:
        both = " and both sensors" if all(s.name in pairs for s in SENSORS) else ""
        return f"{n} of {pairs.sizes['date']} dates{both} each; {images}; {size}"
    return f"{n} of both sensors; {images}; {size}"


def _lag_line(pairs: xr.Dataset) -> str:
    days = pairs["lag"].values.ravel() / np.timedelta64(1, "D")
    whole = np.rint(days).astype(int)
    counts = _counts(np.array([f"{d:+d} d" if d else "0 d" for d in whole]), order=whole)
    return f"median |lag| {np.median(np.abs(days)):.1f} d; {counts} (S1 minus S2)"


def _counts(values: np.ndarray[Any, Any], order: np.ndarray[Any, Any] | None = None) -> str:
    """Count equal values, in their own order."""
    keys = values if order is None else order
    names = dict(zip(keys.tolist(), values.tolist(), strict=True))
    unique, counts = np.unique(keys, return_counts=True)
    shown = [f"{names[k]}: {c}" for k, c in zip(unique.tolist(), counts, strict=True)]
    if len(shown) > MOST:
        rest = int(counts[MOST:].sum())
        shown = [*shown[:MOST], f"{len(unique) - MOST} more: {rest}"]
    return ", ".join(shown)


def _rejected_line(told: Mapping[str, Any]) -> str:
    if not told:
        return "not told"
    time = (
        f"dates left over, {_span(told['gap'])} apart or more"
        if told.get("kind") in ("seasonal", "both")
        else f"dates without a partner within {_span(told['tolerance'])}"
    )
    reasons = {
        "rejected_by_cloud": f"with cloud over {told.get('max_cloud')} %",
        "rejected_by_orbit": f"passes not of orbit {told.get('orbit')}",
        "rejected_by_time": time,
        "rejected_by_validity": "with too little valid",
    }
    named = [f"{told[key]} {why}" for key, why in reasons.items() if told.get(key)]
    return ", ".join(named) or "none"


def _span(text: str) -> str:
    days = pd.Timedelta(text) / pd.Timedelta(1, "D")
    return f"{days:g} d" if days >= 1 else f"{24 * days:g} h"
