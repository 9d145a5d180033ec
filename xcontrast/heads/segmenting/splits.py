"""Which labels train and which are held out: by ground, never pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from xcontrast.errors import DataError, problem
from xcontrast.heads.segmenting.options import FinetuneOptions
from xcontrast.legends import NO_LABEL

__all__ = ["TOO_FEW", "Split", "split_labels"]

Numbers = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
TRIES = 30
"""Draws of places, until both parts show what they must."""
FEWEST = 4
"""Places from which whole ones can be spared."""
KEPT = 0.5
"""Of the labels, that must remain beside a strip and a crop's width."""
TOO_FEW = "nothing: too few labels to spare some"


@dataclass(frozen=True)
class Split:
    """Category numbers ``(…, y, x)``, 255 where not labelled or of the other part."""

    train: Numbers
    held: Numbers | None
    how: str
    """In words."""


def split_labels(
    numbers: Numbers, like: xr.DataArray, *, crop: int, options: FinetuneOptions
) -> Split:
    """Hold out a part of the labelled ground.

    Parameters
    ----------
    numbers : ndarray (…, y, x), uint8
        Category numbers, 255 where not labelled.
    like : DataArray (…, y, x)
        With the coord that `options.groups` names, on a leading dim.
    crop : int
        Side of a training crop, pixels: none of them touches a pixel held out.
    options : FinetuneOptions
        Share, groups and seed.

    Returns
    -------
    Split
        Whole groups or, of four labelled places or more, whole places; or else a strip at one
        side. With none held out where that would leave no label of a category, or fewer than half
        of all labels, to train on; but groups that are named are, whatever they alone show.

    Raises
    ------
    DataError
        If the groups are not on a leading dim, or cannot be held out as asked.
    """
    if options.groups is not None:
        candidates = _by_group(numbers, like, options)
    elif not options.val_fraction:
        return Split(numbers, None, "nothing, as asked")
    elif len(_labelled_places(numbers)) >= FEWEST:
        candidates = _by_place(numbers, options)
    else:
        candidates = _by_strip(numbers, crop, options)
    best = None
    for trains, held, how in candidates:
        split = Split(_only(numbers, trains), _only(numbers, held), how)
        score = _judge(numbers, split, named=bool(options.held_groups))
        if score and (best is None or score > best[0]):
            best = (score, split)
        if score == 2:
            break
    if best is not None:
        return best[1]
    if options.groups is not None:
        raise DataError(
            problem(
                expected=f"groups of {options.groups!r} that can be held out: labels in them, and "
                f"{'others' if options.held_groups else 'all categories'} elsewhere",
                received=f"held_groups={options.held_groups!r}",
                do="choose other groups, or val_fraction=0 without groups to hold none out",
            )
        )
    return Split(numbers, None, TOO_FEW)


def _judge(numbers: Numbers, split: Split, *, named: bool) -> int:
    """Say how good a split is: 2 if both parts show every category, 1 if training does.

    Where groups are `named`, who named them has chosen what is left to train on.
    """
    every, trained, held = (
        set() if part is None else set(np.flatnonzero(np.bincount(part.ravel())[:NO_LABEL]))
        for part in (numbers, split.train, split.held)
    )
    lacking = not trained if named else trained != every
    return 0 if lacking or not held else 2 if held == every else 1


def _only(numbers: Numbers, mask: Mask) -> Numbers:
    return np.where(mask, numbers, np.uint8(NO_LABEL))


def _labelled_places(numbers: Numbers) -> npt.NDArray[np.intp]:
    flat = numbers.reshape(-1, *numbers.shape[-2:])
    return np.flatnonzero((flat != NO_LABEL).any((1, 2)))


def _as_mask(chosen: Mask, numbers: Numbers) -> Mask:
    return chosen.reshape(*numbers.shape[:-2], 1, 1)


def _by_group(
    numbers: Numbers, like: xr.DataArray, options: FinetuneOptions
) -> Iterator[tuple[Mask, Mask, str]]:
    name = str(options.groups)
    lead = like.dims[:-2]
    if name not in like.coords or not set(like[name].dims) <= set(lead) or not like[name].dims:
        raise DataError(
            problem(
                expected="groups as a coord of a leading dim, such as 'scene' on location",
                received=f"groups={name!r}, with the dims {lead} and coords "
                f"{sorted(map(str, like.coords))}",
                do="cube.assign_coords(scene=('location', names)), or leave `groups` out",
            )
        )
    group = like[name].broadcast_like(like.isel(y=0, x=0, drop=True)).transpose(*lead)
    values = group.values.ravel().astype(str)
    labelled = np.unique(values[_labelled_places(numbers)])
    rng = np.random.default_rng(options.seed)
    for _ in range(1 if options.held_groups else TRIES):
        n = min(max(1, round(options.val_fraction * len(labelled))), len(labelled) - 1)
        drawn = rng.permutation(labelled)[:n]
        chosen = np.isin(values, [str(g) for g in options.held_groups] or drawn)
        mask = _as_mask(chosen, numbers)
        yield ~mask, mask, f"{len(np.unique(values[chosen]))} of {len(labelled)} by {name}"


def _by_place(numbers: Numbers, options: FinetuneOptions) -> Iterator[tuple[Mask, Mask, str]]:
    places = _labelled_places(numbers)
    rng = np.random.default_rng(options.seed)
    n = max(1, round(options.val_fraction * len(places)))
    for _ in range(TRIES):
        chosen = np.zeros(int(np.prod(numbers.shape[:-2])), bool)
        chosen[rng.permutation(places)[:n]] = True
        mask = _as_mask(chosen, numbers)
        yield ~mask, mask, f"{n} of {len(places)} places"


def _by_strip(
    numbers: Numbers, crop: int, options: FinetuneOptions
) -> Iterator[tuple[Mask, Mask, str]]:
    """Give strips at each side of what is labelled, of a share of the labels."""
    labelled = (numbers != NO_LABEL).reshape(-1, *numbers.shape[-2:]).any(0)
    sides = [(axis, far) for axis in (0, 1) for far in (False, True)]
    for k in np.random.default_rng(options.seed).permutation(len(sides)):
        axis, far = sides[k]
        along = labelled.sum(1 - axis)
        along = along[::-1] if far else along
        n = 1 + int(np.searchsorted(along.cumsum(), options.val_fraction * along.sum()))
        if along[n + crop :].sum() < KEPT * along.sum():
            continue
        line = np.arange(len(along))
        held, trains = line < n, line >= n + crop
        shape = (-1, 1) if axis == 0 else (1, -1)
        held, trains = ((m[::-1] if far else m).reshape(shape) for m in (held, trains))
        side = (("north", "south"), ("west", "east"))[axis][far]
        yield trains, held, f"a strip of {n} px in the {side}"
