"""A map against the truth as one HTML page: scores, intervals, calibration, hits and misses."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.evaluation.calibration import calibration
from xcontrast.evaluation.counts import Numbers, name_groups, require_one_grid
from xcontrast.evaluation.folds import make_squares
from xcontrast.evaluation.scores import score_named
from xcontrast.evaluation.sections import Judged, list_facts, say_verdict, tell_sections
from xcontrast.legends import Legend
from xcontrast.report import write_report
from xcontrast.requirements import require_legend

__all__ = ["evaluate"]

SQUARES = 8
"""Squares along the longer side of a scene, where no groups are given."""


def evaluate(
    mapped: xr.Dataset | xr.DataArray,
    truth: xr.DataArray,
    *,
    legend: Legend,
    out: str | os.PathLike[str],
    cube: xr.Dataset | None = None,
    groups: xr.DataArray | str | None = None,
) -> xr.Dataset:
    """Score a map and write a page about it: one HTML file that needs nothing else.

    Parameters
    ----------
    mapped : Dataset or DataArray
        A map, ``label (…, y, x)`` and, for its calibration, ``probability (…, category, y, x)``;
        or its label alone. ``location`` may lead, and no other dim longer than one.
    truth : DataArray (…, y, x), integer
        Codes of the legend on the same grid.
    legend : Legend
        What the codes mean.
    out : path
        The page, ``something.html``; its folder must exist.
    cube : Dataset, optional
        On the same pixels: what the sensors saw last is shown beside the map.
    groups : DataArray or str, optional
        As for :func:`xcontrast.score`. By default each location, or squares of an eighth of the
        longer side of a scene.

    Returns
    -------
    Dataset
        Of :func:`xcontrast.score` with these groups.

    Raises
    ------
    DataError
        If grids or groups do not fit, or no cell is known in both.

    Examples
    --------
    >>> scores = xc.evaluate(labels, labels, legend=xc.FLOOD, out=folder / "flood.html")
    >>> float(scores.accuracy), (folder / "flood.html").exists()
    (1.0, True)
    """
    if isinstance(mapped, xr.Dataset):
        # At once: both come from the same embedding.
        mapped = mapped[[k for k in ("label", "probability") if k in mapped]].compute()
    require_legend(legend)
    label = mapped if isinstance(mapped, xr.DataArray) else mapped["label"]
    label = label.squeeze([d for d in label.dims if d not in _SPACE and label.sizes[d] == 1])
    if not {"y", "x"} <= set(label.dims) <= set(_SPACE):
        raise DataError(
            problem(
                expected="a map with the dims y and x, and location at most before them",
                received=str(dict(label.sizes)),
                do="choose one time: mapped.isel(s1_time=0)",
            )
        )
    label = label.transpose(..., "y", "x").compute()
    truth = require_one_grid(label, truth).compute()
    _check_cube(cube, label)
    numbers, names, told = _find_groups(groups, label, truth)
    scores = score_named(label, truth, (numbers, names), legend=legend)
    table = None
    if isinstance(mapped, xr.Dataset) and "probability" in mapped:
        probability = mapped["probability"].transpose(..., "category", "y", "x")
        lead = [d for d in probability.dims if d not in (*_SPACE, "category")]
        table = calibration(probability.squeeze(lead), truth, legend=legend)
    judged = Judged(label, truth, legend, numbers, names, told, scores, table, cube)
    _write(judged, out)
    return scores


_SPACE = ("location", "y", "x")


def _check_cube(cube: xr.Dataset | None, label: xr.DataArray) -> None:
    if cube is not None and any(cube.sizes.get(str(d)) != n for d, n in label.sizes.items()):
        raise DataError(
            problem(
                expected=f"a cube on the map's pixels, {dict(label.sizes)}",
                received=str(dict(cube.sizes)),
                do="predict with like=cube, or leave `cube` out",
            )
        )


def _find_groups(
    groups: xr.DataArray | str | None, label: xr.DataArray, truth: xr.DataArray
) -> tuple[Numbers, npt.NDArray[Any], str]:
    """Give the group of each pixel, their names, and what a group is called."""
    if groups is not None:
        word = groups if isinstance(groups, str) else str(groups.name or "group")
        return *name_groups(groups, label, truth), word
    if "location" in label.dims:
        places = xr.DataArray(np.arange(label.sizes["location"]), dims="location")
        return *name_groups(places, label, truth), "location"
    shape = label.sizes["y"], label.sizes["x"]
    side = max(1, -(-max(shape) // SQUARES))
    numbers = make_squares(shape, side).astype(np.int32)
    n_cols = -(-shape[1] // side)
    names = np.array([f"{n // n_cols}-{n % n_cols}" for n in range(numbers.max() + 1)], object)
    return numbers, names, "square"


def _write(judged: Judged, out: str | os.PathLike[str]) -> None:
    import matplotlib as mpl

    # A file is written: no window, whatever backend the person's session has.
    with mpl.rc_context({"backend": "agg"}):
        write_report(
            out,
            title=f"How good is this map: {judged.legend.title}",
            lead=say_verdict(judged),
            facts=list_facts(judged),
            sections=tell_sections(judged),
        )
