"""What is trained on: pairs and chips as a method needs them, near at hand."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.progress import hush
from xcontrast.requirements import require_places
from xcontrast.sampling.chips import Chips
from xcontrast.sampling.cutting import chips
from xcontrast.sampling.images import take_images
from xcontrast.sampling.pairing import pairs
from xcontrast.sampling.saving import is_saved, load_chips
from xcontrast.sensors import SENSORS
from xcontrast.training.options import PretrainOptions

__all__ = ["CHIPS", "as_chips", "bring_near", "count_drawn"]

CHIPS = "chips.zarr"
"""In the folder of a model: what it was trained on, where that was lazy."""
DATES = {"seco": 3, "moco_tp": 2}
"""Of a place, that a step of a seasonal method takes."""


def bring_near(windows: Chips, folder: Path | None, options: PretrainOptions) -> Chips:
    """Have pixels that are lazy written to a folder, or without one read into memory.

    Parameters
    ----------
    windows : Chips
        Of :func:`as_chips`.
    folder : Path, optional
        Of the model.
    options : PretrainOptions
        With the seed and whether to show a bar.

    Returns
    -------
    Chips

    Raises
    ------
    DataError
        If the folder holds others.
    """
    lazy = windows.pixels is None and any(
        windows.pairs[sensor.name].chunks is not None for sensor in windows.sensors
    )
    if not lazy:
        return windows
    if folder is None:
        return windows.load(progress=options.progress)
    path = folder / CHIPS
    if not path.exists():
        return windows.save(path, seed=options.seed, progress=options.progress)
    if not is_saved(windows, path, seed=options.seed):
        raise DataError(
            problem(
                expected="the chips of this call, as an earlier one wrote them",
                received=f"other chips in {path}",
                do="choose another `out`, or remove that store",
            )
        )
    return load_chips(path)


def as_chips(obj: xr.Dataset | Chips, method: str, options: PretrainOptions) -> Chips:
    """Pair and cut what is not yet, as a method needs it, and check that it has what it needs.

    Parameters
    ----------
    obj : Dataset or Chips
        A cube or collection, pairs, or chips.
    method : str
        Which.
    options : PretrainOptions
        With the size of chips.

    Returns
    -------
    Chips

    Raises
    ------
    DataError
        If a sensor or dates are missing.
    """
    if isinstance(obj, Chips):
        found = obj
    else:
        require_places(obj)
        paired = obj if "pair" in obj.dims else _pair(obj, method, options)
        with hush(not options.progress):
            found = chips(paired, size=options.chip_size)
    names = " and ".join(sensor.title for sensor in found.sensors)
    if method == "multimodal" and len(found.sensors) < len(SENSORS):
        raise DataError(
            problem(
                expected="chips with both sensors",
                received=f"only {names}",
                do="pair a cube that has s1 and s2, or use method='simclr' or 'seco'",
            )
        )
    fewest = _count_wanted(method, options)
    if _count_dates(found) < fewest:
        raise DataError(
            problem(
                expected=f"places with {fewest} or more dates for method={method!r}",
                received=f"chips of {names} with {_count_dates(found)}",
                do="pair with kind='seasonal' (or 'both', for both sensors), with a smaller `gap` "
                "or of a longer period",
            )
        )
    return found


def _pair(cube: xr.Dataset, method: str, options: PretrainOptions) -> xr.Dataset:
    if method == "multimodal":
        _check_both(cube)
        return pairs(cube, kind="both" if options.seasonal_weight else "cross-sensor")
    if method in DATES:
        return pairs(cube, kind="seasonal")
    sensors = [sensor for sensor in SENSORS if sensor.name in cube]
    if len(sensors) == 1:
        return take_images(cube, sensors[0])
    return pairs(cube, kind="cross-sensor")


def _check_both(cube: xr.Dataset) -> None:
    present = [sensor for sensor in SENSORS if sensor.name in cube]
    missing = [sensor.name for sensor in SENSORS if sensor not in present]
    if present and missing:
        raise DataError(
            problem(
                expected="a cube with both sensors, s1 and s2, for method='multimodal'",
                received=f"{present[0].title} alone",
                do=f"add {missing[0]} with xc.open_cube or xc.as_cube, or train on the images "
                "that there are: method='simclr'",
            )
        )


def _count_dates(windows: Chips) -> int:
    return int(windows.pairs.sizes.get("date", 1))


def count_drawn(windows: Chips, method: str, options: PretrainOptions) -> int:
    """Give how many dates of a place a step takes.

    Parameters
    ----------
    windows : Chips
        Of :func:`as_chips`.
    method : str
        Which.
    options : PretrainOptions
        Say whether there is a seasonal term.

    Returns
    -------
    int
    """
    return min(_count_wanted(method, options), _count_dates(windows))


def _count_wanted(method: str, options: PretrainOptions) -> int:
    return DATES.get(method, 2 if method == "multimodal" and options.seasonal_weight else 1)
